package manifest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestDirectiveLines pins which lines a comment is about.
func TestDirectiveLines(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // first-last of each directive
	}{
		{"behind a value", "a: 1\nb: 2 # egresslint: ignore[EGR301] r\nc: 3\n", "2-2"},
		{"above a field", "a: 1\n# egresslint: ignore[EGR301] r\nb: 2\nc: 3\n", "3-3"},
		{"above a mapping", "a: 1\n# egresslint: ignore[EGR301] r\nb:\n  c: 3\n\n  d: 4\ne: 5\n", "3-6"},
		{"above a list at the key's indentation", "a: 1\n# egresslint: ignore[EGR301] r\nb:\n- 1\n- 2\nc: 3\n", "3-5"},
		{"above an item", "b:\n# egresslint: ignore[EGR301] r\n- x: 1\n  y: 2\n- x: 3\n", "3-4"},
		{"above a document", "# egresslint: ignore[EGR301] r\na: 1\nb:\n  c: 2\n---\nd: 3\n", "2-4"},
		{"above a later document's marker", "a: 1\n# egresslint: ignore[EGR301] r\n---\nb: 2\nc: 3\n", "4-5"},
		{"below a document's marker", "a: 1\n---\n# egresslint: ignore[EGR301] r\n# more words\nb: 2\nc: 3\n", "5-6"},
		{"several above one field", "a: 1\n# egresslint: ignore[EGR301] r\n# egresslint: ignore[EGR302] r\nb:\n  c: 2\nd: 3\n", "4-5 4-5"},
		{"on both sides of a marker", "a: 1\n# egresslint: ignore[EGR301] r\n---\n# egresslint: ignore[EGR302] r\nb: 2\nc: 3\n", "5-6 5-6"},
		{"above two fields", "a: 1\n# egresslint: ignore[EGR301] r\nb:\n  # egresslint: ignore[EGR302] r\n  c: 2\n  d: 3\n", "3-6 5-5"},
		{"at the end", "a: 1\n# egresslint: ignore[EGR301] r\n", "0-0"},
		{"of Windows", "a: 1\r\nb: 2 # egresslint: ignore[EGR301] r\r\n", "2-2"},
		{"in embedded YAML", "data:\n  mesh: |\n    # egresslint: ignore[EGR301] r\n    a: 1\n    b: 2\n", "4-4"},
		{"no comment", "a: x#egresslint: ignore[EGR301] r\n", ""},
		{"another tool's", "a: 1 # kubelint: ignore[EGR301] r\n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, d := range directives([]byte(test.text), "f.yaml") {
				got = append(got, fmt.Sprintf("%d-%d", d.First, d.Last))
				if d.First > 0 && d.Flaw != "" {
					t.Errorf("flaw %q", d.Flaw)
				}
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("lines %q, want %q", s, test.want)
			}
		})
	}
}

// TestManyDirectives reads as many comments as a file may have above one field,
// each of which is about it, in time that grows with the file only: with the square
// of it this takes minutes.
func TestManyDirectives(t *testing.T) {
	n := 30 * maxDirectives
	text := "a: 1\n" + strings.Repeat("# egresslint: ignore[EGR301] r\n", n) + "b:\n" + strings.Repeat("  c: 1\n", n)
	start := time.Now()
	got := directives([]byte(text), "f.yaml")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("reading %d lines took %s", 2*n, took)
	}
	if len(got) != maxDirectives {
		t.Fatalf("%d directives, want %d", len(got), maxDirectives)
	}
	for _, d := range got {
		if d.First != n+2 || d.Last != 2*n+2 {
			t.Fatalf("a directive is about lines %d to %d, want %d to %d", d.First, d.Last, n+2, 2*n+2)
		}
	}
}

// TestDirectiveWords pins what is read of a directive and what is refused.
func TestDirectiveWords(t *testing.T) {
	tests := []struct {
		comment string
		want    string // rules|reason|until
		flaw    string
	}{
		{"ignore[EGR301] known", "EGR301|known|", ""},
		{"ignore[EGR301, egr302]: known, see SEC-1", "EGR301 egr302|known, see SEC-1|", ""},
		{"ignore [EGR301] until=2027-01-31 known", "EGR301|known|2027-01-31", ""},
		{"ignore[EGR301] known until=2027-01-31", "EGR301|known|2027-01-31", ""},
		{"ignore[EGR301] a\x1b[31mred", "EGR301|a\ufffd[31mred|", ""},
		{"ignore[EGR301]", "", "gives no reason"},
		{"ignore[EGR301] until=2027-01-31", "", "gives no reason"},
		{"ignore[] because", "", "names no rule"},
		{"ignore because", "", "is no directive"},
		{"disable[EGR301] because", "", "is no directive"},
		{"ignore[EGR301] until=soon because", "", "which is no date"},
		{"ignore[" + strings.Repeat("EGR301,", maxNames+1) + "] because", "", "names more rules than there are"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%.40s", test.comment), func(t *testing.T) {
			found := directives([]byte("a: 1 # egresslint: "+test.comment+"\n"), "f.yaml")
			if len(found) != 1 {
				t.Fatalf("%d directives", len(found))
			}
			check(t, found[0], test.want, test.flaw)
		})
	}
	for line, want := range map[string][2]string{
		"EGR301: known":                        {"EGR301|known|", ""},
		"EGR301, EGR302 until=2027-01-31: a:b": {"EGR301 EGR302|a:b|2027-01-31", ""},
		"EGR301":                               {"", "gives no reason"},
		": known":                              {"", "names no rule"},
	} {
		t.Run(line, func(t *testing.T) {
			d := Directive{Object: &Object{}}
			d.readAnnotation(line)
			check(t, d, want[0], want[1])
		})
	}
}

func check(t *testing.T, d Directive, want, flaw string) {
	t.Helper()
	if flaw != "" || d.Flaw != "" {
		if flaw == "" || !strings.Contains(d.Flaw, flaw) {
			t.Errorf("flaw %q, want %q", d.Flaw, flaw)
		}
		return
	}
	until := ""
	if !d.Until.IsZero() {
		until = d.Until.Format("2006-01-02")
	}
	if got := strings.Join(d.Rules, " ") + "|" + d.Reason + "|" + until; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
}
