package report

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how many characters of one piece of text are printed at most: a
// name of a megabyte must not bury the report.
const maxText = 2000

// Printable returns s with everything that does not print as an escape
// sequence of Go: control characters (terminal sequences, line ends), invalid
// UTF-8, and the invisible characters that turn or hide text (bidirectional
// overrides, zero-width ones). So is what a CI runner would take for a command
// in the log it watches ("::error::", "##[command]"). What is longer than a
// screen is cut.
//
// Names and texts of manifests pass through it before they reach a terminal.
func Printable(s string) string {
	if len(s) <= maxText && plain(s) {
		return s
	}
	return escape(s, maxText)
}

// printableAll is Printable without the cut.
func printableAll(s string) string { return escape(s, len(s)) }

func escape(s string, limit int) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); n++ {
		if n == limit {
			b.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if commands(s, i) {
			b.WriteString(`\x` + strconv.FormatUint(uint64(r), 16))
		} else {
			b.WriteString(printableRune(r, s[i:i+size]))
		}
		i += size
	}
	return b.String()
}

// commands reports whether the byte at i makes a command of a CI runner of the
// text: the first of two colons at its start (GitHub), or the second # before a
// bracket anywhere ("##[error]", Azure's "##vso[", "##teamcity[").
func commands(s string, i int) bool {
	switch s[i] {
	case ':':
		return strings.HasPrefix(s[i:], "::") && strings.TrimLeft(s[:i], " ") == ""
	case '#':
		return i > 0 && s[i-1] == '#' && strings.HasPrefix(strings.TrimLeft(s[i+1:], "abcdefghijklmnopqrstuvwxyz"), "[")
	default:
		return false
	}
}

// plain reports whether s is printable ASCII without a command, which is nearly
// always so.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf-1 || s[i] == '#' || i == 0 && (s[i] == ':' || s[i] == ' ') {
			return false
		}
	}
	return true
}

// printableRune returns r, which stands as raw in the text, or its escape.
func printableRune(r rune, raw string) string {
	if r == utf8.RuneError && len(raw) == 1 {
		return `\x` + strconv.FormatUint(uint64(raw[0])|0x100, 16)[1:]
	}
	if strconv.IsPrint(r) {
		return raw
	}
	quoted := strconv.QuoteRuneToASCII(r)
	return quoted[1 : len(quoted)-1]
}

// columns returns how many columns of a terminal printable text takes.
func columns(s string) int {
	if len(s) <= maxText && plain(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
		return 0
	}
	for i := 0; i < len(wide); i += 2 {
		if r >= wide[i] && r <= wide[i+1] {
			return 2
		}
	}
	return 1
}

// wide are the blocks of characters that take two columns: Hangul, the scripts and
// signs of East Asia, full-width forms, pictures. Only the place of a caret depends
// on them; the exact table of Unicode (golang.org/x/text/width) is 15 kB.
var wide = [...]rune{
	0x1100, 0x115F, 0x2E80, 0x303E, 0x3041, 0x4DBF, 0x4E00, 0xA4C6, 0xA960, 0xA97C, 0xAC00, 0xD7A3, 0xF900, 0xFAFF,
	0xFE30, 0xFE6B, 0xFF01, 0xFF60, 0xFFE0, 0xFFE6, 0x1F300, 0x1F64F, 0x1F680, 0x1F6FC, 0x1F90C, 0x1FAFF, 0x20000, 0x3FFFD,
}

// pad returns printable text followed by the spaces that fill n columns.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-columns(s)))
}

// list names the first few of many: "a, b, c and 4 more".
func list(names []string, limit int) string {
	shown := names[:min(len(names), limit)]
	var b strings.Builder
	for i, name := range shown {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Printable(name))
	}
	if more := len(names) - len(shown); more > 0 {
		b.WriteString(" +" + strconv.Itoa(more) + " more")
	}
	return b.String()
}
