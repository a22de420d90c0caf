package reach

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// A row is what becomes of the requests of one class of workloads. Most
// destinations are names that the proxy of the class does not tell from one that
// nothing registers: they fare as that one does. So a row is a few sets of
// destinations, of which only those that the proxy knows are decided one by one.
// Guarantees are another matter (guarantee.go): they rest on the ways around the
// proxy, and few ask for them.

// rows are what is known about rows and shared between them.
type rows struct {
	of map[*model.Workload]*row
	// fates are distinct answers, fateOf finds them by their signature.
	fates     [][]Answer
	fateOf    map[string]int32
	scratch   []byte
	resolving map[string]set
	guarantees
}

func newRows() *rows {
	return &rows{of: map[*model.Workload]*row{}, fateOf: map[string]int32{}, resolving: map[string]set{}, guarantees: newGuarantees()}
}

// group is a set of destinations that fare alike.
type group struct {
	fate int32
	set  set
}

// grouping puts destinations that fare alike together, in the order in which fates
// come up.
type grouping struct {
	size   int
	index  map[int32]int
	groups []group
}

func newGrouping(size int) *grouping { return &grouping{size: size, index: map[int32]int{}} }

// at returns the destinations of a fate.
func (g *grouping) at(fate int32) set {
	i, ok := g.index[fate]
	if !ok {
		i = len(g.groups)
		g.index[fate] = i
		g.groups = append(g.groups, group{fate, newSet(g.size)})
	}
	return g.groups[i].set
}

// row is what is known about a class.
type row struct {
	// known are the destinations that are decided one by one.
	known set
	// groups are the destinations of the universe that fare alike but for the
	// guarantee, in the order in which they were found.
	groups []group
}

// row returns the row of a class.
func (r *Reach) row(first *model.Workload) *row {
	if x := r.of[first]; x != nil {
		return x
	}
	r.lay()
	x := &row{}
	r.of[first] = x
	m := r.memberOf(first)
	own := r.resolvingFor(first).clone()
	own.unite(r.templated)
	var wide *cohort
	switch {
	case m.wide:
		wide = r.wideCohort(m)
		r.settle(wide)
		x.known = wide.known.clone()
		own.unite(wide.each)
		for _, i := range wide.outlook.Of[first.Namespace] {
			own.add(i)
		}
	case m.limited:
		sight := r.sight(m)
		sight.Seen(own.add)
		for _, i := range sight.Each {
			own.add(i)
		}
		for _, port := range r.ports {
			if _, plain := sight.Opened(port); !plain {
				own.unite(r.byPort[port])
			}
		}
		x.known = newSet(len(r.Universe()))
	default:
		own.unite(r.matching(r.Sim.Names(first, func(name string) bool { return r.byHost[name] != nil })))
		x.known = newSet(len(r.Universe()))
	}
	x.known.unite(own)
	alike := newGrouping(len(r.Universe()))
	for _, port := range r.ports {
		columns := r.byPort[port]
		i, ok := r.anyName[port]
		if !ok {
			own.unite(columns)
			continue
		}
		var unknown outcome
		if wide != nil && wide.unknown[i] != nil && !own.has(i) {
			unknown = wide.unknown[i][m.place]
		} else {
			unknown = r.outcomeFor(m, i)
		}
		if len(r.Mesh.Unfilled()) > 0 && certain(r.fates[unknown.fate]) {
			for i, w := range columns {
				own[i] |= w & r.ruled[i]
				x.known[i] |= w & r.ruled[i]
			}
		}
		if own.add(i); !unknown.plain {
			own.unite(columns)
			continue
		}
		out := alike.at(r.fateFor(unknown, first))
		for i, w := range columns {
			out[i] |= w &^ x.known[i]
		}
		out.remove(i)
	}
	if wide != nil {
		for _, share := range wide.shared {
			if !share.members.has(m.place) {
				continue
			}
			out := alike.at(r.fateFor(share.outcome, first))
			for i, w := range share.places {
				out[i] |= w &^ own[i]
			}
		}
	}
	own.members(func(i int) bool {
		alike.at(r.fateFor(r.outcomeFor(m, i), first)).add(i)
		return true
	})
	x.groups = slices.DeleteFunc(alike.groups, func(g group) bool { return g.set.empty() })
	if of := r.own[m.own]; of.done+1 == len(of.members) {
		of.trees = nil
	} else {
		of.done++
	}
	if len(r.of) >= len(r.classes) {
		r.views = map[view]*tree[outcome]{}
	}
	return x
}

// fateAt returns the fate of a class at a place of the universe.
func (r *Reach) fateAt(first *model.Workload, place int) int32 {
	for _, g := range r.row(first).groups {
		if g.set.has(place) {
			return g.fate
		}
	}
	panic("reach: a destination in no group") // row puts each into one
}

// resolvingFor returns the destinations that a client finds at an address of the
// mesh, or that manifests list, and the addresses among them. Names that have a
// dot resolve alike in all namespaces unless a proxy answers lookups.
func (r *Reach) resolvingFor(first *model.Workload) set {
	m := r.member[first]
	if m == nil {
		return r.findResolving(first)
	}
	if m.resolving == nil {
		m.resolving = r.findResolving(first)
	}
	return m.resolving
}

func (r *Reach) findResolving(first *model.Workload) set {
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
	r.resolving[key] = out
	return out
}

// fate numbers answers; equal ones have equal numbers.
func (r *Reach) fate(answers []Answer) int32 {
	b := r.scratch[:0]
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n int) { b = binary.AppendVarint(b, int64(n)) }
	for i := range answers {
		a := &answers[i]
		for _, s := range []string{string(a.Protocol), string(a.Address), string(a.Outcome), string(a.Via), string(a.Reason), a.Policy, a.Guarantee, string(a.UpstreamTLS)} {
			text(s)
		}
		rule := -1
		if a.Rule != nil {
			rule = *a.Rule
		}
		number(rule)
		number(a.HTTPStatus)
		number(truth(a.SomeAllowed) | truth(a.EveryAllowed)<<1)
		number(len(a.When))
		if len(a.When) > 0 {
			text(fmt.Sprint(len(a.When), signature(answers[i:i+1])))
		}
	}
	r.scratch = b
	n, ok := r.fateOf[string(b)]
	if !ok {
		n = int32(len(r.fates)) //nolint:gosec // distinct answers are few
		r.fateOf[string(b)] = n
		r.fates = append(r.fates, answers)
	}
	return n
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
