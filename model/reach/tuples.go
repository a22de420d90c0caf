package reach

import (
	"iter"
	"math/bits"
	"slices"

	"github.com/egresslint/egresslint/model"
)

// Selection says which tuples somebody wants.
type Selection struct {
	// Want accepts destinations, Of classes.
	Want func(Destination) bool
	Of   func(class []*model.Workload) bool
	// Among, if it is set, gives for a class the destinations of which it accepts
	// some.
	Among func(class []*model.Workload) Places
	// Keep accepts answers, without their guarantees. It is asked once for answers
	// that many tuples have in common; the flows in them are those of one of these.
	Keep func([]Answer) bool
}

// MaxSelections bounds how many selections are asked for at once.
const MaxSelections = 64

// Selected is a tuple that somebody wants: of a class and a destination, by the
// selections whose bits are set.
type Selected struct {
	To    Destination
	Class []*model.Workload
	By    uint64
	// Fate is the same for classes that have the same answers for the destination,
	// guarantees and the requests that show them aside.
	Fate int32
}

// Tuples yields the destinations of the universe that want accepts, each with
// the classes for which keep accepts the answers: by destination, then by class.
// See [Selection].
//
//go:noinline
func (r *Reach) Tuples(want func(Destination) bool, of func(class []*model.Workload) bool, keep func([]Answer) bool) iter.Seq2[Destination, []*model.Workload] {
	return func(yield func(Destination, []*model.Workload) bool) {
		for x := range r.Select([]Selection{{Want: want, Of: of, Keep: keep}}) {
			if !yield(x.To, x.Class) {
				return
			}
		}
	}
}

// Select yields the tuples of some selections, [MaxSelections] at most: by
// destination, then by class.
//
//go:noinline
func (r *Reach) Select(selections []Selection) iter.Seq[Selected] {
	return func(yield func(Selected) bool) {
		s := r.newSelecting(selections[:min(len(selections), MaxSelections)])
		// The rows of all classes are read in words: most of them are empty.
		for at := 0; at < len(s.any); at += inBlock {
			if !s.block(at, yield) {
				return
			}
		}
	}
}

// selecting is one run of Select.
type selecting struct {
	*Reach
	selections []Selection
	// wanted are destinations by selection, any those of all of them.
	wanted []set
	any    set
	// classes are the places of those that some selection takes, of which of them.
	classes []int
	of      []uint64
	// among are the places that each class accepts of a selection, nil for all.
	among [][]Places
	// kept says by which selections answers are kept, of those in asked.
	asked, kept map[int32]uint64
	// parts are what the classes have of the words at hand.
	parts [inBlock][]selectedPart
}

func (r *Reach) newSelecting(selections []Selection) *selecting {
	r.lay()
	universe := r.Universe()
	s := &selecting{Reach: r, selections: selections, any: newSet(len(universe)), asked: map[int32]uint64{}, kept: map[int32]uint64{}}
	for _, x := range selections {
		wanted := newSet(len(universe))
		for i, d := range universe {
			if x.Want(d) {
				wanted.add(i)
			}
		}
		s.wanted = append(s.wanted, wanted)
		s.any.unite(wanted)
	}
	if s.any.empty() {
		return s
	}
	for at, class := range r.classes {
		var of uint64
		for i, x := range selections {
			if x.Of(class) {
				of |= 1 << i
			}
		}
		if of == 0 {
			continue
		}
		var among []Places
		for i, x := range selections {
			if x.Among != nil && of>>i&1 != 0 {
				if among == nil {
					among = make([]Places, len(selections))
				}
				among[i] = x.Among(class)
			}
		}
		s.classes, s.of, s.among = append(s.classes, at), append(s.of, of), append(s.among, among)
	}
	return s
}

// inBlock is how many words are read of one set after the other: a line of the
// processor's cache.
const inBlock = 8

// selectedPart is what a class has of 64 destinations, by the selections that keep it.
type selectedPart struct {
	class []*model.Workload
	bits  uint64
	by    uint64
	among []Places
	fate  int32
}

// block yields the tuples of some words of destinations; false where no more are
// wanted.
func (s *selecting) block(at int, yield func(Selected) bool) bool {
	n := min(inBlock, len(s.any)-at)
	var wanted uint64
	for _, w := range s.any[at : at+n] {
		wanted |= w
	}
	if wanted == 0 {
		return true
	}
	for i := range s.parts {
		s.parts[i] = s.parts[i][:0]
	}
	for i, place := range s.classes {
		class := s.Reach.classes[place]
		for _, g := range s.row(class[0]).groups {
			for j, w := range g.set[at : at+n] {
				if w &= s.any[at+j]; w == 0 {
					continue
				}
				by := s.keeps(g.fate, s.of[i])
				if by == 0 {
					break
				}
				among := s.among[i]
				if among != nil {
					if w &= s.acceptable(among, by, at+j); w == 0 {
						continue
					}
				}
				s.parts[j] = append(s.parts[j], selectedPart{class, w, by, among, g.fate})
			}
		}
	}
	for j := range n {
		if !s.word(at+j, s.parts[j], yield) {
			return false
		}
	}
	return true
}

// word yields the tuples of 64 destinations.
func (s *selecting) word(at int, parts []selectedPart, yield func(Selected) bool) bool {
	var all uint64
	for i := range parts {
		all |= parts[i].bits
	}
	for ; all != 0; all &= all - 1 {
		bit := bits.TrailingZeros64(all)
		var want uint64
		for i, wanted := range s.wanted {
			want |= wanted[at] >> bit & 1 << i
		}
		for i := range parts {
			p := &parts[i]
			by := p.by & want
			if p.bits>>bit&1 == 0 || by == 0 {
				continue
			}
			for i, places := range p.among {
				if places.set != nil && places.set[at]>>bit&1 == 0 {
					by &^= 1 << i
				}
			}
			if by != 0 && !yield(Selected{s.Universe()[at*64+bit], p.class, by, p.fate}) {
				return false
			}
		}
	}
	return true
}

// acceptable returns which of 64 destinations some selection accepts for a class.
func (s *selecting) acceptable(among []Places, by uint64, at int) uint64 {
	var out uint64
	for ; by != 0; by &= by - 1 {
		i := bits.TrailingZeros64(by)
		if among[i].set == nil {
			return s.any[at]
		}
		out |= among[i].set[at] & s.wanted[i][at]
	}
	return out
}

// Places is a set of destinations of the universe; the zero value is all of them.
type Places struct{ set set }

// NoPlaces returns an empty set.
func (r *Reach) NoPlaces() Places {
	r.lay()
	return Places{newSet(len(r.Universe()))}
}

// Matching returns the destinations that names, and patterns with "*" at one end, match.
func (r *Reach) Matching(names []string) Places {
	r.lay()
	return Places{r.matching(names, false)}
}

// Add adds the i-th destination of the universe.
func (p Places) Add(i int) { p.set.add(i) }

// With returns the union of two sets, neither of which is all.
func (p Places) With(other Places) Places {
	out := Places{p.set.clone()}
	out.set.unite(other.set)
	return out
}

// keeps returns by which of some selections answers are kept.
func (s *selecting) keeps(fate int32, of uint64) uint64 {
	for missing := of &^ s.asked[fate]; missing != 0; missing &= missing - 1 {
		i := bits.TrailingZeros64(missing)
		s.asked[fate] |= 1 << i
		if s.selections[i].Keep(slices.Clip(s.fates[fate])) {
			s.kept[fate] |= 1 << i
		}
	}
	return s.kept[fate] & of
}
