package manifest

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable makes text of the input fit for a terminal: control characters,
// characters that turn the direction of writing and bytes that are not UTF-8
// become U+FFFD, one for one, so that columns stay.
func printable(s string) string {
	if !hasUnprintable(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

func hasUnprintable(s string) bool {
	for _, r := range s {
		if unprintable(r) {
			return true
		}
	}
	return false
}

func unprintable(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' && r != '\t' || r == 0x7f
	}
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// shell writes a path for a command line in a message.
func shell(path string) string {
	plain := strings.IndexFunc(path, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:@+,=", r)
	}) < 0
	switch {
	case path == "":
		return "."
	case strings.HasPrefix(path, "-"):
		return shell("./" + path)
	case plain:
		return path
	}
	return "'" + strings.ReplaceAll(printable(path), "'", `'\''`) + "'"
}

// plural gives "1 file" or "3 files".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
