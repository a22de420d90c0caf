package report

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// What GitHub code scanning accepts and shows
// (https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning).
// Beyond maxResults, or a compressed size of 10 MB, it refuses the upload;
// beyond the others it cuts.
const (
	maxResults     = 25_000
	maxCompressed  = 9_000_000 // of 10 MB; the rest is for the rules
	maxLocations   = 1_000
	maxSteps       = 1_000
	maxName        = 255
	maxDescription = 1_024
)

// Limits of our own, for what a person reads of one alert.
const (
	maxLinks     = 20
	maxCodeFlows = 10
	maxMerged    = 10
	maxCauses    = 8 // of one step
)

// placedFindings are the findings of one rule at one place: GitHub keeps one
// alert of them.
type placedFindings struct {
	place       manifest.Position
	severity    analyzers.Severity
	findings    []*analyzers.Finding
	fingerprint string
	homeless    bool // place is a stand-in
}

// groupFindings puts findings together by rule and place, in the order of
// their first one. GitHub does not honour suppressions: what is suppressed is not
// to be among findings that are not.
func groupFindings(l *Lint, findings []analyzers.Finding) ([]*placedFindings, Omitted) {
	type key struct {
		rule  string
		place manifest.Position
	}
	var omitted Omitted
	var groups []*placedFindings
	byKey := map[key]*placedFindings{}
	prints := Fingerprints(findings)
	for i := range findings {
		f := &findings[i]
		at, homeless := f.Place(), false
		if at.File == "" {
			if l.Input.FirstFile == "" {
				omitted.Unplaced++
				continue
			}
			at, homeless = manifest.Position{File: l.Input.FirstFile, Line: 1, Column: 1}, true
		}
		g := byKey[key{f.Rule.ID, at}]
		if g == nil {
			g = &placedFindings{place: at, severity: f.Severity, fingerprint: prints[i], homeless: homeless}
			byKey[key{f.Rule.ID, at}] = g
			groups = append(groups, g)
		}
		if f.Severity.Rank() > g.severity.Rank() {
			g.severity = f.Severity
		}
		g.findings = append(g.findings, f)
	}
	return groups, omitted
}

// message joins the messages of the findings, the first alone in its line.
func (g *placedFindings) message() string {
	var lines []string
	for i, f := range g.findings {
		if i == maxMerged {
			lines = append(lines, fmt.Sprintf("+%d more at this place", len(g.findings)-i))
			break
		}
		line := sarifText(f.Message)
		if g.homeless {
			line += " (no file holds this: it follows from the command line)"
		}
		if f.Help != "" {
			line += "\n" + sarifText(f.Help)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// fitResults encodes groups, the severest first, for as long as GitHub takes
// them, and returns them in their own order with the number of findings that
// are left out.
func fitResults(groups []*placedFindings, encode func(*placedFindings) ([]byte, error)) (results [][]byte, left int, err error) {
	order := make([]int, len(groups))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool {
		return groups[order[i]].severity.Rank() > groups[order[j]].severity.Rank()
	})
	encoded := make([][]byte, len(groups))
	var size counter
	compressed := gzip.NewWriter(&size)
	full := false
	for n, i := range order {
		if full = full || n == maxResults || size > maxCompressed; full {
			left += len(groups[i].findings)
			continue
		}
		if encoded[i], err = encode(groups[i]); err != nil {
			return nil, left, err
		}
		if _, err = compressed.Write(encoded[i]); err != nil {
			return nil, left, err
		}
	}
	for _, b := range encoded {
		if b != nil {
			results = append(results, b)
		}
	}
	return results, left, nil
}

// counter counts the bytes written to it.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// ways returns the hops of a trace from start to end, one list a branch.
func ways(t *flow.Trace) [][]flow.Hop {
	if t == nil {
		return nil
	}
	var out [][]flow.Hop
	for i := range t.Branches {
		for _, rest := range ways(&t.Branches[i].Trace) {
			out = append(out, slices.Concat(t.Hops, rest))
		}
	}
	if len(out) == 0 && len(t.Hops) > 0 {
		out = append(out, t.Hops)
	}
	return out
}

// sarifTags sorts rules: "security" makes alerts security alerts, which a gap in
// reachability or a file that does not parse (EGR0xx) is not.
func sarifTags(a *analyzers.Analyzer) []string {
	kind := "reachability"
	switch {
	case a.SecuritySeverity > 0:
		kind = "security"
	case strings.HasPrefix(a.ID, "EGR0"):
		kind = "input"
	}
	return []string{kind, "istio", "egress"}
}

// sarifText is text of the input for a SARIF message, in which "[text](id)"
// would be a link.
func sarifText(s string) string { return strings.ReplaceAll(Printable(s), "](", "] (") }

// linkText is text of the input for the inside of a link.
func linkText(s string) string { return strings.NewReplacer("[", "(", "]", ")").Replace(Printable(s)) }

// fileURI escapes a relative path as a URI reference. The colon is escaped,
// too: before the first slash it would end a scheme.
func fileURI(path string) string {
	return strings.ReplaceAll((&url.URL{Path: path}).EscapedPath(), ":", "%3A")
}

// cut shortens text to n characters.
func cut(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

// orElse returns the first text that is not empty.
func orElse(texts ...string) string {
	for _, s := range texts {
		if s = strings.TrimSpace(s); s != "" {
			return s
		}
	}
	return ""
}

// prune drops what says nothing from a decoded JSON value: null, empty
// strings, lists and objects, and -1, with which SARIF marks what is not set.
// The list of results stays even if it is empty: it says that the run found
// nothing.
func prune(v any) (kept any, keep bool) {
	switch v := v.(type) {
	case nil:
		return nil, false
	case string:
		return v, v != ""
	case json.Number:
		return v, v != "-1"
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			if item, keep := prune(item); keep {
				out = append(out, item)
			}
		}
		return out, len(out) > 0
	case map[string]any:
		for name, item := range v {
			item, keep := prune(item)
			if keep || name == "results" {
				v[name] = item
			} else {
				delete(v, name)
			}
		}
		return v, len(v) > 0
	default:
		return v, true
	}
}
