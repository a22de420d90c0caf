package analyzers

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// attempt is what clients that fare alike try: a request, and its fate.
type attempt struct {
	// Class are the clients; the flow is of the first. Others are further classes for
	// which it fares alike, where the loop asks for attempts by likeness.
	Class  []*model.Workload
	Others [][]*model.Workload
	To     reach.Destination
	Flow   flow.Flow
	Trace  *flow.Trace
	// By is the steering that took the request, nil if none did.
	By *steering
	// own, if set, returns the trace of this client, where that in Trace is that of one
	// for whom the request fares alike.
	own func() *flow.Trace
}

// attempts yields what the clients that have a sidecar may try for the
// destinations of the universe that want accepts: one request for each protocol
// and kind of address, and for each set of requests that fare alike; only those
// whose fate keep accepts, and of clients and destinations with one that reasons
// names, if any is named. They come by destination, then by class.
//
//go:noinline
func (in *intent) attempts(want func(reach.Destination) bool, keep func(flow.Via, flow.Reason) bool, reasons ...flow.Reason) iter.Seq[*attempt] {
	return in.attemptsOf(want, nil, keep, reasons...)
}

// attemptsOf is attempts for the destinations and clients, of each class the first,
// that both, if it is set, accepts.
//
//go:noinline
func (in *intent) attemptsOf(want func(reach.Destination) bool, both func(reach.Destination, *model.Workload) bool,
	keep func(flow.Via, flow.Reason) bool, reasons ...flow.Reason,
) iter.Seq[*attempt] {
	return in.inquire(&inquiry{want: want, both: both, keep: keep, reasons: reasons})
}

// attemptsAmong is attempts for the destinations that may be of interest to a client,
// of each class the first. They have no traces: see traced.
//
//go:noinline
func (in *intent) attemptsAmong(want func(reach.Destination) bool, among func(*model.Workload) reach.Places, keep func(flow.Via, flow.Reason) bool) iter.Seq[*attempt] {
	return in.inquire(&inquiry{want: want, among: among, keep: keep, untraced: true})
}

// inquire runs the loop of a rule. What rules loop over is not inlined here and
// elsewhere: each loop would be a copy of it, which makes the program larger by a
// hundred kilobytes and no faster.
//
//go:noinline
func (in *intent) inquire(q *inquiry) iter.Seq[*attempt] {
	return func(yield func(*attempt) bool) {
		p := in.pass
		if p.ask == nil {
			for a := range follow(in, []*inquiry{q}, func(int) bool { return false }) {
				if !yield(a) {
					return
				}
			}
			return
		}
		// A loop within a loop is the rule's own.
		ask := p.ask
		p.ask = nil
		defer func() { p.ask = ask }()
		for ask(q) && q.given != nil {
			if !yield(q.given) {
				return
			}
		}
	}
}

// faresSo reports whether some request of an answer fares for one of the reasons.
func faresSo(a reach.Answer, reasons []flow.Reason) bool {
	return slices.Contains(reasons, a.Reason) ||
		slices.ContainsFunc(a.When, func(c reach.Condition) bool { return slices.Contains(reasons, c.Reason) })
}

// flowsOf returns a request for each way in which the requests of an answer fare,
// of the ways that keep accepts.
func flowsOf(a reach.Answer, keep func(flow.Via, flow.Reason) bool) []flow.Flow {
	if len(a.When) == 0 {
		if keep(a.Via, a.Reason) {
			return []flow.Flow{a.Flow}
		}
		return nil
	}
	var out []flow.Flow
	for _, c := range a.When {
		if keep(c.Via, c.Reason) {
			out = append(out, c.Flow)
		}
	}
	return out
}

// steered are the attempts for hosts that some route sends to a gateway, without
// those that end at the client's sidecar as unknown to it or go around it: one for
// all clients for whom a request fares alike, whose traces differ only in whom they
// name (see each); with reasons as attempts has them.
//
//go:noinline
func (in *intent) steered(reasons ...flow.Reason) iter.Seq[*attempt] {
	if len(in.steerings) == 0 {
		return func(func(*attempt) bool) {}
	}
	return in.inquire(&inquiry{want: in.isSteered, keep: keptSteered, reasons: reasons, alike: true})
}

