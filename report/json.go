package report

import (
	"io"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// SchemaVersion is the version of the JSON of findings and matrices. It grows
// when a field changes its meaning or goes away, not when one is added.
const SchemaVersion = 1

// JSON writes findings as one object; docs/json.md describes it.
func JSON(w io.Writer, l *Lint, o Options) error {
	errors, warnings, notes := l.Count()
	out := jsonLint{
		SchemaVersion: SchemaVersion,
		Tool:          toolOf(o),
		Summary: jsonSummary{
			Errors: errors, Warnings: warnings, Notes: notes,
			Files: l.Input.Files, Documents: l.Input.Documents, Workloads: l.Input.Workloads,
			Partial: l.Input.Partial,
		},
		Assumptions: l.Input.Assumptions,
		Notes:       l.Input.Notes,
		Ignored:     l.Input.Ignored,
		Findings:    make([]jsonFinding, 0, len(l.Findings)),
	}
	for _, object := range l.Input.Unmodelled {
		out.Unmodelled = append(out.Unmodelled, jsonPlaceOf(object, ""))
	}
	for _, f := range l.Input.UnmodelledFields {
		out.UnmodelledFields = append(out.UnmodelledFields, jsonField{f.Kind, f.Field, f.Count, jsonPlaceOf(f.First.Object, f.First.Field)})
	}
	out.Summary.Suppressed = len(l.Suppressed)
	if o.Suppressed {
		prints := Fingerprints(l.Suppressed)
		for i := range l.Suppressed {
			out.Suppressed = append(out.Suppressed, jsonFindingOf(&l.Suppressed[i], prints[i]))
		}
	}
	prints := Fingerprints(l.Findings)
	for i := range l.Findings {
		out.Findings = append(out.Findings, jsonFindingOf(&l.Findings[i], prints[i]))
	}
	return writeIndented(w, out)
}

type jsonTool struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Istio   string `json:"istio,omitempty"`
}

func toolOf(o Options) jsonTool { return jsonTool{"egresslint", o.Version, o.Istio} }

type jsonLint struct {
	SchemaVersion int            `json:"schema_version"`
	Tool          jsonTool       `json:"tool"`
	Summary       jsonSummary    `json:"summary"`
	Findings      []jsonFinding  `json:"findings"`
	Suppressed    []jsonFinding  `json:"suppressed,omitempty"`
	Assumptions   []string       `json:"assumptions,omitempty"`
	Notes         []string       `json:"notes,omitempty"`
	Ignored       map[string]int `json:"ignored,omitempty"`
	Unmodelled    []jsonPlace    `json:"unmodelled,omitempty"`
	// UnmodelledFields are those of kinds that are interpreted.
	UnmodelledFields []jsonField `json:"unmodelled_fields,omitempty"`
}

// jsonField is a field that is not interpreted, with the number of objects that
// set it and the place where the first of them does.
type jsonField struct {
	Kind  string    `json:"kind"`
	Field string    `json:"field"`
	Count int       `json:"count"`
	First jsonPlace `json:"first"`
}

type jsonSummary struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Notes    int `json:"notes"`
	// Suppressed findings are in none of the other counts.
	Suppressed int  `json:"suppressed"`
	Files      int  `json:"files"`
	Documents  int  `json:"documents"`
	Workloads  int  `json:"workloads"`
	Partial    bool `json:"partial"`
}

