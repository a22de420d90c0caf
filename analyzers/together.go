package analyzers

import (
	"iter"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// Many rules look at what clients may try (attemptsOf), most of them at the same
// requests, and to trace a request costs more than all that a rule does with it. So
// the loops of the rules run side by side: each rule runs until it wants its first
// attempt, then every request is traced once and given to all rules that want it,
// one after the other.

// inquiry is a loop of a rule over attempts.
type inquiry struct {
	want func(reach.Destination) bool
	both func(reach.Destination, *model.Workload) bool
	// among, if set, are the destinations that may be of interest to a client.
	among   func(*model.Workload) reach.Places
	keep    func(flow.Via, flow.Reason) bool
	reasons []flow.Reason

	// given is the attempt that the loop goes on with, nil when there are no more.
	given *attempt
}

// selection says which tuples the loop is about.
func (q *inquiry) selection(in *intent) reach.Selection {
	var among func([]*model.Workload) reach.Places
	if q.among != nil {
		among = func(class []*model.Workload) reach.Places { return q.among(class[0]) }
	}
	return reach.Selection{
		Among: among,
		Want:  q.want,
		Of:    func(class []*model.Workload) bool { return in.captured(class[0]) },
		// Most tuples are of no interest: tracing them again would cost most.
		Keep: func(answers []reach.Answer) bool {
			return (len(q.reasons) == 0 || slices.ContainsFunc(answers, func(a reach.Answer) bool { return faresSo(a, q.reasons) })) &&
				slices.ContainsFunc(answers, func(a reach.Answer) bool { return len(flowsOf(a, q.keep)) > 0 })
		},
	}
}

// follow yields the attempts of some loops, with the places of the loops that want
// each of them. Of loops that are done, as done says, none is wanted any more.
func follow(in *intent, loops []*inquiry, done func(i int) bool) iter.Seq2[*attempt, []int] {
	r := in.pass.Reach
	var selections []reach.Selection
	for _, q := range loops {
		selections = append(selections, q.selection(in))
	}
	return func(yield func(*attempt, []int) bool) {
		for x := range r.Select(selections) {
			var wanting []int
			for i, q := range loops {
				if x.By>>i&1 != 0 && !done(i) && q.both(x.To, x.Class[0]) {
					wanting = append(wanting, i)
				}
			}
			if len(wanting) == 0 {
				continue
			}
			covering := in.covering(x.To.Host)
			for _, a := range r.Verdicts(x.Class[0], x.To) {
				for _, m := range mannersOf(a) {
					var by []int
					for _, i := range wanting {
						if !done(i) && loops[i].keep(m.via, m.reason) {
							by = append(by, i)
						}
					}
					if len(by) == 0 {
						continue
					}
					f := m.flow
					t := r.Verdict(f, x.Class[0]) // Report adds the guarantee of a witness: it takes longer than the rest
					if !yield(&attempt{Class: x.Class, To: x.To, Flow: f, Trace: t, By: takenBy(covering, t, &f)}, by) {
						return
					}
				}
			}
		}
	}
}

// manner is how the requests of an answer, or some of them, fare.
type manner struct {
	via    flow.Via
	reason flow.Reason
	flow   flow.Flow
}

func mannersOf(a reach.Answer) []manner {
	if len(a.When) == 0 {
		return []manner{{a.Via, a.Reason, a.Flow}}
	}
	var out []manner
	for _, c := range a.When {
		out = append(out, manner{c.Via, c.Reason, c.Flow})
	}
	return out
}

// running is a rule that runs side by side with others.
type running struct {
	next func() (*inquiry, bool)
	// at is the loop in which it waits, nil once it has ended.
	at *inquiry
}

func (x *running) proceed() {
	q, ok := x.next()
	if x.at = q; !ok {
		x.at = nil
	}
}

// together runs rules, each of which is a function that is given what to call for
// the next attempt of a loop.
func together(first *Pass, rules []func(ask func(*inquiry) bool)) {
	var all []*running
	for _, run := range rules {
		next, stop := iter.Pull(func(yield func(*inquiry) bool) { run(yield) })
		defer stop()
		x := &running{next: next}
		x.proceed()
		all = append(all, x)
	}
	for {
		var waiting []*running
		var loops []*inquiry
		for _, x := range all {
			if x.at != nil && len(loops) < reach.MaxSelections {
				waiting, loops = append(waiting, x), append(loops, x.at)
			}
		}
		if len(loops) == 0 {
			return
		}
		done := func(i int) bool { return waiting[i].at != loops[i] }
		for a, by := range follow(intentOf(first), loops, done) {
			for _, i := range by {
				given := *a // each rule may do with it what it likes
				loops[i].given = &given
				waiting[i].proceed()
			}
		}
		for i, x := range waiting {
			if !done(i) {
				loops[i].given = nil
				x.proceed()
			}
		}
	}
}
