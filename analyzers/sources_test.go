package analyzers

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sourcePattern matches a source that is a file of Istio, with what is to be found
// in it: "istio pilot/pkg/model/gateway.go (mergeGateways)".
var sourcePattern = regexp.MustCompile(`^(?:istio/)?istio (\S+)(?: \(?([A-Za-z][A-Za-z0-9]*)\)?$| .*)?`)

// TestSourcesAreThere looks for the files of Istio that rules name in the module that
// the simulation follows.
func TestSourcesAreThere(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	istio := strings.TrimSpace(string(out))
	files := 0
	for _, a := range All() {
		for _, source := range a.Doc.Sources {
			m := sourcePattern.FindStringSubmatch(source)
			if m == nil {
				if !strings.Contains(source, "/") {
					t.Errorf("%s: source %q is neither a link nor a file", a.ID, source)
				}
				continue
			}
			files++
			file := filepath.Join(istio, filepath.FromSlash(m[1]))
			info, err := os.Stat(file)
			if err != nil {
				t.Errorf("%s: source %q: there is no such file", a.ID, source)
				continue
			}
			if m[2] == "" || info.IsDir() {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), m[2]) {
				t.Errorf("%s: source %q: there is no %s in it", a.ID, source, m[2])
			}
		}
	}
	if files < 100 {
		t.Errorf("%d sources are files of Istio: too few", files)
	}
}
