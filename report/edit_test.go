package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// TestEdits makes the changes of each finding in a copy of its mesh: the finding
// is gone then, no other requests fail, and the loader has nothing new to say.
func TestEdits(t *testing.T) {
	made := map[string]int{}
	for _, a := range analyzers.All() {
		for _, dir := range analyzertest.Meshes(t, filepath.Join("..", "testdata", "rules", a.ID, "bad")) {
			f := analyzertest.Load(t, dir)
			for i, finding := range f.Run(a.ID) {
				edits := changes(&finding)
				if len(edits) == 0 {
					continue
				}
				made[a.ID]++
				t.Run(filepath.Join(a.ID, filepath.Base(dir), finding.Place().String()), func(t *testing.T) {
					mended := analyzertest.Load(t, edited(t, f, edits))
					if got, was := len(mended.Mesh.Problems), len(f.Mesh.Problems); got > was {
						t.Errorf("%d problems, %d before: %v", got, was, mended.Mesh.Problems)
					}
					again := mended.Run(a.ID)
					if slices.ContainsFunc(again, func(g analyzers.Finding) bool {
						return g.Object != nil && g.Object.String() == finding.Object.String() && g.Field == finding.Field && g.Message == finding.Message
					}) {
						t.Errorf("finding %d is still there: %s", i, finding.Message)
					}
					if got, was := gaps(mended.Run()), gaps(f.Run()); len(got) > len(was) {
						t.Errorf("more requests fail than before: %q", got)
					}
				})
			}
		}
	}
	for _, id := range []string{"EGR103", "EGR202", "EGR301", "EGR402", "EGR415", "EGR701", "EGR802"} {
		if made[id] == 0 {
			t.Errorf("no mesh of %s has a finding with edits", id)
		}
	}
	t.Log(made)
}

// gaps are the messages of the findings about requests that fail.
func gaps(findings []analyzers.Finding) []string {
	var out []string
	for i := range findings {
		if f := &findings[i]; f.Severity == analyzers.Error && f.SecuritySeverity == 0 {
			out = append(out, f.Rule.ID+" "+f.Message)
		}
	}
	return out
}

// edited copies a mesh and makes changes in it.
func edited(t *testing.T, f *analyzertest.Fixture, edits []change) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(f.Dir)); err != nil {
		t.Fatal(err)
	}
	// From the end, so that places stay where they are.
	slices.SortFunc(edits, func(a, b change) int { return b.line - a.line })
	for _, e := range edits {
		file := filepath.Join(dir, f.Relative(e.file))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(text), "\n")
		at := func(line, column int) int {
			n := 0
			for _, l := range lines[:line-1] {
				n += len(l)
			}
			if line > len(lines) {
				return n
			}
			return n + len(string([]rune(lines[line-1])[:column-1]))
		}
		from, to := at(e.line, e.column), at(e.endLine, e.endColumn)
		if err := os.WriteFile(file, []byte(string(text)[:from]+e.text+string(text)[to:]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
