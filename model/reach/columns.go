package reach

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// set is a set of destinations of the universe, by their place in it, 64 a word.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) remove(i int)   { s[i/64] &^= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s set) clone() set { return slices.Clone(s) }

// unite adds another set.
func (s set) unite(other set) {
	for i, w := range other {
		s[i] |= w
	}
}

func (s set) empty() bool { return !slices.ContainsFunc(s, func(w uint64) bool { return w != 0 }) }

// members calls f for each member, in order, until it returns false.
func (s set) members(f func(int) bool) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if !f(i*64 + bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}

// key is the same for equal sets.
func (s set) key() string {
	b := make([]byte, 0, 8*len(s))
	for _, w := range s {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return string(b)
}

// columns finds the destinations of the universe by host.
type columns struct {
	place map[Destination]int
	// byHost has the places of a host in lower case, bySuffix those of the
	// hosts that end with ".suffix".
	byHost, bySuffix map[string][]int
	// anyName are the places of the name that stands for all that nothing
	// registers, by port.
	anyName map[int]int
	// addresses are the hosts that manifests list with addresses.
	addresses map[string]bool
	ports     []int
	byPort    map[int]set
	// gateways are the destinations that gateways tell from others.
	gateways set
	// templated are those that objects with placeholders tell from others.
	templated set
	// ruled are those for which there are routes or rules, if there are such objects.
	ruled set
}

// lay builds the columns, once.
func (r *Reach) lay() {
	if r.place != nil {
		return
	}
	c := r.columns
	c.addresses = listedHosts(r.Mesh)
	c.place, c.anyName = map[Destination]int{}, map[int]int{}
	c.byPort = map[int]set{}
	c.byHost, c.bySuffix = map[string][]int{}, map[string][]int{}
	for i, d := range r.Universe() {
		c.place[d] = i
		h := strings.ToLower(d.Host)
		c.byHost[h] = append(c.byHost[h], i)
		for rest := h; ; {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			c.bySuffix[rest[dot:]] = append(c.bySuffix[rest[dot:]], i)
			rest = rest[dot+1:]
		}
		if d.Stands == AnyName {
			c.anyName[d.Port] = i
		}
		if c.byPort[d.Port] == nil {
			c.ports = append(c.ports, d.Port)
			c.byPort[d.Port] = newSet(len(r.Universe()))
		}
		c.byPort[d.Port].add(i)
	}
	slices.Sort(c.ports)
	names, any := r.Sim.GatewayNames()
	c.gateways = r.matching(names, any)
	r.findTemplated()
	c.gateways.unite(c.templated)
}

// matching returns the destinations that names and patterns match; all of them
// where any name may be meant.
func (r *Reach) matching(names []string, any bool) set {
	out := newSet(len(r.Universe()))
	all := func(places []int) {
		for _, i := range places {
			out.add(i)
		}
	}
	scan := func(matches func(string) bool) {
		for h, places := range r.byHost {
			if matches(h) {
				all(places)
			}
		}
	}
	if any {
		scan(func(string) bool { return true })
		return out
	}
	for _, name := range names {
		switch last := len(name) - 1; {
		case strings.HasPrefix(name, "*."):
			all(r.bySuffix[name[1:]])
		case strings.HasPrefix(name, "*"):
			scan(func(h string) bool { return strings.HasSuffix(h, name[1:]) })
		case last >= 0 && name[last] == '*':
			scan(func(h string) bool { return strings.HasPrefix(h, name[:last]) })
		default:
			all(r.byHost[name])
		}
	}
	return out
}

// listedHosts are the hosts for which manifests list addresses, in lower case.
func listedHosts(mesh *model.Mesh) map[string]bool {
	out := map[string]bool{}
	for _, e := range mesh.ServiceEntries {
		if len(e.Spec.GetAddresses()) > 0 {
			for _, h := range e.Spec.GetHosts() {
				out[strings.ToLower(h)] = true
			}
		}
	}
	return out
}
