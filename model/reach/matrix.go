package reach

import (
	"cmp"
	"encoding/json"
	"path"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// protocols are what a client may speak, on any port.
var protocols = []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP}

// Answers returns the fate of a tuple for each client protocol and kind of
// address, in the order http, tls, tcp; listed before other.
func (r *Reach) Answers(w *model.Workload, d Destination) []Answer {
	first := r.class[w]
	if first == nil {
		first = w
	}
	key := tuple{first, d}
	if a, ok := r.answers[key]; ok {
		return a
	}
	var out []Answer
	for _, protocol := range protocols {
		if !r.listed(d) {
			out = append(out, r.answer(first, d, protocol, "", ""))
			continue
		}
		other := r.Sim.Push().PublicAddress(d.Host).String()
		a, b := r.answer(first, d, protocol, Listed, ""), r.answer(first, d, protocol, Other, other)
		if sameAnswer(a, b) {
			a.Address = ""
			out = append(out, a)
		} else {
			out = append(out, a, b)
		}
	}
	r.answers[key] = out
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
	type rectangle struct {
		Rectangle
		columns string
	}
	// Rows of a class are equal; first join the destinations of each class that
	// fare alike, then the classes for which the same destinations do.
	var rects []rectangle
	for _, class := range r.classes {
		var members []*model.Workload
		for _, w := range class {
			if matchesAny(q.From, w) {
				members = append(members, w)
			}
		}
		if len(members) == 0 {
			continue
		}
		m.Workloads = append(m.Workloads, members...)
		index := map[string]int{}
		var groups []Rectangle
		for _, d := range m.Destinations {
			answers := r.Answers(class[0], d)
			key := signature(answers)
			i, ok := index[key]
			if !ok {
				i = len(groups)
				index[key] = i
				groups = append(groups, Rectangle{Workloads: members, Answers: answers})
			}
			groups[i].Destinations = append(groups[i].Destinations, d)
		}
		for _, g := range groups {
			columns, _ := json.Marshal(g.Destinations)
			key := string(columns) + signature(g.Answers)
			if i := slices.IndexFunc(rects, func(x rectangle) bool { return x.columns == key }); i >= 0 {
				rects[i].Workloads = append(slices.Clone(rects[i].Workloads), members...)
				continue
			}
			rects = append(rects, rectangle{g, key})
		}
	}
	byName := func(a, b *model.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	}
	slices.SortFunc(m.Workloads, byName)
	for i := range rects {
		slices.SortFunc(rects[i].Workloads, byName)
		m.Rectangles = append(m.Rectangles, rects[i].Rectangle)
	}
	position := map[Destination]int{}
	for i, d := range m.Destinations {
		position[d] = i
	}
	slices.SortStableFunc(m.Rectangles, func(a, b Rectangle) int {
		return cmp.Or(byName(a.Workloads[0], b.Workloads[0]), cmp.Compare(position[a.Destinations[0]], position[b.Destinations[0]]))
	})
	for _, w := range m.Workloads {
		if a := r.Sim.Capture(w).Assumption; a != "" && !slices.Contains(m.Assumptions, a) {
			m.Assumptions = append(m.Assumptions, a)
		}
	}
	return m
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
func (r *Reach) answer(w *model.Workload, d Destination, protocol flow.Scheme, address Address, dst string) Answer {
	base := flow.Flow{From: From(w), Host: d.Host, Port: d.Port, Scheme: protocol, DstIP: dst}
	a := Answer{Protocol: protocol, Address: address, Flow: base}
	if protocol != flow.HTTP {
		a.set(r.Trace(base))
		return a
	}
	cases := r.requestsFor(d).flows(base)
	traces := make([]*flow.Trace, len(cases))
	same := true
	for i, f := range cases {
		traces[i] = r.Trace(f)
		same = same && verdict(traces[i]) == verdict(traces[0])
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

// verdict is the same for traces that a tuple does not tell apart.
func verdict(t *flow.Trace) string {
	text, _ := json.Marshal([]any{t.Outcome, t.Via, t.Reason, t.Policy, t.UpstreamTLS, t.HTTPStatus})
	return string(text)
}

// ruleOf returns the rule that decided, -1 for none.
func ruleOf(t *flow.Trace) int {
	if t.Rule == nil {
		return -1
	}
	return *t.Rule
}
