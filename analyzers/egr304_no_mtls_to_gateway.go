package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR304", Name: "no-mtls-to-gateway", Severity: Error, SecuritySeverity: 8.3,
	Run: runNoMutualTLS,
	Doc: Doc{
		Title: "Clients reach the egress gateway without Istio mutual TLS",
		What: "A route of the mesh sends requests to an egress gateway, the client's sidecar adds no Istio mutual TLS on the way, and the gateway's server takes plaintext. " +
			"It is an error where a policy of the gateway asks for identities, else a warning.",
		Why: "Without mutual TLS the gateway does not know who calls. `principals`, `namespaces` and `serviceAccounts` never match then: a DENY does not fire, an ALLOW admits nobody, and " +
			"their negative forms match everybody. Istio's automatic mutual TLS does not help: it is used towards pods with the label `security.istio.io/tlsMode: istio`, " +
			"which the sidecar template sets and the gateway template does not.",
		Bad:  plainEgressDoc(""),
		Good: egressDoc(""),
		Fix: "Let the Gateway server use protocol HTTPS (TLS for opaque traffic) with `tls.mode: ISTIO_MUTUAL`, and give clients a DestinationRule for the gateway's Service with " +
			"`tls.mode: ISTIO_MUTUAL` and `sni` set to the host; it has to lie in the clients' namespace, in that of the gateway's Service, or in the root namespace.",
		Silent: "Servers that pass TLS through or open TLS themselves (where clients bring the wrong thing, that is EGR806), gateways whose pods are labelled for mutual TLS, requests with unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/xds/endpoints/mtls_checker.go",
			"istio manifests/charts/istio-control/istio-discovery/files/gateway-injection-template.yaml",
			"https://github.com/istio/istio/issues/54793",
		},
	},
})

// plainLeg is what a finding of EGR304 is about: a gateway, and the node because
// of which clients send plaintext to it.
type plainLeg struct {
	pod    *model.Workload
	object *manifest.Object
	field  string
}

func runNoMutualTLS(p *Pass) {
	in := intentOf(p)
	var found byKey[plainLeg]
	says, servers := map[plainLeg]string{}, map[plainLeg][]*model.GatewayServer{}
	for a := range in.steered() {
		if a.By == nil || a.Trace.Outcome == flow.Unknown || a.Trace.Reason == flow.TLSMismatch {
			continue
		}
		l := in.legOf(a.Trace)
		if l == nil || l.pod == nil || l.client.TLS != "" || l.gateway.FilterChain != "http" && l.gateway.FilterChain != "tcp" {
			continue
		}
		s := in.server(l, a.Trace, a.To.Host)
		if s == nil || identityAt(s) != identityNone {
			continue
		}
		place, why := in.tlsPlace(l, a.Class[0])
		if place.Object == nil {
			place = modePlace(s)
		}
		k := plainLeg{l.pod, place.Object, place.Field}
		says[k] = why
		if !slices.ContainsFunc(servers[k], func(x *model.GatewayServer) bool { return x.Gateway == s.Gateway && x.Field == s.Field }) {
			servers[k] = append(servers[k], s)
		}
		found.add(k, a)
	}
	for _, k := range found.keys {
		c := found.of[k]
		f := Finding{
			Object: k.object, Field: k.field, Severity: Warning, SecuritySeverity: 5.0,
			Label:   "no mesh TLS, no identity",
			Help:    fmt.Sprintf("set tls.mode ISTIO_MUTUAL (protocol HTTPS or TLS) on %s, and the same mode in a DestinationRule for the gateway's Service", servers[k][0].Title()),
			Related: []Related{c.first.By.related()},
		}
		for _, s := range servers[k] {
			at := modePlace(s)
			f.Related = append(f.Related, Related{at.Object, at.Field, fmt.Sprintf("%s takes %s", s.Title(), modeText(s))})
		}
		effect := "policies there cannot tell callers apart"
		if used := in.identityRules(k.pod); len(used) > 0 {
			f.Severity, f.SecuritySeverity = Error, 8.3
			effect = fmt.Sprintf("what %s says about identities cannot work", used[0].Object)
			f.Related = append(f.Related, used...)
		}
		f.Message = fmt.Sprintf("%s egress gateway %s for %s without Istio mutual TLS (%s): %s; use ISTIO_MUTUAL on both sides",
			c.who("reaches", "reach"), k.pod.ID(), upTo3(c.hosts), says[k], effect)
		p.Report(c.finding(f))
	}
}

// identityRules returns the fields of policies in force at a gateway that ask who
// the caller is.
func (in *intent) identityRules(pod *model.Workload) []Related {
	out, known := in.asking[pod]
	if !known {
		out = in.findIdentityRules(pod)
		in.asking[pod] = out
	}
	return out
}

func (in *intent) findIdentityRules(pod *model.Workload) []Related {
	var out []Related
	policies := in.push.AuthorizationPoliciesFor(pod)
	for _, list := range [][]*model.AuthorizationPolicy{policies.Custom, policies.Deny, policies.Allow} {
		for _, policy := range list {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				fields, _ := r.identityFields()
				for _, field := range append(fields, r.exceptFields()...) {
					out = append(out, Related{policy.Object, field, fmt.Sprintf("%s asks who the caller is", r)})
				}
			}
		}
	}
	return out
}
