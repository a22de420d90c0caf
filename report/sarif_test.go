package report_test

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/report"
)

//go:embed testdata/sarif-schema-2.1.0.json
var sarifSchemaJSON []byte

var sarifSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(sarifSchemaJSON))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("sarif.json", document); err != nil {
		return nil, err
	}
	return compiler.Compile("sarif.json")
})

// sarif renders, holds the bytes against the schema and against GitHub's list,
// and returns them decoded.
func sarif(t *testing.T, l *report.Lint) (sarifLog, report.Omitted) {
	t.Helper()
	var b bytes.Buffer
	omitted, err := report.SARIF(&b, l, report.Options{Version: "v1.2.3", Istio: "1.31"})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := sarifSchema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Fatalf("%v\n%.4000s", err, b.String())
	}
	noEmptyStrings(t, "$", document)
	var log sarifLog
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	githubAccepts(t, log, b.Bytes())
	return log, omitted
}

// sarifLog is what this test reads of SARIF.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver struct {
			Name, InformationURI, Version string
			Rules                         []sarifRule
		}
	}
	AutomationDetails struct{ ID string }
	ColumnKind        string
	Results           []sarifResult
	Invocations       []struct {
		ExecutionSuccessful        bool
		ToolExecutionNotifications []struct{ Message sarifText }
	}
}

type sarifText struct{ Text, Markdown string }

type sarifRule struct {
	ID, Name, HelpURI                       string
	ShortDescription, FullDescription, Help sarifText
	Properties                              map[string]any
	DefaultConfiguration                    struct{ Level string }
}

type sarifResult struct {
	RuleID              string
	RuleIndex           *int
	Level               string
	Message             sarifText
	Locations           []sarifLocation
	RelatedLocations    []sarifLocation
	Fingerprints        map[string]string
	PartialFingerprints map[string]string
	CodeFlows           []struct {
		ThreadFlows []struct {
			Locations []struct{ Location sarifLocation }
		}
	}
}

type sarifLocation struct {
	ID               int
	Message          sarifText
	PhysicalLocation struct {
		ArtifactLocation struct{ URI string }
		Region           struct{ StartLine, StartColumn, EndLine, EndColumn int }
	}
}

func (l sarifLocation) String() string {
	r := l.PhysicalLocation.Region
	return fmt.Sprintf("%s:%d:%d-%d:%d", l.PhysicalLocation.ArtifactLocation.URI, r.StartLine, r.StartColumn, r.EndLine, r.EndColumn)
}

// noEmptyStrings walks a decoded document: GitHub refuses empty strings, and
// go-sarif pads with -1 and null, which no reader expects.
func noEmptyStrings(t *testing.T, path string, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		t.Errorf("%s is null", path)
	case string:
		if v == "" {
			t.Errorf("%s is empty", path)
		}
	case json.Number:
		if v == "-1" {
			t.Errorf("%s is -1", path)
		}
	case []any:
		for i, item := range v {
			noEmptyStrings(t, fmt.Sprintf("%s[%d]", path, i), item)
		}
	case map[string]any:
		for name, item := range v {
			noEmptyStrings(t, path+"."+name, item)
		}
	}
}

