package traffic

import (
	"net/netip"
	"slices"
	"testing"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// compiled compiles a rule, written as YAML, of a policy in namespace policy-ns.
func compiled(t *testing.T, p *proxy, text string, action security.AuthorizationPolicy_Action, tcp bool) (policyRule, bool) {
	t.Helper()
	rule := &security.Rule{}
	if err := protomarshal.ApplyYAMLStrict(text, rule); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	policy := &model.AuthorizationPolicy{
		Object: &manifest.Object{Kind: "AuthorizationPolicy", Namespace: "policy-ns", Name: "p"},
		Spec:   &security.AuthorizationPolicy{Action: action, Rules: []*security.Rule{rule}},
	}
	rules := p.compileRules(policy, tcp)
	if len(rules) == 0 {
		return policyRule{}, false
	}
	return rules[0], true
}

// someone is a request of service account web in namespace shop.
func someone(change func(*subject)) *subject {
	s := &subject{
		connection: &connection{sourceIP: netip.MustParseAddr("10.0.0.7"), dst: netip.MustParseAddrPort("10.1.0.1:8443")},
		request:    &request{method: "GET", path: "/api/v1/items?page=2", authority: "API.example.com", headers: map[string]string{"x-kind": "blue"}},
		identity:   "spiffe://cluster.local/ns/shop/sa/web",
		sni:        "api.example.com",
		port:       8443,
	}
	if change != nil {
		change(s)
	}
	return s
}

// What a value means: exact, a prefix with "*" behind, a suffix with "*" in front,
// presence with "*" alone (istio pilot/pkg/security/authz/matcher), and the forms of
// each attribute (authz/model/generator.go).
func TestPolicyValues(t *testing.T) {
	nobody := func(s *subject) { s.identity = "" }
	p := proxyUnder(t)
	for _, test := range []struct {
		rule   string
		change func(*subject)
		want   bool
	}{
		{`{}`, nil, true},
		{`from: [{source: {principals: ["cluster.local/ns/shop/sa/web"]}}]`, nil, true},
		{`from: [{source: {principals: ["spiffe://cluster.local/ns/shop/sa/web"]}}]`, nil, false},
		{`from: [{source: {principals: ["cluster.local/ns/shop/sa/we"]}}]`, nil, false},
		{`from: [{source: {principals: ["cluster.local/ns/shop/*"]}}]`, nil, true},
		{`from: [{source: {principals: ["*/sa/web"]}}]`, nil, true},
		{`from: [{source: {principals: ["*eb"]}}]`, nil, true},
		{`from: [{source: {principals: ["*"]}}]`, nil, true},
		{`from: [{source: {principals: ["*"]}}]`, nobody, false},
		{`from: [{source: {notPrincipals: ["*"]}}]`, nobody, true},
		{`from: [{source: {notPrincipals: ["*"]}}]`, nil, false},
		{`from: [{source: {namespaces: ["shop"]}}]`, nil, true},
		{`from: [{source: {namespaces: ["sho"]}}]`, nil, false},
		{`from: [{source: {namespaces: ["s*p"]}}]`, nil, true},
		{`from: [{source: {namespaces: ["*"]}}]`, nil, true},
		{`from: [{source: {namespaces: ["*"]}}]`, nobody, false},
		{`from: [{source: {notNamespaces: ["shop"]}}]`, nobody, true},
		{`from: [{source: {namespaces: ["."]}}]`, nil, false},
		{`from: [{source: {serviceAccounts: ["shop/web"]}}]`, nil, true},
		{`from: [{source: {serviceAccounts: ["web"]}}]`, nil, false},
		{`from: [{source: {serviceAccounts: ["web"]}}]`, func(s *subject) { s.identity = "spiffe://x/ns/policy-ns/sa/web" }, true},
		{`from: [{source: {serviceAccounts: ["shop/web"]}}]`, func(s *subject) { s.identity += "-2" }, false},
		{`from: [{source: {serviceAccounts: ["shop/web"]}}]`, func(s *subject) { s.identity += "/extra/x" }, true},
		{`from: [{source: {serviceAccounts: ["shop/web"]}}]`, func(s *subject) { s.identity = "spiffe://a/ns/shop/k/v/sa/web" }, true},
		{`from: [{source: {trustDomains: ["cluster.local"]}}]`, nil, true},
		{`from: [{source: {trustDomains: ["cluster"]}}]`, nil, false},
		{`from: [{source: {trustDomains: ["cluster*"]}}]`, nil, true},
		{`from: [{source: {trustDomains: ["*.local"]}}]`, nil, true},
		{`from: [{source: {trustDomains: ["*"]}}]`, nobody, false},
		{`from: [{source: {ipBlocks: ["10.0.0.0/8"]}}]`, nil, true},
		{`from: [{source: {ipBlocks: ["10.0.0.8"]}}]`, nil, false},
		{`from: [{source: {notIpBlocks: ["10.0.0.7"]}}]`, nil, false},
		{`from: [{source: {remoteIpBlocks: ["192.0.2.0/24"]}}]`, nil, false},
		{`from: [{source: {remoteIpBlocks: ["192.0.2.0/24"]}}]`, func(s *subject) { s.remote = netip.MustParseAddr("192.0.2.9") }, true},
		{`from: [{source: {ipBlocks: ["192.0.2.0/24"]}}]`, func(s *subject) { s.remote = netip.MustParseAddr("192.0.2.9") }, false},
		{`from: [{source: {requestPrincipals: ["*"]}}]`, nil, false},
		{`from: [{source: {notRequestPrincipals: ["*"]}}]`, nil, true},

		{`to: [{operation: {methods: ["GET"]}}]`, nil, true},
		{`to: [{operation: {methods: ["get"]}}]`, nil, false},
		{`to: [{operation: {methods: ["G*"]}}]`, nil, true},
		{`to: [{operation: {methods: ["*"]}}]`, nil, true},
		{`to: [{operation: {notMethods: ["GET"]}}]`, nil, false},
		{`to: [{operation: {hosts: ["api.example.com"]}}]`, nil, true},
		{`to: [{operation: {hosts: ["api.example.com"]}}]`, func(s *subject) { s.request.authority = "api.example.com:8080" }, false},
		{`to: [{operation: {hosts: ["api.example.com:*"]}}]`, func(s *subject) { s.request.authority = "api.example.com:8080" }, true},
		{`to: [{operation: {hosts: ["*.EXAMPLE.com"]}}]`, nil, true},
		{`to: [{operation: {paths: ["/api/v1/items"]}}]`, nil, true},
		{`to: [{operation: {paths: ["/api/v1/items?page=2"]}}]`, nil, false},
		{`to: [{operation: {paths: ["/API/*"]}}]`, nil, false},
		{`to: [{operation: {paths: ["/api/*"]}}]`, nil, true},
		{`to: [{operation: {paths: ["*/items"]}}]`, nil, true},
		{`to: [{operation: {paths: ["/api/*/items"]}}]`, nil, false},
		{`to: [{operation: {paths: ["/api/{*}/items"]}}]`, nil, true},
		{`to: [{operation: {paths: ["/{*}/items"]}}]`, nil, false},
		{`to: [{operation: {paths: ["/{**}"]}}]`, nil, true},
		{`to: [{operation: {paths: ["/api.v1.items"]}}]`, nil, false},
		{`to: [{operation: {ports: ["8443"]}}]`, nil, true},
		{`to: [{operation: {ports: ["443"]}}]`, nil, false},
		{`to: [{operation: {notPorts: ["443"]}}]`, nil, true},

		{`when: [{key: "request.headers[X-Kind]", values: ["blue"]}]`, nil, true},
		{`when: [{key: "request.headers[x-kind]", values: ["Blue"]}]`, nil, false},
		{`when: [{key: "request.headers[x-kind]", values: ["bl*"]}]`, nil, true},
		{`when: [{key: "request.headers[x-kind]", values: ["*"]}]`, nil, true},
		{`when: [{key: "request.headers[x-none]", values: ["*"]}]`, nil, false},
		{`when: [{key: "request.headers[x-none]", notValues: ["blue"]}]`, nil, true},
		{`when: [{key: "connection.sni", values: ["api.example.com"]}]`, nil, true},
		{`when: [{key: "connection.sni", values: ["*"]}]`, func(s *subject) { s.sni = "" }, false},
		{`when: [{key: "connection.sni", notValues: ["api.example.com"]}]`, func(s *subject) { s.sni = "" }, true},
		{`when: [{key: "destination.port", values: ["8443"]}]`, nil, true},
		{`when: [{key: "destination.ip", values: ["10.1.0.0/16"]}]`, nil, true},
		{`when: [{key: "source.ip", values: ["10.0.0.7"]}]`, nil, true},
		{`when: [{key: "source.namespace", values: ["shop"]}]`, nil, true},
		{`when: [{key: "source.serviceAccount", values: ["shop/web"]}]`, nil, true},
		{`when: [{key: "source.principal", notValues: ["cluster.local/ns/shop/sa/web"]}]`, nil, false},
		{`when: [{key: "request.auth.claims[groups]", values: ["admin"]}]`, nil, false},
		{`when: [{key: "source.ip", values: ["10.0.0.7"]}, {key: "destination.port", values: ["80"]}]`, nil, false},

		{`from: [{source: {namespaces: ["shop"], principals: ["nobody"]}}]`, nil, false},
		{`from: [{source: {namespaces: ["other"]}}, {source: {principals: ["*"]}}]`, nil, true},
		{`{from: [{source: {namespaces: ["shop"]}}], to: [{operation: {methods: ["PUT"]}}]}`, nil, false},
		{`to: [{operation: {methods: ["PUT"]}}, {operation: {paths: ["/api/*"], notPaths: ["/api/v2/*"]}}]`, nil, true},
		{`to: [{operation: {paths: ["/api/*"], notPaths: ["/api/v1/*"]}}]`, nil, false},
	} {
		r, ok := compiled(t, p, test.rule, security.AuthorizationPolicy_ALLOW, false)
		if !ok {
			t.Errorf("%s: the rule is dropped", test.rule)
			continue
		}
		s := someone(test.change)
		if got := r.matches(s); got != test.want {
			t.Errorf("%s: matches %v, want %v (%q, %+v)", test.rule, got, test.want, s.identity, s.request)
		}
	}
}

// On TCP chains an ALLOW rule with a field that only HTTP has is dropped, and of a
// DENY rule the field is, which widens it (istio authz/model/model.go checkError).
// An unknown attribute drops a rule whatever its action.
func TestPolicyRulesOnTCP(t *testing.T) {
	const dropped = "dropped"
	p := proxyUnder(t)
	for _, test := range []struct {
		rule        string
		allow, deny string
	}{
		{`{}`, "matches", "matches"},
		{`to: [{operation: {methods: ["POST"]}}]`, dropped, "matches"},
		{`to: [{operation: {notPaths: ["/x"]}}]`, dropped, "matches"},
		{`{from: [{source: {namespaces: ["shop"]}}], to: [{operation: {hosts: ["nobody"]}}]}`, dropped, "matches"},
		{`{from: [{source: {namespaces: ["other"]}}], to: [{operation: {hosts: ["nobody"]}}]}`, dropped, "not"},
		{`to: [{operation: {methods: ["POST"], ports: ["1"]}}]`, dropped, "not"},
		{`to: [{operation: {ports: ["8443"]}}]`, "matches", "matches"},
		{`when: [{key: "request.headers[x]", values: ["1"]}]`, dropped, "matches"},
		{`from: [{source: {requestPrincipals: ["*"]}}]`, dropped, "matches"},
		{`when: [{key: "connection.sni", values: ["api.example.com"]}]`, "matches", "matches"},
		{`when: [{key: "no.such.attribute", values: ["1"]}]`, dropped, dropped},
	} {
		for action, want := range map[security.AuthorizationPolicy_Action]string{
			security.AuthorizationPolicy_ALLOW: test.allow, security.AuthorizationPolicy_DENY: test.deny,
		} {
			r, ok := compiled(t, p, test.rule, action, true)
			got := dropped
			if ok {
				got = "not"
				if r.matches(someone(func(s *subject) { s.request = nil })) {
					got = "matches"
				}
			}
			if got != want {
				t.Errorf("%s %s: %s, want %s", action, test.rule, got, want)
			}
		}
	}
}

// A principal with cluster.local, or with a trust domain of the mesh, stands for
// all of them; one without trust domain, or with a foreign one, for itself
// (istio pilot/pkg/security/trustdomain/bundle_test.go TestReplaceTrustDomainAliases).
func TestTrustDomains(t *testing.T) {
	for _, test := range []struct {
		domain, aliases, principal string
		want                       []string
	}{
		{"cluster.local", "", "cluster.local/ns/foo/sa/bar", []string{"cluster.local/ns/foo/sa/bar"}},
		{"cluster.local", "", "*", []string{"*"}},
		{"cluster.local", "", "*/ns/foo/sa/bar", []string{"*/ns/foo/sa/bar"}},
		{"td2", "td1", "td1/ns/foo/sa/bar", []string{"td2/ns/foo/sa/bar", "td1/ns/foo/sa/bar"}},
		{"td1", "cluster.local", "cluster.local/ns/y/sa/z", []string{"td1/ns/y/sa/z", "cluster.local/ns/y/sa/z"}},
		{"td1", "cluster.local", "*sa/zzz", []string{"*sa/zzz"}},
		{"td2", "foo-td1, cluster.local", "*-td1/ns/foo/sa/bar", []string{"td2/ns/foo/sa/bar", "*-td1/ns/foo/sa/bar", "cluster.local/ns/foo/sa/bar"}},
		{"td1", "td2", "some-td/ns/foo/sa/bar", []string{"some-td/ns/foo/sa/bar"}},
		{"td1", "td2, some-td", "some-td/ns/foo/sa/bar", []string{"td1/ns/foo/sa/bar", "td2/ns/foo/sa/bar", "some-td/ns/foo/sa/bar"}},
		{"new-td", "td2, td3", "/ns/some-ns/sa/some-sa", []string{"/ns/some-ns/sa/some-sa"}},
		{"new-td", "old-td", "*-td/ns/some-ns/sa/some-sa", []string{"*-td/ns/some-ns/sa/some-sa"}},
		{"td", "", "sa/test-sa/ns/default", []string{"sa/test-sa/ns/default"}},
	} {
		p := proxyUnder(t, "trustDomain: "+test.domain, "trustDomainAliases: ["+test.aliases+"]")
		c := &ruleCompiler{proxy: p}
		got := slices.Sorted(slices.Values(c.expandTrustDomains(test.principal)))
		if slices.Sort(test.want); !slices.Equal(got, test.want) { // their order means nothing
			t.Errorf("%s in %s (%s): %v, want %v", test.principal, test.domain, test.aliases, got, test.want)
		}
	}
}

// CUSTOM is asked first, then DENY, then ALLOW, of which one must match if there is
// any (istio authz/builder/builder.go).
func TestPolicyOrder(t *testing.T) {
	p := proxyUnder(t)
	rule := func(name string, action security.AuthorizationPolicy_Action, path string) policyRule {
		r, ok := compiled(t, p, `to: [{operation: {paths: ["`+path+`"]}}]`, action, false)
		if !ok {
			t.Fatal("dropped")
		}
		r.policy.Name = name
		return r
	}
	allow, deny := rule("allow", security.AuthorizationPolicy_ALLOW, "/a*"), rule("deny", security.AuthorizationPolicy_DENY, "*d")
	ask, dead := rule("ask", security.AuthorizationPolicy_CUSTOM, "*k"), rule("dead", security.AuthorizationPolicy_CUSTOM, "*kk")
	nothing := &model.AuthorizationPolicy{Object: &manifest.Object{Namespace: "policy-ns", Name: "nothing"}, Spec: &security.AuthorizationPolicy{}}
	tables := policyTables{
		custom: []customRule{{policyRule: dead, provider: "none", denies: true}, {policyRule: ask, provider: "asked"}},
		deny:   []policyRule{deny}, allow: []policyRule{allow}, allowing: []*model.AuthorizationPolicy{allow.policy, nothing},
	}
	for path, want := range map[string]string{
		"/a":   "allowed",
		"/ad":  "policy-ns/deny",
		"/b":   "policy-ns/allow,policy-ns/nothing",
		"/bd":  "policy-ns/deny",
		"/ak":  "asks asked",
		"/akk": "policy-ns/dead",
	} {
		d := tables.decide(someone(func(s *subject) { s.request.path = path }))
		got := d.names()
		if d.allowed {
			got = "allowed"
		} else if d.asks != "" {
			got = "asks " + d.asks
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		if d.text == "" || !d.allowed && len(d.because) == 0 {
			t.Errorf("%s: the decision does not say why: %+v", path, d)
		}
	}
	if d := (&policyTables{}).decide(someone(nil)); !d.allowed {
		t.Error("without policies nothing is allowed")
	}
}
