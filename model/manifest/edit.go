package manifest

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// End returns the place behind the last line of an object's document, where
// another document can follow. ok is false for objects that are not a document
// of their own in block style: items of lists, JSON.
func (o *Object) End() (p Position, ok bool) {
	s := o.source
	if s == nil || s.items != nil || s.column != 1 {
		return Position{}, false
	}
	p = o.locate(func(t *tree) Position {
		if t.json || t.root.Kind != yaml.MappingNode || t.root.Style&yaml.FlowStyle != 0 {
			return Position{}
		}
		line, end := lastLine(t.root), Position{}
		for ; line <= t.lines(); line++ {
			text := t.bytes[t.offset(line, 1):t.lineEnd(line)]
			if bytes.HasPrefix(text, []byte("---")) || bytes.HasPrefix(text, []byte("...")) {
				break
			}
			if text = bytes.TrimRight(text, "\r\n"); len(bytes.TrimSpace(text)) > 0 {
				end = Position{Line: line + t.line - 1, Column: 1 + utf8.RuneCount(text)}
			}
		}
		return end
	})
	return p, p.Line > int(s.line)
}

// ItemLines returns the first and the last line of an item of a list, which can
// be deleted. ok is false where something else stands on them, and for the only
// item of a list.
func (o *Object) ItemLines(field string) (first, last int, ok bool) {
	if o.source == nil {
		return 0, 0, false
	}
	i := strings.LastIndexByte(field, '[')
	if i < 0 {
		return 0, 0, false
	}
	o.locate(func(t *tree) Position {
		list, item := t.find(parsePath(field[:i])), t.find(parsePath(field))
		if !list.found || !item.found || item.in != t || t.json || list.value.Kind != yaml.SequenceNode ||
			list.value.Style&yaml.FlowStyle != 0 || len(list.value.Content) < 2 {
			return Position{}
		}
		n := item.value
		before := t.bytes[t.offset(n.Line, 1):t.offset(n.Line, n.Column)]
		first, last = n.Line+t.line-1, lastLine(n)+t.line-1
		ok = len(bytes.Trim(before, " ")) == 1 && bytes.Contains(before, []byte("-"))
		return Position{}
	})
	return first, last, ok
}

// lastLine returns the last line on which something of a node starts.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, child := range n.Content {
		last = max(last, lastLine(child))
	}
	return last
}
