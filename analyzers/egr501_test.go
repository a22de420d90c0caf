package analyzers_test

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// A rule that opens TLS and is refused is no advice to write another one.
func TestOriginationIsRefused(t *testing.T) {
	good := analyzers.ByID("EGR501").Doc.Good
	refused := strings.Replace(good, "mode: SIMPLE", "mode: SIMPEL", 1)
	if refused == good {
		t.Fatal("the example opens no TLS")
	}
	const want = "is refused (EGR011)"
	lines := analyzertest.RunText(t, refused, "EGR501")
	if len(lines) != 1 || !strings.Contains(lines[0], want) || strings.Contains(lines[0], "%!") {
		t.Errorf("%q; want one finding that says %q", lines, want)
	}
	for _, line := range analyzertest.RunText(t, analyzers.ByID("EGR501").Doc.Bad, "EGR501") {
		if strings.Contains(line, want) {
			t.Errorf("%s: nothing is refused there", line)
		}
	}
}
