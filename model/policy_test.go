package model_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/egresslint/egresslint/model"
)

// Policies of the root namespace and of the workload's, by selector; with
// references never for what is no Gateway of the Gateway API (istio
// pilot/pkg/model/policyattachment.go).
func TestPoliciesOfAWorkload(t *testing.T) {
	policy := func(name, namespace, spec string) string {
		return object(security, "AuthorizationPolicy", name, namespace, spec)
	}
	p := pushOf(t, pod("egress", "gw", "{istio: egress}")+
		policy("b-own", "gw", "{}")+policy("a-own", "gw", "{selector: {matchLabels: {istio: egress}}}")+
		policy("other-pods", "gw", "{selector: {matchLabels: {istio: ingress}}}")+
		policy("two-labels", "gw", "{selector: {matchLabels: {istio: egress, app: x}}}")+
		policy("reference", "gw", "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: egress}]}")+
		policy("root", "istio-system", "{action: DENY, rules: [{}]}")+policy("root-selects", "istio-system", "{selector: {matchLabels: {istio: egress}}, action: DENY, rules: [{}]}")+
		policy("elsewhere", "default", "{action: DENY, rules: [{}]}")+
		policy("audit", "gw", "{action: AUDIT, rules: [{}]}")+
		policy("custom", "gw", "{action: CUSTOM, provider: {name: x}, rules: [{}]}"))
	got := p.AuthorizationPoliciesFor(p.Mesh.Workloads[0])
	names := func(list []*model.AuthorizationPolicy) string {
		var out []string
		for _, a := range list {
			out = append(out, a.ID())
		}
		return fmt.Sprint(out)
	}
	for _, test := range []struct{ action, got, want string }{
		{"ALLOW", names(got.Allow), "[gw/a-own gw/b-own]"},
		{"DENY", names(got.Deny), "[istio-system/root istio-system/root-selects]"},
		{"AUDIT", names(got.Audit), "[gw/audit]"},
		{"CUSTOM", names(got.Custom), "[gw/custom]"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", test.action, test.got, test.want)
		}
	}
}

func TestDryRun(t *testing.T) {
	for value, want := range map[string]bool{`"true"`: true, `"True"`: true, `"1"`: true, `"false"`: false, `"f"`: false} {
		p := pushOf(t, "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: default, annotations: {istio.io/dry-run: "+value+"}}\nspec: {}\n")
		if got := model.DryRun(p.Mesh.AuthorizationPolicies[0]); got != want {
			t.Errorf("istio.io/dry-run: %s is %v, want %v", value, got, want)
		}
	}
}

// A workload's PeerAuthentication beats its namespace's, which beats the mesh's; one
// for a port beats all; unset inherits (istio pilot/pkg/security/authn/policy_applier.go
// ComposePeerAuthentication).
func TestMutualTLSModes(t *testing.T) {
	auth := func(name, namespace, spec string) string {
		return object(security, "PeerAuthentication", name, namespace, spec)
	}
	const selects = "selector: {matchLabels: {app: web}}, "
	mesh, ns := auth("mesh", "istio-system", "{mtls: {mode: STRICT}}"), auth("ns", "default", "{mtls: {mode: DISABLE}}")
	for _, test := range []struct {
		name, text string
		port       int
		want       model.MutualTLSMode
		by         string
	}{
		{"nothing", entry("e", "default", "a.example.com", ""), 80, model.MTLSPermissive, ""},
		{"mesh", mesh, 80, model.MTLSStrict, "istio-system/mesh spec.mtls.mode"},
		{"namespace", mesh + ns, 80, model.MTLSDisable, "default/ns spec.mtls.mode"},
		{"unset inherits", mesh + auth("ns", "default", "{mtls: {mode: UNSET}}"), 80, model.MTLSStrict, "istio-system/mesh spec.mtls.mode"},
		{"workload", mesh + ns + auth("web", "default", "{"+selects+"mtls: {mode: PERMISSIVE}}"), 80, model.MTLSPermissive, "default/web spec.mtls.mode"},
		{"port", mesh + auth("web", "default", "{"+selects+"mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}"), 8080, model.MTLSDisable, "default/web spec.portLevelMtls['8080'].mode"},
		{"another port", mesh + auth("web", "default", "{"+selects+"mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: DISABLE}}}"), 80, model.MTLSPermissive, "default/web spec.mtls.mode"},
		{"the oldest of several", auth("b", "default", "{"+selects+"mtls: {mode: STRICT}}") + auth("a", "default", "{"+selects+"mtls: {mode: DISABLE}}"), 80, model.MTLSDisable, "default/a spec.mtls.mode"},
		{"other pods", auth("a", "default", "{selector: {matchLabels: {app: other}}, mtls: {mode: STRICT}}"), 80, model.MTLSPermissive, ""},
		{"another namespace", auth("a", "other", "{mtls: {mode: STRICT}}"), 80, model.MTLSPermissive, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			mode, policy, field := pushOf(t, test.text).WorkloadMTLS("default", map[string]string{"app": "web"}, test.port)
			by := ""
			if policy != nil {
				by = policy.ID() + " " + field
			}
			if mode != test.want || by != test.by {
				t.Errorf("%v by %q, want %v by %q", mode, by, test.want, test.by)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {serviceAccountName: web, containers: [{name: a, image: a}]}\n" + pod("plain", "shop", "{}")
	p := pushOf(t, text, "trustDomain: prod.example.org", "trustDomainAliases: [old.example.org]")
	var got []string
	for _, w := range p.Mesh.Workloads {
		got = append(got, p.Identity(w))
	}
	if want := []string{"spiffe://prod.example.org/ns/shop/sa/web", "spiffe://prod.example.org/ns/shop/sa/default"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := p.TrustDomains(), []string{"prod.example.org", "old.example.org"}; !slices.Equal(got, want) {
		t.Errorf("trust domains %v, want %v", got, want)
	}
	if got := pushOf(t, pod("plain", "shop", "{}")).TrustDomains(); !slices.Equal(got, []string{"cluster.local"}) {
		t.Errorf("by default %v", got)
	}
}
