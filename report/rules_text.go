package report

import (
	"io"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
)

// pageWidth is how many columns a page of documentation takes. Manifests and links,
// which may be copied, are not broken.
const pageWidth = 80

// RuleText writes a rule's documentation for a terminal.
func RuleText(w io.Writer, a *analyzers.Analyzer, o Options) error {
	p, c := newPrinter(w), newPalette(o.Color)
	head := a.ID + " " + a.Name + ":"
	title := strings.TrimLeft(wrapped(head+" "+a.Doc.Title, "  "), " ")
	p.printf("%s\n\n", strings.Replace(title, head, c.bold(head), 1))
	p.printf("  %s (at most). %s\n", c.severity(a.Severity)(string(a.Severity)), securityLine(a))
	for _, s := range sectionsOf(a) {
		p.printf("\n%s\n", c.bold(s.title))
		for _, item := range s.list {
			p.printf("  - %s\n", strings.TrimLeft(wrapped(item, "    "), " "))
		}
		if s.text == "" {
			continue
		}
		for line := range strings.SplitSeq(s.text, "\n") {
			if s.manifest {
				line = "    " + line
			} else {
				line = wrapped(line, "  ")
			}
			p.printf("%s\n", strings.TrimRight(line, " "))
		}
	}
	return p.close()
}

// wrapped breaks a line at blanks, so that it takes no more than pageWidth columns,
// and indents it and what comes after a break.
func wrapped(text, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		n := columns(word)
		switch {
		case i == 0:
			b.WriteString(indent)
			used = len(indent)
		case used+1+n > pageWidth:
			b.WriteString("\n" + indent)
			used = len(indent)
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
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
