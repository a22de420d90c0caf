package report

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// Related places and workloads beyond these are counted in text reports.
const (
	maxRelated   = 10
	maxWorkloads = 8
)

// Text writes findings for people: each with the source line it is about, the
// way of the request that proves it, and a summary at the end.
func Text(w io.Writer, l *Lint, o Options) error {
	t := textWriter{newPrinter(w), newPalette(o.Color), l.Lines}
	for i := range l.Findings {
		t.finding(&l.Findings[i])
	}
	if o.Suppressed {
		for i := range l.Suppressed {
			t.finding(&l.Suppressed[i])
		}
	}
	t.summary(l, o)
	return t.close()
}

// Concise writes one line a finding, as compilers do, and no summary. Those that are
// suppressed come last.
func Concise(w io.Writer, l *Lint, o Options) error {
	t := textWriter{newPrinter(w), newPalette(o.Color), l.Lines}
	for i := range l.Findings {
		t.headline(&l.Findings[i])
	}
	if o.Suppressed {
		for i := range l.Suppressed {
			t.headline(&l.Suppressed[i])
		}
	}
	return t.close()
}

type textWriter struct {
	*printer
	palette
	lines Lines
}

// where names the place of a finding; what only a flag implies has none.
func where(p manifest.Position) string {
	if p.IsZero() {
		return "command line"
	}
	return Printable(p.String())
}

func (t textWriter) headline(f *analyzers.Finding) {
	severity := string(f.Severity)
	if f.Suppressed != nil {
		severity = "suppressed " + severity
	}
	t.printf("%s: %s: %s %s\n", t.bold(where(f.Place())), t.severity(f.Severity)(severity),
		t.bold(Printable(f.Message)), t.faint("["+f.Rule.ID+"]"))
}

func (t textWriter) finding(f *analyzers.Finding) {
	t.headline(f)
	gutter := t.snippet(f)
	note := func(name, text string) {
		t.printf("%s %s %s\n", t.blue(gutter+"="), t.bold(name+":"), text)
	}
	if s := f.Suppressed; s != nil {
		note("suppressed", Printable(suppression(s)))
	}
	if f.Object != nil && f.Object.Implied != "" {
		note("implied", fmt.Sprintf("%s: %s", Printable(f.Object.String()), Printable(f.Object.Implied)))
	}
	for _, path := range paths(f.Flow, f.Trace) {
		note("path", path)
	}
	if len(f.Workloads) > 1 {
		note("workloads", list(f.Workloads, maxWorkloads))
	}
	for i, r := range f.Related {
		if i == maxRelated {
			note("related", fmt.Sprintf("+%d more", len(f.Related)-maxRelated))
			break
		}
		note("related", t.related(r))
	}
	if f.Fix == "" {
		for _, c := range changes(f) {
			note("fix", t.change(c))
		}
	} else {
		t.printf("%s %s\n", t.blue(gutter+"="), t.bold("fix:"))
		for line := range strings.SplitSeq(strings.TrimRight(f.Fix, "\n"), "\n") {
			t.printf("%s     %s\n", gutter, Printable(line))
		}
	}
	if f.Help != "" {
		note("help", Printable(f.Help)+t.faint(" (egresslint explain "+f.Rule.ID+")"))
	} else {
		note("help", "egresslint explain "+f.Rule.ID)
	}
	t.printf("\n")
}

// change says in a line what to do.
func (t textWriter) change(c change) string {
	at := t.bold(fmt.Sprintf("%s:%d:%d", Printable(c.file), c.line, c.column))
	if c.text == "" {
		return at + ": delete this item"
	}
	return at + ": write " + Printable(c.text)
}

func (t textWriter) related(r analyzers.Related) string {
	if r.Object == nil {
		return Printable(r.Message)
	}
	p := r.Object.At(r.Field)
	if p.IsZero() {
		return Printable(r.Object.String()) + ": " + Printable(r.Message)
	}
	return t.bold(where(p)) + ": " + Printable(r.Message)
}

// snippet prints the source line of a finding with a caret below its place and
// returns the blanks of the gutter.
func (t textWriter) snippet(f *analyzers.Finding) string {
	p := f.Place()
	if t.lines == nil || p.Line == 0 {
		return "   "
	}
	line, ok := t.lines.Line(p)
	if !ok {
		return "   "
	}
	number := strconv.Itoa(p.Line)
	gutter := strings.Repeat(" ", max(2, len(number))+1)
	shown, before, extent := excerpt(line, p)
	t.printf("%s\n", t.blue(gutter+"|"))
	t.printf("%s%s\n", t.blue(pad(number, len(gutter))+"|"), strings.TrimRight(" "+shown, " "))
	label := ""
	if f.Label != "" {
		label = " " + Printable(f.Label)
	}
	t.printf("%s %s%s\n", t.blue(gutter+"|"), strings.Repeat(" ", before), t.severity(f.Severity)(strings.Repeat("^", extent)+label))
	return gutter
}

