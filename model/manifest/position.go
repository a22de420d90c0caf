package manifest

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// at returns the position of the value at a field path, without the file's name.
func (t *tree) at(path string) Position {
	h := t.find(parsePath(path))
	if !h.found {
		return h.keyPosition()
	}
	return h.valuePosition()
}

// atKey returns the position of the key at a field path, without the file's
// name.
func (t *tree) atKey(path string) Position {
	return t.find(parsePath(path)).keyPosition()
}

// valuePosition is that of a scalar itself, and of the key that holds a list or
// a mapping: "this list is wrong" is said where its name stands.
func (h hit) valuePosition() Position {
	target := follow(h.value)
	empty := target != nil && target.Kind == yaml.ScalarNode && target.Value == "" && target.Style&quoted == 0
	if h.key != nil && (target == nil || target.Kind != yaml.ScalarNode || empty) {
		return h.keyPosition()
	}
	if h.value.Kind == yaml.ScalarNode || h.value.Kind == yaml.AliasNode {
		return h.in.spanOf(h.value)
	}
	return h.in.lineOf(h.value)
}

// keyPosition is that of the key; of an item of a list its start, of the root
// its first line.
func (h hit) keyPosition() Position {
	switch {
	case h.key != nil:
		return h.in.spanOf(h.key)
	case h.value.Kind == yaml.ScalarNode || h.value.Kind == yaml.AliasNode:
		return h.in.spanOf(h.value)
	}
	return h.in.lineOf(h.value)
}

// spanOf returns where a node stands, with its end if it is a scalar or alias
// that ends on its first line; of a longer one the end of that line.
func (t *tree) spanOf(n *yaml.Node) Position {
	from, line := t.sourceOf(n)
	skipped, length := 0, len(line)
	switch n.Kind {
	case yaml.AliasNode:
		length = min(len("*")+len(n.Value), len(line))
	case yaml.ScalarNode:
		skipped, length = scalarExtent(line, n)
	}
	return t.position(from+skipped, from+skipped+length)
}

// lineOf returns where a node starts, and the end of what stands in its first
// line.
func (t *tree) lineOf(n *yaml.Node) Position {
	from, line := t.sourceOf(n)
	if i := strings.Index(line, " #"); i > 0 {
		line = strings.TrimRight(line[:i], " \t")
	}
	return t.position(from, from+len(line))
}

// sourceOf returns the offset at which a node starts and the rest of its line,
// without blanks at the end.
func (t *tree) sourceOf(n *yaml.Node) (int, string) {
	from := t.offset(n.Line, n.Column)
	rest := t.bytes[from:t.lineEnd(n.Line)]
	return from, string(bytes.TrimRight(rest, " \t\r\n\u0085\u2028\u2029"))
}

// scalarExtent measures a scalar in the line that starts with it: how much
// stands before it (its anchor and tag) and its length, both in bytes.
func scalarExtent(line string, n *yaml.Node) (skipped, length int) {
	rest := line
	for rest != "" && (rest[0] == '&' || rest[0] == '!') {
		i := strings.IndexAny(rest, " \t")
		if i < 0 {
			break
		}
		rest = strings.TrimLeft(rest[i:], " \t")
	}
	skipped = len(line) - len(rest)
	switch {
	case rest == "":
	case n.Style&yaml.DoubleQuotedStyle != 0 && rest[0] == '"':
		return skipped, skipString([]byte(rest), 0)
	case n.Style&yaml.SingleQuotedStyle != 0 && rest[0] == '\'':
		for i := 1; i < len(rest); i++ {
			if rest[i] != '\'' {
				continue
			}
			if i+1 < len(rest) && rest[i+1] == '\'' {
				i++
				continue
			}
			return skipped, i + 1
		}
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if i := strings.IndexAny(rest, " \t"); i > 0 {
			return skipped, i
		}
	case n.Style&quoted == 0 && strings.HasPrefix(rest, n.Value):
		return skipped, len(n.Value)
	case n.Style&quoted == 0: // goes on in the next line
		if i := strings.Index(rest, " #"); i > 0 {
			return skipped, len(strings.TrimRight(rest[:i], " \t"))
		}
	}
	return skipped, len(rest)
}

// position turns offsets on one line into a Position of the file.
func (t *tree) position(from, to int) Position {
	if t.outer != nil {
		return t.outerPosition(from, to)
	}
	line, column := t.place(from)
	p := Position{Line: line, Column: column}
	if length := utf8.RuneCount(t.bytes[from:to]); length > 0 {
		p.EndColumn = p.Column + length
	}
	return p
}

// outerPosition is a position within YAML in a text. The lines of a literal
// block ("|") are lines of the file; of any other text the whole is the place.
func (t *tree) outerPosition(from, to int) Position {
	if t.holder.Style&yaml.LiteralStyle != 0 {
		line := t.lineAt(from)
		outer := t.holder.Line + line
		if outer <= t.outer.lines() {
			start, outerStart := t.offset(line, 1), t.outer.offset(outer, 1)
			inText := bytes.TrimRight(t.bytes[start:t.lineEnd(line)], "\r\n")
			inFile := bytes.TrimRight(t.outer.bytes[outerStart:t.outer.lineEnd(outer)], "\r\n")
			if bytes.HasSuffix(inFile, inText) {
				shift := outerStart + len(inFile) - len(inText) - start
				return t.outer.position(from+shift, to+shift)
			}
		}
	}
	return t.outer.spanOf(t.holder)
}