func (in *intent) isSteered(d reach.Destination) bool { return len(in.covering(d.Host)) > 0 }

func keptSteered(via flow.Via, reason flow.Reason) bool {
	return reason != flow.Blackhole && via != flow.ViaPassthrough && via != flow.ViaUncaptured
}

// traced returns the trace of an attempt, which it may lack so far, and By with it.
func (in *intent) traced(a *attempt) *flow.Trace {
	if a.Trace == nil {
		in.trace(a, in.covering(a.To.Host))
	}
	return a.Trace
}

// trace traces an attempt, of a host with these steerings. Report adds the guarantee of
// a witness: it takes longer than the rest.
func (in *intent) trace(a *attempt, covering []*steering) {
	a.Trace = in.pass.Reach.Verdict(a.Flow, a.Class[0])
	a.By = takenBy(covering, a.Trace, &a.Flow)
}

// personal gives an attempt the trace of its own client.
func (a *attempt) personal() {
	if a.own != nil {
		a.Trace, a.own = a.own(), nil
	}
}

// each yields an attempt for each class that fares alike and whose first client
// want, if it is set, accepts.
//
//go:noinline
func (in *intent) each(a *attempt, want func(*model.Workload) bool) iter.Seq[*attempt] {
	return func(yield func(*attempt) bool) {
		for i, class := range append([][]*model.Workload{a.Class}, a.Others...) {
			if want != nil && !want(class[0]) {
				continue
			}
			other := *a
			if other.Others = nil; i > 0 {
				other.Class, other.Flow.From = class, reach.From(class[0])
				other.own = func() *flow.Trace { return in.pass.Reach.Verdict(other.Flow, class[0]) }
			}
			if !yield(&other) {
				return
			}
		}
	}
}

// takenBy returns which of the steerings of a flow's host took it at the
// client's sidecar, nil if none did.
func takenBy(covering []*steering, t *flow.Trace, f *flow.Flow) *steering {
	var found *steering
	for _, s := range covering {
		if !cites(t, s.Object, s.To) {
			continue
		}
		// Several conditions may share a destination.
		if s.takes(f.Port, f.Scheme) {
			return s
		}
		if found == nil {
			found = s
		}
	}
	return found
}

// cites reports whether a sidecar on the way decided because of a field.
func cites(t *flow.Trace, object *manifest.Object, field string) bool {
	for _, h := range t.Hops {
		if h.At == flow.AtSidecar && slices.Contains(h.Because, flow.Because{Object: object, Field: field}) {
			return true
		}
	}
	return slices.ContainsFunc(t.Branches, func(b flow.Branch) bool { return cites(&b.Trace, object, field) })
}

// direct reports whether the request leaves the cluster straight from the
// client's sidecar, as one for a registered host, although no steering took it.
func (a *attempt) direct() bool {
	return a.By == nil && a.Trace.Outcome == flow.Allowed && a.Trace.Via == flow.ViaDirect && a.Trace.Reason == flow.OK
}

// name is how messages call the destination's host: a wildcard where the host is
// only a witness of it.
func (a *attempt) name() string {
	if a.To.Stands != "" {
		return a.To.Stands
	}
	return a.To.Host
}

// entry returns the ServiceEntry that lets the request out, with the fields of
// its host and of its port; nil where it is not a ServiceEntry.
func (a *attempt) entry() (object *manifest.Object, hostField, portField string) {
	for _, h := range a.Trace.Hops {
		if h.At != flow.AtSidecar || h.Cluster == "" {
			continue
		}
		for _, b := range h.Because {
			switch {
			case b.Object.Kind != "ServiceEntry":
			case strings.HasPrefix(b.Field, "spec.hosts["):
				object, hostField = b.Object, b.Field
			case strings.HasPrefix(b.Field, "spec.ports["):
				if object != b.Object { // the ports of a host may come from several entries
					object, hostField = b.Object, "spec.hosts"
				}
				portField = b.Field
			}
		}
	}
	return object, hostField, portField
}

