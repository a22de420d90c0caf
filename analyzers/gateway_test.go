package analyzers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

// passOver loads manifests for the tests of what rules share.
func passOver(t *testing.T, manifests string) *Pass {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: dir}}}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range mesh.Problems {
		t.Errorf("%s: %s", problem.Position, problem.Message)
	}
	return &Pass{Mesh: mesh, Reach: reach.New(traffic.New(mesh))}
}

const meshMatch = "  - match:\n    - gateways:\n      - mesh\n      port: 80\n"

func TestEgressGateways(t *testing.T) {
	for _, c := range []struct {
		name  string
		edits []string
		want  string
	}{
		{"steered", nil, "istio-egress/egress: api.example.com"},
		{"a route for whatever asks", []string{meshMatch + "    route:", "  - route:"}, "istio-egress/egress: api.example.com"},
		{"a route of the gateway only", []string{"  gateways:\n  - mesh\n  - egress\n", "  gateways:\n  - egress\n", meshMatch, "  - match:\n    - port: 80\n"}, ""},
		{"a Service of the cluster", []string{"  - api.example.com\n  gateways:\n  - mesh", "  - egress.istio-egress.svc.cluster.local\n  gateways:\n  - mesh"}, ""},
		{"no gateway behind the Service", []string{"      annotations:\n        inject.istio.io/templates: gateway\n", "", "      - name: istio-proxy\n        image: auto", "      - name: relay\n        image: relay:1"}, ""},
		{"no pods behind the Service", []string{"  selector:\n    istio: egressgateway\n  ports:", "  selector:\n    istio: elsewhere\n  ports:"}, ""},
		{"a short name", []string{"host: egress.istio-egress.svc.cluster.local\n        port:", "host: egress\n        port:"}, "istio-egress/egress: api.example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, g := range egressGateways(passOver(t, egressDoc("", c.edits...))) {
				var hosts []string
				for _, s := range g.Steers {
					hosts = append(hosts, string(s.Host))
				}
				got = append(got, g.ID()+": "+strings.Join(hosts, " "))
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestSend: a request is one of the gateway's if a server took it in, and the
// crossing knows whether that server learned who called.
func TestSend(t *testing.T) {
	for _, c := range []struct {
		name, mesh string
		host       string
		taken      bool
		identity   identity
	}{
		{"mesh TLS", egressDoc(""), "api.example.com", true, identityKnown},
		{"plaintext", plainEgressDoc(""), "api.example.com", true, identityNone},
		{"another host", egressDoc(""), "other.example.com", false, identityUnsure},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := passOver(t, c.mesh)
			g := egressGateways(p)[0]
			got := g.send(p, p.Reach.Classes()[0], flow.Flow{From: "shop/orders", Host: c.host, Port: 80, Scheme: flow.HTTP})
			if (got != nil) != c.taken {
				t.Fatalf("taken: %v, want %v", got != nil, c.taken)
			}
			if got != nil && (got.identity() != c.identity || !got.allowed()) {
				t.Errorf("identity %v, allowed %v; want %v and true", got.identity(), got.allowed(), c.identity)
			}
		})
	}
}

func TestIdentityAt(t *testing.T) {
	modes := map[networking.ServerTLSSettings_TLSmode]identity{
		networking.ServerTLSSettings_PASSTHROUGH:      identityNone,
		networking.ServerTLSSettings_AUTO_PASSTHROUGH: identityNone,
		networking.ServerTLSSettings_SIMPLE:           identityNone,
		networking.ServerTLSSettings_MUTUAL:           identityUnsure,
		networking.ServerTLSSettings_OPTIONAL_MUTUAL:  identityUnsure,
		networking.ServerTLSSettings_ISTIO_MUTUAL:     identityKnown,
	}
	for value, name := range networking.ServerTLSSettings_TLSmode_name {
		mode := networking.ServerTLSSettings_TLSmode(value)
		want, known := modes[mode]
		if !known {
			t.Errorf("mode %s is new: say whether it tells who calls", name)
		}
		if got := identityAt(&model.GatewayServer{Server: &networking.Server{Tls: &networking.ServerTLSSettings{Mode: mode}}}); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if got := identityAt(&model.GatewayServer{Server: &networking.Server{}}); got != identityNone {
		t.Errorf("no tls: got %v", got)
	}
}

func TestNamedHost(t *testing.T) {
	for _, c := range []struct {
		value, host   string
		covers, about bool
	}{
		{"a.example.com", "a.example.com", true, true},
		{"A.example.com:*", "a.EXAMPLE.com", true, true},
		{"a.example.com:8080", "a.example.com", true, true},
		{"a.example.com*", "a.example.com", true, true},
		{"*.example.com", "a.example.com", true, true},
		{"*.example.com", "example.com", false, false},
		{"a.example.com", "*.example.com", false, true},
		{"*.example.com", "*.a.example.com", true, true},
		{"b.example.com", "a.example.com", false, false},
		{"*example.com", "myexample.com", true, true},
	} {
		n := namedHost{Value: c.value}
		if got := n.covers(c.host); got != c.covers {
			t.Errorf("%q covers %q: %v", c.value, c.host, got)
		}
		if got := n.about(host.Name(strings.ToLower(c.host))); got != c.about {
			t.Errorf("%q is about %q: %v", c.value, c.host, got)
		}
	}
}

func TestIdentityFields(t *testing.T) {
	source := func(s *security.Source) *security.Rule_From { return &security.Rule_From{Source: s} }
	for _, c := range []struct {
		name   string
		rule   *security.Rule
		fields string
		needed bool
		except string
	}{
		{"nobody named", &security.Rule{}, "", false, ""},
		{"namespace", &security.Rule{From: []*security.Rule_From{source(&security.Source{Namespaces: []string{"a"}})}}, "spec.rules[2].from[0].source.namespaces", true, ""},
		{"one of two", &security.Rule{From: []*security.Rule_From{source(&security.Source{Principals: []string{"a"}}), source(&security.Source{IpBlocks: []string{"10.0.0.0/8"}})}},
			"spec.rules[2].from[0].source.principals", false, ""},
		{"condition", &security.Rule{When: []*security.Condition{{Key: "source.principal", Values: []string{"a"}}}}, "spec.rules[2].when[0].values", true, ""},
		{"all but one", &security.Rule{From: []*security.Rule_From{source(&security.Source{NotPrincipals: []string{"a"}})}}, "", false, "spec.rules[2].from[0].source.notPrincipals"},
		{"a token is no identity", &security.Rule{From: []*security.Rule_From{source(&security.Source{RequestPrincipals: []string{"*"}})}}, "", false, ""},
	} {
		r := authzRule{Rule: c.rule, Index: 2}
		fields, needed := r.identityFields()
		if got := strings.Join(fields, " "); got != c.fields || needed != c.needed {
			t.Errorf("%s: got %q, %v; want %q, %v", c.name, got, needed, c.fields, c.needed)
		}
		if got := strings.Join(r.exceptFields(), " "); got != c.except {
			t.Errorf("%s: except %q, want %q", c.name, got, c.except)
		}
	}
}

func TestRuleMeans(t *testing.T) {
	p := passOver(t, egressDoc(""))
	orders := p.Reach.Clients()[0]
	policy := &model.AuthorizationPolicy{Object: &manifest.Object{Namespace: "shop"}}
	for _, c := range []struct {
		source *security.Source
		want   bool
	}{
		{&security.Source{Namespaces: []string{"sh*p"}}, true},
		{&security.Source{Namespaces: []string{"sho"}}, false},
		{&security.Source{Principals: []string{"cluster.local/ns/shop/sa/orders"}}, true},
		{&security.Source{Principals: []string{"*/sa/orders"}}, true},
		{&security.Source{Principals: []string{"spiffe://cluster.local/ns/shop/sa/orders"}}, false},
		{&security.Source{ServiceAccounts: []string{"orders"}}, true},
		{&security.Source{ServiceAccounts: []string{"istio-egress/orders"}}, false},
		{&security.Source{NotNamespaces: []string{"shop"}}, false},
		{&security.Source{IpBlocks: []string{"10.0.0.0/8"}}, true},
	} {
		r := authzRule{Rule: &security.Rule{From: []*security.Rule_From{{Source: c.source}}}, Policy: policy}
		if got := r.means(p.Reach.Sim.Push(), orders); got != c.want {
			t.Errorf("%v: got %v", c.source, got)
		}
	}
}

func TestRuleRequests(t *testing.T) {
	to := func(o *security.Operation) *security.Rule {
		return &security.Rule{To: []*security.Rule_To{{Operation: o}}}
	}
	for _, c := range []struct {
		name string
		rule *security.Rule
		port int
		want string
	}{
		{"nothing asked", &security.Rule{}, 80, "http GET|tls "},
		{"method", to(&security.Operation{Methods: []string{"PO*"}}), 80, "http POx"},
		{"all but GET", to(&security.Operation{NotMethods: []string{"GET"}}), 80, "http HEAD"},
		{"path", to(&security.Operation{Paths: []string{"/v1/{*}/x"}}), 80, "http GET /v1/x/x"},
		{"host", to(&security.Operation{Hosts: []string{"a.example.com"}}), 80, "http GET"},
		{"host on another port", to(&security.Operation{Hosts: []string{"a.example.com"}}), 8080, "http GET host=a.example.com"},
		{"other host", to(&security.Operation{Hosts: []string{"b.example.com"}}), 80, ""},
		{"header", &security.Rule{When: []*security.Condition{{Key: "request.headers[X-Team]", Values: []string{"red"}}}}, 80, "http GET x-team=red"},
		{"port", to(&security.Operation{Ports: []string{"443"}}), 80, "http GET|tls "},
	} {
		var got []string
		for _, f := range (authzRule{Rule: c.rule}).requests("shop/orders", reach.Destination{Host: "a.example.com", Port: c.port}) {
			text := fmt.Sprint(f.Scheme, " ", f.Method)
			if f.Path != "" {
				text += " " + f.Path
			}
			for name, value := range f.Headers {
				text += fmt.Sprintf(" %s=%s", name, value)
			}
			got = append(got, text)
		}
		if !slices.Equal(got, strings.FieldsFunc(c.want, func(r rune) bool { return r == '|' })) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
