package analyzers_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// What nothing is found for may stand in a file that could not be read: then rules that
// miss something say nothing.
func TestSilentAboutPartialInput(t *testing.T) {
	for _, mesh := range []string{
		"EGR308/bad/misspelt", "EGR308/bad/gateway-api-gateway-missing", "EGR403/bad/selector-of-a-listener", "EGR412/bad/nobody",
	} {
		t.Run(mesh, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(testdata, filepath.FromSlash(mesh)))); err != nil {
				t.Fatal(err)
			}
			id, _, _ := strings.Cut(mesh, "/")
			if len(analyzertest.Run(t, dir, id)) == 0 {
				t.Error("the rule is silent about the whole input")
			}
			if err := os.WriteFile(filepath.Join(dir, "broken.yaml"), []byte("kind: [Gateway\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, line := range analyzertest.Run(t, dir, id) {
				t.Errorf("not expected: %s", line)
			}
		})
	}
}

// A Gateway that is refused is there: nobody misspelt its name.
func TestSilentAboutRefusedGateway(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testdata, "EGR308", "bad", "misspelt"))); err != nil {
		t.Fatal(err)
	}
	before := analyzertest.Run(t, dir, "EGR308")
	name := regexp.MustCompile(`refers to Gateway ([a-z-]+)/([a-z-]+)`).FindStringSubmatch(strings.Join(before, "\n"))
	if name == nil {
		t.Fatalf("%q names no Gateway", before)
	}
	refused := "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: " + name[2] + ", namespace: " + name[1] + "}\nspec:\n  servers:\n  - port: {number: 443, name: tls, protocol: HTTPS}\n    hosts: [api.example.com]\n"
	if err := os.WriteFile(filepath.Join(dir, "refused.yaml"), []byte(refused), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range analyzertest.Run(t, dir, "EGR308") {
		t.Errorf("not expected: %s", line)
	}
}