// paths returns the way of a witness in a line, or one line a branch.
func paths(f *flow.Flow, trace *flow.Trace) []string {
	if f == nil || trace == nil {
		return nil
	}
	start := Printable(f.From)
	if len(trace.Branches) == 0 {
		return []string{start + steps(trace.Hops) + end(f, trace)}
	}
	var lines []string
	for i := range trace.Branches {
		b := &trace.Branches[i]
		hops := slices.Concat(trace.Hops, b.Hops)
		lines = append(lines, fmt.Sprintf("%d%%: %s%s%s", b.Weight, start, steps(hops), end(f, &b.Trace)))
	}
	return lines
}

// steps joins the places of hops; several decisions at one place are one step.
func steps(hops []flow.Hop) string {
	var b strings.Builder
	last := ""
	for _, h := range hops {
		at := place(h)
		if h.At == flow.AtSidecar || h.At == flow.AtZtunnel {
			at = string(h.At) // its owner is the start of the path
		}
		if at == last || h.At == flow.AtNetwork {
			continue
		}
		last = at
		b.WriteString(" → " + at)
	}
	return b.String()
}

// end says where the path of a flow ends.
func end(f *flow.Flow, t *flow.Trace) string {
	host := Printable(net.JoinHostPort(f.Host, strconv.Itoa(f.Port)))
	switch t.Outcome {
	case flow.Allowed:
		if t.Via == flow.ViaPassthrough {
			return " (pass-through) → " + host
		}
		return " → " + host
	case flow.Blocked:
		return " ✗ " + host + ": " + verdictOf(t).because()
	default:
		return " ? " + host + ": " + verdictOf(t).because()
	}
}

// summary ends a text report: how much was found in how much.
func (t textWriter) summary(l *Lint, o Options) {
	errors, warnings, notes := l.Count()
	found := "no findings"
	if len(l.Findings) > 0 {
		parts := []string{plural(errors, "error"), plural(warnings, "warning")}
		if notes > 0 {
			parts = append(parts, plural(notes, "note"))
		}
		found = strings.Join(parts, ", ")
	}
	paint := t.green
	switch {
	case errors > 0:
		paint = t.red
	case warnings > 0 || l.Input.Partial:
		paint = t.yellow
	}
	t.printf("%s in %s (%s)\n", paint(found), plural(l.Input.Files, "file"), plural(l.Input.Workloads, "workload"))
	if len(l.Suppressed) > 0 {
		hint := showThem
		if o.Suppressed {
			hint = ""
		}
		t.printf("%s %s%s\n", t.bold("suppressed:"), suppressed(l.Suppressed), hint)
	}
	if l.Input.Partial {
		t.printf("%s some of the input was not analysed (EGR010 to EGR014 say what): what it holds may change every answer\n", t.yellow("partial:"))
	}
	for _, a := range l.Input.Assumptions {
		t.printf("%s %s\n", t.bold("assumed:"), Printable(a))
	}
	for _, n := range l.Input.Notes {
		t.printf("%s %s\n", t.bold("note:"), Printable(n))
	}
	if o.Verbose {
		t.inventory(l.Input)
		return
	}
	if n := len(l.Input.Unmodelled); n > 0 {
		t.printf("%s %s that may bear on egress (-v lists them)\n", t.bold("not modelled:"), plural(n, "object"))
	}
	if fields := l.Input.UnmodelledFields; len(fields) > 0 {
		t.printf("%s %s: what depends on them is unknown (-v lists them)\n", t.bold("not modelled:"), fieldList(fields))
	}
}

// maxFields bounds the fields that a summary names.
const maxFields = 4

// fieldList names fields with the number of objects that set them.
func fieldList(fields []model.UnmodelledField) string {
	var names []string
	for i, f := range fields {
		if i == maxFields {
			names = append(names, fmt.Sprintf("+%d more", len(fields)-maxFields))
			break
		}
		names = append(names, fmt.Sprintf("%s %s (%d)", f.Kind, f.Field, f.Count))
	}
	return strings.Join(names, ", ")
}

// inventory lists what a report otherwise counts or leaves out.
func (t textWriter) inventory(in Input) {
	kinds := make([]string, 0, len(in.Ignored))
	for kind := range in.Ignored {
		kinds = append(kinds, kind)
	}
	sort.Strings(kinds)
	for _, kind := range kinds {
		t.printf("%s %s of %s, without bearing on egress\n", t.bold("ignored:"), plural(in.Ignored[kind], "object"), Printable(kind))
	}
	for _, object := range in.Unmodelled {
		t.printf("%s %s: %s is not interpreted\n", t.bold("not modelled:"), where(object.At("")), Printable(object.String()))
	}
	for _, f := range in.UnmodelledFields {
		at := "command line"
		if f.First.Object != nil {
			at = where(f.First.Object.At(f.First.Field))
		}
		t.printf("%s %s: %s %s is not interpreted (%s)\n", t.bold("not modelled:"), at, f.Kind, f.Field, plural(f.Count, "object"))
	}
}
