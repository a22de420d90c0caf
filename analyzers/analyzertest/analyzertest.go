// Package analyzertest runs rules over directories of manifests in tests, the
// way the command does, and words findings as the files of expected findings
// have them.
//
// A directory of testdata/rules (see the README there) is one mesh if a file
// lies in it directly; otherwise each of its subdirectories is one.
package analyzertest

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
)

// WantFile is the name of the file, beside a mesh's manifests, with the findings
// that its rule is expected to report.
const WantFile = "want.txt"

// Fixture is a mesh that was loaded from a directory.
type Fixture struct {
	// Dir is the directory as it was given.
	Dir   string
	Mesh  *model.Mesh
	Set   *manifest.Set
	Reach *reach.Reach
}

// Load reads the manifests of a directory as one mesh, without any flags. It
// fails the test where nothing can be read.
func Load(t testing.TB, dir string) *Fixture {
	t.Helper()
	mesh, set, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: dir}}}, model.Options{})
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return &Fixture{Dir: dir, Mesh: mesh, Set: set, Reach: reach.New(traffic.New(mesh))}
}

// LoadText is [Load] for manifests in a string: of a rule's documentation, or of
// a test's own table.
func LoadText(t testing.TB, manifests string) *Fixture {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "manifests.yaml"), []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(t, dir)
}

// Run returns the findings of the rules with the given IDs, of all rules if
// none is given, in the order in which they are reported.
func (f *Fixture) Run(ids ...string) []analyzers.Finding {
	return analyzers.Run(f.Mesh, f.Reach, analyzers.Config{Enable: ids})
}

// Lines words findings as [WantFile] has them: "file:line:col: severity:
// message", file being relative to the fixture's directory.
func (f *Fixture) Lines(findings []analyzers.Finding) []string {
	lines := make([]string, len(findings))
	for i := range findings {
		p := findings[i].Place()
		p.File = f.Relative(p.File)
		lines[i] = fmt.Sprintf("%s: %s: %s", p, findings[i].Severity, findings[i].Message)
	}
	return lines
}

// Relative returns the name of an input file within the fixture's directory, or
// the name itself if it does not lie there. The loader shows files of a directory
// outside of the working directory below that directory's own name.
func (f *Fixture) Relative(file string) string {
	dir := filepath.ToSlash(filepath.Clean(f.Dir))
	for _, prefix := range []string{dir, path.Base(dir)} {
		if name, ok := strings.CutPrefix(file, prefix+"/"); ok {
			return name
		}
	}
	return file
}

// Run loads a directory and returns what one rule reports about it, worded by
// [Fixture.Lines].
func Run(t testing.TB, dir, id string) []string {
	t.Helper()
	f := Load(t, dir)
	return f.Lines(f.Run(id))
}

// RunText is [Run] for manifests in a string.
func RunText(t testing.TB, manifests, id string) []string {
	t.Helper()
	f := LoadText(t, manifests)
	return f.Lines(f.Run(id))
}

// Meshes returns the directories of testdata that are a mesh each: dir itself if
// a file lies in it, else its subdirectories, sorted by name. It fails the test
// where there is none.
func Meshes(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() {
			return []string{dir}
		}
		out = append(out, filepath.Join(dir, e.Name()))
	}
	if len(out) == 0 {
		t.Fatalf("%s: no manifests", dir)
	}
	return out
}

// Want reads the expected findings of a mesh, one a line; empty lines and lines
// that begin with # are left out.
func Want(t testing.TB, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, WantFile)) //nolint:gosec // a test's own file
	if err != nil {
		t.Fatalf("%v: run the test with -update, then read what it wrote", err)
	}
	var out []string
	for line := range strings.SplitSeq(string(data), "\n") {
		if line = strings.TrimRight(line, " \r"); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}
