package analyzers

import (
	"fmt"
	"slices"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR416", Name: "sni-condition-unset", Severity: Error, SecuritySeverity: 7.8,
	Run: sniUnset,
	Doc: Doc{
		Title: "A policy at an egress gateway asks for a server name that the clients' sidecars do not announce",
		What: "A rule asks for `connection.sni`, and requests for the host that it names reach the gateway without a server name (plaintext), " +
			"or over mesh TLS with another one: the `sni` of the clients' DestinationRule, or Istio's own (`outbound_.443_._.…`) where it has none.",
		Why:  "The server name is that of the connection to the gateway, not of the request in it. A DENY for the host's name never fires; an ALLOW never matches.",
		Bad:  egressDoc(sniDoc, "      sni: api.example.com\n", "", "    - api.example.com\n    tls:", "    - \"*\"\n    tls:"),
		Good: egressDoc(sniDoc),
		Fix:  "Set `sni` in the DestinationRule for the gateway's Service (one subset for each host), or ask for `hosts` where the server reads HTTP.",
		Silent: "Servers that pass TLS through, where the client itself announces the name, and ALLOW rules for hosts that such a server has too; rules about identities at servers that see none (EGR408, EGR409); " +
			"rules for which no request of a client in the input shows the difference.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/generator.go (connSNIGenerator)",
			"istio pilot/pkg/networking/core/cluster_tls.go (buildUpstreamTLSSettings)",
		},
	},
})

const sniDoc = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-shop
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    when:
    - key: connection.sni
      values: ["api.example.com"]
`

func sniUnset(p *Pass) {
	for _, g := range egressGateways(p) {
		for _, policy := range slices.Concat(g.Policies.Deny, g.Policies.Allow) {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				for i, w := range r.GetWhen() {
					if w.GetKey() == "connection.sni" && len(w.GetValues()) > 0 {
						reportUnsetSNI(p, g, r, i, w)
					}
				}
			}
		}
	}
}

func reportUnsetSNI(p *Pass, g *egressGateway, r authzRule, i int, condition *security.Condition) {
	deny := denies(r.Policy)
	_, needsIdentity := r.identityFields()
	names := slices.DeleteFunc(r.hosts(), func(n namedHost) bool { return !slices.Contains(condition.GetValues(), n.Value) })
	w := g.meantWitness(p, r, func(c *crossing) *crossing {
		sni, ok := c.announced()
		if !ok || needsIdentity && c.identity() != identityKnown ||
			!slices.ContainsFunc(names, func(n namedHost) bool { return n.covers(c.Flow.Host) }) ||
			slices.ContainsFunc(condition.GetValues(), func(v string) bool { return affix(v, sni) }) {
			return nil
		}
		return c.when(deny && c.allowed() || !deny && c.deniedBy(r.Policy) && !g.announcedElsewhere(p, c, condition))
	})
	if w == nil {
		return
	}
	f := Finding{Severity: Error, Object: r.Policy.Object, Field: r.field("when[%d].values", i), Label: "not what the sidecars announce"}
	f.prove(w)
	sni, _ := w.announced()
	s := w.Servers[0]
	seen := fmt.Sprintf("the sidecars announce %q", sni)
	todo := fmt.Sprintf("set sni %q in the DestinationRule for the gateway's Service", w.Flow.Host)
	if sni == "" {
		seen, todo = fmt.Sprintf("%s gets no server name (%s)", serverText(s), modeText(s)), "ask for hosts instead, or use ISTIO_MUTUAL with sni"
	}
	fate := "stays denied"
	if deny {
		f.SecuritySeverity = 7.8
		fate = "is not denied"
	}
	f.Help = todo
	f.Message = fmt.Sprintf("%s asks for connection.sni %s, but %s: it never matches. %q %s to %s; %s",
		r, quoted(condition.GetValues()), seen, w.Flow.Host, fate, upTo3(f.Workloads), todo)
	at := modePlace(s)
	f.Related = []Related{{at.Object, at.Field, fmt.Sprintf("%s: %s", serverText(s), modeText(s))}}
	for _, h := range w.Trace.Hops {
		for _, b := range h.Because {
			if h.At == flow.AtSidecar && b.Object != nil && b.Object.Kind == "DestinationRule" && len(f.Related) == 1 {
				f.Related = append(f.Related, Related{b.Object, b.Field, "decides about the server name that the sidecars announce"})
			}
		}
	}
	p.Report(f)
}

// announcedElsewhere reports whether the clients of a request announce what a condition
// asks for when they send TLS to the same host: then it is meant for that.
func (g *egressGateway) announcedElsewhere(p *Pass, c *crossing, condition *security.Condition) bool {
	for other := range g.opaqueCrossings(p, c.Class, g.named([]namedHost{{Value: c.Flow.Host}})) {
		if sni, ok := other.announced(); ok && slices.ContainsFunc(condition.GetValues(), func(v string) bool { return affix(v, sni) }) {
			return true
		}
	}
	return false
}

// announced returns the server name with which a request came to the gateway;
// false where it did not get there.
func (c *crossing) announced() (string, bool) {
	for _, h := range c.Trace.Hops {
		if h.At == flow.AtGateway {
			return h.SNI, true
		}
	}
	return "", false
}
