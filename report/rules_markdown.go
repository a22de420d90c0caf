package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
)

// RuleMarkdown writes the page of a rule: docs/rules/<ID>.md, and the help in
// SARIF.
func RuleMarkdown(w io.Writer, a *analyzers.Analyzer) error {
	p := newPrinter(w)
	p.printf("# %s %s\n\n%s.\n\n", a.ID, a.Name, a.Doc.Title)
	p.printf("Severity: %s. %s\n", a.Severity, securityLine(a))
	for _, s := range sectionsOf(a) {
		p.printf("\n## %s\n\n", s.title)
		switch {
		case s.manifest:
			p.printf("```yaml\n%s\n```\n", s.text)
		case s.list != nil:
			for _, item := range s.list {
				p.printf("- %s\n", item)
			}
		default:
			p.printf("%s\n", s.text)
		}
	}
	return p.close()
}

// RulesMarkdown writes the table of all rules: docs/rules/README.md.
func RulesMarkdown(w io.Writer, rules []*analyzers.Analyzer) error {
	p := newPrinter(w)
	p.printf("# Rules\n\nThis page and those it links are generated from the rules (`go run ./internal/gendocs`).\n")
	p.printf("`egresslint explain ID` prints a page in the terminal.\n\n")
	p.printf("| Rule | Name | Severity | Security | Reports that |\n| --- | --- | --- | --- | --- |\n")
	for _, a := range rules {
		p.printf("| [%s](%s.md) | %s | %s | %s | %s |\n", a.ID, a.ID, a.Name, a.Severity, securityCell(a), strings.ReplaceAll(a.Doc.Title, "|", `\|`))
	}
	return p.close()
}

// docSection is one part of a rule's documentation.
type docSection struct {
	title    string
	text     string
	list     []string
	manifest bool
}

// sectionsOf returns the parts of a rule's documentation that are not empty.
func sectionsOf(a *analyzers.Analyzer) []docSection {
	all := []docSection{
		{title: "What it reports", text: a.Doc.What},
		{title: "Why it matters", text: a.Doc.Why},
		{title: "Avoid", text: a.Doc.Bad, manifest: true},
		{title: "Prefer", text: a.Doc.Good, manifest: true},
		{title: "How to fix it", text: a.Doc.Fix},
		{title: "When it is silent", text: a.Doc.Silent},
		{title: "Sources", list: a.Doc.Sources},
	}
	var present []docSection
	for _, s := range all {
		s.text = strings.Trim(s.text, "\n")
		if s.text != "" || len(s.list) > 0 {
			present = append(present, s)
		}
	}
	return present
}

func securityLine(a *analyzers.Analyzer) string {
	if a.SecuritySeverity == 0 {
		return "No security finding by itself."
	}
	return fmt.Sprintf("Security severity: %.1f of 10.", a.SecuritySeverity)
}

func securityCell(a *analyzers.Analyzer) string {
	if a.SecuritySeverity == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", a.SecuritySeverity)
}
