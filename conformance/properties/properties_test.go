// Package properties holds what must be true of the rules and of the simulation
// in every mesh, on random meshes of the generator.
package properties

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

var (
	start = flag.Uint64("start", 1, "first seed")
	seeds = flag.Uint64("seeds", 15, "number of meshes")
)

// each runs a check on random meshes; the name of a failing one is its seed.
func each(t *testing.T, check func(t *testing.T, c *generate.Case)) {
	t.Helper()
	for seed := *start; seed < *start+*seeds; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { check(t, generate.New(seed, 30)) })
	}
}

// linted is a mesh and what the rules find in it.
type linted struct {
	simulation *traffic.Simulation
	findings   []analyzers.Finding
}

func load(t *testing.T, stream []byte) linted {
	t.Helper()
	mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(stream)}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	simulation := traffic.New(mesh)
	return linted{simulation, analyzers.Run(mesh, reach.New(simulation), analyzers.Config{})}
}

// words names a finding without its position.
func words(f *analyzers.Finding) string {
	object := ""
	if f.Object != nil {
		object = f.Object.String()
	}
	return strings.Join([]string{f.Rule.ID, object, f.Field, string(f.Severity), f.Message}, "|")
}

// TestWitness: the request that a finding shows fares as the finding says.
func TestWitness(t *testing.T) {
	witnesses := 0
	each(t, func(t *testing.T, c *generate.Case) {
		l := load(t, c.YAML())
		again := load(t, c.YAML())
		for i := range l.findings {
			f := &l.findings[i]
			if (f.Flow == nil) != (f.Trace == nil) {
				t.Errorf("%s: a request without its trace", words(f))
			}
			if f.Flow == nil {
				continue
			}
			witnesses++
			if got := again.simulation.Trace(*f.Flow); verdict(got) != verdict(f.Trace) {
				t.Errorf("%s: shows %s, but %+v gives %s", words(f), verdict(f.Trace), *f.Flow, verdict(got))
			}
		}
	})
	if witnesses == 0 {
		t.Error("no mesh gave a finding with a request")
	}
}

func verdict(t *flow.Trace) string {
	s := fmt.Sprintf("%s %s %s %s %d", t.Outcome, t.Via, t.Reason, t.Policy, t.HTTPStatus)
	for i := range t.Branches {
		s += " [" + verdict(&t.Branches[i].Trace) + "]"
	}
	return s
}

// TestRenaming: other names of namespaces give the same findings.
func TestRenaming(t *testing.T) {
	rename := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("other"), []byte("pther")) } // in the same order among the names
	each(t, func(t *testing.T, c *generate.Case) {
		before, after := load(t, c.YAML()), load(t, rename(c.YAML()))
		var want, got []string
		for i := range before.findings {
			want = append(want, string(rename([]byte(words(&before.findings[i])))))
		}
		for i := range after.findings {
			got = append(got, string(rename([]byte(words(&after.findings[i])))))
		}
		slices.Sort(want)
		slices.Sort(got)
		for _, s := range want {
			if !slices.Contains(got, s) {
				t.Errorf("gone after renaming: %s", s)
			}
		}
		for _, s := range got {
			if !slices.Contains(want, s) {
				t.Errorf("new after renaming: %s", s)
			}
		}
	})
}

// TestIsolation: a NetworkPolicy that lets no pod out makes no finding about
// ways around the control (groups 1 to 3) worse, and no new one.
func TestIsolation(t *testing.T) {
	each(t, func(t *testing.T, c *generate.Case) {
		before := load(t, c.YAML())
		closed := slices.Clone(c.Objects)
		for _, namespace := range []string{"default", "app", "other"} {
			closed = append(closed, generate.Object{
				"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
				"metadata": map[string]any{"name": "closed", "namespace": namespace},
				"spec":     map[string]any{"podSelector": map[string]any{}, "policyTypes": []any{"Egress"}},
			})
		}
		after := load(t, generate.Stream(closed))
		worst := map[string]analyzers.Severity{}
		at := func(f *analyzers.Finding) string {
			object := ""
			if f.Object != nil {
				object = f.Object.String()
			}
			return f.Rule.ID + " " + object + " " + f.Field
		}
		for i := range before.findings {
			f := &before.findings[i]
			if f.Severity.Rank() > worst[at(f)].Rank() {
				worst[at(f)] = f.Severity
			}
		}
		for i := range after.findings {
			f := &after.findings[i]
			if f.Rule.SecuritySeverity == 0 || cmp.Compare(f.Rule.ID, "EGR1") < 0 || cmp.Compare(f.Rule.ID, "EGR4") >= 0 {
				continue
			}
			if f.Severity.Rank() > worst[at(f)].Rank() && f.Severity.Rank() > analyzers.Note.Rank() {
				t.Errorf("closed namespaces make it %s (was %q): %s", f.Severity, worst[at(f)], words(f))
			}
		}
	})
}

// TestRemovedDeny: without a DENY policy, what was allowed stays allowed.
func TestRemovedDeny(t *testing.T) {
	each(t, func(t *testing.T, c *generate.Case) {
		before := load(t, c.YAML())
		for i, o := range c.Objects {
			spec, _ := o["spec"].(map[string]any)
			if o["kind"] != "AuthorizationPolicy" || spec["action"] != "DENY" {
				continue
			}
			after := load(t, generate.Stream(slices.Concat(c.Objects[:i], c.Objects[i+1:])))
			for _, f := range c.Flows {
				was, is := before.simulation.Verdict(f), after.simulation.Verdict(f)
				if was.Outcome == flow.Allowed && is.Outcome != flow.Allowed {
					t.Errorf("without %v, %+v is %s, was %s", o["metadata"], f, verdict(is), verdict(was))
				}
			}
		}
	})
}
