package report_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/report"
)

func TestPrintableEscapesWhatATerminalWouldObey(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"plain":                {"shop/cart", "shop/cart"},
		"empty":                {"", ""},
		"letters of others":    {"näme 名前 → ✗", "näme 名前 → ✗"},
		"colour":               {"\x1b[31mred", `\x1b[31mred`},
		"line end":             {"a\nb\r\n", `a\nb\r\n`},
		"tab":                  {"a\tb", `a\tb`},
		"delete":               {"a\x7f", `a\x7f`},
		"C1 control":           {"a\u009b31m", `a\u009b31m`},
		"turned text":          {"a\u202ecod.exe", `a\u202ecod.exe`},
		"isolate":              {"a\u2066b\u2069", `a\u2066b\u2069`},
		"zero width":           {"a\u200bb", `a\u200bb`},
		"byte-order mark":      {"\ufeffa", `\ufeffa`},
		"line separator":       {"a\u2028b", `a\u2028b`},
		"tags":                 {"a\U000E0041", `a\U000e0041`},
		"invalid UTF-8":        {"a\xff\xfe", `a\xff\xfe`},
		"null":                 {"a\x00b", `a\x00b`},
		"no-break space":       {"a\u00a0b", `a\u00a0b`},
		"GitHub's command":     {"::error::x", `\x3a:error::x`},
		"after blanks":         {"  ::error::x", `  \x3a:error::x`},
		"GitHub's old command": {"x ##[error]y", `x #\x23[error]y`},
		"Azure's command":      {"##vso[task.x]", `#\x23vso[task.x]`},
		"a comment":            {"## note", "## note"},
		"an address":           {"[::1]:80", "[::1]:80"},
		"replacement as given": {"a\ufffd", "a\ufffd"},
	} {
		if got := report.Printable(test.in); got != test.want {
			t.Errorf("%s: Printable(%q) = %s, want %s", name, test.in, got, test.want)
		}
	}
}

func TestPrintableCutsWhatWouldBuryTheReport(t *testing.T) {
	for _, long := range []string{strings.Repeat("a", 1<<20), strings.Repeat("名", 1<<20), strings.Repeat("\x1b", 1<<20)} {
		got := report.Printable(long)
		if len(got) > 10_000 || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes of %.3q became %d bytes that end in %q", len(long), long, len(got), got[len(got)-3:])
		}
	}
}

// Whatever is in a text, its JSON prints, and decodes to the same text.
func TestJSONPrintsAndKeepsValues(t *testing.T) {
	seed := testseed.New(t)
	random := rand.New(rand.NewPCG(seed, 0))
	alphabet := []string{"a", "\\", "u003c", "\"", "<", ">", "&", "\x1b", "\u202e", "\u2028", "\u009b", "\x7f", "\U000E0041", "名", "\n", "\\u003c", "😀", "\ufeff", "#", "["}
	for range 2000 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		in := flow.Trace{Outcome: flow.Unknown, Detail: b.String()}
		var out bytes.Buffer
		if err := report.TraceLine(&out, &in); err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSuffix(out.String(), "\n")
		for _, r := range line {
			if !strconv.IsPrint(r) {
				t.Fatalf("%q holds %U, which does not print", line, r)
			}
		}
		if strings.Contains(line, "##") {
			t.Fatalf("%s may hold a command to a CI runner", line)
		}
		var back flow.Trace
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Detail != in.Detail {
			t.Fatalf("%q became %s, which decodes to %q (%v)", in.Detail, line, back.Detail, err)
		}
		if strings.ContainsAny(in.Detail, "<>&") && strings.Count(line, "<") != strings.Count(in.Detail, "<") {
			t.Fatalf("%s escapes < without need", line)
		}
	}
}
