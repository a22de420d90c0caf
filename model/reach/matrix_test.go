package reach_test

import (
	"slices"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// Every workload and destination is in exactly one rectangle, and the rectangle
// says of it what its own traces say.
func TestRectanglesCoverEachTupleOnce(t *testing.T) {
	type tuple struct {
		workload    *model.Workload
		destination reach.Destination
	}
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		m := r.Matrix(reach.Query{})
		if want, got := names(r.Clients()), names(m.Workloads); !slices.Equal(want, got) {
			t.Errorf("the matrix is about %q, the clients are %q", got, want)
		}
		if !slices.Equal(m.Destinations, r.Universe()) {
			t.Errorf("the matrix is about %v, the universe is %v", m.Destinations, r.Universe())
		}
		covered := map[tuple]int{}
		for _, rect := range m.Rectangles {
			if len(rect.Workloads) == 0 || len(rect.Destinations) == 0 {
				t.Errorf("an empty rectangle: %s", jsonText(rect.Answers))
			}
			want := jsonText(rect.Answers)
			for _, w := range rect.Workloads {
				for _, d := range rect.Destinations {
					covered[tuple{w, d}]++
					if got := jsonText(r.Answers(w, d)); got != want {
						t.Errorf("%s to %v\n\tits rectangle says %s\n\tits answers are  %s", w.ID(), d, want, got)
					}
				}
			}
		}
		for _, w := range m.Workloads {
			for _, d := range m.Destinations {
				if n := covered[tuple{w, d}]; n != 1 {
					t.Errorf("%s to %v is in %d rectangles", w.ID(), d, n)
				}
				delete(covered, tuple{w, d})
			}
		}
		for extra := range covered {
			t.Errorf("%s to %v is in a rectangle but not asked for", extra.workload.ID(), extra.destination)
		}
	})
}

func names(list []*model.Workload) []string {
	var out []string
	for _, w := range list {
		out = append(out, reach.From(w))
	}
	slices.Sort(out)
	return out
}

// An answer that is not "depends" is the trace of its flow, and says of each
// protocol one thing for each kind of address.
func TestAnswersAreTracesOfTheirFlows(t *testing.T) {
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		for _, rect := range r.Matrix(reach.Query{}).Rectangles {
			d := rect.Destinations[0]
			var kinds []string
			for _, a := range rect.Answers {
				kinds = append(kinds, string(a.Protocol)+" "+string(a.Address))
				// The flow is that of the first tuple asked for, not of this one.
				for _, w := range rect.Workloads {
					f := a.Flow
					f.From, f.Host, f.Port = reach.From(w), d.Host, d.Port
					if a.Flow.Host != d.Host {
						continue
					}
					trace := r.Trace(f)
					if a.Outcome == reach.Depends {
						continue
					}
					if trace.Outcome != a.Outcome || trace.Via != a.Via || trace.Reason != a.Reason || trace.Policy != a.Policy || trace.HTTPStatus != a.HTTPStatus || trace.UpstreamTLS != a.UpstreamTLS {
						t.Errorf("%s\n\tanswer %s\n\ttrace  %s", jsonText(f), jsonText(a), fate(trace))
					}
					if a.EveryAllowed != (a.Outcome == flow.Allowed) || a.EveryAllowed && !a.SomeAllowed {
						t.Errorf("%s\n\tthe answer contradicts itself: %s", jsonText(f), jsonText(a))
					}
				}
			}
			slices.Sort(kinds)
			if len(slices.Compact(kinds)) != len(rect.Answers) {
				t.Errorf("%v has two answers for one protocol and address: %s", d, jsonText(rect.Answers))
			}
			for _, p := range []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP} {
				if !slices.ContainsFunc(rect.Answers, func(a reach.Answer) bool { return a.Protocol == p }) {
					t.Errorf("%v has no answer for %s", d, p)
				}
			}
		}
	})
}
