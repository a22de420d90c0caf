package judge

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestJudgeSharesNoDecision: of the product, the judge and its evaluator know
// the words of questions and answers only.
func TestJudgeSharesNoDecision(t *testing.T) {
	const product = "github.com/egresslint/egresslint/"
	allowed := []string{product + "model/flow", product + "model/manifest", product + "conformance/envoy", product + "conformance/generate"}
	checked := 0
	for _, pattern := range []string{"*.go", "../envoy/*.go", "../generate/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, imported := range parsed.Imports {
				path, err := strconv.Unquote(imported.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				checked++
				if strings.HasPrefix(path, product) && !slices.Contains(allowed, path) {
					t.Errorf("%s imports %s: the judge must decide on its own", file, path)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d imports seen", checked)
	}
}
