package report

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// What a section of the text shows of many like things.
const (
	maxGroups       = 200
	maxGroupNames   = 6
	maxRows         = 40
	maxDestinations = 10
	maxConditions   = 12
)

// ReachText writes a matrix for people. Workloads that reach the same things in
// the same way stand together; below them what they reach and by which path,
// what depends on the request, what is not known and why, and what is blocked
// by what.
func ReachText(w io.Writer, m *reach.Matrix, in Input, o Options) error {
	t := reachWriter{newPrinter(w), newPalette(o.Color), workloadNames(m.Workloads)}
	t.totals(m)
	groups := groupWorkloads(m)
	for i, g := range groups {
		if i == maxGroups {
			t.printf("\n%s\n", t.faint(fmt.Sprintf("+%d more groups of workloads (--from narrows, --format json lists them)", len(groups)-i)))
			break
		}
		t.group(m, g)
	}
	if len(m.Assumptions)+len(in.Notes) > 0 || in.Partial {
		t.printf("\n")
	}
	for _, a := range m.Assumptions {
		t.printf("%s %s\n", t.bold("assumed:"), Printable(a))
	}
	for _, n := range in.Notes {
		t.printf("%s %s\n", t.bold("note:"), Printable(n))
	}
	if in.Partial {
		t.printf("%s some of the input was not analysed (egresslint lint says what): what it holds may change every answer\n", t.yellow("partial:"))
	}
	return t.close()
}

type reachWriter struct {
	*printer
	palette
	names map[*model.Workload]string
}

// totals counts pairs of workload and destination.
func (t reachWriter) totals(m *reach.Matrix) {
	var open, partly, closed, unknown int
	for _, r := range m.Rectangles {
		n := len(r.Workloads) * len(r.Destinations)
		switch summarize(r.Answers) {
		case flow.Allowed:
			open += n
		case flow.Blocked:
			closed += n
		case flow.Unknown:
			unknown += n
		default:
			partly += n
		}
	}
	t.printf("%s, %s: %s open, %s open to some requests or protocols, %s blocked, %s unknown\n",
		plural(len(m.Workloads), "workload"), plural(len(m.Destinations), "destination"),
		t.green(open), t.yellow(partly), t.red(closed), t.yellow(unknown))
}

// summarize is the outcome of all answers of a tuple together. It is blocked
// only if nothing gets out, and allowed only if everything does.
func summarize(answers []reach.Answer) flow.Outcome {
	every, some, unknown := len(answers) > 0, false, len(answers) == 0
	for _, a := range answers {
		every = every && a.EveryAllowed
		some = some || a.SomeAllowed
		unknown = unknown || a.Outcome == flow.Unknown || slices.ContainsFunc(a.When, func(c reach.Condition) bool { return c.Outcome == flow.Unknown })
	}
	switch {
	case every:
		return flow.Allowed
	case some:
		return reach.Depends
	case unknown:
		return flow.Unknown
	default:
		return flow.Blocked
	}
}

// workloadGroup are workloads with the same answer to everything: they lie in
// the same rectangles.
type workloadGroup struct {
	workloads  []*model.Workload
	rectangles []int
}

// groupWorkloads returns the groups in the order of their first workload.
func groupWorkloads(m *reach.Matrix) []*workloadGroup {
	lies := make(map[*model.Workload][]int, len(m.Workloads))
	for i, r := range m.Rectangles {
		for _, w := range r.Workloads {
			lies[w] = append(lies[w], i)
		}
	}
	var groups []*workloadGroup
	byRow := map[string]*workloadGroup{}
	for _, w := range m.Workloads {
		var key strings.Builder
		for _, i := range lies[w] {
			key.WriteString(strconv.Itoa(i) + ",")
		}
		g := byRow[key.String()]
		if g == nil {
			g = &workloadGroup{rectangles: lies[w]}
			byRow[key.String()] = g
			groups = append(groups, g)
		}
		g.workloads = append(g.workloads, w)
	}
	return groups
}

// reachRow is what is printed about destinations that fare alike.
type reachRow struct {
	protocols    string
	result       string
	conditions   []reach.Condition
	destinations []string
}

// sections are the outcomes in the order in which they are printed.
var sections = []struct {
	outcome flow.Outcome
	title   string
}{
	{flow.Allowed, "allowed"},
	{flow.Mixed, "differs between weighted branches"},
	{reach.Depends, "depends on the request"},
	{flow.Unknown, "unknown"},
	{flow.Blocked, "blocked"},
}

func (t reachWriter) group(m *reach.Matrix, g *workloadGroup) {
	t.printf("\n%s", t.bold(list(namesOf(g.workloads, t.names), maxGroupNames)))
	if len(g.workloads) > 1 {
		t.printf(" (%s)", plural(len(g.workloads), "workload"))
	}
	t.printf("\n")
	if len(g.rectangles) == 0 {
		t.printf("  no destination to ask for\n")
		return
	}
	rows := map[flow.Outcome][]*reachRow{}
	for _, i := range g.rectangles {
		addRows(rows, m.Rectangles[i])
	}
	destinations, protocols := 0, 0
	for _, s := range sections {
		for _, r := range rows[s.outcome] {
			protocols = max(protocols, columns(r.protocols))
			for _, d := range r.destinations[:min(len(r.destinations), maxDestinations)] {
				destinations = max(destinations, min(columns(d), 48))
			}
		}
	}
	for _, s := range sections {
		if len(rows[s.outcome]) == 0 {
			continue
		}
		t.printf("  %s\n", t.outcome(s.outcome)(s.title))
		for i, r := range rows[s.outcome] {
			if i == maxRows {
				t.printf("    %s\n", t.faint(fmt.Sprintf("+%d more of other kinds (--to narrows, --format json lists them)", countDestinations(rows[s.outcome][i:]))))
				break
			}
			t.row(r, destinations, protocols)
		}
	}
}

