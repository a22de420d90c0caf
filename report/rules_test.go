package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/report"
)

func TestRulePage(t *testing.T) {
	want := lines(
		"# EGR202 sidecar-reopens-egress", "", "A Sidecar reopens what the mesh closes.", "",
		"Severity: error. Security severity: 8.1 of 10.", "",
		"## What it reports", "", "A `Sidecar` sets ALLOW_ANY where the mesh is REGISTRY_ONLY.", "",
		"## Why it matters", "", "Its workloads reach any host.", "",
		"## Avoid", "", "```yaml", "kind: Sidecar", "```", "",
		"## Prefer", "", "```yaml", "kind: Sidecar", "metadata: {}", "```", "",
		"## How to fix it", "", "Delete the field.", "",
		"## When it is silent", "", "The mesh is ALLOW_ANY.", "",
		"## Sources", "", "- https://istio.io/",
	)
	if got := text(t, func(b *bytes.Buffer) error { return report.RuleMarkdown(b, reopens) }); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRuleTextLeavesOutEmptyParts(t *testing.T) {
	want := lines("EGR801 service-entry-scope-gap: A workload cannot reach a host", "", "  error (at most). No security finding by itself.")
	if got := text(t, func(b *bytes.Buffer) error { return report.RuleText(b, gap, report.Options{}) }); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := text(t, func(b *bytes.Buffer) error { return report.RuleText(b, reopens, report.Options{}) }); !strings.Contains(got, "\nPrefer\n    kind: Sidecar\n    metadata: {}\n") {
		t.Errorf("got\n%s", got)
	}
}

// A page fits a terminal of 80 columns, but for what may be copied.
func TestRuleTextFitsTheTerminal(t *testing.T) {
	for _, a := range analyzers.All() {
		manifest := false
		for line := range strings.SplitSeq(text(t, func(b *bytes.Buffer) error { return report.RuleText(b, a, report.Options{}) }), "\n") {
			if !strings.HasPrefix(line, " ") {
				manifest = line == "Avoid" || line == "Prefer"
			}
			if n := utf8.RuneCountInString(line); n > 80 && !manifest && strings.Contains(strings.TrimLeft(line, " -"), " ") || !manifest && line != strings.TrimRight(line, " ") {
				t.Errorf("%s: line of %d characters: %q", a.ID, n, line)
			}
		}
	}
}

func TestRulesLists(t *testing.T) {
	rules := []*analyzers.Analyzer{reopens, gap}
	if got, want := text(t, func(b *bytes.Buffer) error { return report.RulesText(b, rules, report.Options{}) }), lines(
		"EGR202  sidecar-reopens-egress   error    A Sidecar reopens what the mesh closes",
		"EGR801  service-entry-scope-gap  error    A workload cannot reach a host"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := text(t, func(b *bytes.Buffer) error { return report.RulesMarkdown(b, rules) }); !strings.Contains(got,
		"| [EGR801](EGR801.md) | service-entry-scope-gap | error | – | A workload cannot reach a host |\n") {
		t.Errorf("got\n%s", got)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(text(t, func(b *bytes.Buffer) error { return report.RulesJSON(b, rules) })), &list); err != nil || len(list) != 2 ||
		list[0]["id"] != "EGR202" || list[0]["security_severity"] != 8.1 || list[1]["security_severity"] != nil {
		t.Errorf("%v, %v", list, err)
	}
	if got := text(t, func(b *bytes.Buffer) error { return report.RulesJSON(b, nil) }); got != "[]\n" {
		t.Errorf("no rules: %q", got)
	}
}
