package report

import (
	"fmt"

	"github.com/egresslint/egresslint/analyzers"
)

// suppression says why a finding is suppressed.
func suppression(s *analyzers.Suppression) string {
	if s.Position.IsZero() {
		return "by the " + s.By
	}
	return fmt.Sprintf("by the %s at %s: %s", s.By, s.Position, s.Reason)
}

// SuppressedNote counts the findings that are suppressed by what suppresses them, ""
// if there are none or they are shown.
func SuppressedNote(l *Lint, shown bool) string {
	if len(l.Suppressed) == 0 || shown {
		return ""
	}
	return "suppressed: " + suppressed(l.Suppressed) + showThem
}

// showThem says how to see what is left out.
const showThem = " (--show-suppressed lists them)"

// suppressed counts findings by what suppresses them.
func suppressed(findings []analyzers.Finding) string {
	baseline := 0
	for i := range findings {
		if findings[i].Suppressed.By == "baseline" {
			baseline++
		}
	}
	switch direct := len(findings) - baseline; {
	case baseline == 0:
		return plural(direct, "finding") + " by comments or annotations"
	case direct == 0:
		return plural(baseline, "finding") + " by the baseline"
	default:
		return fmt.Sprintf("%s by comments or annotations, %d by the baseline", plural(direct, "finding"), baseline)
	}
}