// jsonPlace is an object's field and where it stands; the position is absent
// for what no file holds.
type jsonPlace struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"name,omitempty"`
	Field     string `json:"field,omitempty"`
	Implied   string `json:"implied,omitempty"`
	Message   string `json:"message,omitempty"`
}

func (j *jsonPlace) at(p manifest.Position) {
	j.File, j.Line, j.Column, j.EndColumn = p.File, p.Line, p.Column, p.EndColumn
}

func jsonPlaceOf(object *manifest.Object, field string) jsonPlace {
	var j jsonPlace
	if object != nil {
		j = jsonPlace{Kind: object.Kind, Name: object.ID(), Field: field, Implied: object.Implied}
		j.at(object.At(field))
	}
	return j
}

type jsonFinding struct {
	Rule             string             `json:"rule"`
	Name             string             `json:"rule_name"`
	Severity         analyzers.Severity `json:"severity"`
	SecuritySeverity float64            `json:"security_severity,omitempty"`
	Fingerprint      string             `json:"fingerprint"`
	Message          string             `json:"message"`
	Label            string             `json:"label,omitempty"`
	Place            jsonPlace          `json:"place"`
	Help             string             `json:"help,omitempty"`
	Fix              string             `json:"fix,omitempty"`
	Edits            []jsonEdit         `json:"edits,omitempty"`
	Workloads        []string           `json:"workloads,omitempty"`
	Related          []jsonPlace        `json:"related,omitempty"`
	Flow             *flow.Flow         `json:"flow,omitempty"`
	Trace            *flow.Trace        `json:"trace,omitempty"`
	Suppression      *jsonSuppression   `json:"suppression,omitempty"`
}

// jsonEdit is text to put in the place of what stands in a region.
type jsonEdit struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
	Text      string `json:"text"`
}

type jsonSuppression struct {
	By     string     `json:"by"`
	Reason string     `json:"reason,omitempty"`
	Place  *jsonPlace `json:"place,omitempty"`
}

// maxBecause is how many places a step of a finding's trace shows: a gateway may
// decide because of hundreds of policies.
const maxBecause = 20

// shortTrace leaves out the places of steps beyond maxBecause, and counts them.
func shortTrace(t *flow.Trace) *flow.Trace {
	if t == nil {
		return nil
	}
	short := *t
	short.Hops = shortened(t.Hops, maxBecause)
	short.Branches = slices.Clone(t.Branches)
	for i := range short.Branches {
		short.Branches[i].Trace = *shortTrace(&t.Branches[i].Trace)
	}
	return &short
}

// shortened leaves out the places of steps beyond a number, and counts them.
func shortened(hops []flow.Hop, most int) []flow.Hop {
	if !slices.ContainsFunc(hops, func(h flow.Hop) bool { return len(h.Because) > most }) {
		return hops
	}
	hops = slices.Clone(hops)
	for i := range hops {
		if h := &hops[i]; len(h.Because) > most {
			h.Because, h.Omitted = h.Because[:most], len(h.Because)-most
		}
	}
	return hops
}

func jsonFindingOf(f *analyzers.Finding, print string) jsonFinding {
	j := jsonFinding{
		Rule: f.Rule.ID, Name: f.Rule.Name, Severity: f.Severity, SecuritySeverity: f.SecuritySeverity,
		Fingerprint: print, Message: f.Message, Label: f.Label, Place: jsonPlaceOf(f.Object, f.Field),
		Help: f.Help, Fix: f.Fix, Workloads: f.Workloads, Flow: f.Flow, Trace: shortTrace(f.Trace),
	}
	if f.Object == nil {
		j.Place.Kind, j.Place.Name, _ = strings.Cut(f.About, " ")
		j.Place.Field = f.Field
		j.Place.at(f.Position)
	}
	for _, c := range changes(f) {
		j.Edits = append(j.Edits, jsonEdit{c.file, c.line, c.column, c.endLine, c.endColumn, c.text})
	}
	if s := f.Suppressed; s != nil {
		j.Suppression = &jsonSuppression{By: s.By, Reason: s.Reason}
		if !s.Position.IsZero() {
			j.Suppression.Place = new(jsonPlace)
			j.Suppression.Place.at(s.Position)
		}
	}
	for _, r := range f.Related {
		place := jsonPlaceOf(r.Object, r.Field)
		place.Message = r.Message
		j.Related = append(j.Related, place)
	}
	return j
}
