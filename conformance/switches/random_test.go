package switches

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/conformance/agree"
	"github.com/egresslint/egresslint/conformance/generate"
)

// changed are values of texts that differ from the default.
var changed = map[string]string{"PILOT_DRAINING_LABEL": "example.com/draining"}

// TestRandomMeshes: the product agrees with istiod on random meshes whatever variable
// is set.
func TestRandomMeshes(t *testing.T) {
	const seeds, flows = 4, 60
	for i, name := range Names() {
		value := changed[name]
		if flag := flags[name]; flag != nil {
			value = map[bool]string{true: "false", false: "true"}[*flag]
		}
		t.Run(name, func(t *testing.T) {
			restore, err := Set(name, value)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			for n := range seeds {
				seed := uint64(9000 + i*seeds + n) //nolint:gosec // a count
				c := generate.New(seed, flows)
				result, err := agree.Check(append(c.YAML(), Manifest(map[string]string{name: value})...), c.Flows)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				for _, a := range result.Answers {
					if len(a.Differences) > 0 {
						t.Errorf("seed %d, flow %s: %s", seed, a.Flow.ID, strings.Join(a.Differences, "; "))
					}
				}
			}
		})
	}
}
