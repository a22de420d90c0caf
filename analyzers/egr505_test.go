package analyzers_test

import (
	"path/filepath"
	"testing"

	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// The simulation takes Secrets for there. A finding that says that one is missing does
// not show a request that gets out.
func TestMissingSecretShowsNoRequest(t *testing.T) {
	for name, shown := range map[string]bool{"secret-of-the-clients": false, "secret-misspelt": false, "secret-of-the-clients-of-a-waypoint": false, "every-sidecar": true} {
		findings := analyzertest.Load(t, filepath.Join(testdata, "EGR505", "bad", name)).Run("EGR505")
		if len(findings) == 0 {
			t.Errorf("%s: no finding", name)
		}
		for i := range findings {
			if f := &findings[i]; (f.Flow != nil) != shown || len(f.Workloads) == 0 {
				t.Errorf("%s: shows a request: %v, want %v; workloads %q", name, f.Flow != nil, shown, f.Workloads)
			}
		}
	}
}
