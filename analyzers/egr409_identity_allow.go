package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR409", Name: "identity-allow-without-mtls", Severity: Error, SecuritySeverity: 8.0,
	Run: identityAllow,
	Doc: Doc{
		Title: "An ALLOW rule about identities never matches, or matches everybody, because the gateway's server never learns who calls",
		What: "An ALLOW rule of an egress gateway asks for an identity (principals, namespaces, service accounts, trust domains), or for any but some " +
			"(`notPrincipals` and the like), and clients reach the gateway through a server that does not open mesh TLS.",
		Why: "Without mesh TLS the caller has no identity. A rule that asks for one never matches, and those it means are denied. " +
			"A rule that only excludes identities matches everybody, those that it excludes among them.",
		Bad:  plainEgressDoc(identityAllowDoc),
		Good: egressDoc(identityAllowDoc),
		Fix: "Make the server `tls.mode: ISTIO_MUTUAL` (protocol HTTPS for HTTP inside, TLS for anything else), " +
			"and have the clients call it over mesh TLS with a DestinationRule for the gateway's Service.",
		Silent: "Rules that another ALLOW rule makes up for; rules that mean no client of the input; servers whose certificates no manifest holds (MUTUAL).",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/generator.go",
			"https://istio.io/latest/docs/concepts/security/#dependency-on-mutual-tls",
			"https://github.com/istio/istio/issues/46591",
		},
	},
})

const identityAllowDoc = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: api-for-orders
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        principals: ["cluster.local/ns/shop/sa/orders"]
    to:
    - operation:
        hosts: ["api.example.com"]
`

func identityAllow(p *Pass) {
	for _, g := range egressGateways(p) {
		if !g.blind() {
			continue
		}
		for _, policy := range g.Policies.Allow {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				if fields, needed := r.identityFields(); needed {
					reportIdentityAllow(p, g, policy, r, fields[0])
				} else if fields := r.exceptFields(); len(fields) > 0 {
					reportExcept(p, g, policy, r, fields[0])
				}
			}
		}
	}
}

// reportIdentityAllow reports a rule that never matches, although it means
// clients of the input.
func reportIdentityAllow(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, r authzRule, field string) {
	blind := servers{}
	w := g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
		// A certificate of the gateway's own does not tell who calls, whether clients
		// accept it or not.
		stopped := c.deniedBy(policy) || c.Trace.Outcome == flow.Unknown && c.Trace.Reason == flow.CustomCert && !g.admitsUnknown()
		return c.when(r.means(g.push, c.Class[0]) && stopped && c.identity() == identityNone && r.onPort(c) && blind.add(c))
	})
	if w == nil {
		return
	}
	f := Finding{Severity: Error, Object: policy.Object, Field: field, Label: "never known at the gateway", Help: mutualHelp, Related: blind.related()}
	f.prove(w)
	f.Message = fmt.Sprintf("%s never matches: it asks who calls, and %s of egress gateway %s never learns that (%s)", r, blind.text(), g.ID(), blind.modes())
	if w.Trace.Outcome == flow.Blocked {
		f.Message += fmt.Sprintf(". %q stays denied to %s", w.Flow.Host, upTo3(f.Workloads))
	}
	f.Message += "; use ISTIO_MUTUAL there"
	p.Report(f)
}

// admitsUnknown reports whether some ALLOW rule in force asks for no identity, so that
// it may admit what others do not.
func (g *egressGateway) admitsUnknown() bool {
	return slices.ContainsFunc(g.Policies.Allow, func(policy *model.AuthorizationPolicy) bool {
		return enforced(policy) && slices.ContainsFunc(rulesOf(policy), func(r authzRule) bool {
			_, needed := r.identityFields()
			return !needed
		})
	})
}

// reportExcept reports a rule that lets clients through whom it excludes.
func reportExcept(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, r authzRule, field string) {
	blind := servers{}
	w := g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
		return c.when(!r.means(g.push, c.Class[0]) && c.admittedBy(policy, r.Index) && c.identity() == identityNone && r.onPort(c) && blind.add(c))
	})
	if w == nil {
		return
	}
	f := Finding{Severity: Error, SecuritySeverity: 8.0, Object: policy.Object, Field: field, Label: "excludes nobody at the gateway", Help: mutualHelp, Related: blind.related()}
	f.prove(w)
	f.Message = fmt.Sprintf("%s excludes nobody: %s of egress gateway %s never learns who calls (%s), and who has no identity is none of those excluded. %s %s through; use ISTIO_MUTUAL there",
		r, blind.text(), g.ID(), blind.modes(), upTo3(f.Workloads), plural(len(f.Workloads), "gets", "get"))
	p.Report(f)
}

const mutualHelp = "make the server tls.mode ISTIO_MUTUAL, and set tls.mode ISTIO_MUTUAL in a DestinationRule for the gateway's Service that the clients' namespaces see"
