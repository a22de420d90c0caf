package agree

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

// The matrix of the meshes on which the simulation is held against istiod says of
// tuples what the simulation says of each alone.
func TestMatrixOfRandomMeshes(t *testing.T) {
	const meshes, tuplesOfMesh = 60, 40
	tuples := 0
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
	}
	if tuples < meshes {
		t.Errorf("only %d tuples", tuples)
	}
	t.Logf("%d tuples", tuples)
}

func text(answers []reach.Answer) string {
	b, err := json.MarshalIndent(answers, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
