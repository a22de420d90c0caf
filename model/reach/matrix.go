package reach

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// protocols are what a client may speak, on any port.
var protocols = []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP}

// Answers returns the fate of a tuple for each client protocol and kind of
// address, in the order http, tls, tcp; listed before other.
func (r *Reach) Answers(w *model.Workload, d Destination) []Answer {
	first := r.First(w)
	answers := r.Verdicts(first, d)
	if slices.ContainsFunc(answers, func(a Answer) bool { return len(a.When) > 0 }) {
		key := tuple{first, d}
		out, ok := r.answers[key]
		if !ok {
			out = r.decide(first, d)
			r.answers[key] = out
		}
		return out
	}
	var out []Answer
	for _, a := range answers {
		listed, other := r.guaranteesOf(first, d, &a)
		if a.Guarantee = listed; listed == other {
			out = append(out, a)
			continue
		}
		b := a
		a.Address, b.Address, b.Guarantee = Listed, Other, other
		b.Flow.DstIP = r.Sim.Push().PublicAddress(d.Host).String()
		out = append(out, a, b)
	}
	return out
}

// Verdicts is Answers without guarantees, which take longer than all the rest.
func (r *Reach) Verdicts(w *model.Workload, d Destination) []Answer {
	first := r.First(w)
	r.lay()
	i, ok := r.place[d]
	if !ok {
		return r.strange(first, d)
	}
	return r.bound(first, d, r.fates[r.fateAt(first, i)])
}

// strange decides a destination that is not of the universe.
func (r *Reach) strange(first *model.Workload, d Destination) []Answer {
	key := tuple{first, d}
	out, ok := r.strangers[key]
	if !ok {
		out = r.decided(first, d, r.Sim.Verdict)
		r.strangers[key] = out
	}
	return out
}

// First returns the workload that stands for the class of another: itself where that is
// of none.
func (r *Reach) First(w *model.Workload) *model.Workload {
	if first := r.class[w]; first != nil {
		return first
	}
	return w
}

// bound turns what many tuples have in common into the answers of one of them.
func (r *Reach) bound(first *model.Workload, d Destination, fate []Answer) []Answer {
	if slices.ContainsFunc(fate, func(a Answer) bool { return len(a.When) > 0 }) {
		return r.strange(first, d)
	}
	out := slices.Clone(fate)
	for i := range out {
		a := &out[i]
		a.Flow = flow.Flow{From: From(first), Host: d.Host, Port: d.Port, Scheme: a.Protocol}
		if a.Address == Other {
			a.Flow.DstIP = r.Sim.Push().PublicAddress(d.Host).String()
		}
		if a.Protocol == flow.HTTP {
			a.Flow = r.requestsFor(d).plainest(a.Flow)
		}
	}
	return out
}

// Alone is Answers by asking the simulation for this very tuple, and not for what
// the matrix takes for one that fares alike: what the matrix is held against.
func (r *Reach) Alone(w *model.Workload, d Destination) []Answer { return r.decide(w, d) }

// Same reports whether answers are equal, whatever the requests that show it.
func Same(a, b []Answer) bool { return signature(a) == signature(b) }

// decide asks the simulation for a tuple.
func (r *Reach) decide(first *model.Workload, d Destination) []Answer {
	return r.decided(first, d, r.Trace)
}

// decided asks for the requests of a tuple.
func (r *Reach) decided(first *model.Workload, d Destination, ask func(flow.Flow) *flow.Trace) []Answer {
	var out []Answer
	for _, protocol := range protocols {
		if !r.listed(d) {
			out = append(out, r.answer(first, d, protocol, "", "", ask))
			continue
		}
		other := r.Sim.Push().PublicAddress(d.Host).String()
		a, b := r.answer(first, d, protocol, Listed, "", ask), r.answer(first, d, protocol, Other, other, ask)
		if sameAnswer(a, b) {
			a.Address = ""
			out = append(out, a)
		} else {
			out = append(out, a, b)
		}
	}
	return out
}

