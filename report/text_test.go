package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/report"
)

func renderText(t *testing.T, l *report.Lint, o report.Options) string {
	t.Helper()
	return text(t, func(b *bytes.Buffer) error { return report.Text(b, l, o) })
}

func TestTextShowsTheLineTheWayAndTheHelp(t *testing.T) {
	want := lines(
		`manifests/sidecar.yaml:8:11: error: payments/api reaches any host on port 443 outside the egress gateway [EGR202]`,
		`   |`,
		`8  |     mode: ALLOW_ANY`,
		`   |           ^^^^^^^^^ overrides REGISTRY_ONLY of the mesh for 12 workloads`,
		`   = path: payments/api → sidecar (pass-through) → internet.example:443`,
		`   = workloads: payments/api, payments/worker`,
		`   = related: manifests/policy.yaml:6:1: the gateway's policy`,
		`   = help: egresslint explain EGR202`,
		``,
		`1 error, 0 warnings in 2 files (12 workloads)`,
		`assumed: payments is injected`,
	)
	if got := renderText(t, lint(t), report.Options{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestConciseIsOneLineAFinding(t *testing.T) {
	l := lint(t)
	l.Findings = append(l.Findings, analyzers.Finding{Rule: gap, Severity: analyzers.Note, Message: "a flag says so\nand more"})
	want := lines(
		`manifests/sidecar.yaml:8:11: error: payments/api reaches any host on port 443 outside the egress gateway [EGR202]`,
		`command line: note: a flag says so\nand more [EGR801]`,
	)
	if got := text(t, func(b *bytes.Buffer) error { return report.Concise(b, l, report.Options{}) }); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTextColoursOnlyWhenToldTo(t *testing.T) {
	l := lint(t)
	plain, coloured := renderText(t, l, report.Options{}), renderText(t, l, report.Options{Color: true})
	if strings.Contains(plain, "\x1b") {
		t.Errorf("colours although none are wanted: %q", plain)
	}
	if !strings.Contains(coloured, "\x1b[31;1merror\x1b[") {
		t.Errorf("no red error: %q", coloured)
	}
	var stripped strings.Builder
	for i := 0; i < len(coloured); i++ {
		if coloured[i] == '\x1b' {
			i += strings.IndexByte(coloured[i:], 'm')
			continue
		}
		stripped.WriteByte(coloured[i])
	}
	if stripped.String() != plain {
		t.Errorf("colours change the text: %q and %q", stripped.String(), plain)
	}
}

// A name, a message, a source line: nothing of the input may steer a terminal.
func TestTextObeysNoTerminalSequenceOfTheInput(t *testing.T) {
	evil := "::error::\x1b]0;owned\x07\u202e\u009b2J\r\n::error::##[error]x"
	set := load(t, map[string]string{"a.yaml": "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: \"x\"\ndata:\n  k: v # ##[error]\u202e\u200b\n"})
	cm := object(t, set, "ConfigMap")
	hop := flow.Hop{At: flow.Place(evil), Proxy: evil, Decision: evil, Cluster: evil, Because: []flow.Because{{Object: cm, Field: "data.k"}}}
	trace := &flow.Trace{Outcome: flow.Blocked, Via: flow.Via(evil), Reason: flow.RBACDenied, Policy: evil, Detail: evil, Assumptions: []string{evil}, Hops: []flow.Hop{hop},
		Branches: []flow.Branch{{Weight: 1, Trace: flow.Trace{Outcome: flow.Outcome(evil), Reason: flow.Reason(evil)}}}}
	question := flow.Flow{From: evil, Host: evil, Path: evil, Method: evil, SNI: evil, Scheme: flow.HTTP}
	implied := &manifest.Object{Kind: evil, Name: evil, Namespace: evil, Implied: evil}
	l := &report.Lint{Lines: set, Findings: []analyzers.Finding{
		{Rule: gap, Severity: analyzers.Error, Object: cm, Field: "data.k", Message: evil, Label: evil, Help: evil, Fix: evil,
			Workloads: []string{evil, evil}, Related: []analyzers.Related{{Object: cm, Message: evil}, {Message: evil}, {Object: implied, Message: evil}}, Flow: &question, Trace: trace},
		{Rule: gap, Severity: analyzers.Error, Object: implied, Message: evil},
		{Rule: gap, Severity: analyzers.Error, Position: manifest.Position{File: evil, Line: 3, Column: 1}, Message: evil},
	}}
	l.Input.Notes, l.Input.Assumptions = []string{evil}, []string{evil}
	l.Input.Ignored, l.Input.Unmodelled = map[string]int{evil: 1}, []*manifest.Object{implied}
	for name, got := range map[string]string{
		"text":    renderText(t, l, report.Options{Verbose: true}),
		"concise": text(t, func(b *bytes.Buffer) error { return report.Concise(b, l, report.Options{}) }),
		"trace": text(t, func(b *bytes.Buffer) error {
			return report.TraceText(b, question, trace, report.Options{Verbose: true})
		}),
		"json":  text(t, func(b *bytes.Buffer) error { return report.JSON(b, l, report.Options{}) }),
		"sarif": text(t, func(b *bytes.Buffer) error { _, err := report.SARIF(b, l, report.Options{}); return err }),
	} {
		for i, line := range strings.Split(got, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
				t.Errorf("%s: line %d starts a workflow command: %q", name, i+1, line)
			}
			if strings.ContainsAny(line, "\x1b\x07\r\u202e\u009b\u200b") {
				t.Errorf("%s: line %d holds a control character: %q", name, i+1, line)
			}
		}
	}
}

func TestExcerpts(t *testing.T) {
	long := "      - " + strings.Repeat("x", 300) + "needle" + strings.Repeat("y", 300)
	for _, test := range []struct {
		name       string
		line       string
		start, end int
		want       []string
	}{
		{"plain", "  mode: ALLOW_ANY", 9, 18, []string{"1  |   mode: ALLOW_ANY", "   |         ^^^^^^^^^"}},
		{"unknown end", "  mode: ALLOW_ANY", 9, 0, []string{"1  |   mode: ALLOW_ANY", "   |         ^"}},
		{"wide letters", "名前: 値", 5, 6, []string{"1  | 名前: 値", "   |       ^^"}},
		{"combining mark", "e\u0301: v", 5, 6, []string{"1  | e\u0301: v", "   |    ^"}},
		{"tab", "k:\tv", 4, 5, []string{"1  | k:    v", "   |       ^"}},
		{"hidden character", "a: \u202eb", 4, 6, []string{`1  | a: \u202eb`, `   |    ^^^^^^^`}},
		{"beyond the line", "a", 40, 50, []string{"1  | a", "   |  ^"}},
		{"empty line", "", 1, 2, []string{"1  |", "   | ^"}},
		{"long line", long, 309, 315, []string{
			"1  | …" + strings.Repeat("x", 60) + "needle" + strings.Repeat("y", 93) + "…",
			"   |  " + strings.Repeat(" ", 60) + "^^^^^^"}},
	} {
		l := &report.Lint{Lines: oneLine(test.line), Findings: []analyzers.Finding{{
			Rule: gap, Severity: analyzers.Error, Message: "m", Position: manifest.Position{File: "f", Line: 1, Column: test.start, EndColumn: test.end},
		}}}
		got := strings.Split(renderText(t, l, report.Options{}), "\n")[2:4]
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}

type oneLine string

func (l oneLine) Line(manifest.Position) (string, bool) { return string(l), true }

func TestTextSaysWhenTheInputIsPartial(t *testing.T) {
	got := renderText(t, &report.Lint{Input: report.Input{Files: 1, Partial: true}}, report.Options{})
	if !strings.HasPrefix(got, "no findings in 1 file (0 workloads)\npartial: some of the input was not analysed") {
		t.Errorf("got %s", got)
	}
}

func TestVerboseTextTellsWhatWasLeftOut(t *testing.T) {
	l := &report.Lint{Input: report.Input{Notes: []string{"no mesh configuration"}, Ignored: map[string]int{"v1 Secret": 2, "apps/v1 ControllerRevision": 1},
		Unmodelled: []*manifest.Object{{Kind: "HTTPRoute", Namespace: "shop", Name: "out"}},
		UnmodelledFields: []model.UnmodelledField{
			{Kind: "A", Field: "spec.a", Count: 1}, {Kind: "B", Field: "spec.b", Count: 2}, {Kind: "C", Field: "spec.c", Count: 1},
			{Kind: "D", Field: "spec.d", Count: 1}, {Kind: "E", Field: "spec.e", Count: 1},
		}}}
	want := lines(
		`no findings in 0 files (0 workloads)`,
		`note: no mesh configuration`,
		`ignored: 1 object of apps/v1 ControllerRevision, without bearing on egress`,
		`ignored: 2 objects of v1 Secret, without bearing on egress`,
		`not modelled: command line: HTTPRoute shop/out is not interpreted`,
		`not modelled: command line: A spec.a is not interpreted (1 object)`,
		`not modelled: command line: B spec.b is not interpreted (2 objects)`,
		`not modelled: command line: C spec.c is not interpreted (1 object)`,
		`not modelled: command line: D spec.d is not interpreted (1 object)`,
		`not modelled: command line: E spec.e is not interpreted (1 object)`,
	)
	if got := renderText(t, l, report.Options{Verbose: true}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	brief := lines(
		`no findings in 0 files (0 workloads)`,
		`note: no mesh configuration`,
		`not modelled: 1 object that may bear on egress (-v lists them)`,
		`not modelled: A spec.a (1), B spec.b (2), C spec.c (1), D spec.d (1), +1 more: what depends on them is unknown (-v lists them)`,
	)
	if got := renderText(t, l, report.Options{}); got != brief {
		t.Errorf("not verbose: got\n%s\nwant\n%s", got, brief)
	}
}

func TestTextCutsManyRelatedPlacesAndWorkloads(t *testing.T) {
	f := analyzers.Finding{Rule: gap, Severity: analyzers.Warning, Message: "m", Fix: "a: 1\nb: 2\n", Help: "do it"}
	for i := range 30 {
		f.Related = append(f.Related, analyzers.Related{Message: fmt.Sprintf("place %d", i)})
		f.Workloads = append(f.Workloads, fmt.Sprintf("ns/w%02d", i))
	}
	got := renderText(t, &report.Lint{Findings: []analyzers.Finding{f}}, report.Options{})
	for _, want := range []string{"ns/w07 +22 more\n", "place 9\n", "related: +20 more\n", "fix:\n        a: 1\n        b: 2\n", "help: do it (egresslint explain EGR801)\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "w08") || strings.Contains(got, "place 10") {
		t.Errorf("not cut:\n%s", got)
	}
}

func TestPathsOfWeightedBranches(t *testing.T) {
	l := lint(t)
	f := &l.Findings[0]
	hop := flow.Hop{At: flow.AtGateway, Proxy: "istio-system/out", Decision: "d"}
	f.Trace = &flow.Trace{Outcome: flow.Mixed, Hops: []flow.Hop{{At: flow.AtSidecar, Proxy: "payments/api"}}, Branches: []flow.Branch{
		{Weight: 90, Trace: flow.Trace{Outcome: flow.Allowed, Via: flow.ViaGateway, Reason: flow.OK, Hops: []flow.Hop{hop, hop}}},
		{Weight: 10, Trace: flow.Trace{Outcome: flow.Blocked, Via: flow.ViaGateway, Reason: flow.RBACDenied, Policy: "istio-system/deny", HTTPStatus: 403, Hops: []flow.Hop{hop}}},
	}}
	got := renderText(t, l, report.Options{})
	for _, want := range []string{
		"= path: 90%: payments/api → sidecar → gateway istio-system/out → internet.example:443\n",
		"= path: 10%: payments/api → sidecar → gateway istio-system/out ✗ internet.example:443: at the gateway: refused by AuthorizationPolicy istio-system/deny (HTTP 403)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
