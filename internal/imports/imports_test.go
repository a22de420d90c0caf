// Package imports holds the test that imports point one way.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/egresslint/egresslint/"

// layers lists the packages from the bottom up; a package may import only those
// of earlier lines.
var layers = [][]string{
	{"model/kube/networkingv1", "model/kube/discoveryv1"},
	{"model/manifest"},
	{"model/flow", "model"},
	{"model/capture", "model/netpol"},
	{"model/traffic"},
	{"model/reach"},
	{"analyzers"},
	{"report", "analyzers/analyzertest"},
	{"cmd/egresslint"},
}

// free are tools of the project itself; nothing in the product imports them.
const free = "internal/"

func TestImportsPointOneWay(t *testing.T) {
	rank := map[string]int{}
	for i, layer := range layers {
		for _, p := range layer {
			rank[p] = i
		}
	}
	for _, pkg := range list(t) {
		path := strings.TrimPrefix(pkg.ImportPath, module)
		if strings.HasPrefix(path, free) {
			continue
		}
		own, known := rank[path]
		if !known {
			t.Errorf("package %s has no place in the house: add it to a layer, or to a package that is there", path)
		}
		for _, imported := range pkg.Imports {
			dep, ours := strings.CutPrefix(imported, module)
			if !ours {
				if strings.HasPrefix(imported, "istio.io/istio/pilot/pkg/") && imported != "istio.io/istio/pilot/pkg/features" {
					t.Errorf("%s imports %s: the product does not depend on istiod", path, imported)
				}
				continue
			}
			if strings.HasPrefix(dep, free) {
				t.Errorf("%s imports the project's tool %s", path, dep)
			} else if rank[dep] >= own {
				t.Errorf("%s imports %s, which is not below it", path, dep)
			}
		}
	}
}

// TestNothingBelowTheCommandTalks holds that only cmd prints, exits, or reads
// flags and the environment.
func TestNothingBelowTheCommandTalks(t *testing.T) {
	for _, pkg := range list(t) {
		path := strings.TrimPrefix(pkg.ImportPath, module)
		if strings.HasPrefix(path, "cmd/") || strings.HasPrefix(path, free) || strings.HasSuffix(path, "test") {
			continue
		}
		for _, imported := range pkg.Imports {
			switch imported {
			case "flag", "log", "os/exec", "os/signal", "net/http", "github.com/spf13/cobra", "github.com/spf13/pflag":
				t.Errorf("%s imports %s", path, imported)
			}
		}
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}