// githubAccepts is GitHub's own list of what an upload must hold, which the
// schema does not cover.
func githubAccepts(t *testing.T, log sarifLog, raw []byte) {
	t.Helper()
	check := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Errorf("GitHub: "+format, args...)
		}
	}
	check(log.Schema != "" && log.Version == "2.1.0", "$schema %q, version %q", log.Schema, log.Version)
	check(len(log.Runs) == 1, "%d runs", len(log.Runs))
	run := log.Runs[0]
	driver := run.Tool.Driver
	check(driver.Name != "" && driver.Version != "", "driver %+v", driver.Name)
	u, err := url.Parse(driver.InformationURI)
	check(err == nil && u.Scheme == "https", "informationUri %q", driver.InformationURI)
	check(strings.HasPrefix(run.AutomationDetails.ID, "egresslint/") && strings.HasSuffix(run.AutomationDetails.ID, "/"), "automationDetails.id %q", run.AutomationDetails.ID)
	check(run.ColumnKind == "unicodeCodePoints", "columnKind %q", run.ColumnKind)
	check(run.Results != nil, "no list of results")
	check(len(run.Results) <= 25_000, "%d results", len(run.Results))
	check(len(driver.Rules) <= 25_000, "%d rules", len(driver.Rules))
	for i, r := range driver.Rules {
		check(r.ID != "" && r.Name != "" && len([]rune(r.Name)) <= 255, "rule %d: id %q, name %q", i, r.ID, r.Name)
		for what, s := range map[string]string{"shortDescription": r.ShortDescription.Text, "fullDescription": r.FullDescription.Text} {
			check(s != "" && len([]rune(s)) <= 1024, "%s: %s has %d characters", r.ID, what, len([]rune(s)))
		}
		check(r.Help.Text != "" && r.Help.Markdown != "", "%s: no help", r.ID)
		tags, _ := r.Properties["tags"].([]any)
		check(len(tags) > 0 && len(tags) <= 10, "%s: %d tags", r.ID, len(tags))
		precision, _ := r.Properties["precision"].(string)
		check(slices.Contains([]string{"very-high", "high", "medium", "low"}, precision), "%s: precision %q", r.ID, precision)
		severity, isSecurity := r.Properties["security-severity"]
		if isSecurity {
			text, ok := severity.(string)
			var n float64
			_, err := fmt.Sscanf(text, "%g", &n)
			check(ok && err == nil && n > 0 && n <= 10, "%s: security-severity %v", r.ID, severity)
		}
		hasTag := false
		for _, tag := range tags {
			hasTag = hasTag || tag == "security"
		}
		check(hasTag == isSecurity, "%s: tag security %v, security-severity %v", r.ID, hasTag, severity)
	}
	location := func(l sarifLocation, what string) {
		t.Helper()
		uri, err := url.Parse(l.PhysicalLocation.ArtifactLocation.URI)
		check(err == nil && uri.Scheme == "" && uri.Path != "" && !strings.HasPrefix(uri.Path, "/") && !strings.Contains(uri.Path, "\\"), "%s: uri %q", what, l.PhysicalLocation.ArtifactLocation.URI)
		r := l.PhysicalLocation.Region
		check(r.StartLine >= 1 && r.StartColumn >= 1 && r.EndLine == r.StartLine && r.EndColumn > r.StartColumn, "%s: region %s", what, l)
	}
	places := map[string]bool{}
	for i, r := range run.Results {
		what := fmt.Sprintf("result %d", i)
		check(r.RuleIndex != nil && *r.RuleIndex < len(driver.Rules) && driver.Rules[*r.RuleIndex].ID == r.RuleID, "%s: ruleIndex", what)
		check(r.Level == "error" || r.Level == "warning" || r.Level == "note", "%s: level %q", what, r.Level)
		check(r.Message.Text != "", "%s: no message", what)
		check(len(r.Locations) == 1, "%s: %d locations", what, len(r.Locations))
		location(r.Locations[0], what)
		check(!places[r.RuleID+r.Locations[0].String()], "%s: a second one of %s at %s", what, r.RuleID, r.Locations[0])
		places[r.RuleID+r.Locations[0].String()] = true
		check(len(r.Locations)+len(r.RelatedLocations) <= 1_001, "%s: %d related locations", what, len(r.RelatedLocations))
		for n, related := range r.RelatedLocations {
			location(related, what+" related")
			check(related.ID == n+1, "%s: id %d of related location %d", what, related.ID, n)
		}
		check(len(r.PartialFingerprints) == 0, "%s: partial fingerprints are the upload's", what)
		check(len(r.Fingerprints["egresslint/v1"]) == 32, "%s: fingerprints %v", what, r.Fingerprints)
		for _, way := range r.CodeFlows {
			steps := 0
			for _, thread := range way.ThreadFlows {
				for _, step := range thread.Locations {
					steps++
					location(step.Location, what+" step")
					check(step.Location.Message.Text != "", "%s: a step without message", what)
				}
			}
			check(steps > 0 && steps <= 1_000, "%s: %d steps", what, steps)
		}
	}
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	_, _ = z.Write(raw)
	_ = z.Close()
	check(compressed.Len() <= 10_000_000, "%d bytes compressed", compressed.Len())
}

