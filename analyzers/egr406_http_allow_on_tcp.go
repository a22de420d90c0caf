package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR406", Name: "http-allow-on-tcp", Severity: Error,
	Run: httpAllowOnTCP,
	Doc: Doc{
		Title: "An ALLOW rule uses HTTP conditions at a gateway's server that does not read HTTP, and so never matches",
		What: "A rule of an ALLOW policy at an egress gateway asks for hosts, methods, paths, headers or tokens, and requests for its hosts come in at a server that " +
			"passes TLS through or carries opaque bytes, where it denies them.",
		Why: "A server that does not read HTTP cannot evaluate such conditions. Istio leaves out the whole ALLOW rule there, so that it allows nothing, " +
			"and whatever no other rule allows is denied to everybody.",
		Bad:    tlsEgressDoc(tlsAllowDoc("    to:\n    - operation:\n        hosts: [\"api.example.com\"]\n")),
		Good:   tlsEgressDoc(tlsAllowDoc("    when:\n    - key: connection.sni\n      values: [\"api.example.com\"]\n")),
		Fix:    "Ask for `connection.sni` (and `ports`) instead, or let the gateway read HTTP: protocol HTTPS with `tls.mode: ISTIO_MUTUAL`, clients that speak plaintext HTTP, and TLS added at the gateway.",
		Silent: "Hosts that clients get through to over HTTP by the same rule, or that another rule allows; rules that mean no client of the input; servers that no client reaches; dry runs.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/model.go (Generate)",
			"istio pilot/pkg/security/authz/builder/builder.go (build)",
		},
	},
})

func tlsAllowDoc(condition string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: api
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  -` + strings.TrimPrefix(condition, "   ")
}

func httpAllowOnTCP(p *Pass) {
	allow := func(policies *model.AuthorizationPolicies) []*model.AuthorizationPolicy { return policies.Allow }
	eachHTTPRule(p, allow, func(g *egressGateway, r authzRule) { reportHTTPAllow(p, g, r) })
}

func reportHTTPAllow(p *Pass, g *egressGateway, r authzRule) {
	d := g.opaqueDenials(p, g.named(r.hosts()), func(w *model.Workload) bool { return p.means(g.push, r, w) },
		func(class []*model.Workload, c *crossing) bool {
			return c.deniedBy(r.Policy) && !g.otherwise(p, r, class, c.Flow.Host)
		})
	if d == nil {
		return
	}
	f, s := d.finding(r)
	f.Label = "never matches here"
	f.Help = "ask for connection.sni and ports, or let the server read HTTP (protocol HTTPS, tls.mode ISTIO_MUTUAL)"
	f.Message = fmt.Sprintf("%s allows nothing at %s: it asks for %s, and the server does not read HTTP. %s stays denied to %s; ask for connection.sni, or let the server read HTTP",
		r, opaqueText(s), strings.Join(r.httpFields(), ", "), upTo3(d.hosts), upTo3(f.Workloads))
	p.Report(f)
}

// otherwise reports whether the rule lets clients through to a host by a server
// that reads HTTP.
func (g *egressGateway) otherwise(p *Pass, r authzRule, class []*model.Workload, h string) bool {
	for c := range g.crossings(p, r, class) {
		if strings.EqualFold(c.Flow.Host, h) && c.admittedBy(r.Policy, r.Index) {
			return true
		}
	}
	return false
}