// Answer returns the fate of a tuple for one protocol with the address that a
// client finds.
func (r *Reach) Answer(w *model.Workload, d Destination, protocol flow.Scheme) Answer {
	for _, a := range r.Answers(w, d) {
		if a.Protocol == protocol && a.Address != Other {
			return a
		}
	}
	return Answer{}
}

func sameAnswer(a, b Answer) bool {
	a.Address, b.Address = "", ""
	return signature([]Answer{a}) == signature([]Answer{b})
}

// signature is the same for equal answers.
func signature(answers []Answer) string {
	text, err := json.Marshal(answers)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Matrix answers for all tuples of a query as rectangles.
func (r *Reach) Matrix(q Query) *Matrix {
	m := &Matrix{Destinations: r.asked(q)}
	// Rows of a class are equal; first join the destinations of each class that
	// fare alike, then the classes for which the same destinations do.
	type rectangle struct {
		fate    int32
		columns string
	}
	index := map[rectangle]int{}
	var sets []set
	for _, class := range r.classes {
		members := class
		if len(q.From) > 0 {
			members = slices.DeleteFunc(slices.Clone(class), func(w *model.Workload) bool { return !matchesAny(q.From, w) })
		}
		if len(members) == 0 {
			continue
		}
		m.Workloads = append(m.Workloads, members...)
		for _, g := range r.columnsOf(class[0], q, m.Destinations) {
			key := rectangle{g.fate, g.set.key()}
			i, ok := index[key]
			if !ok {
				i = len(m.Rectangles)
				index[key] = i
				m.Rectangles = append(m.Rectangles, Rectangle{})
				sets = append(sets, g.set)
			}
			m.Rectangles[i].Workloads = append(m.Rectangles[i].Workloads, members...)
		}
	}
	byName := func(a, b *model.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	}
	slices.SortFunc(m.Workloads, byName)
	type placed struct {
		Rectangle
		first int
	}
	list := make([]placed, len(sets))
	for i, columns := range sets {
		x := m.Rectangles[i]
		slices.SortFunc(x.Workloads, byName)
		list[i] = placed{x, -1}
		columns.members(func(at int) bool {
			if list[i].first < 0 {
				list[i].first = at
			}
			list[i].Destinations = append(list[i].Destinations, m.Destinations[at])
			return true
		})
		list[i].Answers = r.answersFrom(x.Workloads[0], list[i].Destinations[0])
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		return cmp.Or(byName(a.Workloads[0], b.Workloads[0]), cmp.Compare(a.first, b.first)) < 0
	})
	for i := range list {
		m.Rectangles[i] = list[i].Rectangle
	}
	seen := map[string]bool{}
	for _, w := range m.Workloads {
		if a := r.Sim.Capture(w).Assumption; a != "" && !seen[a] {
			seen[a] = true
			m.Assumptions = append(m.Assumptions, a)
		}
	}
	if a := r.untried(m.Destinations); a != "" {
		m.Assumptions = append(m.Assumptions, a)
	}
	return m
}

// untried says for which destinations conditions on requests give more
// combinations than were tried, "" if for none.
func (r *Reach) untried(list []Destination) string {
	var names []string
	for _, d := range list {
		name := fmt.Sprintf("%s:%d", d.Host, d.Port)
		if q := r.samples[name]; q != nil && q.cut && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	if more := len(names) - 3; more > 0 {
		names = append(names[:3], fmt.Sprintf("+%d more", more))
	}
	return fmt.Sprintf("routes and policies ask for more than %d combinations of what requests to %s hold: of the others, each value was tried alone", maxWholes, strings.Join(names, ", "))
}

// columnsOf groups the destinations of a query that fare alike for a class, by
// their place in the list.
func (r *Reach) columnsOf(first *model.Workload, q Query, list []Destination) []group {
	if len(q.To) == 0 {
		return r.guaranteed(first)
	}
	alike := newGrouping(len(list))
	for i, d := range list {
		alike.at(r.fate(r.Answers(first, d))).add(i)
	}
	return alike.groups
}

// answersFrom returns the answers of a tuple, with flows of the workload itself.
func (r *Reach) answersFrom(w *model.Workload, d Destination) []Answer {
	out := slices.Clone(r.Answers(w, d))
	for i := range out {
		out[i].Flow.From = From(w)
		if len(out[i].When) > 0 {
			out[i].When = slices.Clone(out[i].When)
		}
		for j := range out[i].When {
			out[i].When[j].Flow.From = From(w)
		}
	}
	return out
}

// matchesAny reports whether a workload is named by one of the globs, which are
// over "namespace/name"; none means all.
func matchesAny(globs []string, w *model.Workload) bool {
	if len(globs) == 0 {
		return true
	}
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, w.ID())
		return err == nil && ok
	})
}

