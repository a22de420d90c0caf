package report

// This is the only file that knows go-sarif. What GitHub's code scanning wants
// and how much of it is in sarif_limits.go.

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// sarifSchema is where OASIS publishes the schema of SARIF 2.1.0.
const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// Omitted says what a SARIF file leaves out of the findings.
type Omitted struct {
	// Unplaced findings have no place in any file, and there is no file.
	Unplaced int
	// OverLimit findings are beyond what GitHub accepts of one upload; the
	// least severe ones are left out.
	OverLimit int
}

// SARIF writes findings as SARIF 2.1.0 as GitHub code scanning takes it.
//
// Findings of one rule at one place become one result. A finding that no file
// holds (a flag implies its object) goes to the first line of the first file
// and says so: GitHub refuses a file with a result that has no place.
func SARIF(w io.Writer, l *Lint, o Options) (Omitted, error) {
	b := sarifBuilder{lint: l, index: map[string]int{}}
	run := sarif.NewRun()
	run.Tool = sarif.NewTool()
	run.Tool.Driver = b.driver(o)
	run.WithColumnKind("unicodeCodePoints")
	run.AutomationDetails = sarif.NewRunAutomationDetails().WithID("egresslint/lint/")

	groups, omitted := groupFindings(l, l.Findings)
	if o.Suppressed {
		more, left := groupFindings(l, l.Suppressed)
		groups = append(groups, more...)
		omitted.Unplaced += left.Unplaced
	}
	results, left, err := fitResults(groups, func(g *placedFindings) ([]byte, error) { return pruned(b.result(g)) })
	if err != nil {
		return omitted, err
	}
	omitted.OverLimit += left
	run.AddInvocation(invocation(l, omitted, o.Suppressed))

	document := sarif.NewReport()
	document.Schema = sarifSchema
	document.AddRun(run)
	shell, err := pruned(document)
	if err != nil {
		return omitted, err
	}
	return omitted, writeSARIF(w, shell, results)
}

// writeSARIF puts the results, which are many, into the document, which holds
// one run with an empty list of them.
func writeSARIF(w io.Writer, shell []byte, results [][]byte) error {
	const empty = `"results":[]`
	head, tail, found := strings.Cut(string(shell), empty)
	if !found || strings.Contains(tail, empty) {
		return fmt.Errorf("sarif: no unique place for the results in the run")
	}
	p := newPrinter(w)
	p.printf("%s\"results\":[", head)
	for i, r := range results {
		if i > 0 {
			p.printf(",")
		}
		p.printf("\n")
		p.write(r)
	}
	p.printf("]%s\n", tail)
	return p.close()
}

type sarifBuilder struct {
	lint  *Lint
	index map[string]int // of rules by ID
}

func (b *sarifBuilder) driver(o Options) *sarif.ToolComponent {
	driver := sarif.NewToolComponent().WithName("egresslint").WithInformationURI(Homepage)
	if o.Version != "" {
		driver.WithVersion(o.Version)
	}
	for i, a := range b.lint.Rules {
		b.index[a.ID] = i
		driver.AddRule(b.rule(a))
	}
	return driver
}

func (b *sarifBuilder) rule(a *analyzers.Analyzer) *sarif.ReportingDescriptor {
	var page strings.Builder
	_ = RuleMarkdown(&page, a) // a Builder does not fail
	rule := sarif.NewReportingDescriptor().WithID(a.ID).WithName(cut(a.Name, maxName)).WithHelpURI(ruleURL(a))
	rule.ShortDescription = sarif.NewMultiformatMessageString().WithText(cut(orElse(a.Doc.Title, a.Name), maxDescription))
	rule.FullDescription = sarif.NewMultiformatMessageString().WithText(cut(orElse(a.Doc.What, a.Doc.Title, a.Name), maxDescription))
	rule.Help = sarif.NewMultiformatMessageString().WithText(orElse(a.Doc.Fix, a.Doc.What, a.Doc.Title, a.Name)).WithMarkdown(page.String())
	rule.DefaultConfiguration = sarif.NewReportingConfiguration().WithLevel(string(a.Severity))
	bag := sarif.NewPropertyBag()
	bag.Add("precision", orElse(string(a.Precision), string(analyzers.PrecisionHigh)))
	if a.SecuritySeverity > 0 {
		bag.Add("security-severity", fmt.Sprintf("%.1f", a.SecuritySeverity))
	}
	bag.Tags = sarifTags(a)
	rule.Properties = bag
	return rule
}

// result makes one result of the findings of one rule at one place.
func (b *sarifBuilder) result(g *placedFindings) *sarif.Result {
	first := g.findings[0]
	result := sarif.NewRuleResult(first.Rule.ID).WithLevel(string(g.severity))
	if i, known := b.index[first.Rule.ID]; known {
		result.WithRuleIndex(i)
	}
	result.AddLocation(b.location(g.place))
	result.WithFingerprints(map[string]string{"egresslint/v1": g.fingerprint})

	var text strings.Builder
	text.WriteString(g.message())
	var related []analyzers.Related
	for _, f := range g.findings {
		related = append(related, f.Related...)
	}
	id := 0
	for _, r := range related {
		if r.Object == nil || id == maxLocations {
			continue
		}
		at := r.Object.At(r.Field)
		if at.IsZero() {
			continue
		}
		id++
		location := b.location(at).WithID(id)
		message := orElse(r.Message, r.Object.String())
		location.Message = sarif.NewTextMessage(sarifText(message))
		result.AddRelatedLocation(location)
		if id <= maxLinks {
			// GitHub shows a related location only where the message links it.
			fmt.Fprintf(&text, "\n[%s](%d)", linkText(message), id)
		}
	}
	result.Message = sarif.NewTextMessage(text.String())
	if made := changes(first); len(made) > 0 {
		result.AddFixe(b.fix(first, made))
	}
	if s := first.Suppressed; s != nil {
		kind := "inSource"
		if s.Position.IsZero() {
			kind = "external"
		}
		result.AddSuppression(sarif.NewSuppression().WithKind(kind).WithJustification(sarifText(s.Reason)))
	}
	for _, f := range g.findings {
		for _, way := range ways(f.Trace) {
			if len(result.CodeFlows) < maxCodeFlows {
				result.AddCodeFlow(b.codeFlow(way, g.place))
			}
		}
	}
	return result
}

