package reach

import (
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// findTemplated finds the destinations that objects with placeholders tell from others
// by what is certain of them, and those for which there are routes or rules already:
// what an entry for any name leaves open tells these from others (see [model.Unfilled]).
func (r *Reach) findTemplated() {
	r.templated, r.ruled = newSet(len(r.Universe())), newSet(len(r.Universe()))
	list := r.Mesh.Unfilled()
	if len(list) == 0 {
		return
	}
	for h, places := range r.byHost {
		ruled := r.Sim.Ruled(h)
		told := slices.ContainsFunc(list, func(u *model.Unfilled) bool { return !u.Any() && u.About(h) })
		for _, i := range places {
			if ruled {
				r.ruled.add(i)
			}
			if told {
				r.templated.add(i)
			}
		}
	}
}

// certain reports whether it is known how some requests fare.
func certain(answers []Answer) bool {
	return slices.ContainsFunc(answers, func(a Answer) bool { return a.Outcome != flow.Unknown })
}
