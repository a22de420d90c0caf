package reach_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// eachDepends calls a function with each answer that depends on the request, once
// for each class.
func eachDepends(r *reach.Reach, do func(w *model.Workload, a reach.Answer)) {
	for _, class := range r.Classes() {
		for _, d := range r.Universe() {
			for _, a := range r.Answers(class[0], d) {
				if a.Outcome == reach.Depends {
					do(class[0], a)
				}
			}
		}
	}
}

// unlike says how a trace differs from what a condition says, "" where it does not.
func unlike(c *reach.Condition, t *flow.Trace) string {
	want := jsonText([]any{c.Outcome, c.Via, c.Reason, c.Policy, c.HTTPStatus})
	got := jsonText([]any{t.Outcome, t.Via, t.Reason, t.Policy, t.HTTPStatus})
	if want == got {
		return ""
	}
	return "\n\tcondition says " + want + "\n\tthe flow gets  " + got
}

// Each condition holds for a request of its own, and for each request that has
// one of the methods, paths and headers that it lists.
func TestConditionsReplayedGiveWhatTheySay(t *testing.T) {
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		eachDepends(r, func(w *model.Workload, a reach.Answer) {
			if len(a.When) < 2 {
				t.Errorf("%s: the answer depends on the request, but names %d kinds of it", jsonText(a.Flow), len(a.When))
			}
			for i := range a.When {
				c := &a.When[i]
				for _, f := range append([]flow.Flow{c.Flow}, requestsOf(c)...) {
					if f.From != reach.From(w) {
						t.Errorf("the request of a condition is of %s, asked was for %s", f.From, reach.From(w))
					}
					if diff := unlike(c, r.Trace(f)); diff != "" {
						t.Errorf("%s\n\tis one of %s%s", jsonText(f), jsonText(c), diff)
					}
				}
			}
		})
	})
}

// requestsOf makes requests from what a condition lists, one for each entry.
func requestsOf(c *reach.Condition) []flow.Flow {
	var out []flow.Flow
	with := func(change func(*flow.Flow)) {
		f := c.Flow
		if f.Headers = maps.Clone(f.Headers); f.Headers == nil {
			f.Headers = map[string]string{}
		}
		change(&f)
		out = append(out, f)
	}
	for _, m := range c.Methods {
		if strings.HasPrefix(m, "~") {
			continue
		}
		if m = strings.ReplaceAll(m, "*", "QWERTY"); m == "any other method" {
			m = "QWERTY"
		}
		with(func(f *flow.Flow) { f.Method = m })
	}
	for _, p := range c.Paths {
		switch p = literal(p); {
		case strings.Contains(p, "~"):
			p = c.Flow.Path // an expression; the request of the condition meets it
		case p == "any other path":
			p = "/qwerty-zzz"
		case !strings.HasPrefix(p, "/"):
			p = "/" + p
		}
		with(func(f *flow.Flow) { f.Path = p })
	}
	for _, h := range c.Headers {
		name, value, _ := strings.Cut(h, ": ")
		if strings.HasPrefix(value, "~") {
			continue
		}
		with(func(f *flow.Flow) {
			switch value = literal(value); value {
			case "absent":
				delete(f.Headers, name)
			case "present":
				f.Headers[name] = "qwerty"
			case "any other value":
				f.Headers[name] = "qwerty-zzz"
			default:
				f.Headers[name] = value
			}
		})
	}
	for _, h := range c.Hosts {
		with(func(f *flow.Flow) { f.Headers["host"] = h })
	}
	return out
}

// literal puts something in the place of a pattern's stars.
func literal(pattern string) string {
	return strings.NewReplacer("{**}", "qwerty/zzz", "{*}", "qwerty", "*", "qwertyzzz").Replace(pattern)
}

// A request that no condition names is in exactly one of them, by "any other" and
// "absent", and fares as that one says.
func TestRequestsThatNoConditionNames(t *testing.T) {
	named := func(list []string, other string) bool { return len(list) == 0 || slices.Contains(list, other) }
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		eachDepends(r, func(w *model.Workload, a reach.Answer) {
			f := flow.Flow{From: reach.From(w), Host: a.Flow.Host, Port: a.Flow.Port, Scheme: a.Protocol, DstIP: a.Flow.DstIP, Method: "QWERTY", Path: "/qwerty-zzz"}
			if slices.ContainsFunc(a.When, func(c reach.Condition) bool { return len(c.Hosts) > 0 }) {
				f.Headers = map[string]string{"host": f.Host}
			}
			var of []*reach.Condition
			for i := range a.When {
				c := &a.When[i]
				headers := true
				for _, h := range c.Headers {
					name, _, _ := strings.Cut(h, ": ")
					headers = headers && slices.Contains(c.Headers, name+": absent")
				}
				if named(c.Methods, "any other method") && named(c.Paths, "any other path") && named(c.Hosts, f.Host) && headers {
					of = append(of, c)
				}
			}
			if len(of) != 1 {
				t.Errorf("%s is one of %d conditions of %s", jsonText(f), len(of), jsonText(a.When))
				return
			}
			if diff := unlike(of[0], r.Trace(f)); diff != "" {
				t.Errorf("%s\n\tis one of %s%s", jsonText(f), jsonText(of[0]), diff)
			}
		})
	})
}