func countDestinations(rows []*reachRow) int {
	n := 0
	for _, r := range rows {
		n += len(r.destinations)
	}
	return n
}

// addRows sorts the answers of a rectangle into rows: protocols that fare alike
// share one, and so do destinations of several rectangles.
func addRows(rows map[flow.Outcome][]*reachRow, r reach.Rectangle) {
	type part struct {
		outcome flow.Outcome
		row     reachRow
	}
	var parts []*part
	for _, a := range r.Answers {
		protocol := string(a.Protocol)
		if a.Address != "" {
			protocol += " to " + addressWord(a.Address)
		}
		result := verdict{a.Outcome, a.Via, a.Reason, a.Policy, a.Rule, a.Guarantee, a.HTTPStatus}.because()
		if a.Outcome == reach.Depends {
			result = depends(a)
		}
		i := slices.IndexFunc(parts, func(p *part) bool {
			return p.outcome == a.Outcome && p.row.result == result && sameConditions(p.row.conditions, a.When)
		})
		if i < 0 {
			parts = append(parts, &part{a.Outcome, reachRow{protocols: protocol, result: result, conditions: a.When}})
		} else {
			parts[i].row.protocols += ", " + protocol
		}
	}
	for _, p := range parts {
		i := slices.IndexFunc(rows[p.outcome], func(r *reachRow) bool {
			return r.protocols == p.row.protocols && r.result == p.row.result && sameConditions(r.conditions, p.row.conditions)
		})
		if i < 0 {
			rows[p.outcome] = append(rows[p.outcome], &p.row)
			i = len(rows[p.outcome]) - 1
		}
		for _, d := range r.Destinations {
			rows[p.outcome][i].destinations = append(rows[p.outcome][i].destinations, destination(d))
		}
	}
}

// depends says of an answer that depends on the request what is common to all.
func depends(a reach.Answer) string {
	switch {
	case a.EveryAllowed:
		return "all requests get out, in different ways"
	case a.SomeAllowed:
		return "some requests get out"
	case slices.ContainsFunc(a.When, func(c reach.Condition) bool { return c.Outcome != flow.Blocked }):
		return "no request is known to get out"
	default:
		return "no request gets out, for different reasons"
	}
}

func sameConditions(a, b []reach.Condition) bool {
	return slices.EqualFunc(a, b, func(a, b reach.Condition) bool {
		return slices.Equal(a.Methods, b.Methods) && slices.Equal(a.Paths, b.Paths) && slices.Equal(a.Headers, b.Headers) &&
			slices.Equal(a.Hosts, b.Hosts) && a.Outcome == b.Outcome && a.Via == b.Via && a.Reason == b.Reason &&
			a.Policy == b.Policy && a.HTTPStatus == b.HTTPStatus
	})
}

func addressWord(a reach.Address) string {
	switch a {
	case reach.Listed:
		return "a listed address"
	case reach.Other:
		return "another address"
	default:
		return Printable(string(a))
	}
}

// destination names a destination, or what it stands for.
func destination(d reach.Destination) string {
	host := d.Host
	if d.Stands != "" {
		host = d.Stands
	}
	if strings.Contains(host, ":") {
		return Printable(net.JoinHostPort(host, strconv.Itoa(d.Port)))
	}
	return Printable(host + ":" + strconv.Itoa(d.Port))
}

func (t reachWriter) row(r *reachRow, destinations, protocols int) {
	for i, d := range r.destinations {
		if i == maxDestinations {
			t.printf("    %s\n", t.faint(fmt.Sprintf("+%d more like these (--format json lists them)", len(r.destinations)-i)))
			break
		}
		line := pad(d, destinations) + "  " + pad(r.protocols, protocols)
		if r.result != "" {
			line += "  " + r.result
		}
		t.printf("    %s\n", strings.TrimRight(line, " "))
	}
	for i, c := range r.conditions {
		if i == maxConditions {
			t.printf("        %s\n", t.faint(fmt.Sprintf("+%d more conditions (--format json lists them)", len(r.conditions)-i)))
			break
		}
		v := verdict{outcome: c.Outcome, via: c.Via, reason: c.Reason, policy: c.Policy, status: c.HTTPStatus}
		t.printf("        %s: %s, %s\n", conditionText(c, len(r.conditions) > 1), t.outcome(c.Outcome)(Printable(string(c.Outcome))), v.because())
	}
}

// conditionText names a set of requests: "GET, HEAD /v1/* with host a.example".
// Where there are others, one without any restriction is what they leave.
func conditionText(c reach.Condition, others bool) string {
	var parts []string
	for _, set := range []struct {
		name   string
		values []string
	}{{"", c.Methods}, {"path ", c.Paths}, {"header ", c.Headers}, {"host ", c.Hosts}} {
		if len(set.values) > 0 {
			parts = append(parts, set.name+list(set.values, 8))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case others:
		return "any other request"
	default:
		return "any request"
	}
}
