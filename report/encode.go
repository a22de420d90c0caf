package report

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// encode returns v as JSON in which everything that does not print is an
// escape sequence, so that the bytes may go to a terminal; the values are the
// same. An indent of "" gives one line. There is no line end.
func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// htmlEscapes are what encoding/json writes for <, > and & in values that
// marshal themselves, whatever the outer encoder is told.
var htmlEscapes = map[string]byte{`\u003c`: '<', `\u003e`: '>', `\u0026`: '&'}

// escapeJSON rewrites valid JSON: characters that do not print become escape
// sequences, and needless escape sequences of <, > and & are undone.
func escapeJSON(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		switch c := in[i]; {
		case c == '\\' && i+6 <= len(in) && htmlEscapes[string(in[i:i+6])] != 0:
			out = append(out, htmlEscapes[string(in[i:i+6])])
			i += 6
		case c == '\\':
			out = append(out, in[i:i+2]...) // \" or \u: the digits are plain text
			i += 2
		case c == '#' && i > 0 && in[i-1] == '#':
			out = append(out, `\u0023`...) // "##[" is a command to CI runners
			i++
		case c < utf8.RuneSelf-1:
			out = append(out, c) // a line end here is one of the indentation
			i++
		default:
			r, size := utf8.DecodeRune(in[i:])
			if strconv.IsPrint(r) {
				out = append(out, in[i:i+size]...)
			} else {
				out = appendEscape(out, r)
			}
			i += size
		}
	}
	return out
}

func appendEscape(out []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return appendEscape(appendEscape(out, high), low)
	}
	return append(append(out, `\u`...), strconv.FormatUint(uint64(r)|0x10000, 16)[1:]...)
}
