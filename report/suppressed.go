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

// hint says how to see what is left out.
func hint(o Options) string {
	if o.Suppressed {
		return ""
	}
	return " (--show-suppressed lists them)"
}
