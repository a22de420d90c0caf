package reach

import (
	"iter"

	"github.com/egresslint/egresslint/model"
)

// Tuples yields the destinations of the universe that want accepts, each with
// the classes for which keep accepts the answers, without their guarantees: by
// destination, then by class. keep is asked once for answers that many tuples have
// in common; the flows in them are those of one of these.
func (r *Reach) Tuples(want func(Destination) bool, of func(class []*model.Workload) bool, keep func([]Answer) bool) iter.Seq2[Destination, []*model.Workload] {
	return func(yield func(Destination, []*model.Workload) bool) {
		r.lay()
		wanted := newSet(len(r.Universe()))
		for i, d := range r.Universe() {
			if want(d) {
				wanted.add(i)
			}
		}
		if wanted.empty() {
			return
		}
		kept := map[int32]bool{}
		var classes [][]*model.Workload
		var rows []set
		for _, class := range r.classes {
			if !of(class) {
				continue
			}
			var columns set
			for _, g := range r.row(class[0]).groups {
				ok, asked := kept[g.fate]
				if !asked {
					ok = keep(r.fates[g.fate])
					kept[g.fate] = ok
				}
				if !ok {
					continue
				}
				if columns == nil {
					columns = newSet(len(r.Universe()))
				}
				columns.unite(g.set)
			}
			if columns != nil {
				classes, rows = append(classes, class), append(rows, columns)
			}
		}
		wanted.members(func(i int) bool {
			for at, columns := range rows {
				if columns.has(i) && !yield(r.Universe()[i], classes[at]) {
					return false
				}
			}
			return true
		})
	}
}
