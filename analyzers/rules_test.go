package analyzers_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/analyzers/analyzertest"
	"github.com/egresslint/egresslint/model"
)

// update writes the files of expected findings anew. Read them before you
// commit them: `go test ./analyzers -run TestRule/EGR107 -update && git diff`.
var update = flag.Bool("update", false, "write testdata/rules/*/bad/want.txt anew")

// testdata has a directory for each rule.
var testdata = filepath.Join("..", "testdata", "rules")

func TestRegistry(t *testing.T) {
	all := analyzers.All()
	if !slices.IsSortedFunc(all, func(a, b *analyzers.Analyzer) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("All is not sorted by ID")
	}
	id, name := regexp.MustCompile(`^EGR\d{3}$`), regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)
	ids, names := map[string]bool{}, map[string]bool{}
	for _, a := range all {
		if !id.MatchString(a.ID) {
			t.Errorf("%s: not an ID of three digits", a.ID)
		}
		if !name.MatchString(a.Name) {
			t.Errorf("%s: name %q is not kebab case of at least two words", a.ID, a.Name)
		}
		if ids[a.ID] || names[a.Name] {
			t.Errorf("%s %s: the ID or the name is taken", a.ID, a.Name)
		}
		ids[a.ID], names[a.Name] = true, true
		if analyzers.ByID(a.ID) != a || analyzers.ByID(a.Name) != a {
			t.Errorf("%s: ByID does not find it", a.ID)
		}
	}
	dirs, err := os.ReadDir(testdata)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if d.IsDir() && !ids[d.Name()] {
			t.Errorf("%s: no rule has this ID", filepath.Join(testdata, d.Name()))
		}
	}
}

func TestRuleDocs(t *testing.T) {
	for _, a := range analyzers.All() {
		t.Run(a.ID, func(t *testing.T) {
			for field, text := range map[string]string{
				"Title": a.Doc.Title, "What": a.Doc.What, "Why": a.Doc.Why, "Bad": a.Doc.Bad, "Good": a.Doc.Good,
				"Fix": a.Doc.Fix, "Silent": a.Doc.Silent, "Sources": strings.Join(a.Doc.Sources, ""),
			} {
				if strings.TrimSpace(text) == "" {
					t.Errorf("Doc.%s is empty", field)
				}
			}
			if strings.HasSuffix(a.Doc.Title, ".") || strings.Contains(a.Doc.Title, "\n") {
				t.Errorf("title %q: one sentence without a final period", a.Doc.Title)
			}
			if word, _, _ := strings.Cut(a.Doc.Title, " "); word == strings.ToLower(word) {
				t.Errorf("title %q: begin it with a capital letter, as a sentence", a.Doc.Title)
			}
			if a.Severity.Rank() == 0 {
				t.Errorf("severity %q", a.Severity)
			}
			checkScore(t, a.Severity, a.SecuritySeverity)
		})
	}
}

// What the documentation recommends has no error of any other rule.
func TestGoodExamplesAreGood(t *testing.T) {
	for _, a := range analyzers.All() {
		f := analyzertest.LoadText(t, a.Doc.Good)
		for _, finding := range f.Run() {
			if finding.Severity == analyzers.Error {
				t.Errorf("%s: its good example has %s: %s: %s", a.ID, finding.Rule.ID, finding.Place(), finding.Message)
			}
		}
	}
}

// checkScore holds GitHub's bands of security severity against the level.
func checkScore(t *testing.T, s analyzers.Severity, score float64) {
	t.Helper()
	low, high := 0.0, 10.0
	switch s {
	case analyzers.Error:
		low = 6.0
	case analyzers.Warning:
		low, high = 3.0, 6.9
	default:
		high = 3.9
	}
	if score != 0 && (score < low || score > high) {
		t.Errorf("security severity %g does not go with level %q", score, s)
	}
}

// TestRule runs each rule over its testdata and over its documentation.
func TestRule(t *testing.T) {
	for _, a := range analyzers.All() {
		t.Run(a.ID, func(t *testing.T) {
			t.Run("bad", func(t *testing.T) {
				for _, dir := range analyzertest.Meshes(t, filepath.Join(testdata, a.ID, "bad")) {
					t.Run(filepath.Base(dir), func(t *testing.T) { checkBad(t, a, dir) })
				}
			})
			t.Run("ok", func(t *testing.T) {
				for _, dir := range analyzertest.Meshes(t, filepath.Join(testdata, a.ID, "ok")) {
					t.Run(filepath.Base(dir), func(t *testing.T) { checkSilent(t, a, analyzertest.Load(t, dir)) })
				}
			})
			t.Run("doc", func(t *testing.T) {
				bad := analyzertest.LoadText(t, a.Doc.Bad)
				findings := bad.Run(a.ID)
				if len(findings) == 0 {
					t.Error("the rule is silent on Doc.Bad")
				}
				checkFindings(t, a, bad, findings)
				checkSilent(t, a, analyzertest.LoadText(t, a.Doc.Good))
			})
		})
	}
}

