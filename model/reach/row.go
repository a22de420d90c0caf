package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// A row is what becomes of the requests of one class of workloads. Most
// destinations are names that the proxy of the class does not tell from one that
// nothing registers: they fare as that one does, but for the guarantee, which
// rests on the ways around the proxy. Those are the same for many classes. So a
// row is a few sets of destinations that many rows share, and what is known of
// the others.

// rows are what is known about rows and shared between them.
type rows struct {
	of map[*model.Workload]*row
	// fates are distinct answers, fateOf finds them by their signature.
	fates  [][]Answer
	fateOf map[string]int32
	// outside says for the first of a class what the ways around its proxy are
	// like; around are guarantees that were found.
	outside map[*model.Workload]string
	around  map[aroundKey]string
	// groups are the sets of destinations of unknown names, by what they depend
	// on.
	groups    map[string][]group
	resolving map[string]set
	// sources and blocks are what policies say about who sends.
	sources *accounts
	blocks  []netip.Prefix
}

// aroundKey is what the guarantee of a request for an unknown name depends on.
type aroundKey struct {
	outside, host string
	port          int
	scheme        flow.Scheme
}

// group is a set of destinations that fare alike.
type group struct {
	fate int32
	set  set
}

// row is what is known about a class.
type row struct {
	// known are the destinations that are decided one by one.
	known set
	// unknown are answers for any other name, by port.
	unknown map[int][]Answer
}

// row returns the row of a class.
func (r *Reach) row(first *model.Workload) *row {
	if x := r.of[first]; x != nil {
		return x
	}
	r.lay()
	x := &row{unknown: map[int][]Answer{}}
	r.of[first] = x
	x.known = r.matching(r.Sim.Names(first))
	x.known.unite(r.resolvingFor(first))
	for _, port := range r.ports {
		i, ok := r.anyName[port]
		if !ok {
			continue
		}
		answers := r.Answers(first, r.Universe()[i])
		plain := true
		for _, a := range answers {
			plain = plain && len(a.When) == 0 && a.Address == "" && !traffic.Known(r.Sim.Verdict(a.Flow))
		}
		if plain {
			x.unknown[port] = answers
		}
	}
	return x
}

// resolvingFor returns the destinations that a client finds at an address of the
// mesh, or that manifests list, and the addresses among them. Names that have a
// dot resolve alike in all namespaces unless a proxy answers lookups.
func (r *Reach) resolvingFor(first *model.Workload) set {
	c := r.Sim.Capture(first)
	key := r.Mesh.ConfigFor(first).Revision
	if c.DNSCapture {
		key += "|" + first.Namespace
	}
	if s := r.resolving[key]; s != nil {
		return s
	}
	out := newSet(len(r.Universe()))
	for h, places := range r.byHost {
		_, err := netip.ParseAddr(h)
		if err == nil || !strings.Contains(h, ".") || r.addresses[h] || r.Sim.Resolves(first, h) {
			for _, i := range places {
				out.add(i)
			}
		}
	}
	if r.resolving == nil {
		r.resolving = map[string]set{}
	}
	r.resolving[key] = out
	return out
}

// shared reports whether a destination fares as any unknown name does, and how.
func (x *row) shared(i int, d Destination) ([]Answer, bool) {
	if d.Stands == AnyName || x.known.has(i) {
		return nil, false
	}
	answers, ok := x.unknown[d.Port]
	return answers, ok
}

// asUnknown answers for a destination as for an unknown name.
func (r *Reach) asUnknown(first *model.Workload, d Destination, unknown []Answer) []Answer {
	out := slices.Clone(unknown)
	for i := range out {
		a := &out[i]
		a.Flow = flow.Flow{From: From(first), Host: d.Host, Port: d.Port, Scheme: a.Protocol}
		if a.Protocol == flow.HTTP {
			a.Flow = r.requestsFor(d).flows(a.Flow)[0]
		}
		a.Guarantee = r.guarantee(first, d, unknown[i])
	}
	return out
}

