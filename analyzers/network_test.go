package analyzers_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// A policy that has to be filled in before it is applied may close the
// namespace: nothing is said about what closes it.
func TestLeftOutPolicy(t *testing.T) {
	open, err := os.ReadFile(filepath.Join(testdata, "EGR701", "bad", "gateway", "manifests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	policy := func(cidr string) string {
		return `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock: {cidr: "` + cidr + `"}
`
	}
	for _, test := range []struct {
		name, text string
		want       int
	}{
		{"no policy", "", 1},
		{"a policy that is filled in", policy("10.96.0.10/32"), 0},
		{"a policy to fill in", policy("${DNS_ADDRESS}/32"), 0},
		{"a policy that is refused does not exist", policy("10.96.0.10/320"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := analyzertest.LoadText(t, string(open)+test.text).Run("EGR701"); len(got) != test.want {
				t.Errorf("%d findings, want %d: %v", len(got), test.want, got)
			}
		})
	}
}