func checkBad(t *testing.T, a *analyzers.Analyzer, dir string) {
	f := analyzertest.Load(t, dir)
	findings := f.Run(a.ID)
	if len(findings) == 0 {
		t.Errorf("the rule is silent")
	}
	checkFindings(t, a, f, findings)
	got := f.Lines(findings)
	if *update {
		text := strings.Join(got, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, analyzertest.WantFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := analyzertest.Want(t, dir)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("not expected: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing:      %s", line)
		}
	}
	if !t.Failed() && !slices.Equal(got, want) {
		t.Errorf("order or number differ:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func checkSilent(t *testing.T, a *analyzers.Analyzer, f *analyzertest.Fixture) {
	t.Helper()
	checkWhole(t, a, f)
	for _, line := range f.Lines(f.Run(a.ID)) {
		t.Errorf("not expected: %s", line)
	}
	if len(f.Set.Objects)+len(f.Set.Values)+len(f.Set.Rejected)+f.Set.OtherDocuments == 0 {
		t.Errorf("%s holds no manifest: a rule is silent about nothing", f.Dir)
	}
}

// checkWhole sees to it that the input is what its author thinks: an object that
// is refused makes no rule speak. The rules about such input are EGR0xx.
func checkWhole(t *testing.T, a *analyzers.Analyzer, f *analyzertest.Fixture) {
	t.Helper()
	if a.ID < "EGR100" {
		return
	}
	for _, p := range f.Mesh.Problems {
		t.Errorf("%s: %s", p.Position, p.Message)
	}
}

// checkFindings checks what every finding must be.
func checkFindings(t *testing.T, a *analyzers.Analyzer, f *analyzertest.Fixture, findings []analyzers.Finding) {
	t.Helper()
	checkWhole(t, a, f)
	for i := range findings {
		found := &findings[i]
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			checkPlace(t, f, found)
			checkMessage(t, f, found.Message)
			checkText(t, "label", found.Label)
			checkText(t, "help", found.Help)
			if found.Rule != a {
				t.Errorf("rule %v", found.Rule)
			}
			if found.Severity.Rank() == 0 || found.Severity.Rank() > a.Severity.Rank() {
				t.Errorf("severity %q; the rule's is %q", found.Severity, a.Severity)
			}
			if found.SecuritySeverity > a.SecuritySeverity {
				t.Errorf("security severity %g; the rule's is %g", found.SecuritySeverity, a.SecuritySeverity)
			}
			checkScore(t, found.Severity, found.SecuritySeverity)
			checkWitness(t, f, found)
			if !slices.IsSorted(found.Workloads) || len(slices.Compact(slices.Clone(found.Workloads))) != len(found.Workloads) {
				t.Errorf("workloads are not sorted or come twice: %q", found.Workloads)
			}
			for _, w := range found.Workloads {
				if !slices.ContainsFunc(f.Reach.Clients(), func(c *model.Workload) bool { return c.ID() == w }) {
					t.Errorf("workload %q is none of the mesh", w)
				}
			}
			for _, r := range found.Related {
				checkText(t, "related", r.Message)
				if r.Object == nil && r.Message == "" {
					t.Error("a related place without object and message")
				}
			}
		})
	}
	again := analyzertest.Load(t, f.Dir)
	if got, want := again.Lines(again.Run(a.ID)), f.Lines(findings); !slices.Equal(got, want) {
		t.Errorf("a second run says something else:\n%s\nfirst\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// checkPlace sees to it that a finding stands in an input file.
func checkPlace(t *testing.T, f *analyzertest.Fixture, found *analyzers.Finding) {
	t.Helper()
	p := found.Place()
	if _, err := os.Stat(filepath.Join(f.Dir, filepath.FromSlash(f.Relative(p.File)))); p.File == "" || err != nil {
		t.Errorf("place %v is in no input file", p)
	}
	if p.Line < 1 || p.Column < 1 {
		t.Errorf("place %v has no line or column", p)
		return
	}
	line, ok := f.Set.Line(p)
	if width := utf8.RuneCountInString(line); !ok || p.Column > width+1 || p.EndColumn > width+1 {
		t.Errorf("place %v (to column %d) is outside of its file, whose line is %q", p, p.EndColumn, line)
	}
}

// checkMessage holds a message against the style of the house.
func checkMessage(t *testing.T, f *analyzertest.Fixture, message string) {
	t.Helper()
	if message == "" {
		t.Error("no message")
		return
	}
	checkText(t, "message", message)
	word, _, _ := strings.Cut(message, " ")
	first, _ := utf8.DecodeRuneInString(word)
	if unicode.IsUpper(first) && !kinds(f)[strings.Trim(word, ":,")] && strings.ToUpper(word) != word {
		t.Errorf("message %q begins with a capital that is no kind of the input", message)
	}
}

// kinds are those of the objects in the input.
func kinds(f *analyzertest.Fixture) map[string]bool {
	out := map[string]bool{}
	for _, o := range slices.Concat(f.Set.Objects, f.Set.Rejected, f.Set.Values) {
		out[o.Kind] = true
	}
	return out
}

func checkText(t *testing.T, what, text string) {
	t.Helper()
	if strings.HasSuffix(text, ".") {
		t.Errorf("%s %q ends with a period", what, text)
	}
	if strings.TrimSpace(text) != text || strings.Contains(text, "  ") {
		t.Errorf("%s %q has blanks that do not belong there", what, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || !utf8.ValidString(text) {
		t.Errorf("%s %q is not one line of printable characters", what, text)
	}
	if i := strings.Index(text, "%!"); i >= 0 {
		t.Errorf("%s %q was made with the wrong format", what, text)
	}
}

// local are the rules about single objects: there may be no request that proves
// what they say. All others prove theirs with a witness.
var local = map[string]bool{
	"EGR001": true, "EGR002": true, "EGR003": true, "EGR004": true,
	"EGR010": true, "EGR011": true, "EGR012": true, "EGR013": true, "EGR014": true, "EGR902": true, "EGR905": true,
	"EGR103": true, "EGR202": true,
	"EGR306": true, "EGR307": true, "EGR308": true, "EGR309": true, "EGR311": true,
	"EGR401": true, "EGR402": true, "EGR403": true, "EGR404": true, "EGR410": true, "EGR411": true, "EGR412": true,
	"EGR413": true, "EGR414": true, "EGR417": true, "EGR418": true, "EGR419": true, "EGR420": true, "EGR421": true,
	"EGR422": true, "EGR423": true, "EGR426": true, "EGR427": true,
	"EGR503": true, "EGR504": true, "EGR505": true, "EGR506": true, "EGR507": true,
	"EGR601": true, "EGR702": true, "EGR705": true, "EGR706": true, "EGR707": true, "EGR808": true, "EGR810": true,
}

// checkWitness sees to it that a rule about traffic shows a request, and that
// the request fares as the finding says.
func checkWitness(t *testing.T, f *analyzertest.Fixture, found *analyzers.Finding) {
	t.Helper()
	if (found.Flow == nil) != (found.Trace == nil) {
		t.Error("a flow without trace, or a trace without flow")
	}
	if found.Flow == nil || found.Trace == nil {
		if !local[found.Rule.ID] {
			t.Error("no request proves the finding")
		}
		return
	}
	if again := f.Reach.Trace(*found.Flow); !reflect.DeepEqual(again, found.Trace) {
		t.Errorf("the trace of %+v is not the one of the finding:\n%+v\nbut\n%+v", *found.Flow, *found.Trace, *again)
	}
	if len(found.Workloads) > 0 {
		parts := strings.Split(found.Flow.From, "/")
		if from := parts[0] + "/" + parts[len(parts)-1]; !slices.Contains(found.Workloads, from) {
			t.Errorf("the witness is of %s, the finding about %q", from, found.Workloads)
		}
	}
}

// What rests on all of the input being one mesh is a note where directories say
// that it is not.
func TestSeveralMeshes(t *testing.T) {
	mesh := analyzers.ByID("EGR701").Doc.Bad
	for _, c := range []struct {
		name   string
		repeat int // objects that directories define differently
		across string
		enable []string
		want   analyzers.Severity
	}{
		{"a collection", 4, "other", []string{"EGR013", "EGR701"}, analyzers.Note},
		{"a few slips", 3, "other", []string{"EGR013", "EGR701"}, analyzers.Warning},
		{"all in one directory", 4, "one", []string{"EGR013", "EGR701"}, analyzers.Warning},
		{"unseen", 4, "other", []string{"EGR701"}, analyzers.Warning},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(file, text string) {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("mesh.yaml", mesh)
			for i := range c.repeat {
				entry := "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api%d, namespace: shop}\n" +
					"spec: {hosts: [api%d.example], ports: [{number: 443, name: tls, protocol: TLS}], resolution: %s}\n"
				write(fmt.Sprintf("one/%d.yaml", i), fmt.Sprintf(entry, i, i, "DNS"))
				write(fmt.Sprintf("%s/again-%d.yaml", c.across, i), fmt.Sprintf(entry, i, i, "NONE"))
			}
			fx := analyzertest.Load(t, dir)
			findings := fx.Run(c.enable...)
			if len(findings) < len(c.enable) {
				t.Errorf("%d findings", len(findings))
			}
			for _, f := range findings {
				if f.Rule.ID == "EGR701" && f.Severity != c.want || f.Rule.ID == "EGR013" && f.Severity != analyzers.Warning {
					t.Errorf("%s is a %s: %s (%s)", f.Rule.ID, f.Severity, f.Message, f.Help)
				}
			}
		})
	}
}

// TestAlso runs rules over meshes of other rules' tests, which say what a rule is
// not to be misled by. -update writes the file anew for the meshes that it names.
func TestAlso(t *testing.T) {
	file := filepath.Join(testdata, "also.txt")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "#") {
			continue
		}
		subject, want, found := strings.Cut(line, ": ")
		rule, mesh, _ := strings.Cut(subject, " ")
		if !found || analyzers.ByID(rule) == nil {
			t.Errorf("line %d: %q", i+1, line)
			continue
		}
		t.Run(rule+" "+mesh, func(t *testing.T) {
			fx := analyzertest.Load(t, filepath.Join(testdata, filepath.FromSlash(mesh)))
			var all []string
			for _, f := range fx.Run(rule) {
				at := f.Place()
				at.File = fx.Relative(at.File)
				all = append(all, fmt.Sprintf("%s %s", f.Severity, at))
			}
			slices.Sort(all)
			got := strings.Join(all, "; ")
			if got == "" {
				got = "silent"
			}
			if *update {
				lines[i] = subject + ": " + got
			} else if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A suppression on one of the objects that one finding tells of hides that object
// and no other.
func TestSuppressedPart(t *testing.T) {
	const manifests = `apiVersion: config.istio.io/v1alpha2 # egresslint: ignore[EGR001] goes with the old cluster
kind: logentry
metadata: {name: access, namespace: istio-system}
---
apiVersion: config.istio.io/v1alpha2
kind: stdio
metadata: {name: handler, namespace: istio-system}
---
apiVersion: config.istio.io/v1alpha2
kind: fluentd
metadata: {name: handler, namespace: istio-system}
`
	var got []string
	fx := analyzertest.LoadText(t, manifests)
	for _, f := range fx.Run("EGR001") {
		first, _, _ := strings.Cut(f.Message, ":")
		got = append(got, fmt.Sprintf("%v %s", f.Suppressed != nil, first))
	}
	want := []string{
		"true logentry istio-system/access (config.istio.io/v1alpha2) is dead configuration",
		"false 2 objects of the file are dead configuration (stdio istio-system/handler, fluentd istio-system/handler)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The policy that closes a namespace is written out once where others need the same.
func TestPolicyWrittenOnce(t *testing.T) {
	fx := analyzertest.Load(t, filepath.Join(testdata, "EGR309", "ok", "all"))
	findings := fx.Run("EGR701")
	if len(findings) != 2 {
		t.Fatalf("%d findings", len(findings))
	}
	written, other := findings[0], findings[1]
	if written.Fix == "" {
		written, other = other, written
	}
	name := strings.Fields(written.Message)[1]
	if !strings.Contains(written.Fix, "kind: NetworkPolicy") || other.Fix != "" || !strings.Contains(other.Help, "the policy of the fix for namespace "+name+" does here too") {
		t.Errorf("fixes %q and %q, %s", written.Fix, other.Fix, other.Help)
	}
	for _, f := range findings {
		if len(f.Edits) != 1 || !strings.Contains(f.Edits[0].Text, "kind: NetworkPolicy") {
			t.Errorf("%s: edits %v", f.Message, f.Edits)
		}
	}
}
