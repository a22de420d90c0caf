package analyzers

import (
	"iter"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// send asks what becomes of a request and whether the gateway takes it in; nil
// if it does not. The trace has no guarantee: Report adds that of a witness.
func (g *egressGateway) send(p *Pass, class []*model.Workload, f flow.Flow) *crossing {
	if g.sent != nil {
		*g.sent = append(*g.sent, f)
	}
	c := &crossing{Class: class, Flow: f, Trace: p.Reach.Verdict(f, class[0])}
	if c.Servers = g.takenBy(c.Trace); len(c.Servers) == 0 {
		return nil
	}
	return c
}

// takenBy returns the servers of the gateway that took a flow in.
func (g *egressGateway) takenBy(t *flow.Trace) []*model.GatewayServer {
	var out []*model.GatewayServer
	for _, h := range t.Hops {
		if h.At != flow.AtGateway || h.Proxy != g.ID() || h.FilterChain == "" {
			continue
		}
		cited := g.citedBy(h.Because)
		if len(out) == 0 {
			out = cited
			continue
		}
		for _, s := range cited {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	for i := range t.Branches {
		for _, s := range g.takenBy(&t.Branches[i].Trace) {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// citedBy returns the servers that a decision of the gateway cites, in its order. A
// port that many servers share cites all of them each time, in the same list.
func (g *egressGateway) citedBy(because []flow.Because) []*model.GatewayServer {
	if len(because) == 0 {
		return nil
	}
	key := citedKey{&because[0], len(because)}
	out, known := g.cited[key]
	if known {
		return out
	}
	seen := map[*model.GatewayServer]bool{}
	for _, b := range because {
		for _, s := range g.serversOf(b.Object) {
			if strings.HasPrefix(b.Field, serverPlace(s, "").Field+".") && !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	out = slices.Clip(out)
	if len(because) >= longList {
		if g.cited == nil {
			g.cited = map[citedKey][]*model.GatewayServer{}
		}
		g.cited[key] = out
	}
	return out
}

// longList is how long a list of citations is that is worth remembering.
const longList = 8

// citedKey is a list by where it is.
type citedKey struct {
	first  *flow.Because
	number int
}

// serversOf returns the servers that an object makes, a Gateway of Istio or of the
// Gateway API, in their order.
func (g *egressGateway) serversOf(o *manifest.Object) []*model.GatewayServer {
	if g.byObject == nil {
		g.byObject = map[*manifest.Object][]*model.GatewayServer{}
		for _, s := range g.servers {
			o := serverPlace(s, "").Object
			g.byObject[o] = append(g.byObject[o], s)
		}
	}
	return g.byObject[o]
}

// crossings yields the requests that a rule of a policy speaks of and that reach
// a server of the gateway: of a class of clients to each host of the rule (to
// every host that is sent to the gateway where the rule names none).
//
//go:noinline
func (g *egressGateway) crossings(p *Pass, r authzRule, class []*model.Workload) iter.Seq[*crossing] {
	return func(yield func(*crossing) bool) {
		for f := range g.spoken(r).of(p, class) {
			if c := g.send(p, class, f); c != nil && !yield(c) {
				return
			}
		}
	}
}

// spoken are the requests that a rule of a policy speaks of, by destination, without
// their clients.
type spoken struct {
	*egressGateway
	rule         authzRule
	destinations []reach.Destination
	requests     [][]flow.Flow
}

func (g *egressGateway) spoken(r authzRule) *spoken {
	destinations := g.named(r.hosts())
	return &spoken{g, r, destinations, make([][]flow.Flow, len(destinations))}
}

// of yields the requests of a class of clients that may come to a gateway.
//
//go:noinline
func (a *spoken) of(p *Pass, class []*model.Workload) iter.Seq[flow.Flow] {
	return func(yield func(flow.Flow) bool) {
		from := reach.From(class[0])
		for i, d := range a.destinations {
			if !a.mayCome(p, class, d) {
				continue
			}
			if a.requests[i] == nil {
				a.requests[i] = a.rule.requests("", d)
			}
			for _, f := range a.requests[i] {
				if f.From = from; !yield(f) {
					return
				}
			}
		}
	}
}

// comers returns for each destination that is sent to the gateway the classes of
// clients of which some request may come to a gateway, by their place, in order.
func (g *egressGateway) comers(p *Pass) map[reach.Destination][]int {
	if g.come != nil {
		return g.come
	}
	g.come, g.classes = map[reach.Destination][]int{}, map[*model.Workload]int{}
	for i, class := range p.Reach.Classes() {
		g.classes[class[0]] = i
	}
	steered := map[reach.Destination]bool{}
	for _, d := range g.destinations {
		steered[d] = true
	}
	comes := func(outcome flow.Outcome, via flow.Via) bool {
		return outcome == flow.Unknown || outcome == flow.Mixed || via == flow.ViaGateway || via == flow.ViaMixed || via == flow.ViaWaypoint
	}
	every := func([]*model.Workload) bool { return true }
	for d, class := range p.Reach.Tuples(func(d reach.Destination) bool { return steered[d] }, every, func(answers []reach.Answer) bool {
		return slices.ContainsFunc(answers, func(a reach.Answer) bool {
			return comes(a.Outcome, a.Via) || slices.ContainsFunc(a.When, func(c reach.Condition) bool { return comes(c.Outcome, c.Via) })
		})
	}) {
		g.come[d] = append(g.come[d], g.classes[class[0]])
	}
	return g.come
}

// mayCome reports whether some request of a class to a destination may come to a
// gateway; of those that are no class it is not known.
func (g *egressGateway) mayCome(p *Pass, class []*model.Workload, d reach.Destination) bool {
	comers := g.comers(p)
	at, known := g.classes[class[0]]
	if !known {
		return true
	}
	_, found := slices.BinarySearch(comers[d], at)
	return found
}

// callers returns the classes of clients of which some request that a rule speaks
// of may come to a gateway, in their order.
func (g *egressGateway) callers(p *Pass, r authzRule) [][]*model.Workload {
	return g.coming(p, g.named(r.hosts()))
}

// coming returns the classes of clients of which some request to one of some
// destinations may come to a gateway, in their order.
func (g *egressGateway) coming(p *Pass, among []reach.Destination) [][]*model.Workload {
	comers := g.comers(p)
	var places []int
	for _, d := range among {
		places = append(places, comers[d]...)
	}
	slices.Sort(places)
	var out [][]*model.Workload
	for _, i := range slices.Compact(places) {
		out = append(out, p.Reach.Classes()[i])
	}
	return out
}

// named returns the destinations that are sent to the gateway and of which a rule
// speaks: all of them where it names no host.
func (g *egressGateway) named(hosts []namedHost) []reach.Destination {
	if len(hosts) == 0 {
		return g.destinations
	}
	covered := func(d reach.Destination) bool {
		return slices.ContainsFunc(hosts, func(n namedHost) bool { return n.covers(d.Host) })
	}
	if slices.ContainsFunc(hosts, func(n namedHost) bool { return strings.Contains(n.Value, "*") }) {
		return slices.DeleteFunc(slices.Clone(g.destinations), func(d reach.Destination) bool { return !covered(d) })
	}
	if g.places == nil {
		g.places = map[string][]int{}
		for i, d := range g.destinations {
			h := strings.ToLower(d.Host)
			g.places[h] = append(g.places[h], i)
		}
	}
	var places []int
	for _, n := range hosts {
		places = append(places, g.places[strings.ToLower(bareHost(n.Value))]...)
	}
	slices.Sort(places)
	var out []reach.Destination
	for _, i := range slices.Compact(places) {
		out = append(out, g.destinations[i])
	}
	return out
}