func TestSARIFOfAFinding(t *testing.T) {
	log, omitted := sarif(t, lint(t))
	if omitted != (report.Omitted{}) {
		t.Errorf("left out: %+v", omitted)
	}
	run := log.Runs[0]
	if n := len(run.Tool.Driver.Rules); n != 2 {
		t.Fatalf("%d rules, want those that ran", n)
	}
	if tags := fmt.Sprint(run.Tool.Driver.Rules[1].Properties["tags"]); !strings.Contains(tags, "reachability") {
		t.Errorf("a gap has tags %s", tags)
	}
	if help := run.Tool.Driver.Rules[0].Help.Markdown; !strings.Contains(help, "## How to fix it\n\nDelete the field.") {
		t.Errorf("help is %s", help)
	}
	r := run.Results[0]
	if got := r.Locations[0].String(); got != "manifests/sidecar.yaml:8:11-8:20" {
		t.Errorf("location %s", got)
	}
	if want := "payments/api reaches any host on port 443 outside the egress gateway\n[the gateway's policy](1)"; r.Message.Text != want {
		t.Errorf("message %q, want %q", r.Message.Text, want)
	}
	if got := r.RelatedLocations[0].String(); got != "manifests/policy.yaml:6:1-6:5" {
		t.Errorf("related %s", got)
	}
	step := r.CodeFlows[0].ThreadFlows[0].Locations[0].Location
	if step.Message.Text != "1. sidecar payments/api: no registered host matches, and unregistered ones pass" || step.String() != "manifests/sidecar.yaml:8:11-8:20" {
		t.Errorf("step %s %q", step, step.Message.Text)
	}
	if notes := run.Invocations[0].ToolExecutionNotifications; len(notes) != 1 || notes[0].Message.Text != "payments is injected" {
		t.Errorf("notifications %+v", notes)
	}
}

// A gateway may decide because of hundreds of policies: a finding shows the first
// places of each step, and says how many there are besides.
func TestFindingsShowTheFirstPlacesOfAStep(t *testing.T) {
	l := lint(t)
	hop := &l.Findings[0].Trace.Hops[0]
	for len(hop.Because) < 25 {
		hop.Because = append(hop.Because, hop.Because[0])
	}
	whole := *l.Findings[0].Trace
	branch := flow.Branch{Trace: whole, Weight: 1}
	l.Findings[0].Trace.Branches = []flow.Branch{branch}
	log, _ := sarif(t, l)
	steps := log.Runs[0].Results[0].CodeFlows[0].ThreadFlows[0].Locations
	if last := steps[len(steps)-1].Location.Message.Text; !strings.HasSuffix(last, "spec.outboundTrafficPolicy.mode, and 17 more") {
		t.Errorf("the last of %d steps is %q", len(steps), last)
	}
	raw := text(t, func(b *bytes.Buffer) error { return report.JSON(b, l, report.Options{}) })
	type trace struct {
		Hops []struct {
			Because        []any
			BecauseOmitted int `json:"because_omitted"`
		}
	}
	var got struct {
		Findings []struct {
			Trace struct {
				trace
				Branches []trace
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	for _, way := range []trace{got.Findings[0].Trace.trace, got.Findings[0].Trace.Branches[0]} {
		if h := way.Hops[0]; len(h.Because) != 20 || h.BecauseOmitted != 5 {
			t.Errorf("%d places, %d omitted", len(h.Because), h.BecauseOmitted)
		}
	}
	if len(hop.Because) != 25 {
		t.Errorf("the report changed the finding: %d places", len(hop.Because))
	}
}

func TestSARIFOfNothingStillHasResults(t *testing.T) {
	log, _ := sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{reopens}})
	if len(log.Runs[0].Results) != 0 {
		t.Errorf("%d results", len(log.Runs[0].Results))
	}
}

func at(line int) manifest.Position {
	return manifest.Position{File: "a.yaml", Line: line, Column: 3, EndColumn: 7}
}

func TestSARIFMergesFindingsOfOneRuleAtOnePlace(t *testing.T) {
	var findings []analyzers.Finding
	for i := range 15 {
		findings = append(findings, analyzers.Finding{Rule: gap, Severity: analyzers.Warning, Position: at(4), Message: fmt.Sprintf("message %d", i)})
	}
	findings[3].Severity = analyzers.Error
	findings = append(findings,
		analyzers.Finding{Rule: gap, Severity: analyzers.Note, Position: at(5), Message: "another line"},
		analyzers.Finding{Rule: reopens, Severity: analyzers.Note, Position: at(4), Message: "another rule"})
	log, _ := sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{reopens, gap}, Findings: findings})
	results := log.Runs[0].Results
	if len(results) != 3 {
		t.Fatalf("%d results, want 3", len(results))
	}
	if m := results[0].Message.Text; !strings.HasPrefix(m, "message 0\nmessage 1\n") || !strings.HasSuffix(m, "message 9\n+5 more at this place") || results[0].Level != "error" {
		t.Errorf("level %s, message %q", results[0].Level, m)
	}
}

