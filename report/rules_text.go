package report

import (
	"io"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
)

// RuleText writes a rule's documentation for a terminal.
func RuleText(w io.Writer, a *analyzers.Analyzer, o Options) error {
	p, c := newPrinter(w), newPalette(o.Color)
	p.printf("%s: %s\n\n", c.bold(a.ID+" "+a.Name), a.Doc.Title)
	p.printf("  %s (at most). %s\n", c.severity(a.Severity)(string(a.Severity)), securityLine(a))
	for _, s := range sectionsOf(a) {
		p.printf("\n%s\n", c.bold(s.title))
		for _, item := range s.list {
			p.printf("  - %s\n", item)
		}
		if s.text == "" {
			continue
		}
		indent := "  "
		if s.manifest {
			indent = "    "
		}
		for line := range strings.SplitSeq(s.text, "\n") {
			p.printf("%s\n", strings.TrimRight(indent+line, " "))
		}
	}
	return p.close()
}

// RulesText writes one line a rule.
func RulesText(w io.Writer, rules []*analyzers.Analyzer, o Options) error {
	p, c := newPrinter(w), newPalette(o.Color)
	id, name := 0, 0
	for _, a := range rules {
		id, name = max(id, len(a.ID)), max(name, len(a.Name))
	}
	for _, a := range rules {
		p.printf("%s  %s  %s  %s\n", c.bold(pad(a.ID, id)), pad(a.Name, name), c.severity(a.Severity)(pad(string(a.Severity), len("warning"))), a.Doc.Title)
	}
	return p.close()
}
