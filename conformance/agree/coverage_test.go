package agree

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// TestEveryAnswerOccurs: every word of package flow that random meshes can give is
// given by those of fixed seeds, and few flows are unknown. The product's answers
// are counted, which are the judge's (TestRandomMeshes) and cost less.
func TestEveryAnswerOccurs(t *testing.T) {
	const meshes, flowsOfMesh, mostUnknown = 1000, 60, 0.02
	var c Coverage
	for seed := range uint64(meshes) {
		random := generate.New(seed+1, flowsOfMesh)
		mesh, _, err := model.Load(context.Background(), manifest.Options{
			Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(random.YAML()),
		}, model.Options{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
		simulation := traffic.New(mesh)
		for _, f := range random.Flows {
			c.Add(f, simulation.Verdict(f))
		}
	}
	for _, v := range c.Missing() {
		t.Errorf("no flow of %d has %s %s: the generator has a hole", c.Flows, v.Field, v.Word)
	}
	var report strings.Builder
	c.Print(&report)
	t.Log(report.String())
	if share := float64(c.Unknown) / float64(c.Flows); share > mostUnknown {
		t.Errorf("%.2f %% of the flows are unknown", 100*share)
	}
}

// TestValuesAreAll: a new word of package flow has to be thought of here.
func TestValuesAreAll(t *testing.T) {
	known := map[string]bool{}
	for _, v := range Values() {
		known[v.Word] = true
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../model/flow/flow.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{"Scheme": true, "Outcome": true, "Via": true, "Reason": true, "UpstreamTLS": true}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || !types[name.Name] {
			return true
		}
		for _, value := range spec.Values {
			word, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if !known[word] {
				t.Errorf("%s is not among the values", word)
			}
		}
		return true
	})
	if found < 40 {
		t.Errorf("only %d words found", found)
	}
}
