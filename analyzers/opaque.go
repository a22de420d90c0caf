package analyzers

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// opaque reports whether none of the servers that took a request reads HTTP.
func (c *crossing) opaque() bool {
	return !slices.ContainsFunc(c.Servers, func(s *model.GatewayServer) bool { return s.HTTP() })
}

// opaqueServers are those of the gateway that do not read HTTP.
func (g *egressGateway) opaqueServers() []*model.GatewayServer {
	return slices.DeleteFunc(slices.Clone(g.servers), func(s *model.GatewayServer) bool { return s.HTTP() })
}

// opaqueCrossings yields requests in TLS, or in a protocol of their own, of a class
// of clients to some destinations of the gateway, as far as a server that does not
// read HTTP takes them; of so many destinations at most.
//
//go:noinline
func (g *egressGateway) opaqueCrossings(p *Pass, class []*model.Workload, among []reach.Destination) iter.Seq[*crossing] {
	return func(yield func(*crossing) bool) {
		if p.Reach.Sim.Capture(class[0]).Mode != capture.Sidecar {
			return
		}
		tried := 0
		for _, d := range among {
			if d.Port == 80 || !g.mayCome(p, class, d) {
				continue
			}
			if tried++; tried > maxAtDoor {
				return
			}
			for _, scheme := range []flow.Scheme{flow.TLS, flow.TCP} {
				c := g.send(p, class, flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: scheme})
				if c != nil && c.opaque() {
					if !yield(c) {
						return
					}
					break
				}
			}
		}
	}
}

// eachHTTPRule calls report for each rule that asks for something of HTTP, of the
// enforced policies of an action at each gateway with a server that does not read it.
func eachHTTPRule(p *Pass, of func(*model.AuthorizationPolicies) []*model.AuthorizationPolicy, report func(*egressGateway, authzRule)) {
	for _, g := range egressGateways(p) {
		if len(g.opaqueServers()) == 0 {
			continue
		}
		for _, policy := range of(&g.Policies) {
			if !enforced(policy) {
				continue
			}
			for _, r := range rulesOf(policy) {
				if len(r.httpFields()) > 0 {
					report(g, r)
				}
			}
		}
	}
}

// opaqueDenials are requests that a rule keeps from passing servers that do not
// read HTTP.
type opaqueDenials struct {
	first   *crossing
	hosts   []string
	clients []*model.Workload
}

// opaqueDenials collects the requests of the clients meant that are denied; nil if
// there are none among those that are tried.
func (g *egressGateway) opaqueDenials(p *Pass, among []reach.Destination, meant func(*model.Workload) bool, denied func([]*model.Workload, *crossing) bool) *opaqueDenials {
	out := &opaqueDenials{}
	tried := 0
	for _, class := range g.coming(p, among) {
		if !meant(class[0]) {
			continue
		}
		if tried++; tried > maxCallers && out.first == nil {
			return nil
		}
		here := false
		for c := range g.opaqueCrossings(p, class, among) {
			if !denied(class, c) {
				continue
			}
			if out.first == nil {
				out.first = c
			}
			here = true
			if !contains(out.hosts, c.Flow.Host) {
				out.hosts = append(out.hosts, c.Flow.Host)
			}
		}
		if here {
			out.clients = append(out.clients, class...)
		}
	}
	if out.first == nil {
		return nil
	}
	return out
}

// finding says where the rule stands and what proves it, and returns the server
// that does not read HTTP.
func (d *opaqueDenials) finding(r authzRule) (Finding, *model.GatewayServer) {
	s := d.first.Servers[0]
	at := modePlace(s)
	return Finding{
		Severity: Error, Object: r.Policy.Object, Field: r.httpPlace(),
		Workloads: workloadIDs(d.clients), Flow: &d.first.Flow, Trace: d.first.Trace,
		Related: []Related{{at.Object, at.Field, fmt.Sprintf("%s does not read HTTP", serverText(s))}},
	}, s
}

// httpFields names the fields of a rule that only HTTP can meet, as a policy writes
// them: hosts, methods, request.headers[x].
func (r authzRule) httpFields() []string {
	var out []string
	add := func(name string, lists ...[]string) {
		if !contains(out, name) && slices.ContainsFunc(lists, func(l []string) bool { return len(l) > 0 }) {
			out = append(out, name)
		}
	}
	for _, from := range r.GetFrom() {
		add("requestPrincipals", from.GetSource().GetRequestPrincipals())
		add("notRequestPrincipals", from.GetSource().GetNotRequestPrincipals())
	}
	for _, to := range r.GetTo() {
		o := to.GetOperation()
		add("hosts", o.GetHosts())
		add("notHosts", o.GetNotHosts())
		add("methods", o.GetMethods())
		add("notMethods", o.GetNotMethods())
		add("paths", o.GetPaths())
		add("notPaths", o.GetNotPaths())
	}
	for _, w := range r.GetWhen() {
		if strings.HasPrefix(w.GetKey(), "request.") {
			add(w.GetKey(), w.GetValues(), w.GetNotValues())
		}
	}
	return out
}

// httpPlace is the first field of a rule that only HTTP can meet, "" if it has none.
func (r authzRule) httpPlace() string {
	if field := httpField(r); field != "" {
		return field
	}
	for i, from := range r.GetFrom() {
		switch s := from.GetSource(); {
		case len(s.GetRequestPrincipals()) > 0:
			return r.field("from[%d].source.requestPrincipals", i)
		case len(s.GetNotRequestPrincipals()) > 0:
			return r.field("from[%d].source.notRequestPrincipals", i)
		}
	}
	return ""
}

// opaqueText says in what a server takes connections whose content it does not read.
func opaqueText(s *model.GatewayServer) string {
	return fmt.Sprintf("%s (protocol %s, %s)", serverText(s), s.GetPort().GetProtocol(), modeText(s))
}

// maxCallers bounds the groups of clients that are tried for a rule of a policy as
// long as none shows anything: those that a rule means fare much alike.
const maxCallers = 16

// meantWitness is [egressGateway.witnessAlike] with the clients that the rule means
// alone; it gives up where so many of them show nothing.
func (g *egressGateway) meantWitness(p *Pass, r authzRule, show func(*crossing) *crossing) *witness {
	out := &witness{Meant: true}
	var shownBy []*model.Workload
	tried, requests, known := 0, g.spoken(r), shownAlike{}
	for _, class := range g.callers(p, r) {
		if !p.means(g.push, r, class[0]) {
			continue
		}
		if tried++; tried > maxCallers && out.crossing == nil {
			return nil
		}
		for f := range requests.of(p, class) {
			c := g.showOnce(p, known, class, f, show)
			if c == nil {
				continue
			}
			if out.crossing == nil {
				out.crossing = c
			}
			shownBy = append(shownBy, class...)
			break
		}
	}
	if out.crossing == nil {
		return nil
	}
	out.Workloads = workloadIDs(shownBy)
	return out
}
