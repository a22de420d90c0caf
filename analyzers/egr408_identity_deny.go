package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR408", Name: "identity-deny-without-mtls", Severity: Error, SecuritySeverity: 8.8,
	Run: identityDeny,
	Doc: Doc{
		Title: "A DENY rule about identities cannot fire, because the gateway's server never learns who calls",
		What: "A DENY rule of an egress gateway asks for principals, namespaces, service accounts or trust domains, and clients reach a host of the rule " +
			"through a server that does not open mesh TLS.",
		Why: "The identity of a caller is the certificate of its mesh TLS. A server with plaintext HTTP, or one that passes TLS through, sees none, " +
			"so that no condition on identity ever matches: whoever is to be denied gets out.",
		Bad:  plainEgressDoc(identityDenyDoc),
		Good: egressDoc(identityDenyDoc),
		Fix: "Make the server `tls.mode: ISTIO_MUTUAL` (protocol HTTPS for HTTP inside, TLS for anything else), " +
			"and have the clients call it over mesh TLS with a DestinationRule for the gateway's Service.",
		Silent: "Rules with a `from` that does not ask for an identity; servers whose certificates no manifest holds (MUTUAL); " +
			"servers that no request of a client in the input reaches and passes.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/generator.go",
			"https://istio.io/latest/docs/concepts/security/#dependency-on-mutual-tls",
			"https://github.com/istio/istio/issues/39206",
		},
	},
})

const identityDenyDoc = `apiVersion: security.istio.io/v1
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
    to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`

func identityDeny(p *Pass) {
	for _, g := range egressGateways(p) {
		if !g.blind() {
			continue
		}
		for _, policy := range g.Policies.Deny {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				fields, needed := r.identityFields()
				if !needed {
					continue
				}
				blind := servers{}
				w := g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
					// A certificate of the gateway's own does not tell who calls,
					// whether clients accept it or not.
					through := c.allowed() || c.Trace.Outcome == flow.Unknown && c.Trace.Reason == flow.CustomCert
					return c.when(through && c.identity() == identityNone && r.onPort(c) && blind.add(c))
				})
				if w == nil {
					continue
				}
				f := Finding{Severity: Error, SecuritySeverity: 8.8, Object: policy.Object, Field: fields[0], Label: "never known at the gateway", Help: mutualHelp}
				f.prove(w)
				f.Message = fmt.Sprintf("%s cannot fire: it asks who calls, and %s of egress gateway %s never learns that (%s)", r, blind.text(), g.ID(), blind.modes())
				if w.Meant && w.allowed() {
					f.Message += fmt.Sprintf(". %s %s through to %q", upTo3(f.Workloads), plural(len(f.Workloads), "gets", "get"), w.Flow.Host)
				}
				f.Message += "; use ISTIO_MUTUAL there"
				f.Related = blind.related()
				p.Report(f)
			}
		}
	}
}

// servers collects servers of a gateway, each once.
type servers []*model.GatewayServer

// add takes the servers that took a request in. It returns true.
func (s *servers) add(c *crossing) bool {
	for _, x := range c.Servers {
		if !slices.Contains(*s, x) {
			*s = append(*s, x)
		}
	}
	return true
}

// text names the servers.
func (s servers) text() string {
	var out []string
	for _, x := range s {
		out = append(out, serverText(x))
	}
	return upTo3(out)
}

// modes says how the servers take connections.
func (s servers) modes() string {
	var out []string
	for _, x := range s {
		if m := modeText(x); !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return upTo3(out)
}

// related points to how the servers take connections.
func (s servers) related() []Related {
	var out []Related
	for _, x := range s {
		out = append(out, Related{x.Gateway.Object, modeField(x), fmt.Sprintf("%s: %s", serverText(x), modeText(x))})
	}
	return out
}

// plural chooses between a word for one and a word for several.
//
//go:noinline
func plural(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
