package report

import (
	"runtime"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("é", 3000) + "HERE" + strings.Repeat("é", 3000)
	tests := []struct {
		name, line string
		at         manifest.Position
		shown      string
		before, n  int
	}{
		{"a short line whole", "  host: a # b", manifest.Position{Column: 9, EndColumn: 10}, "  host: a # b", 8, 1},
		{"wide characters and tabs", "\t名: x", manifest.Position{Column: 4, EndColumn: 5}, "    名: x", 7, 1},
		{"the part of a long line around the place", long, manifest.Position{Column: 3001, EndColumn: 3005}, "…" + strings.Repeat("é", 60) + "HERE" + strings.Repeat("é", 95) + "…", 61, 4},
		{"the start of a long line", long, manifest.Position{Column: 1, EndColumn: 2}, strings.Repeat("é", 160) + "…", 0, 1},
		{"a column beyond the line", "ab", manifest.Position{Column: 9, EndColumn: 10}, "ab", 2, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			shown, before, n := excerpt(test.line, test.at)
			if shown != test.shown || before != test.before || n != test.n {
				t.Errorf("%q, %d, %d; want %q, %d, %d", shown, before, n, test.shown, test.before, test.n)
			}
		})
	}
}

// A line of megabytes takes no more memory than what is shown of it.
func TestExcerptOfAHugeLine(t *testing.T) {
	line := strings.Repeat("x", 10<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, column := range []int{1, 5 << 20, 10 << 20} {
		excerpt(line, manifest.Position{Column: column, EndColumn: column + 1})
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("three excerpts took %d bytes", used)
	}
}
