package reach

import (
	"encoding/binary"
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
	x := &row{known: r.matching(r.Sim.Names(first, func(name string) bool { return r.byHost[name] != nil }))}
	r.of[first] = x
	x.known.unite(r.resolvingFor(first))
	universe := r.Universe()
	index := map[int32]int{}
	at := func(n int32) set {
		i, ok := index[n]
		if !ok {
			i = len(x.groups)
			index[n] = i
			x.groups = append(x.groups, group{n, newSet(len(universe))})
		}
		return x.groups[i].set
	}
	alone := slices.Clone(x.known)
	for _, port := range r.ports {
		columns := r.byPort[port]
		i, ok := r.anyName[port]
		if !ok {
			alone.unite(columns)
			continue
		}
		alone.add(i)
		unknown, plain := r.unknown(first, universe[i])
		if !plain {
			alone.unite(columns)
			continue
		}
		out := at(r.fate(unknown))
		for i, w := range columns {
			out[i] |= w &^ x.known[i]
		}
		out.remove(i)
	}
	alone.members(func(i int) bool {
		at(r.fate(r.decided(first, universe[i], r.Sim.Verdict))).add(i)
		return true
	})
	x.groups = slices.DeleteFunc(x.groups, func(g group) bool { return g.set.empty() })
	return x
}

// unknown returns the answers for the name that stands for all that a class does
// not know; plain says that they hold for these.
func (r *Reach) unknown(first *model.Workload, any Destination) (answers []Answer, plain bool) {
	plain = true
	answers = r.decided(first, any, func(f flow.Flow) *flow.Trace {
		t := r.Sim.Verdict(f)
		plain = plain && !traffic.Known(t)
		return t
	})
	for _, a := range answers {
		plain = plain && len(a.When) == 0 && a.Address == ""
	}
	return answers, plain
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