// guarantee is that of an answer for an unknown name, if it is asked of a
// destination.
func (r *Reach) guarantee(first *model.Workload, d Destination, a Answer) string {
	if a.Outcome != flow.Blocked {
		return a.Guarantee
	}
	key := aroundKey{r.outsideOf(first), "", d.Port, a.Protocol}
	i, ok := r.place[d]
	if !ok || r.gateways.has(i) {
		key.host = d.Host
	}
	g, ok := r.around[key]
	if !ok {
		f := flow.Flow{From: From(first), Host: d.Host, Port: d.Port, Scheme: a.Protocol}
		if a.Protocol == flow.HTTP {
			f = r.requestsFor(d).flows(f)[0]
		}
		g = r.Sim.Around(f)
		r.around[key] = g
	}
	return g
}

func (r *Reach) outsideOf(first *model.Workload) string {
	key, ok := r.outside[first]
	if !ok {
		key = r.Sim.Outside(first, r.ports)
		if r.sources == nil {
			named, blocks := sources(r.Mesh)
			r.sources = &named
			r.blocks = blocks
		}
		key += fmt.Sprint(r.Sim.SourceBlocks(first, r.blocks))
		if r.sources.asked {
			// Policies look at who sends, if only at his namespace.
			key += " " + first.Namespace
			if r.sources.has(first.ServiceAccount) {
				key += " " + first.ServiceAccount
			}
		}
		r.outside[first] = key
	}
	return key
}

// fate numbers answers; equal ones have equal numbers.
func (r *Reach) fate(answers []Answer) int32 {
	key := signature(answers)
	n, ok := r.fateOf[key]
	if !ok {
		n = int32(len(r.fates)) //nolint:gosec // distinct answers are few
		r.fateOf[key] = n
		r.fates = append(r.fates, answers)
	}
	return n
}

// groupsOf returns the destinations of the universe in groups that fare alike for
// a class, in the order of the first of each.
func (r *Reach) groupsOf(first *model.Workload) []group {
	x := r.row(first)
	universe := r.Universe()
	var out []group
	for _, g := range r.unknownGroups(first, x) {
		rest := slices.Clone(g.set)
		for i, w := range x.known {
			rest[i] &^= w
		}
		out = append(out, group{g.fate, rest})
	}
	index := map[int32]int{}
	for i, g := range out {
		index[g.fate] = i
	}
	add := func(i int) bool {
		n := r.fate(r.Answers(first, universe[i]))
		at, ok := index[n]
		if !ok {
			at = len(out)
			index[n] = at
			out = append(out, group{n, newSet(len(universe))})
		}
		out[at].set.add(i)
		return true
	}
	alone := slices.Clone(x.known)
	for port, i := range r.anyName {
		alone.add(i)
		if _, ok := x.unknown[port]; ok {
			continue
		}
		for i, d := range universe {
			if d.Port == port {
				alone.add(i)
			}
		}
	}
	alone.members(add)
	return slices.DeleteFunc(out, func(g group) bool { return g.set.empty() })
}

// unknownGroups returns how all destinations would fare if the class knew none of
// them. Classes share them.
func (r *Reach) unknownGroups(first *model.Workload, x *row) []group {
	key := r.outsideOf(first)
	for _, port := range r.ports {
		if answers, ok := x.unknown[port]; ok {
			key += " " + signature(answers)
		} else {
			key += " -"
		}
	}
	if groups, ok := r.groups[key]; ok {
		return groups
	}
	index := map[string]int{}
	var out []group
	for i, d := range r.Universe() {
		answers, ok := x.unknown[d.Port]
		if !ok || d.Stands == AnyName {
			continue
		}
		short := []byte{byte(d.Port >> 8), byte(d.Port)}
		for _, a := range answers {
			short = append(short, r.guarantee(first, d, a)...)
			short = append(short, '|')
		}
		at, known := index[string(short)]
		if !known {
			n := r.fate(r.asUnknown(first, d, answers))
			if at = slices.IndexFunc(out, func(g group) bool { return g.fate == n }); at < 0 {
				at = len(out)
				out = append(out, group{n, newSet(len(r.Universe()))})
			}
			index[string(short)] = at
		}
		out[at].set.add(i)
	}
	if r.groups == nil {
		r.groups = map[string][]group{}
	}
	r.groups[key] = out
	return out
}
