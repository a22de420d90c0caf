package analyzers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/egresslint/egresslint/model/manifest"
)

// Suppression says why a finding is not to be shown.
type Suppression struct {
	// By is "comment", "annotation" or "baseline".
	By string
	// Reason is what the directive gives, "" for a baseline.
	Reason string
	// Position is that of the directive, zero for a baseline.
	Position manifest.Position
}

// suppress marks the findings that directives cover, and returns findings about
// directives that do nothing: those with a flaw, those whose date has passed, and
// those that cover no finding of a rule that ran. idle is the rule that these are
// findings of; no directive covers them.
func suppress(findings []Finding, directives []manifest.Directive, ran []*Analyzer, today time.Time, idle *Analyzer) []Finding {
	var out []Finding
	for i := range directives {
		d := &directives[i]
		by := "comment"
		if d.Object != nil {
			by = "annotation"
		}
		report := func(severity Severity, label, message, help string) {
			f := Finding{Rule: idle, Severity: severity, Position: d.Position, Message: "suppression " + message, Label: label, Help: help}
			if d.Object != nil {
				f.Object, f.Field = d.Object, manifest.FieldPath("metadata", "annotations", manifest.IgnoreAnnotation)
			}
			out = append(out, f)
		}
		if d.Flaw != "" {
			report(Warning, "ignored", d.Flaw+"; it leaves nothing out", "")
			continue
		}
		if !d.Until.IsZero() && today.After(d.Until) {
			report(Warning, "expired", fmt.Sprintf("of %s expired on %s and leaves nothing out any more: mend what it hid, or give it a new date",
				strings.Join(d.Rules, ", "), d.Until.Format(time.DateOnly)), "")
			continue
		}
		for _, name := range d.Rules {
			rule := find(name)
			switch {
			case rule == nil:
				report(Warning, "no such rule", fmt.Sprintf("names %q, which is no rule: write an ID such as EGR301", name), "'egresslint rules' lists them")
			case rule == idle:
				report(Warning, "ignored", fmt.Sprintf("of %s does nothing: a suppression cannot hide what is wrong with suppressions", rule.ID), "")
			case mark(findings, rule, d, by) == 0 && slices.Contains(ran, rule):
				report(Note, "not needed", fmt.Sprintf("of %s leaves nothing out: there is no such finding here, so remove it", rule.ID), "")
			}
		}
	}
	return out
}

// mark marks the findings of a rule that a directive covers and returns their
// number.
func mark(findings []Finding, rule *Analyzer, d *manifest.Directive, by string) int {
	n := 0
	for i := range findings {
		f := &findings[i]
		if f.Rule != rule || !d.Covers(f.Place(), f.Object) {
			continue
		}
		n++
		if f.Suppressed == nil {
			f.Suppressed = &Suppression{By: by, Reason: d.Reason, Position: d.Position}
		}
	}
	return n
}

// find finds a rule by its ID or name in any case.
func find(name string) *Analyzer {
	for _, a := range registry {
		if strings.EqualFold(name, a.ID) || strings.EqualFold(name, a.Name) {
			return a
		}
	}
	return nil
}