func TestSARIFPlacesWhatNoFileHolds(t *testing.T) {
	f := analyzers.Finding{Rule: gap, Severity: analyzers.Error, Object: &manifest.Object{Kind: "IstioOperator", Name: "x", Implied: "--set"}, Message: "bad mode"}
	log, omitted := sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{gap}, Input: report.Input{FirstFile: "m/a.yaml"}, Findings: []analyzers.Finding{f}})
	r := log.Runs[0].Results[0]
	if r.Locations[0].String() != "m/a.yaml:1:1-1:2" || !strings.Contains(r.Message.Text, "no file holds this") || omitted.Unplaced != 0 {
		t.Errorf("at %s: %q; left out %+v", r.Locations[0], r.Message.Text, omitted)
	}
	log, omitted = sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{gap}, Findings: []analyzers.Finding{f}})
	if len(log.Runs[0].Results) != 0 || omitted.Unplaced != 1 {
		t.Errorf("without any file: %d results, left out %+v", len(log.Runs[0].Results), omitted)
	}
	if notes := log.Runs[0].Invocations[0].ToolExecutionNotifications; len(notes) != 1 || !strings.HasPrefix(notes[0].Message.Text, "1 finding left out") {
		t.Errorf("notifications %+v", notes)
	}
}

func TestSARIFEscapesPathsAndLinks(t *testing.T) {
	set := load(t, map[string]string{"a b#c%d:é.yaml": policyYAML})
	policy := object(t, set, "AuthorizationPolicy")
	log, _ := sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{gap}, Findings: []analyzers.Finding{{
		Rule: gap, Severity: analyzers.Error, Object: policy, Message: "see [here](https://evil.example) and spec.http[0]",
		Related: []analyzers.Related{{Object: policy, Field: "spec", Message: "x](https://evil.example) [y"}},
	}}})
	r := log.Runs[0].Results[0]
	uri := r.Locations[0].PhysicalLocation.ArtifactLocation.URI
	if path, err := url.PathUnescape(uri); err != nil || path != "a b#c%d:é.yaml" || strings.ContainsAny(uri, " #:é") {
		t.Errorf("uri %q is %q", uri, path)
	}
	if strings.Contains(r.Message.Text, "](h") || !strings.Contains(r.Message.Text, "spec.http[0]") || strings.Count(r.Message.Text, "](") != 1 {
		t.Errorf("message %q", r.Message.Text)
	}
}

