package manifest

import (
	"fmt"
	"strconv"
	"strings"
)

// FieldPath writes a field path: strings are keys, ints are indexes of lists.
// Keys that are not plain names are quoted.
//
//	FieldPath("metadata", "labels", "istio.io/rev") // metadata.labels['istio.io/rev']
//	FieldPath("spec", "hosts", 1)                   // spec.hosts[1]
func FieldPath(elements ...any) string {
	var b strings.Builder
	for _, e := range elements {
		switch e := e.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", e)
		case string:
			if !plainName(e) {
				b.WriteString("['" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(e) + "']")
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(e)
		default:
			panic(fmt.Sprintf("manifest.FieldPath: element of type %T", e))
		}
	}
	return b.String()
}

// joinPath puts two field paths together.
func joinPath(base, field string) string {
	switch {
	case base == "" || field == "":
		return base + field
	case field[0] == '[':
		return base + field
	}
	return base + "." + field
}

func plainName(s string) bool {
	for _, r := range s {
		if r == '.' || r == '[' || r == ']' || r == '\'' || r == '"' || r == '\\' || r == '/' || r <= ' ' || unprintable(r) {
			return false
		}
	}
	return s != ""
}

// step is one element of a field path: a key, or the index of a list.
type step struct {
	key   string
	index int // -1 for a key
}

// parsePath reads a field path as [FieldPath] writes it; unquoted keys may hold
// anything but dots and opening brackets. What is not well formed at the end is
// taken as a key that will not be found.
func parsePath(path string) []step {
	if path == "" {
		return nil
	}
	steps := make([]step, 0, 1+strings.Count(path, ".")+strings.Count(path, "["))
	for path != "" {
		switch {
		case path[0] == '.':
			path = path[1:]
		case path[0] == '[' && len(path) > 1 && (path[1] == '\'' || path[1] == '"'):
			key, rest, ok := quotedKey(path[2:], path[1])
			if !ok {
				return append(steps, step{key: path, index: -1})
			}
			steps, path = append(steps, step{key: key, index: -1}), rest
		case path[0] == '[':
			digits, rest, ok := strings.Cut(path[1:], "]")
			i, err := strconv.Atoi(digits)
			if !ok || err != nil || i < 0 {
				return append(steps, step{key: path, index: -1})
			}
			steps, path = append(steps, step{index: i}), rest
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			steps, path = append(steps, step{key: path[:end], index: -1}), path[end:]
		}
	}
	return steps
}

// quotedKey reads up to the closing quote and bracket.
func quotedKey(s string, quote byte) (key, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == quote:
			if i+1 < len(s) && s[i+1] == ']' {
				return b.String(), s[i+2:], true
			}
			return "", "", false
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
