package manifest

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// text is what was parsed in one piece, and where it is from.
type text struct {
	bytes []byte
	json  bool
	// line and column are where it begins in its file.
	line, column int

	starts []int // of the lines, once asked for
	exotic bool  // some lines end as only YAML ends lines
}

// place returns the line and column, in the file, of an offset.
func (t *text) place(offset int) (line, column int) {
	starts := t.index()
	n := t.lineAt(offset)
	start := starts[n-1]
	if t.exotic {
		n = 1 + bytes.Count(t.bytes[:offset], []byte("\n"))
		start = 1 + bytes.LastIndexByte(t.bytes[:offset], '\n')
	}
	column = 1 + utf8.RuneCount(t.bytes[start:offset])
	if n == 1 {
		column += t.column - 1
	}
	return t.line + n - 1, column
}

// index finds the lines of the text as the parser counts them: YAML 1.1 knows
// line ends that editors and JSON do not.
func (t *text) index() []int {
	if t.starts != nil {
		return t.starts
	}
	t.starts = []int{0}
	t.exotic = !t.json && (bytes.Contains(t.bytes, []byte("\u0085")) || bytes.Contains(t.bytes, []byte("\u2028")) || bytes.Contains(t.bytes, []byte("\u2029")))
	for i := 0; i < len(t.bytes); i++ {
		switch {
		case t.bytes[i] == '\n':
			t.starts = append(t.starts, i+1)
		case !t.exotic || t.bytes[i] < utf8.RuneSelf:
		case bytes.HasPrefix(t.bytes[i:], []byte("\u0085")):
			t.starts = append(t.starts, i+2)
		case bytes.HasPrefix(t.bytes[i:], []byte("\u2028")), bytes.HasPrefix(t.bytes[i:], []byte("\u2029")):
			t.starts = append(t.starts, i+3)
		}
	}
	return t.starts
}

// lines counts the lines.
func (t *text) lines() int { return len(t.index()) }

// lineAt returns the line, from 1, of an offset.
func (t *text) lineAt(offset int) int {
	return sort.SearchInts(t.index(), offset+1)
}

// lineEnd returns the end of a line, its line end included.
func (t *text) lineEnd(line int) int {
	if starts := t.index(); line >= 1 && line < len(starts) {
		return starts[line]
	}
	return len(t.bytes)
}

// offset returns the offset of a column, in code points, of a line.
func (t *text) offset(line, column int) int {
	starts := t.index()
	line = min(max(line, 1), len(starts))
	at, end := starts[line-1], t.lineEnd(line)
	if bytes.HasPrefix(t.bytes[at:end], []byte("\ufeff")) {
		at += len("\ufeff") // the parser does not count it
	}
	for ; column > 1 && at < end; column-- {
		_, size := utf8.DecodeRune(t.bytes[at:end])
		at += size
	}
	return at
}
