package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/egresslint/egresslint/analyzers"
)

// Baseline is a set of findings that are known and not to be told again. It
// knows them by what their fingerprints are made of, which is no line number; of
// several that are alike in that it knows how many there are. One that has become
// graver is not known.
type Baseline struct {
	known map[string][]int // the ranks of severities, by fingerprint
	total int
}

// jsonBaseline is the file. What is beside the fingerprint is for people who
// read the file's history.
type jsonBaseline struct {
	SchemaVersion int                `json:"schema_version"`
	Findings      []jsonBaselineItem `json:"findings"`
}

type jsonBaselineItem struct {
	Fingerprint string `json:"fingerprint"`
	Rule        string `json:"rule"`
	// Severity is absent in what older versions wrote: it then is the gravest.
	Severity analyzers.Severity `json:"severity,omitempty"`
	Object   string             `json:"object,omitempty"`
	Field    string             `json:"field,omitempty"`
	Message  string             `json:"message"`
}

// WriteBaseline writes findings, in their order, as a baseline.
func WriteBaseline(w io.Writer, findings []analyzers.Finding) error {
	out := jsonBaseline{SchemaVersion: SchemaVersion, Findings: make([]jsonBaselineItem, 0, len(findings))}
	for i := range findings {
		f := &findings[i]
		item := jsonBaselineItem{Fingerprint: fingerprint(identify(f)), Rule: f.Rule.ID, Severity: f.Severity, Field: f.Field, Message: f.Message}
		switch {
		case f.Object != nil:
			item.Object = f.Object.String()
		case f.About != "":
			item.Object = f.About
		default:
			item.Object = f.Position.File
		}
		out.Findings = append(out.Findings, item)
	}
	return writeIndented(w, out)
}

// maxBaseline bounds a baseline, which may come from a stranger's pull request.
const maxBaseline = 64 << 20

// ReadBaseline reads what WriteBaseline wrote.
func ReadBaseline(r io.Reader) (*Baseline, error) {
	var in jsonBaseline
	bounded := &io.LimitedReader{R: r, N: maxBaseline}
	d := json.NewDecoder(bounded)
	if err := d.Decode(&in); bounded.N <= 0 {
		return nil, errors.New("larger than 64 MiB; write it anew with --write-baseline")
	} else if err != nil {
		return nil, fmt.Errorf("not a baseline: %w; write it with --write-baseline", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a baseline: text follows it; write it with --write-baseline")
	}
	if in.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("a baseline of version %d, not %d; write it anew with --write-baseline", in.SchemaVersion, SchemaVersion)
	}
	b := &Baseline{known: map[string][]int{}, total: len(in.Findings)}
	for _, item := range in.Findings {
		rank := item.Severity.Rank()
		if rank == 0 {
			rank = analyzers.Error.Rank()
		}
		b.known[item.Fingerprint] = append(b.known[item.Fingerprint], rank)
	}
	for _, ranks := range b.known {
		slices.Sort(ranks)
	}
	return b, nil
}

// Apply marks the findings that the baseline knows and that nothing else
// suppresses, and returns how many of its own are no longer found. Findings
// stays in its order.
func (b *Baseline) Apply(findings []analyzers.Finding) (gone int) {
	left := maps.Clone(b.known)
	gone = b.total
	for i := range findings {
		f := &findings[i]
		id := fingerprint(identify(f))
		ranks := left[id]
		// The mildest that is grave enough leaves the others to graver findings.
		at, _ := slices.BinarySearch(ranks, f.Severity.Rank())
		if f.Suppressed != nil || at == len(ranks) {
			continue
		}
		left[id] = slices.Delete(slices.Clone(ranks), at, at+1)
		gone--
		f.Suppressed = &analyzers.Suppression{By: "baseline"}
	}
	return gone
}
