// Package report writes findings, traces and matrices of reachability in the
// formats that people and their tools read. Each format is a file of its own.
//
// Everything that is written may hold names of the input, and the input is
// hostile: text formats escape whatever does not print, JSON formats write it
// as an escape sequence. Every writer gives the same bytes for the same input:
// no clock, no absolute paths, no order of maps.
package report

import (
	"bufio"
	"fmt"
	"io"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// Homepage is where the tool is documented; it goes into machine formats.
const Homepage = "https://github.com/egresslint/egresslint"

// Options say how to write.
type Options struct {
	// Color switches terminal colours on. Whoever opened the writer knows
	// whether it is a terminal.
	Color bool
	// Verbose lists what was left out of the analysis, kind by kind.
	Verbose bool
	// Suppressed tells the findings that are suppressed, marked as such.
	Suppressed bool
	// Version is the version of egresslint, Istio that of the modelled Istio.
	Version string
	Istio   string
}

// Lines looks source lines up; a [manifest.Set] does.
type Lines interface {
	// Line returns the text of the line that holds p, without its line end.
	Line(p manifest.Position) (string, bool)
}

// Input says what was read, as far as it matters to whoever reads a report.
type Input struct {
	// Files, Documents and Workloads count what was read.
	Files, Documents, Workloads int
	// FirstFile is the first file of the input by name, "" if there is none.
	FirstFile string
	// Partial says that some of the input was not analysed.
	Partial bool
	// Assumptions and Notes are sentences about what was taken for granted.
	Assumptions []string
	Notes       []string
	// Ignored counts objects of kinds without bearing on egress, by
	// "apiVersion Kind".
	Ignored map[string]int
	// Unmodelled are objects that may bear on egress and are not interpreted.
	Unmodelled []*manifest.Object
	// UnmodelledFields are fields of interpreted kinds that may bear on egress
	// and are not interpreted.
	UnmodelledFields []model.UnmodelledField
}

// Lint is the result of linting one mesh.
type Lint struct {
	Input Input
	// Rules are those that ran, sorted by ID; Findings are in the order in
	// which they are to be printed.
	Rules    []*analyzers.Analyzer
	Findings []analyzers.Finding
	// Suppressed are findings that the input or a baseline asks to leave out,
	// in the same order. They are counted, and told where Options want it.
	Suppressed []analyzers.Finding
	// Lines gives source lines for excerpts; nil leaves the excerpts out.
	Lines Lines
}

// Count returns the number of findings of each severity.
func (l *Lint) Count() (errors, warnings, notes int) {
	for i := range l.Findings {
		switch l.Findings[i].Severity {
		case analyzers.Error:
			errors++
		case analyzers.Warning:
			warnings++
		default:
			notes++
		}
	}
	return errors, warnings, notes
}

// printer is a buffered writer that remembers its first error, so that a
// renderer need not ask after every line.
type printer struct {
	w   *bufio.Writer
	err error
}

func newPrinter(w io.Writer) *printer { return &printer{w: bufio.NewWriter(w)} }

//go:noinline
func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

// close flushes and returns the first error.
//
//go:noinline
func (p *printer) close() error {
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// plural returns "1 file" or "3 files".
//
//go:noinline
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
