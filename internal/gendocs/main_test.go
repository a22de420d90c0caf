package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
)

const rulesDir = "../../docs/rules"

func TestPagesOfRulesAreCurrent(t *testing.T) {
	pages, err := generate(analyzers.All())
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "run: go run ./internal/gendocs"
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		want := pages[name]
		got, err := os.ReadFile(filepath.Join(rulesDir, name))
		if err != nil {
			t.Errorf("docs/rules/%s is missing; %s", name, remedy)
		} else if string(got) != string(want) {
			t.Errorf("docs/rules/%s is stale; %s", name, remedy)
		}
	}
	present, err := filepath.Glob(filepath.Join(rulesDir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range present {
		if pages[filepath.Base(path)] == nil {
			t.Errorf("docs/rules/%s belongs to no rule; %s", filepath.Base(path), remedy)
		}
	}
}

func TestRunLeavesExactlyThePages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rules")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, stale := range []string{"EGR000.md", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, stale), []byte("stale"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "EGR000.md")); !os.IsNotExist(err) {
		t.Error("the page of a rule that is gone is still there")
	}
	if readme, err := os.ReadFile(filepath.Join(dir, "README.md")); err != nil || string(readme) == "stale" {
		t.Errorf("README.md is %q, %v", readme, err)
	}
}
