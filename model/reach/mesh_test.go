package reach_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

const meshRoot = "../../testdata/mesh"

// eachMesh runs a test on every mesh of testdata, and on those of the switches of
// istiod with the switch.
func eachMesh(t *testing.T, test func(t *testing.T, r *reach.Reach)) {
	t.Helper()
	files, err := filepath.Glob(switchRoot + "/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no meshes of switches: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, loadText(t, switchText(t, name)))
		})
	}
	for _, name := range meshNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, loadMesh(t, filepath.Join(meshRoot, name, "manifests"), flagsOf(t, name)))
		})
	}
}

const switchRoot = "../../testdata/switches"

// switchText is the mesh of a switch of istiod, with a Deployment of istiod that sets
// it as the first of its flows says.
func switchText(t *testing.T, name string) string {
	t.Helper()
	var out strings.Builder
	for _, file := range []string{"base", name} {
		text, err := os.ReadFile(filepath.Join(switchRoot, file+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		out.WriteString("---\n")
	}
	text, err := os.ReadFile(filepath.Join(switchRoot, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var first struct {
		Value string
		With  map[string]string
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&first); err != nil || first.Value == "" {
		t.Fatalf("%s: %v", name, err)
	}
	out.WriteString("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system}\nspec:\n  template:\n    spec:\n" +
		"      containers:\n      - name: discovery\n        env:\n        - {name: REVISION, value: default}\n        - " + jsonText(map[string]string{"name": name, "value": first.Value}) + "\n")
	for other, value := range first.With {
		out.WriteString("        - " + jsonText(map[string]string{"name": other, "value": value}) + "\n")
	}
	return out.String()
}

func meshNames(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(meshRoot)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s has no mesh", meshRoot)
	}
	return names
}

// flagsOf reads the flags of a mesh, one a line as they are typed.
func flagsOf(t *testing.T, name string) model.Options {
	t.Helper()
	var opts model.Options
	text, err := os.ReadFile(filepath.Join(meshRoot, name, "flags"))
	if os.IsNotExist(err) {
		return opts
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case "--set":
			opts.Set = append(opts.Set, value)
		case "--namespace-label":
			namespace, label, _ := strings.Cut(value, ":")
			key, value, _ := strings.Cut(label, "=")
			opts.NamespaceLabels = append(opts.NamespaceLabels, model.NamespaceLabel{Namespace: namespace, Key: key, Value: value})
		default:
			t.Fatalf("%q is no flag that this test knows", name)
		}
	}
	return opts
}

func loadMesh(t *testing.T, dir string, opts model.Options) *reach.Reach {
	t.Helper()
	m, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: dir}}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return reach.New(traffic.New(m))
}

// injectedPods are namespaces with injection, each with a pod w that has the namespace's
// name as its label app.
func injectedPods(namespaces ...string) string {
	var text strings.Builder
	for _, ns := range namespaces {
		fmt.Fprintf(&text, `apiVersion: v1
kind: Namespace
metadata: {name: %[1]s, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: w, namespace: %[1]s, labels: {app: %[1]s}}
spec: {containers: [{name: app, image: app}]}
---
`, ns)
	}
	return text.String()
}

// loadText makes a mesh of one manifest file.
func loadText(t *testing.T, text string) *reach.Reach {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mesh.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadMesh(t, dir, model.Options{})
}

// seeded returns a source of random numbers and prints the seed that makes it.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := testseed.New(t)
	return rand.New(rand.NewPCG(seed, 0))
}

func letters(random *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(random.IntN(26))
	}
	return string(b)
}

func jsonText(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

// fate is what a trace says becomes of a request, without the hops.
func fate(t *flow.Trace) string {
	var branches []string
	for _, b := range t.Branches {
		branches = append(branches, jsonText(b.Weight)+fate(&b.Trace))
	}
	return jsonText([]any{t.Outcome, t.Via, t.Reason, t.Policy, t.Rule, t.Guarantee, t.UpstreamTLS, t.HTTPStatus, branches})
}
