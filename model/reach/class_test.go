package reach_test

import (
	"sync/atomic"
	"testing"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// The members of a class cannot be told apart.
func TestClassesFareAlike(t *testing.T) {
	schemes := []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP}
	var compared atomic.Int64
	t.Cleanup(func() {
		if compared.Load() == 0 {
			t.Error("no mesh has two workloads of one class")
		}
	})
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		random := seeded(t)
		universe := r.Universe()
		for _, class := range r.Classes() {
			for _, w := range class[1:] {
				for range 10 {
					d := universe[random.IntN(len(universe))]
					f := flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: schemes[random.IntN(len(schemes))]}
					g := f
					g.From = reach.From(w)
					compared.Add(1)
					if a, b := fate(r.Trace(f)), fate(r.Trace(g)); a != b {
						t.Errorf("%s:%d %s: %s fares %s, %s fares %s", d.Host, d.Port, f.Scheme, f.From, a, g.From, b)
					}
				}
			}
		}
	})
}

// Labels that only a network policy asks for tell workloads apart, and so does
// the host's network, where policies do not hold.
func TestClassesByNetworkPolicy(t *testing.T) {
	r := loadText(t, `
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
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: shop, labels: {tier: locked}}
spec: {hostNetwork: true, containers: [{name: app, image: app}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: shop}
spec:
  podSelector: {matchExpressions: [{key: tier, operator: In, values: [locked]}]}
  policyTypes: [Egress]
`)
	if n := len(r.Classes()); n != 3 {
		t.Fatalf("%d classes, want 3", n)
	}
	for _, w := range r.Clients() {
		want := flow.Allowed
		if w.Name == "locked" {
			want = flow.Blocked
		}
		if a := r.Answer(w, reach.Destination{Host: "example.com", Port: 443}, flow.TLS); a.Outcome != want {
			t.Errorf("%s: %s, want %s", w.ID(), a.Outcome, want)
		}
	}
}