// fix makes the changes of a finding; each file has one list of them.
func (b *sarifBuilder) fix(f *analyzers.Finding, made []change) *sarif.Fix {
	fix := sarif.NewFix()
	fix.Description = sarif.NewTextMessage(sarifText(orElse(f.Help, f.Message)))
	files := map[string]*sarif.ArtifactChange{}
	for _, c := range made {
		change := files[c.file]
		if change == nil {
			change = sarif.NewArtifactChange().WithArtifactLocation(sarif.NewArtifactLocation().WithURI(fileURI(c.file)))
			files[c.file] = change
			fix.ArtifactChanges = append(fix.ArtifactChanges, change)
		}
		region := sarif.NewRegion().WithStartLine(c.line).WithStartColumn(c.column).WithEndLine(c.endLine).WithEndColumn(c.endColumn)
		inserted := sarif.NewArtifactContent()
		inserted.Text = &c.text
		change.AddReplacement(sarif.NewReplacement().WithDeletedRegion(region).WithInsertedContent(inserted))
	}
	return fix
}

// location is a place on one line, as GitHub wants it.
func (b *sarifBuilder) location(p manifest.Position) *sarif.Location {
	line, column := max(p.Line, 1), max(p.Column, 1)
	end := p.EndColumn
	if end <= column {
		end = column + 1
	}
	region := sarif.NewRegion().WithStartLine(line).WithStartColumn(column).WithEndLine(line).WithEndColumn(end)
	physical := sarif.NewPhysicalLocation().WithRegion(region)
	physical.ArtifactLocation = sarif.NewArtifactLocation().WithURI(fileURI(p.File))
	return sarif.NewLocation().WithPhysicalLocation(physical)
}

// codeFlow shows the way of a request as steps: each decision at the first
// manifest field behind it, a few further fields as steps of their own. A decision
// without a place in a file is shown at the finding's.
func (b *sarifBuilder) codeFlow(hops []flow.Hop, home manifest.Position) *sarif.CodeFlow {
	thread := sarif.NewThreadFlow()
	add := func(p manifest.Position, text string) {
		if len(thread.Locations) == maxSteps {
			return
		}
		location := b.location(p)
		location.Message = sarif.NewTextMessage(sarifText(text))
		thread.AddLocation(sarif.NewThreadFlowLocation().WithLocation(location))
	}
	for i, h := range shortened(hops, maxCauses) {
		text := fmt.Sprintf("%d. %s: %s", i+1, place(h), h.Decision)
		said := false
		for j, because := range h.Because {
			at := because.Object.At(because.Field)
			if at.IsZero() {
				continue
			}
			if said {
				text = fmt.Sprintf("because of %s %s", because.Object, because.Field)
			}
			if h.Omitted > 0 && j == len(h.Because)-1 {
				text += fmt.Sprintf(", and %d more", h.Omitted)
			}
			add(at, text)
			said = true
		}
		if !said {
			add(home, text)
		}
	}
	return sarif.NewCodeFlow().AddThreadFlow(thread)
}

// invocation says that the run succeeded and, in notifications, what it could
// not say.
func invocation(l *Lint, omitted Omitted, shown bool) *sarif.Invocation {
	out := sarif.NewInvocation().WithExecutionSuccessful(true)
	notify := func(level, text string) {
		n := sarif.NewNotification().WithLevel(level).WithMessage(sarif.NewTextMessage(sarifText(text)))
		out.AddToolExecutionNotification(n)
	}
	if l.Input.Partial {
		notify("warning", "some of the input was not analysed; what it holds may change every answer")
	}
	if omitted.OverLimit > 0 {
		notify("warning", fmt.Sprintf("%s left out: GitHub accepts no more in one upload", plural(omitted.OverLimit, "finding")))
	}
	if omitted.Unplaced > 0 {
		notify("warning", fmt.Sprintf("%s left out: no file to show them in", plural(omitted.Unplaced, "finding")))
	}
	if note := SuppressedNote(l, shown); note != "" {
		notify("note", note)
	}
	for _, a := range l.Input.Assumptions {
		notify("note", a)
	}
	for _, n := range l.Input.Notes {
		notify("note", n)
	}
	return out
}

// pruned returns v as JSON without what go-sarif pads it with: null, -1 for
// unset indexes and ranks, empty strings, lists and objects. GitHub documents
// none of them.
func pruned(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("sarif: %w", err)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("sarif: %w", err)
	}
	tree, _ = prune(tree)
	return encode(tree, "")
}
