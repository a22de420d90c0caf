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

// excerpt returns a source line as it can be printed, how many columns of it
// stand before the place p, and how many columns p takes (at least one).
func excerpt(line string, p manifest.Position) (shown string, before, extent int) {
	type cell struct {
		text  string
		width int
	}
	line = strings.TrimRight(line, " \t\r\n")
	var cells []cell
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRuneInString(line[i:])
		text := printableRune(r, line[i:i+size])
		switch {
		case r == '\t':
			text = "    "
		case r == '#' && commands(line, i):
			text = `\x23`
		}
		cells = append(cells, cell{text, columns(text)})
		i += size
	}
	start := min(max(p.Column-1, 0), len(cells))
	end := min(max(p.EndColumn-1, start+1), len(cells))

	first, total := 0, 0
	for _, c := range cells {
		total += c.width
	}
	var b strings.Builder
	if total > maxExcerpt {
		lead := 0
		for first = start; first > 0 && lead+cells[first-1].width <= leadExcerpt; first-- {
			lead += cells[first-1].width
		}
		if first > 0 {
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