func TestSARIFKeepsToGitHubsLimits(t *testing.T) {
	long := strings.Repeat("é", 3000)
	rule := &analyzers.Analyzer{ID: "EGR999", Name: long, Severity: analyzers.Note, Doc: analyzers.Doc{Title: long, What: long}}
	set := load(t, map[string]string{"a.yaml": policyYAML})
	policy := object(t, set, "AuthorizationPolicy")
	crowded := analyzers.Finding{Rule: rule, Severity: analyzers.Error, Position: at(1), Message: "crowded", Trace: &flow.Trace{}}
	for range 1500 {
		crowded.Related = append(crowded.Related, analyzers.Related{Object: policy, Field: "spec", Message: "r"})
		crowded.Trace.Hops = append(crowded.Trace.Hops, flow.Hop{At: flow.AtSidecar, Decision: "d"})
	}
	findings := []analyzers.Finding{crowded}
	for i := range 25_100 {
		severity := analyzers.Note
		if i > 25_000 {
			severity = analyzers.Error
		}
		findings = append(findings, analyzers.Finding{Rule: rule, Severity: severity, Position: at(i + 2), Message: "m"})
	}
	log, omitted := sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{rule}, Findings: findings})
	if omitted.OverLimit != 101 || len(log.Runs[0].Results) != 25_000 {
		t.Errorf("%d results, %+v left out", len(log.Runs[0].Results), omitted)
	}
	worst := 0
	for _, r := range log.Runs[0].Results {
		if r.Level == "error" {
			worst++
		}
	}
	if worst != 100 {
		t.Errorf("%d of 100 errors are kept: the least severe are to go first", worst)
	}
	first := log.Runs[0].Results[0]
	if n := len(first.RelatedLocations); n != 1000 {
		t.Errorf("%d related locations", n)
	}
	if n := strings.Count(first.Message.Text, "]("); n != 20 {
		t.Errorf("%d links in the message", n)
	}
}

// What does not compress must not make the file too large to upload.
func TestSARIFKeepsToGitHubsSize(t *testing.T) {
	noise := sarifSchemaJSON
	var findings []analyzers.Finding
	for i := range 8_000 {
		var b strings.Builder
		for j := range 1900 {
			b.WriteByte('!' + (noise[(i*7919+j)%len(noise)]^byte(i*j)^byte(i>>8))%90)
		}
		findings = append(findings, analyzers.Finding{Rule: gap, Severity: analyzers.Warning, Position: at(i + 1), Message: b.String()})
	}
	_, omitted := sarif(t, &report.Lint{Rules: []*analyzers.Analyzer{gap}, Findings: findings})
	if omitted.OverLimit == 0 {
		t.Error("nothing was left out: the test's input is too small to prove anything")
	}
}

func TestFingerprintsSurviveEditsElsewhere(t *testing.T) {
	before := lint(t)
	prints := report.Fingerprints(before.Findings)
	moved := load(t, map[string]string{"manifests/sidecar.yaml": "# a comment\n---\n\n" + sidecarYAML})
	after := before.Findings[0]
	after.Object, after.Message = object(t, moved, "Sidecar"), "payments/api and 3 more reach any host"
	if got := report.Fingerprints([]analyzers.Finding{after}); got[0] != prints[0] {
		t.Errorf("the fingerprint changes with lines and counts")
	}
	otherField := after
	otherField.Field = "spec"
	otherHost := after
	otherHost.Flow = &flow.Flow{Host: "other.example", Port: 443}
	for what, other := range map[string]analyzers.Finding{"field": otherField, "host": otherHost} {
		if report.Fingerprints([]analyzers.Finding{other})[0] == prints[0] {
			t.Errorf("findings that differ in the %s share a fingerprint", what)
		}
	}
	if twins := report.Fingerprints([]analyzers.Finding{after, after}); twins[0] != prints[0] || twins[1] == prints[0] {
		t.Errorf("two findings that are alike are not told apart by their order: %v", twins)
	}
}

// The same input gives the same bytes.
func TestReportsAreDeterministic(t *testing.T) {
	l := lint(t)
	l.Input.Ignored = map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
	var first string
	for range 20 {
		got := text(t, func(b *bytes.Buffer) error { _, err := report.SARIF(b, l, report.Options{}); return err }) +
			text(t, func(b *bytes.Buffer) error { return report.JSON(b, l, report.Options{}) }) + renderText(t, l, report.Options{Verbose: true})
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatal("two runs differ")
		}
	}
}
