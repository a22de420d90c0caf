package report

import (
	"io"

	"github.com/egresslint/egresslint/analyzers"
)

// RulesJSON writes the rules with their documentation as one array.
func RulesJSON(w io.Writer, rules []*analyzers.Analyzer) error {
	out := make([]jsonRule, 0, len(rules))
	for _, a := range rules {
		out = append(out, jsonRule{
			ID: a.ID, Name: a.Name, Severity: a.Severity, SecuritySeverity: a.SecuritySeverity,
			Title: a.Doc.Title, What: a.Doc.What, Why: a.Doc.Why, Bad: a.Doc.Bad, Good: a.Doc.Good,
			Fix: a.Doc.Fix, Silent: a.Doc.Silent, Sources: a.Doc.Sources, URL: ruleURL(a),
		})
	}
	return writeIndented(w, out)
}

type jsonRule struct {
	ID               string             `json:"id"`
	Name             string             `json:"name"`
	Severity         analyzers.Severity `json:"severity"`
	SecuritySeverity float64            `json:"security_severity,omitempty"`
	Title            string             `json:"title"`
	What             string             `json:"what,omitempty"`
	Why              string             `json:"why,omitempty"`
	Bad              string             `json:"bad,omitempty"`
	Good             string             `json:"good,omitempty"`
	Fix              string             `json:"fix,omitempty"`
	Silent           string             `json:"silent,omitempty"`
	Sources          []string           `json:"sources,omitempty"`
	URL              string             `json:"url"`
}

// ruleURL is where the page of a rule is published.
func ruleURL(a *analyzers.Analyzer) string { return Homepage + "/blob/main/docs/rules/" + a.ID + ".md" }
