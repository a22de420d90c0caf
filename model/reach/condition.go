package reach

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// conditions says which requests fare how, in as few lines as it can: values of
// a dimension that make no difference are joined, and a dimension that makes
// none is left out. cases and traces are those of flows.
func (q *requests) conditions(cases []flow.Flow, traces []*flow.Trace) []Condition {
	dims := q.dimensions()
	total := 1
	for _, d := range dims {
		total *= max(1, len(d))
	}
	if total != len(cases) {
		return q.oneByOne(cases, traces)
	}
	next := 0
	var build func(dim int) []Condition
	build = func(dim int) []Condition {
		if dim == len(dims) {
			t, f := traces[next], cases[next]
			next++
			return []Condition{{Outcome: t.Outcome, Via: t.Via, Reason: t.Reason, Policy: t.Policy, HTTPStatus: t.HTTPStatus, UpstreamTLS: t.UpstreamTLS, Flow: f}}
		}
		if len(dims[dim]) == 0 {
			return build(dim + 1)
		}
		type group struct {
			texts []string
			sub   []Condition
		}
		var groups []group
		for _, v := range dims[dim] {
			sub := build(dim + 1)
			key := conditionKey(sub)
			if i := slices.IndexFunc(groups, func(g group) bool { return conditionKey(g.sub) == key }); i >= 0 {
				groups[i].texts = append(groups[i].texts, v.text)
			} else {
				groups = append(groups, group{[]string{v.text}, sub})
			}
		}
		var out []Condition
		for _, g := range groups {
			for _, c := range g.sub {
				if len(groups) > 1 {
					c.add(dim, g.texts)
				}
				out = append(out, c)
			}
		}
		return out
	}
	return build(0)
}

func conditionKey(list []Condition) string {
	text, _ := json.Marshal(list)
	return string(text)
}

// add names the values of a dimension, in the order of dimensions.
func (c *Condition) add(dim int, texts []string) {
	switch dim {
	case 0:
		c.Methods = texts
	case 1:
		c.Paths = joinPrefixes(texts)
	case 2:
		c.Hosts = texts
	default:
		c.Headers = append(slices.Clone(texts), c.Headers...)
	}
}

// joinPrefixes leaves out what a prefix in the list covers: "/p" and "/p/*" beside
// "/p*".
func joinPrefixes(texts []string) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool {
		return slices.ContainsFunc(texts, func(other string) bool {
			prefix, ok := strings.CutSuffix(other, "*")
			return ok && other != text && (text == prefix || text == prefix+"/*")
		})
	})
}

// oneByOne describes the cases in which one dimension was varied at a time, or
// what routes and rules ask for as a whole.
func (q *requests) oneByOne(cases []flow.Flow, traces []*flow.Trace) []Condition {
	condition := func(i int) Condition {
		t := traces[i]
		return Condition{Outcome: t.Outcome, Via: t.Via, Reason: t.Reason, Policy: t.Policy, HTTPStatus: t.HTTPStatus, UpstreamTLS: t.UpstreamTLS, Flow: cases[i]}
	}
	out := []Condition{condition(0)}
	i := 1
	for dim, d := range q.dimensions() {
		for _, v := range d {
			if !sameFate(traces[i], traces[0]) {
				c := condition(i)
				c.add(dim, []string{v.text})
				out = append(out, c)
			}
			i++
		}
	}
	for _, whole := range q.wholes {
		if !sameFate(traces[i], traces[0]) {
			c := condition(i)
			for dim := range len(q.dimensions()) {
				// What is applied last counts.
				for _, v := range slices.Backward(whole) {
					if min(dim, headerDimension) == v.dimension && (dim < headerDimension || has(q.headers[dim-headerDimension], v.text)) {
						c.add(dim, []string{v.text})
						break
					}
				}
			}
			if key := conditionKey([]Condition{c}); !slices.ContainsFunc(out, func(o Condition) bool { return conditionKey([]Condition{o}) == key }) {
				out = append(out, c)
			}
		}
		i++
	}
	return out
}

func has(list []value, text string) bool {
	return slices.ContainsFunc(list, func(v value) bool { return v.text == text })
}
