package reach_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

// meshes loads every mesh of testdata/mesh.
func meshes(t *testing.T) map[string]*reach.Reach {
	t.Helper()
	dirs, err := filepath.Glob("../../testdata/mesh/*/manifests")
	if err != nil || len(dirs) < 50 {
		t.Fatalf("%d meshes, %v", len(dirs), err)
	}
	out := map[string]*reach.Reach{}
	for _, dir := range dirs {
		out[filepath.Base(filepath.Dir(dir))] = load(t, dir)
	}
	return out
}

func load(t *testing.T, dir string) *reach.Reach {
	t.Helper()
	mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: dir}}}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return reach.New(traffic.New(mesh))
}

func random(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not for secrets
}

func verdict(t *flow.Trace) string {
	out := fmt.Sprint(t.Outcome, t.Via, t.Reason, t.Policy, t.UpstreamTLS, t.HTTPStatus, t.Guarantee)
	for i := range t.Branches {
		out += fmt.Sprint(" ", t.Branches[i].Weight, verdict(&t.Branches[i].Trace))
	}
	return out
}

var schemes = []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP}

// The two destinations that stand for the rest do: a host that no manifest names,
// and an address that none lists, fare as they do.
func TestStandIns(t *testing.T) {
	r := random(t)
	for name, m := range meshes(t) {
		for _, d := range m.Universe() {
			if d.Stands != reach.AnyName && d.Stands != reach.AnyAddress {
				continue
			}
			other := fmt.Sprintf("h%d.nowhere-%d.egresslint-test", r.IntN(1000), r.IntN(1000))
			if d.Stands == reach.AnyAddress {
				other = fmt.Sprintf("93.%d.%d.%d", 100+r.IntN(100), r.IntN(256), 1+r.IntN(254))
			}
			for _, class := range m.Classes() {
				scheme := schemes[r.IntN(len(schemes))]
				f := flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: scheme}
				g := f
				g.Host = other
				if a, b := verdict(m.Trace(f)), verdict(m.Trace(g)); a != b {
					t.Errorf("%s: %s from %s on port %d: %s fares %s, %s fares %s", name, scheme, f.From, d.Port, d.Host, a, other, b)
				}
			}
		}
	}
}

// The members of a class cannot be told apart.
func TestClasses(t *testing.T) {
	r := random(t)
	compared := 0
	for name, m := range meshes(t) {
		universe := m.Universe()
		for _, class := range m.Classes() {
			for _, w := range class[1:] {
				for range 10 {
					d := universe[r.IntN(len(universe))]
					f := flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: schemes[r.IntN(len(schemes))]}
					g := f
					g.From = reach.From(w)
					compared++
					if a, b := verdict(m.Trace(f)), verdict(m.Trace(g)); a != b {
						t.Errorf("%s: %s:%d %s: %s fares %s, %s fares %s", name, d.Host, d.Port, f.Scheme, f.From, a, g.From, b)
					}
				}
			}
		}
	}
	if compared == 0 {
		t.Error("no mesh has two workloads of one class")
	}
}

// Labels that only a network policy asks for tell workloads apart.
func TestClassesByNetworkPolicy(t *testing.T) {
	dir := t.TempDir()
	text := `
apiVersion: v1
kind: Pod
metadata: {name: locked, namespace: shop, labels: {tier: locked}}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: free, namespace: shop, labels: {tier: free}}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: shop}
spec:
  podSelector: {matchExpressions: [{key: tier, operator: In, values: [locked]}]}
  policyTypes: [Egress]
`
	if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := load(t, dir)
	if n := len(m.Classes()); n != 2 {
		t.Fatalf("%d classes, want 2", n)
	}
	for _, w := range m.Clients() {
		want := flow.Allowed
		if w.Name == "locked" {
			want = flow.Blocked
		}
		if a := m.Answer(w, reach.Destination{Host: "example.com", Port: 443}, flow.TLS); a.Outcome != want {
			t.Errorf("%s: %s, want %s", w.ID(), a.Outcome, want)
		}
	}
}

// Every tuple lies in exactly one rectangle, and each rectangle says what its
// tuples say when they are asked for one by one.
func TestRectangles(t *testing.T) {
	r := random(t)
	for name, m := range meshes(t) {
		matrix := m.Matrix(reach.Query{})
		type tuple struct {
			workload string
			to       reach.Destination
		}
		seen := map[tuple]int{}
		for _, rect := range matrix.Rectangles {
			for _, w := range rect.Workloads {
				for _, d := range rect.Destinations {
					seen[tuple{reach.From(w), d}]++
				}
			}
			w, d := rect.Workloads[r.IntN(len(rect.Workloads))], rect.Destinations[r.IntN(len(rect.Destinations))]
			for _, a := range rect.Answers {
				if a.Outcome == reach.Depends || a.Address != "" {
					continue
				}
				if got := m.Trace(flow.Flow{From: reach.From(w), Host: d.Host, Port: d.Port, Scheme: a.Protocol, Method: a.Flow.Method, Path: a.Flow.Path, Headers: a.Flow.Headers}); got.Outcome != a.Outcome || got.Via != a.Via || got.Reason != a.Reason {
					t.Errorf("%s: %s %s:%d %s: rectangle %s %s %s, flow %s %s %s", name, w.ID(), d.Host, d.Port, a.Protocol, a.Outcome, a.Via, a.Reason, got.Outcome, got.Via, got.Reason)
				}
			}
		}
		if len(seen) != len(matrix.Workloads)*len(matrix.Destinations) {
			t.Errorf("%s: %d tuples in rectangles, want %d × %d", name, len(seen), len(matrix.Workloads), len(matrix.Destinations))
		}
		for k, n := range seen {
			if n != 1 {
				t.Errorf("%s: %v lies in %d rectangles", name, k, n)
			}
		}
	}
}
