package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	sigsyaml "sigs.k8s.io/yaml"
)

// The parser that gives positions and the one of kubectl differ in corners: a
// colon right before a comma or bracket ("[2001:db8::]" is a text to kubectl, a
// mapping to newer YAML), a question mark in a flow collection, punctuation in
// the names of anchors, escapes. Where a document has something of the kind,
// both read it, and it counts only if they agree.

// hasCorner finds corners in a text; others are found by the nodes. Every
// document comes by here, so it is no regular expression.
func hasCorner(text []byte) bool {
	for rest := text; ; {
		i := bytes.IndexByte(rest, ':')
		if i < 0 || i+1 == len(rest) {
			break
		}
		if rest = rest[i+1:]; rest[0] == ',' || rest[0] == ']' || rest[0] == '}' {
			return true
		}
	}
	if bytes.Contains(text, []byte(`\/`)) {
		return true
	}
	for i := bytes.IndexByte(text, '?'); i >= 0; {
		if i > 0 && i+1 < len(text) && isBlank(text[i+1]) {
			return true
		}
		before := bytes.TrimRight(text[:i], " \t\r\n")
		if n := len(before); n > 0 && strings.IndexByte("[{,", before[n-1]) >= 0 {
			return true
		}
		next := bytes.IndexByte(text[i+1:], '?')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return false
}

// linePattern matches the place that an error of kubectl's parser begins with.
var linePattern = regexp.MustCompile(`^line ([0-9]+): `)

// disagreement returns the problem with a document that kubectl reads
// differently, or not at all.
func (d *draft) disagreement() (Problem, bool) {
	d.inspected = inspect(d.file.root)
	if d.piece.json || d.document > 0 || !d.inspected.unusual && (d.rest != nil || !hasCorner(d.part.bytes)) {
		return Problem{}, false
	}
	ours, err := d.file.toJSON(d.file.root)
	if err != nil {
		return Problem{}, false // it is reported, and the other parser spared a bomb
	}
	problem := Problem{Kind: Unreadable, Position: d.start()}
	kubectl, err := sigsyaml.YAMLToJSON(d.part.bytes)
	if err != nil {
		problem.Message = rootCause(err)
		if m := linePattern.FindStringSubmatch(problem.Message); m != nil {
			line, _ := strconv.Atoi(m[1]) // digits, or else it is the first line
			problem.Position = d.position(d.part, d.part.offset(line, 1))
			problem.Message = problem.Message[len(m[0]):]
		}
		problem.Message = "document does not parse for kubectl: " + problem.Message
		return problem, true
	}
	var a, b any
	if json.Unmarshal(ours, &a) != nil || json.Unmarshal(kubectl, &b) != nil {
		return Problem{}, false // both are JSON
	}
	path, differ := difference(a, b, nil)
	if !differ {
		return Problem{}, false
	}
	field := FieldPath(path...)
	problem.Position = named(d.file.at(field), d.in.shown)
	problem.Message = fmt.Sprintf("document cannot be read: versions of YAML differ about %s", cmp.Or(field, "it"))
	problem.Help = "quote the value"
	return problem, true
}

// difference finds the first place at which two JSON values differ.
func difference(a, b any, at []any) (path []any, differ bool) {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return at, true
		}
		for _, key := range slices.Sorted(maps.Keys(a)) {
			other, ok := b[key]
			if !ok {
				return at, true
			}
			if path, differ := difference(a[key], other, append(slices.Clone(at), key)); differ {
				return path, true
			}
		}
		return nil, false
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return at, true
		}
		for i := range a {
			if path, differ := difference(a[i], b[i], append(slices.Clone(at), i)); differ {
				return path, true
			}
		}
		return nil, false
	}
	return at, a != b
}

// rootCause is the innermost of wrapped errors, without the parser's name.
func rootCause(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return strings.TrimPrefix(err.Error(), "yaml: ")
}
