package manifest

import (
	"bytes"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// IgnoreAnnotation holds directives for the object that carries it, one a line.
// Kustomize and Helm drop comments; annotations stay.
const IgnoreAnnotation = "egresslint.io/ignore"

// Directive asks for findings to be left out: a comment
//
//	# egresslint: ignore[EGR301,EGR302] until=2027-01-31 the reason
//
// or a line of the annotation [IgnoreAnnotation],
//
//	EGR301,EGR302 until=2027-01-31: the reason
//
// A comment behind something is about its line; one on a line of its own is
// about the next line that is no comment, with all that is indented below it,
// and above an object's first line about the whole object.
type Directive struct {
	// Position is that of the comment or the annotation.
	Position Position
	// First and Last are the lines of the file that the directive is about, 0 if
	// nothing follows a comment. Object is what an annotation is about, else nil.
	First, Last int
	Object      *Object
	// Rules are as written, at least one, unless Flaw says otherwise.
	Rules []string
	// Reason is why; Until, if not zero, the last day on which the directive
	// holds, at midnight UTC.
	Reason string
	Until  time.Time
	// Flaw says what is wrong with the directive, "" if nothing is: lower case,
	// no final period. It asks for nothing then.
	Flaw string
}

// Covers reports whether the directive is about a place: a finding's position
// and, where it has one, its object.
func (d *Directive) Covers(at Position, o *Object) bool {
	if d.Object != nil && o != nil {
		return o == d.Object || o.Cause == d.Object
	}
	return at.File == d.Position.File && at.Line >= d.First && at.Line <= d.Last && d.First > 0
}

var (
	directiveWord = []byte("egresslint:")
	// directivePattern matches a comment with a directive, at the end of a line.
	directivePattern = regexp.MustCompile(`(?:^|[ \t])#[ \t]*egresslint:[ \t]*(.*)$`)
	ignorePattern    = regexp.MustCompile(`^ignore[ \t]*\[([^\]]*)\][ \t:]*(.*)$`)
	untilPattern     = regexp.MustCompile(`(?:^|[ \t])until=([^ \t:]*)`)
)

// What one file, and one directive, may ask for.
const (
	maxDirectives = 10_000
	maxNames      = 500
)

// directives finds the comments of a file that are meant for us. It goes by
// lines: a comment within YAML that a text holds (a mesh configuration) counts
// as well.
func directives(content []byte, shown string) []Directive {
	if !bytes.Contains(content, directiveWord) {
		return nil
	}
	var out []Directive
	below := blocks{rows: bytes.Split(content, []byte("\n"))}
	for i, row := range below.rows {
		below.pass(i)
		row = bytes.TrimSuffix(row, []byte("\r"))
		if !bytes.Contains(row, directiveWord) || len(out) == maxDirectives {
			continue
		}
		m := directivePattern.FindSubmatchIndex(row)
		if m == nil {
			continue
		}
		at := m[0] + bytes.IndexByte(row[m[0]:], '#')
		d := Directive{Position: Position{
			File: shown, Line: i + 1, Column: 1 + utf8.RuneCount(row[:at]), EndColumn: 1 + utf8.RuneCount(bytes.TrimRight(row, " \t")),
		}}
		if len(bytes.TrimSpace(row[:at])) > 0 {
			d.First, d.Last = i+1, i+1
		} else {
			d.First, d.Last = below.at(i + 1)
		}
		d.readComment(string(row[m[2]:m[3]]))
		out = append(out, d)
	}
	return out
}

// blocks finds what comments are about. It goes down a file once, however many
// comments stand above one another.
type blocks struct {
	rows [][]byte
	// inDocument says that the document has begun above the row passed last.
	inDocument bool

	// Of the block found last: the row it starts at, that of the last marker above
	// it, whether it is a whole document, and its last row.
	start, marker int
	whole         bool
	last          int
}

// pass is told of each row, in order.
func (b *blocks) pass(row int) {
	if isMarker(b.rows[row]) {
		b.inDocument = false
	} else if !isRemark(b.rows[row]) {
		b.inDocument = true
	}
}

// at returns the lines, counted from 1, of what starts at the first row from the
// given one on that is neither blank nor a comment: that row and all that is
// indented below it, the items of a list included; of the first row of a document
// the whole document. It returns zeros if nothing follows. The row above the given
// one is the one passed last.
func (b *blocks) at(from int) (first, last int) {
	known := b.start >= from
	if !known {
		b.marker = -1
		for b.start = from; b.start < len(b.rows) && (isRemark(b.rows[b.start]) || isMarker(b.rows[b.start])); b.start++ {
			if isMarker(b.rows[b.start]) {
				b.marker = b.start
			}
		}
	}
	if b.start == len(b.rows) {
		return 0, 0
	}
	if whole := !b.inDocument || b.marker >= from; !known || whole != b.whole {
		b.whole, b.last = whole, b.end(whole)
	}
	return b.start + 1, b.last + 1
}

// end returns the last row of the block at b.start.
func (b *blocks) end(whole bool) int {
	start := indent(b.rows[b.start])
	isItem := bytes.HasPrefix(b.rows[b.start][start:], []byte("-"))
	last := b.start
	for i := b.start + 1; i < len(b.rows) && !isMarker(b.rows[i]); i++ {
		if isRemark(b.rows[i]) {
			continue
		}
		n := indent(b.rows[i])
		if !whole && (n < start || n == start && (isItem || !bytes.HasPrefix(b.rows[i][n:], []byte("-")))) {
			break
		}
		last = i
	}
	return last
}

// isRemark reports whether a row is blank or a comment alone.
func isRemark(row []byte) bool {
	row = bytes.TrimSpace(row)
	return len(row) == 0 || row[0] == '#'
}

// isMarker reports whether a row separates documents.
func isMarker(row []byte) bool {
	return bytes.HasPrefix(row, []byte("---")) && (len(row) == 3 || bytes.IndexByte([]byte(" \t\r"), row[3]) >= 0)
}

func indent(row []byte) int { return len(row) - len(bytes.TrimLeft(row, " ")) }

// readComment reads what stands behind "egresslint:".
func (d *Directive) readComment(words string) {
	m := ignorePattern.FindStringSubmatch(strings.TrimSpace(words))
	if m == nil {
		d.Flaw = "is no directive of egresslint: write \"egresslint: ignore[EGR301] reason\""
		return
	}
	d.read(m[1], m[2])
}

// readAnnotation reads a line of the annotation.
func (d *Directive) readAnnotation(line string) {
	rules, reason, found := strings.Cut(line, ":")
	if !found {
		d.Flaw = "gives no reason: write \"EGR301: reason\""
		return
	}
	until := untilPattern.FindString(rules)
	d.read(strings.Replace(rules, until, "", 1), until+" "+reason)
}

// read sets the rules, the date and the reason.
func (d *Directive) read(rules, rest string) {
	for rule := range strings.FieldsFuncSeq(rules, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if len(d.Rules) == maxNames {
			d.Flaw = "names more rules than there are: name those that are meant"
			return
		}
		d.Rules = append(d.Rules, rule)
	}
	if m := untilPattern.FindStringSubmatchIndex(rest); m != nil {
		date := rest[m[2]:m[3]]
		rest = rest[:m[0]] + rest[m[1]:]
		until, err := time.Parse(time.DateOnly, date)
		if err != nil {
			d.Flaw = "has until=" + printable(date) + ", which is no date: write until=2027-01-31"
			return
		}
		d.Until = until
	}
	d.Reason = printable(strings.Trim(strings.TrimSpace(rest), ": \t"))
	switch {
	case len(d.Rules) == 0:
		d.Flaw = "names no rule: write \"ignore[EGR301] reason\""
	case d.Reason == "":
		d.Flaw = "gives no reason: write why behind the rules"
	case d.Object == nil && d.First == 0:
		d.Flaw = "stands above nothing: write it above the line that it is about, or behind it"
	}
}

// annotated returns the directives in an object's annotation.
func annotated(o *Object) []Directive {
	value := o.Annotations[IgnoreAnnotation]
	if value == "" {
		return nil
	}
	at := o.At(FieldPath("metadata", "annotations", IgnoreAnnotation))
	first, last := o.source.extent()
	var out []Directive
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); line == "" || len(out) == maxDirectives {
			continue
		}
		d := Directive{Position: at, First: first, Last: last, Object: o}
		d.readAnnotation(line)
		out = append(out, d)
	}
	return out
}

// extent returns the first line of an object and the last one on which something
// of it starts.
func (s *source) extent() (first, last int) {
	t := s.tree()
	if t == nil {
		return int(s.line), int(s.line)
	}
	return int(s.line), lastLine(t.root) + t.line - 1
}

// direct collects the directives of the objects, which those of the files
// precede, and puts them in order.
func (s *Set) direct() {
	for _, objects := range [][]*Object{s.Objects, s.Values, s.Rejected} {
		for _, o := range objects {
			s.Directives = append(s.Directives, annotated(o)...)
		}
	}
	sort.SliceStable(s.Directives, func(i, j int) bool { return s.Directives[i].Position.Compare(s.Directives[j].Position) < 0 })
	s.Directives = slices.CompactFunc(s.Directives, func(a, b Directive) bool { // of a file that was read for several namespaces
		return a.Object == nil && b.Object == nil && a.Position == b.Position
	})
}
