package traffic_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// lineCited is a line that the traces of some flows cite.
type lineCited struct {
	file string // below the working directory
	line int
}

// none are decisions for which many fields are the reason together: that none
// of them fits stays true with one less.
var none = regexp.MustCompile(`^no | has no port | does not let it (connect|be reached) |which the manifests do not hold|which is not simulated`)

// A line is cited because it decides: without it the request is answered
// otherwise or for another reason, or the object is not valid any more.
func TestCitedLinesDecide(t *testing.T) {
	for _, c := range meshCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mesh := c.load(t)
			sim := traffic.New(mesh)
			cited := map[lineCited]map[int]string{} // the decisions, by flow
			before := make([]string, len(c.flows))
			for i := range c.flows {
				trace := sim.Trace(c.flows[i].Flow)
				before[i] = account(trace)
				cite(trace, func(at lineCited, decision string) {
					if cited[at] == nil {
						cited[at] = map[int]string{}
					}
					cited[at][i] = decision
				})
			}
			for at, decisions := range cited {
				after, valid := c.loadWithout(t, at, len(mesh.Problems))
				if !valid {
					continue
				}
				sim := traffic.New(after)
				for i, decision := range decisions {
					if account(sim.Trace(c.flows[i].Flow)) == before[i] && !none.MatchString(decision) {
						t.Errorf("flow %s cites %s:%d (%s), but fares the same without it", c.flows[i].ID, at.file, at.line, decision)
					}
				}
			}
		})
	}
}

// cite calls yield for each line that a trace cites.
func cite(t *flow.Trace, yield func(at lineCited, decision string)) {
	for i := range t.Hops {
		for _, b := range t.Hops[i].Because {
			if p := b.Object.At(b.Field); !p.IsZero() {
				yield(lineCited{p.File, p.Line}, t.Hops[i].Decision)
			}
		}
	}
	for i := range t.Branches {
		cite(&t.Branches[i].Trace, yield)
	}
}

// account is what a trace says, but for positions.
func account(t *flow.Trace) string {
	var b strings.Builder
	b.WriteString(jsonText(verdict(t)) + t.Guarantee)
	for i := range t.Hops {
		b.WriteString("\n" + t.Hops[i].Decision)
		for _, c := range t.Hops[i].Because {
			b.WriteString(" " + c.Object.String() + " " + c.Field)
		}
	}
	for i := range t.Branches {
		b.WriteString("\n" + account(&t.Branches[i].Trace))
	}
	return b.String()
}

// loadWithout loads the case without a line; it is not valid any more if there
// are more problems.
func (c *meshCase) loadWithout(t *testing.T, at lineCited, problems int) (mesh *model.Mesh, valid bool) {
	t.Helper()
	// Positions start with the name of the directory that was given.
	root := filepath.Join(c.dir, "manifests")
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		t.Fatal(err)
	}
	deleted := false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == filepath.Base(at.file) {
			lines := strings.SplitAfter(string(text), "\n")
			text = []byte(strings.Join(lines[:at.line-1], "") + strings.Join(lines[at.line:], ""))
			deleted = true
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !deleted {
		t.Fatalf("%s is no file of %s", at.file, root)
	}
	mesh, _, err = model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: dir}}}, c.opts)
	if err != nil {
		t.Fatal(err)
	}
	return mesh, len(mesh.Problems) <= problems
}
