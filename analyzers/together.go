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
	// both, if set, accepts tuples.
	both func(reach.Destination, *model.Workload) bool
	// among, if set, are the destinations that may be of interest to a client.
	among   func(*model.Workload) reach.Places
	keep    func(flow.Via, flow.Reason) bool
	reasons []flow.Reason
	// alike says that one attempt is enough for all clients for whom it fares alike.
	alike bool
	// untraced says that the loop does without traces, but for those that it asks for:
	// see traced.
	untraced bool

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
	var selections []reach.Selection
	for _, q := range loops {
		selections = append(selections, q.selection(in))
	}
	return func(yield func(*attempt, []int) bool) {
		x := &following{intent: in, loops: loops, done: done, yield: yield}
		for s := range in.pass.Reach.Select(selections) {
			if s.To != x.to && !x.turn(s.To) || !x.take(s) {
				return
			}
		}
		x.turn(reach.Destination{})
	}
}

// following is one run of follow.
type following struct {
	*intent
	loops []*inquiry
	done  func(i int) bool
	yield func(*attempt, []int) bool

	// to is the destination at hand, covering the steerings of its host.
	to       reach.Destination
	covering []*steering
	// fates are the manners of its answers by fate.
	fates map[int32][]manner
	// groups are the attempts of the loops that want them by likeness, found by that.
	groups  [][]attemptBy
	groupOf map[likeKey][]attemptBy
}

// attemptBy is an attempt with the loops that want it, to be yielded when all classes
// are known for which it fares alike.
type attemptBy struct {
	*attempt
	by []int
}

// likeKey is what the attempts of classes for one destination have in common: their
// fate, which loops want them, and their likeness.
type likeKey struct {
	fate  int32
	loops uint64
	likes [mostManners]reach.Likeness
}

// mostManners bounds the ways to send requests to one destination that are held
// against each other: by protocol, and by kind of address.
const mostManners = 6

// turn turns to another destination; false where nothing more is wanted.
func (x *following) turn(to reach.Destination) bool {
	for _, g := range x.groups {
		for _, a := range g {
			if a.by = slices.DeleteFunc(a.by, x.done); len(a.by) > 0 && !x.yield(a.attempt, a.by) {
				return false
			}
		}
	}
	x.to, x.groups, x.groupOf, x.fates = to, nil, map[likeKey][]attemptBy{}, map[int32][]manner{}
	x.covering = x.intent.covering(to.Host)
	return true
}

// take takes up a tuple; false where nothing more is wanted.
func (x *following) take(s reach.Selected) bool {
	w := s.Class[0]
	var single, grouped []int
	for i, q := range x.loops {
		switch {
		case s.By>>i&1 == 0 || x.done(i) || q.both != nil && !q.both(s.To, w):
		case q.alike:
			grouped = append(grouped, i)
		default:
			single = append(single, i)
		}
	}
	if len(grouped) > 0 {
		x.group(s, grouped)
	}
	if len(single) == 0 {
		return true
	}
	for _, a := range x.pass.Reach.Verdicts(w, s.To) {
		for _, m := range mannersOf(a) {
			by := x.keeping(single, m)
			if len(by) == 0 {
				continue
			}
			traced := slices.ContainsFunc(by, func(i int) bool { return !x.loops[i].untraced })
			if !x.yield(x.attempt(s.Class, m.flow, traced), by) {
				return false
			}
		}
	}
	return true
}

// keeping returns those of some loops that want requests that fare so.
func (x *following) keeping(loops []int, m manner) []int {
	var by []int
	for _, i := range loops {
		if x.keeps(i, m) {
			by = append(by, i)
		}
	}
	return by
}

func (x *following) keeps(loop int, m manner) bool {
	return !x.done(loop) && x.loops[loop].keep(m.via, m.reason)
}

// attempt is a request of a class that the loops want.
func (x *following) attempt(class []*model.Workload, f flow.Flow, traced bool) *attempt {
	a := &attempt{Class: class, To: x.to, Flow: f}
	if traced {
		x.trace(a, x.covering)
	}
	return a
}

// group puts the attempts of a tuple with those of other classes that fare alike.
func (x *following) group(s reach.Selected, loops []int) {
	r, w := x.pass.Reach, s.Class[0]
	manners, known := x.fates[s.Fate]
	if !known {
		for _, a := range r.Verdicts(w, s.To) {
			if len(a.When) > 0 { // each client has requests of its own
				manners = nil
				break
			}
			manners = append(manners, mannersOf(a)...)
		}
		x.fates[s.Fate] = manners
	}
	k, comparable := x.likeness(s, loops, manners)
	if g := x.groupOf[k]; comparable && g != nil {
		for _, a := range g {
			a.Others = append(a.Others, s.Class)
		}
		return
	}
	if manners == nil {
		for _, a := range r.Verdicts(w, s.To) {
			manners = append(manners, mannersOf(a)...)
		}
	}
	var g []attemptBy
	for _, m := range manners {
		if by := x.keeping(loops, m); len(by) > 0 {
			f := m.flow
			f.From = reach.From(w)
			g = append(g, attemptBy{x.attempt(s.Class, f, true), by})
		}
	}
	x.groups = append(x.groups, g)
	if k, comparable := x.likeness(s, loops, manners); comparable {
		x.groupOf[k] = g
	}
}

// likeness returns what the attempts of a tuple have in common with others, as far as
// that is known: false where it is not, or there is nothing to compare.
func (x *following) likeness(s reach.Selected, loops []int, manners []manner) (likeKey, bool) {
	k := likeKey{fate: s.Fate}
	if len(manners) == 0 || len(manners) > mostManners || x.fates[s.Fate] == nil {
		return k, false
	}
	for _, i := range loops {
		k.loops |= 1 << i
	}
	from := reach.From(s.Class[0])
	for i, m := range manners {
		if !slices.ContainsFunc(loops, func(i int) bool { return x.keeps(i, m) }) {
			continue
		}
		f := m.flow
		f.From = from
		if k.likes[i] = x.pass.Reach.Alike(f, s.Class[0]); k.likes[i] == (reach.Likeness{}) {
			return k, false
		}
	}
	return k, true
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
