package report

import (
	"github.com/fatih/color"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/flow"
)

// palette colours printable text. Colours are switched on explicitly: the
// library's own guess looks at the process's standard output, which may not be
// the writer.
type palette struct {
	bold, faint, red, yellow, blue, green func(...any) string
}

func newPalette(on bool) palette {
	paint := func(attributes ...color.Attribute) func(...any) string {
		c := color.New(attributes...)
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return c.SprintFunc()
	}
	return palette{
		bold:   paint(color.Bold),
		faint:  paint(color.Faint),
		red:    paint(color.FgRed, color.Bold),
		yellow: paint(color.FgYellow, color.Bold),
		blue:   paint(color.FgBlue, color.Bold),
		green:  paint(color.FgGreen, color.Bold),
	}
}

func (p palette) severity(s analyzers.Severity) func(...any) string {
	switch s {
	case analyzers.Error:
		return p.red
	case analyzers.Warning:
		return p.yellow
	default:
		return p.blue
	}
}

// outcome colours by what became of a request, not by whether that is good:
// green is through, red is stopped.
func (p palette) outcome(o flow.Outcome) func(...any) string {
	switch o {
	case flow.Allowed:
		return p.green
	case flow.Blocked:
		return p.red
	default:
		return p.yellow
	}
}
