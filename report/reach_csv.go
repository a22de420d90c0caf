package report

import (
	"io"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model/reach"
)

// maxCell is how much spreadsheet programs keep of a cell.
const maxCell = 32_000

// csvHeader names the columns of ReachCSV.
var csvHeader = []string{
	"workloads", "workload_count", "host", "port", "stands_for", "protocol", "address", "outcome", "some_allowed", "every_allowed",
	"via", "reason", "policy", "rule", "guarantee", "upstream_tls", "http_status", "when",
}

// ReachCSV writes a matrix as one row a group of workloads, destination,
// protocol and kind of address (RFC 4180, every field quoted). Workloads are
// separated by blanks and cut with "+n more" where a spreadsheet would cut
// them; "when" holds the conditions as JSON.
//
// Cells that a spreadsheet would take for a formula get a leading apostrophe.
func ReachCSV(w io.Writer, m *reach.Matrix) error {
	p := newPrinter(w)
	p.row(csvHeader)
	names := workloadNames(m.Workloads)
	for _, r := range m.Rectangles {
		workloads := joinCell(namesOf(r.Workloads, names))
		for _, d := range r.Destinations {
			for _, a := range r.Answers {
				when, rule, status := "", "", ""
				if len(a.When) > 0 {
					b, err := encode(a.When, "")
					if err != nil {
						return err
					}
					when = string(b)
				}
				if a.Rule != nil {
					rule = strconv.Itoa(*a.Rule)
				}
				if a.HTTPStatus != 0 {
					status = strconv.Itoa(a.HTTPStatus)
				}
				p.row([]string{
					workloads, strconv.Itoa(len(r.Workloads)), d.Host, strconv.Itoa(d.Port), d.Stands, string(a.Protocol), string(a.Address),
					string(a.Outcome), strconv.FormatBool(a.SomeAllowed), strconv.FormatBool(a.EveryAllowed), string(a.Via), string(a.Reason),
					a.Policy, rule, a.Guarantee, string(a.UpstreamTLS), status, when,
				})
			}
		}
	}
	return p.close()
}

func joinCell(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if b.Len()+len(name) > maxCell {
			b.WriteString(" +" + strconv.Itoa(len(names)-i) + " more")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name)
	}
	return b.String()
}

func (p *printer) row(cells []string) {
	for i, cell := range cells {
		if i > 0 {
			p.printf(",")
		}
		p.printf(`"%s"`, strings.ReplaceAll(csvCell(cell), `"`, `""`))
	}
	p.printf("\r\n")
}

// csvCell guards a cell against being run as a formula: OWASP's list, to which
// the control characters belong that are escaped here anyway.
func csvCell(s string) string {
	s = printableAll(s)
	if s != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}
