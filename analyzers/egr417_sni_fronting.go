package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR417", Name: "sni-host-fronting", Severity: Warning, SecuritySeverity: 6.7,
	Run: sniFronting,
	Doc: Doc{
		Title: "A policy looks at the server name, and the server forwards by the Host header, which may name another host",
		What: "A rule at an egress gateway asks for `connection.sni` and names no `hosts`, at a server that opens TLS, reads HTTP and serves several hosts. " +
			"A request whose TLS announces one host, and whose Host header names another, fares otherwise than the rule means.",
		Why: "The server name chooses the server, the Host header chooses where the request goes. Where clients reach several hosts under one server name, " +
			"as with one DestinationRule for all, a rule about the server name does not tell the hosts apart.",
		Bad: egressDoc(frontingDoc("    when:\n    - key: connection.sni\n      values: [\"api.example.com\"]\n"),
			frontingEdits...),
		Good:   egressDoc(frontingDoc("    to:\n    - operation:\n        hosts: [\"api.example.com\"]\n"), frontingEdits...),
		Fix:    "Ask for `hosts` (with their form with a port), which the server compares with the Host header; or use one server, and one subset with its own `sni`, for each host.",
		Silent: "Rules that also name `hosts`; servers that do not read HTTP; servers whose certificates no manifest holds (SIMPLE, MUTUAL); rules for which no request of a client in the input shows the difference.",
		Sources: []string{
			"istio pilot/pkg/networking/core/gateway.go (createGatewayHTTPFilterChainOpts)",
			"https://istio.io/latest/docs/ops/best-practices/security/#writing-host-match-policies",
		},
	},
})

// frontingEdits make the documented gateway serve another host under the same
// server name.
var frontingEdits = []string{
	"  hosts:\n  - api.example.com\n  ports:", "  hosts:\n  - api.example.com\n  - other.example.com\n  ports:",
	"    hosts:\n    - api.example.com\n    tls:", "    hosts:\n    - api.example.com\n    - other.example.com\n    tls:",
	"  hosts:\n  - api.example.com\n  gateways:", "  hosts:\n  - api.example.com\n  - other.example.com\n  gateways:",
}

func frontingDoc(condition string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: only-api
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["shop"]
` + condition
}

func sniFronting(p *Pass) {
	for _, g := range egressGateways(p) {
		for _, policy := range slices.Concat(g.Policies.Deny, g.Policies.Allow) {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				if i := r.onlySNI(); i >= 0 {
					g.reportFronting(p, r, i)
				}
			}
		}
	}
}

// onlySNI returns the index of the rule's condition on the server name if the rule
// names hosts in no other way, else -1.
func (r authzRule) onlySNI() int {
	for _, to := range r.GetTo() {
		if len(to.GetOperation().GetHosts())+len(to.GetOperation().GetNotHosts()) > 0 {
			return -1
		}
	}
	for i, w := range r.GetWhen() {
		if w.GetKey() == "request.headers[:authority]" {
			return -1
		}
		if w.GetKey() == "connection.sni" && len(w.GetValues()) > 0 && !slices.Contains(w.GetValues(), "*") {
			return i
		}
	}
	return -1
}

// reportFronting looks for a request that names one host in TLS and another in
// HTTP: to a host that the rule does not name, which an ALLOW rule admits; or to
// one that a DENY rule names, under a name that it does not.
func (g *egressGateway) reportFronting(p *Pass, r authzRule, i int) {
	names := r.GetWhen()[i].GetValues()
	named := func(h string) bool { return slices.ContainsFunc(names, func(v string) bool { return affix(v, h) }) }
	show := func(c *crossing) bool {
		if c == nil || !slices.ContainsFunc(c.Servers, (*model.GatewayServer).HTTP) {
			return false
		}
		sni, ok := c.announced()
		h := c.authority()
		if !ok || sni == "" || named(h) == named(sni) {
			return false
		}
		if denies(r.Policy) {
			return named(h) && c.allowed()
		}
		return !named(h) && c.admittedBy(r.Policy, r.Index)
	}
	to := g.fronted(named, denies(r.Policy))
	tried := 0
	for _, class := range g.coming(p, to) {
		if !p.means(g.push, r, class[0]) {
			continue
		}
		if tried++; tried > maxCallers {
			return
		}
		for _, d := range to {
			c := g.send(p, class, flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: flow.HTTP})
			if show(c) {
				g.reportFrontingBy(p, r, i, c)
				return
			}
		}
	}
}

// fronted are destinations, those that a rule names or those that it does not, that
// share a server which opens mesh TLS and reads HTTP with hosts for which the
// contrary is true; so many at most.
func (g *egressGateway) fronted(named func(h string) bool, wanted bool) []reach.Destination {
	shared := g.sharedServers()
	if len(shared) == 0 {
		return nil
	}
	var out []reach.Destination
	for _, d := range g.destinations {
		if len(out) == maxAtDoor {
			break
		}
		h := strings.ToLower(d.Host)
		if named(h) == wanted && slices.ContainsFunc(shared, func(s *model.GatewayServer) bool { return serves(s, host.Name(h)) }) {
			out = append(out, d)
		}
	}
	return out
}

// sharedServers returns the servers that open mesh TLS, read HTTP and take more than
// one server name.
func (g *egressGateway) sharedServers() []*model.GatewayServer {
	if g.shared == nil {
		g.shared = []*model.GatewayServer{}
		for _, s := range g.servers {
			several := len(s.SNIHosts) > 1 || slices.ContainsFunc(s.SNIHosts, func(h string) bool { return host.Name(h).IsWildCarded() })
			if several && s.HTTP() && identityAt(s) == identityKnown {
				g.shared = append(g.shared, s)
			}
		}
	}
	return g.shared
}

// authority is the host that a request's Host header names.
func (c *crossing) authority() string {
	if h := c.Flow.Headers["host"]; h != "" {
		return bareHost(h)
	}
	return c.Flow.Host
}

func (g *egressGateway) reportFrontingBy(p *Pass, r authzRule, i int, c *crossing) {
	sni, _ := c.announced()
	s := c.Servers[0]
	f := Finding{
		Severity: Warning, SecuritySeverity: 6.7, Object: r.Policy.Object, Field: r.field("when[%d].values", i), Label: "not where the request goes",
		Help:      "ask for hosts beside connection.sni, or give each host a server and a server name of its own",
		Workloads: workloadIDs(c.Class), Flow: &c.Flow, Trace: c.Trace,
		Related: []Related{{serverPlace(s, "hosts").Object, serverPlace(s, "hosts").Field, fmt.Sprintf("%s serves %s", serverText(s), upTo3(s.SNIHosts))}},
	}
	fate := "is let through by it"
	if denies(r.Policy) {
		fate = "is not denied"
	}
	f.Message = fmt.Sprintf("%s asks for connection.sni %s and names no hosts: a request of %s with server name %q and Host %q %s; add hosts to the rule",
		r, quoted(r.GetWhen()[i].GetValues()), upTo3(f.Workloads), sni, c.authority(), fate)
	p.Report(f)
}