// explicit returns the destination in a route that the request took, nil where it
// went by default.
func (a *attempt) explicit() (*manifest.Object, string) {
	for _, h := range a.Trace.Hops {
		if h.At != flow.AtSidecar || h.Cluster == "" {
			continue
		}
		for _, b := range h.Because {
			if strings.HasSuffix(b.Field, ".destination") || strings.Contains(b.Field, ".backendRefs[") {
				return b.Object, b.Field
			}
		}
	}
	return nil, ""
}

// collected gathers what several attempts have in common, for one finding.
type collected struct {
	hosts   []string
	ports   []int
	classes [][]*model.Workload
	first   *attempt
	// known are the first clients of classes, ids the clients once they were asked for.
	known map[*model.Workload]bool
	ids   []string
}

// add takes an attempt in. The first one is the witness.
func (c *collected) add(a *attempt) {
	if c.first == nil {
		c.first = a
		a.personal()
	}
	c.host(a.name())
	c.port(a.To.Port)
	c.class(a.Class)
	for _, class := range a.Others {
		c.class(class)
	}
}

// join takes in what others have in common.
func (c *collected) join(other *collected) {
	if c.first == nil {
		c.first = other.first
	}
	for _, h := range other.hosts {
		c.host(h)
	}
	for _, port := range other.ports {
		c.port(port)
	}
	for _, class := range other.classes {
		c.class(class)
	}
}

func (c *collected) host(h string) {
	if !contains(c.hosts, h) {
		c.hosts = append(c.hosts, h)
	}
}

func (c *collected) port(port int) {
	if !slices.Contains(c.ports, port) {
		c.ports = append(c.ports, port)
	}
}

func (c *collected) class(class []*model.Workload) {
	if c.known[class[0]] {
		return
	}
	if c.known == nil {
		c.known = map[*model.Workload]bool{}
	}
	c.known[class[0]] = true
	c.classes, c.ids = append(c.classes, class), nil
}

// workloads are the clients concerned, as findings have them.
func (c *collected) workloads() []string {
	if c.ids == nil {
		c.ids = slices.Clip(workloadIDs(slices.Concat(c.classes...)))
	}
	return c.ids
}

// finding fills in what the attempts prove.
func (c *collected) finding(f Finding) Finding {
	f.Workloads = c.workloads()
	witness := c.first.Flow
	f.Flow, f.Trace = &witness, c.first.Trace
	return f
}

// namespaces are those of the clients, sorted.
func (c *collected) namespaces() []string {
	var out []string
	for _, class := range c.classes {
		for _, w := range class {
			out = append(out, w.Namespace)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// who names the clients, with a verb that agrees: "a reaches", "a, b reach".
func (c *collected) who(singular, plural string) string {
	ids := c.workloads()
	if len(ids) == 1 {
		return ids[0] + " " + singular
	}
	return upTo3(ids) + " " + plural
}

// are agrees with the number of hosts: "is" or "are".
func (c *collected) are() string {
	if len(c.hosts) == 1 {
		return "is"
	}
	return "are"
}

// them is the pronoun for the hosts: an example inside a wildcard, "it" or
// "them".
func (c *collected) them() string {
	switch {
	case len(c.hosts) > 1:
		return "them"
	case c.first.To.Stands != "":
		return c.first.To.Host
	default:
		return "it"
	}
}

// portsText names ports: "port 80", "ports 80, 443".
func portsText(ports []int) string {
	texts := make([]string, 0, len(ports))
	for _, p := range slices.Sorted(slices.Values(ports)) {
		texts = append(texts, strconv.Itoa(p))
	}
	if len(texts) == 1 {
		return "port " + texts[0]
	}
	return "ports " + strings.Join(texts, ", ")
}

// byKey collects attempts by what a finding is about, in order of appearance.
type byKey[K comparable] struct {
	keys []K
	of   map[K]*collected
}

func (g *byKey[K]) add(k K, a *attempt) {
	if g.of == nil {
		g.of = map[K]*collected{}
	}
	if g.of[k] == nil {
		g.of[k] = &collected{}
		g.keys = append(g.keys, k)
	}
	g.of[k].add(a)
}
