package report

import (
	"strings"
	"unicode/utf8"

	"github.com/egresslint/egresslint/model/manifest"
)

// Excerpts of longer lines show the part around the place.
const (
	maxExcerpt  = 160
	leadExcerpt = 60
)

// maxCells bounds what is looked at on either side of a place: a line may have
// megabytes, and characters that take no column may stand in any number.
const maxCells = 4 * maxExcerpt

// cell is a character as it can be printed, and the columns that it takes.
type cell struct {
	text  string
	width int
}

// cellsOf returns the characters of a line around the one at index at, and how many
// stand before them; all of a line that is not too long.
func cellsOf(line string, at int) (cells []cell, skipped int) {
	n := 0
	for i := 0; i < len(line); n++ {
		r, size := utf8.DecodeRuneInString(line[i:])
		if n > at+maxCells {
			break
		}
		if n >= at-maxCells {
			text := printableRune(r, line[i:i+size])
			switch {
			case r == '\t':
				text = "    "
			case r == '#' && commands(line, i):
				text = `\x23`
			}
			cells = append(cells, cell{text, columns(text)})
		}
		i += size
	}
	return cells, max(at-maxCells, 0)
}

// excerpt returns a source line as it can be printed, how many columns of it
// stand before the place p, and how many columns p takes (at least one).
func excerpt(line string, p manifest.Position) (shown string, before, extent int) {
	line = strings.TrimRight(line, " \t\r\n")
	at := min(max(p.Column-1, 0), len(line)) // a character has at least a byte
	cells, skipped := cellsOf(line, at)
	start := min(at-skipped, len(cells))
	end := min(max(p.EndColumn-1-skipped, start+1), len(cells))

	first, total := 0, 0
	for _, c := range cells {
		total += c.width
	}
	var b strings.Builder
	if total > maxExcerpt || skipped > 0 {
		lead := 0
		for first = start; first > 0 && lead+cells[first-1].width <= leadExcerpt; first-- {
			lead += cells[first-1].width
		}
		if first > 0 || skipped > 0 {
			b.WriteString("…")
			before++
		}
	}
	used := before
	for i := first; i < len(cells); i++ {
		if used+cells[i].width > maxExcerpt {
			b.WriteString("…")
			break
		}
		b.WriteString(cells[i].text)
		used += cells[i].width
		switch {
		case i < start:
			before += cells[i].width
		case i < end:
			extent += cells[i].width
		}
	}
	return b.String(), before, max(extent, 1)
}
