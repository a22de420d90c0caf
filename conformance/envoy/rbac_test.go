package envoy

import (
	"net/netip"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var (
	anyone   = []*rbac.Principal{{Identifier: &rbac.Principal_Any{Any: true}}}
	anything = []*rbac.Permission{{Rule: &rbac.Permission_Any{Any: true}}}
)

func authenticated(m *matcher.StringMatcher) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_Authenticated_{Authenticated: &rbac.Principal_Authenticated{PrincipalName: m}}}
}

func not(p *rbac.Principal) *rbac.Principal {
	return &rbac.Principal{Identifier: &rbac.Principal_NotId{NotId: p}}
}

func exactly(text string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: text}}
}

func TestRBACRules(t *testing.T) {
	sleep := "spiffe://cluster.local/ns/default/sa/sleep"
	mesh := &subject{session: &session{
		conn:       Connection{Destination: netip.MustParseAddrPort("10.0.0.1:8080"), Source: netip.MustParseAddr("10.0.0.2")},
		terminated: &Layer{Origin: Mesh, Identity: sleep}, serverName: "a.test",
	}, request: &Request{Method: "GET", Authority: "a.test", Path: "/x?y=1", Headers: map[string]string{}}}
	plain := &subject{session: &session{conn: mesh.conn}, request: mesh.request}
	stream := &subject{session: mesh.session}

	method := []*rbac.Permission{{Rule: &rbac.Permission_Header{Header: &route.HeaderMatcher{
		Name: ":method", HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: exactly("GET")},
	}}}}
	path := []*rbac.Permission{{Rule: &rbac.Permission_UrlPath{UrlPath: &matcher.PathMatcher{Rule: &matcher.PathMatcher_Path{Path: exactly("/x")}}}}}
	name := []*rbac.Permission{{Rule: &rbac.Permission_RequestedServerName{RequestedServerName: exactly("a.test")}}}
	port := []*rbac.Permission{{Rule: &rbac.Permission_DestinationPort{DestinationPort: 8080}}}
	source := []*rbac.Principal{{Identifier: &rbac.Principal_DirectRemoteIp{DirectRemoteIp: &core.CidrRange{AddressPrefix: "10.0.0.0", PrefixLen: wrapperspb.UInt32(24)}}}}

	for _, test := range []struct {
		name        string
		permissions []*rbac.Permission
		principals  []*rbac.Principal
		subject     *subject
		want        bool
	}{
		{"identity", anything, []*rbac.Principal{authenticated(exactly(sleep))}, mesh, true},
		{"other identity", anything, []*rbac.Principal{authenticated(exactly("spiffe://x"))}, mesh, false},
		{"no identity on plaintext", anything, []*rbac.Principal{authenticated(nil)}, plain, false},
		{"not an identity is true of plaintext", anything, []*rbac.Principal{not(authenticated(exactly(sleep)))}, plain, true},
		{"method", method, anyone, mesh, true},
		{"no method in a stream of bytes", method, anyone, stream, false},
		{"path without query", path, anyone, mesh, true},
		{"server name", name, anyone, mesh, true},
		{"no server name on plaintext", name, anyone, plain, false},
		{"port", port, anyone, stream, true},
		{"source", anything, source, plain, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules := compileRBAC(&rbac.RBAC{Action: rbac.RBAC_DENY, Policies: map[string]*rbac.Policy{"p": {Permissions: test.permissions, Principals: test.principals}}})
			if got := rules.check(test.subject) != nil; got != test.want {
				t.Errorf("denied: %v", got)
			}
		})
	}
}

func TestRBACActions(t *testing.T) {
	s := &subject{session: &session{}, status: 403}
	all := &rbac.Policy{Permissions: anything, Principals: anyone}
	if stop := compileRBAC(&rbac.RBAC{Action: rbac.RBAC_ALLOW}).check(s); stop == nil || !stop.Allow || stop.Status != 403 {
		t.Errorf("ALLOW without policies let a request pass: %+v", stop)
	}
	if stop := compileRBAC(&rbac.RBAC{Action: rbac.RBAC_ALLOW, Policies: map[string]*rbac.Policy{"p": all}}).check(s); stop != nil {
		t.Errorf("ALLOW that matches denied: %+v", stop)
	}
	stop := compileRBAC(&rbac.RBAC{Action: rbac.RBAC_DENY, Policies: map[string]*rbac.Policy{"b": all, "a": all}}).check(s)
	if stop == nil || len(stop.Policies) != 1 || stop.Policies[0] != "a" {
		t.Errorf("DENY names %+v, want the first policy by name", stop)
	}
	if stop := compileRBAC(&rbac.RBAC{Action: rbac.RBAC_LOG, Policies: map[string]*rbac.Policy{"p": all}}).check(s); stop != nil {
		t.Errorf("LOG denied: %+v", stop)
	}
	if stop := compileRBAC(nil).check(s); stop != nil {
		t.Errorf("no rules denied: %+v", stop)
	}
}

func TestPathTemplate(t *testing.T) {
	for _, test := range []struct {
		template, path string
		want           bool
	}{
		{"/*/x", "/a/x", true}, {"/*/x", "/a/b/x", false}, {"/*/x", "//x", false},
		{"/api/**", "/api/a/b", true}, {"/api/**", "/api/", true}, {"/api/**", "/apix", false},
	} {
		if got := matchTemplate(test.template, test.path); got != test.want {
			t.Errorf("%s on %s: %v", test.template, test.path, got)
		}
	}
}