// answer decides one tuple for one protocol and address.
func (r *Reach) answer(w *model.Workload, d Destination, protocol flow.Scheme, address Address, dst string, ask func(flow.Flow) *flow.Trace) Answer {
	base := flow.Flow{From: From(w), Host: d.Host, Port: d.Port, Scheme: protocol, DstIP: dst}
	a := Answer{Protocol: protocol, Address: address, Flow: base}
	if protocol != flow.HTTP {
		a.set(ask(base))
		return a
	}
	cases := r.requestsFor(d).flows(base)
	traces := make([]*flow.Trace, len(cases))
	same := true
	for i, f := range cases {
		traces[i] = ask(f)
		same = same && sameFate(traces[i], traces[0])
	}
	a.set(traces[0])
	a.Flow = cases[0]
	if same {
		if slices.ContainsFunc(traces, func(t *flow.Trace) bool { return ruleOf(t) != ruleOf(traces[0]) }) {
			a.Rule = nil
		}
		return a
	}
	a.Outcome, a.SomeAllowed, a.EveryAllowed = Depends, false, true
	for _, t := range traces {
		a.SomeAllowed = a.SomeAllowed || someAllowed(t)
		a.EveryAllowed = a.EveryAllowed && t.Outcome == flow.Allowed
	}
	a.Policy, a.Rule, a.HTTPStatus, a.UpstreamTLS = "", nil, 0, ""
	for _, t := range traces {
		if slices.Index(weakest, t.Guarantee) < slices.Index(weakest, a.Guarantee) {
			a.Guarantee = t.Guarantee
		}
	}
	a.When = r.requestsFor(d).conditions(cases, traces)
	return a
}

// weakest are the guarantees, the weakest first; an answer that does not know has
// none.
var weakest = []string{"", traffic.NoGuarantee, traffic.BestEffort, traffic.Enforced}

func someAllowed(t *flow.Trace) bool {
	if t.Outcome == flow.Allowed {
		return true
	}
	return slices.ContainsFunc(t.Branches, func(b flow.Branch) bool { return someAllowed(&b.Trace) })
}

// set takes over what a trace says.
func (a *Answer) set(t *flow.Trace) {
	a.Outcome, a.Via, a.Reason, a.Policy, a.Rule = t.Outcome, t.Via, t.Reason, t.Policy, t.Rule
	a.Guarantee, a.UpstreamTLS, a.HTTPStatus = t.Guarantee, t.UpstreamTLS, t.HTTPStatus
	a.SomeAllowed, a.EveryAllowed = someAllowed(t), t.Outcome == flow.Allowed
}

// sameFate reports whether a tuple does not tell traces apart.
func sameFate(a, b *flow.Trace) bool {
	return a == b || a.Outcome == b.Outcome && a.Via == b.Via && a.Reason == b.Reason && a.Policy == b.Policy && a.UpstreamTLS == b.UpstreamTLS && a.HTTPStatus == b.HTTPStatus
}

// ruleOf returns the rule that decided, -1 for none.
func ruleOf(t *flow.Trace) int {
	if t.Rule == nil {
		return -1
	}
	return *t.Rule
}
