package agree

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

// The matrix of the meshes on which the simulation is held against istiod says of
// tuples what the simulation says of each alone, and what is told of one client for
// another is word for word what that one gets.
func TestMatrixOfRandomMeshes(t *testing.T) {
	const meshes, tuplesOfMesh = 60, 40
	tuples, told := 0, 0
	for seed := range uint64(meshes) {
		c := generate.New(seed+1, 1)
		mesh, _, err := model.Load(context.Background(), manifest.Options{
			Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(c.YAML()),
		}, model.Options{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
		r := reach.New(traffic.New(mesh))
		clients, universe := r.Clients(), r.Universe()
		if len(clients) == 0 {
			continue
		}
		random := rand.New(rand.NewPCG(seed+1, 0)) //nolint:gosec // repeatable on purpose
		for range tuplesOfMesh {
			w, d := clients[random.IntN(len(clients))], universe[random.IntN(len(universe))]
			tuples++
			if got, want := r.Answers(w, d), r.Alone(w, d); !reach.Same(got, want) {
				t.Errorf("seed %d, %s to %s:%d: the matrix says\n%s\nthe simulation\n%s", seed+1, reach.From(w), d.Host, d.Port, text(got), text(want))
			}
		}
		for _, d := range universe {
			for _, class := range r.Classes() {
				f := flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP}[random.IntN(3)]}
				told++
				if got, want := text(r.Verdict(f, class[0])), text(r.Sim.Verdict(f)); got != want {
					t.Errorf("seed %d, %v: told\n%s\nthe simulation\n%s", seed+1, f, got, want)
				}
			}
		}
	}
	if tuples < meshes || told == 0 {
		t.Errorf("only %d tuples", tuples)
	}
	t.Logf("%d tuples, %d verdicts", tuples, told)
}

func text(of any) string {
	b, err := json.MarshalIndent(of, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
