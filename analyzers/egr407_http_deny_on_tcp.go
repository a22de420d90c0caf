package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR407", Name: "http-deny-on-tcp", Severity: Error,
	Run: httpDenyOnTCP,
	Doc: Doc{
		Title: "A DENY rule uses HTTP conditions at a gateway's server that does not read HTTP, and so denies more than it says",
		What: "A rule of a DENY policy at an egress gateway asks for hosts, methods, paths or headers, and a connection at a server that passes TLS through or carries opaque bytes " +
			"is denied by it although the rule names other hosts, or only some requests.",
		Why: "Where a server does not read HTTP, Istio drops such conditions from a DENY rule and keeps the rest: the rule becomes wider. " +
			"A rule with nothing else denies every connection to the server.",
		Bad:    tlsEgressDoc(tlsDenyDoc("    to:\n    - operation:\n        hosts: [\"other.example.com\"]\n")),
		Good:   tlsEgressDoc(tlsDenyDoc("    when:\n    - key: connection.sni\n      values: [\"other.example.com\"]\n")),
		Fix:    "Restrict the rule to the servers that read HTTP (`ports` of the gateway's pod), or use conditions that hold for any connection: `connection.sni`, `ports`, identities.",
		Silent: "Rules whose hosts are those that the server carries, and that ask for nothing else of HTTP: there they deny what they mean; servers that no client reaches; dry runs.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/model.go (Generate)",
			"https://github.com/istio/istio/issues/29119",
		},
	},
})

func tlsDenyDoc(condition string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-other
  namespace: istio-egress
spec:
  action: DENY
  rules:
  -` + strings.TrimPrefix(condition, "   ")
}

func httpDenyOnTCP(p *Pass) {
	deny := func(policies *model.AuthorizationPolicies) []*model.AuthorizationPolicy { return policies.Deny }
	eachHTTPRule(p, deny, func(g *egressGateway, r authzRule) { reportHTTPDeny(p, g, r) })
}

func reportHTTPDeny(p *Pass, g *egressGateway, r authzRule) {
	fields := r.httpFields()
	hosts := r.hosts()
	onlyHosts := len(fields) == 1 && fields[0] == "hosts"
	// Hosts that the rule does not mean; all where it means only some requests.
	among := slices.DeleteFunc(slices.Clone(g.destinations), func(d reach.Destination) bool {
		return onlyHosts && slices.ContainsFunc(hosts, func(n namedHost) bool { return n.covers(d.Host) })
	})
	d := g.opaqueDenials(p, among, func(*model.Workload) bool { return true },
		func(_ []*model.Workload, c *crossing) bool { return c.deniedByRule(r.Policy, r.Index) })
	if d == nil {
		return
	}
	f, s := d.finding(r)
	f.Label = "dropped where the server does not read HTTP"
	f.Help = "restrict the rule to ports whose servers read HTTP, or ask for connection.sni instead"
	f.Message = fmt.Sprintf("%s denies more than it says at %s: the server does not read HTTP, so that %s count for nothing there. Every connection of %s to %s is denied; restrict the rule to ports with HTTP, or ask for connection.sni",
		r, opaqueText(s), strings.Join(fields, ", "), upTo3(f.Workloads), upTo3(d.hosts))
	p.Report(f)
}
