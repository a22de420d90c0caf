package analyzers_test

import (
	"path/filepath"
	"testing"

	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// Where clients use the rule, a request of theirs shows it; where nobody does, the
// rule is told of all the same.
func TestUncheckedNameWitness(t *testing.T) {
	for mesh, witnessed := range map[string]bool{"sni-without-names": true, "nobody-calls": false} {
		t.Run(mesh, func(t *testing.T) {
			fx := analyzertest.Load(t, filepath.Join(testdata, "EGR504", "bad", mesh))
			for _, f := range fx.Run("EGR504") {
				if (f.Flow != nil) != witnessed || (len(f.Workloads) > 0) != witnessed {
					t.Errorf("witness %v, workloads %q", f.Flow, f.Workloads)
				}
			}
		})
	}
}
