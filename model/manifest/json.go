package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// tagJSON marks numbers of JSON documents: they are taken as they are written,
// where YAML reads 1.0 as 1.
const tagJSON = "!json"

// splitJSON splits a text that begins with "{" into its JSON values. ok is
// false where it is not JSON throughout; then it is to be read as YAML, as kubectl does
// (YAMLOrJSONDecoder in k8s.io/apimachinery/pkg/util/yaml/decoder.go).
func splitJSON(text []byte) (docs []fragment, ok bool) {
	at := place{line: 1, column: 1}
	for start := 0; ; {
		for start < len(text) && isBlank(text[start]) {
			start++
		}
		if start == len(text) {
			return docs, len(docs) > 0
		}
		end := jsonEnd(text, start)
		if !json.Valid(text[start:end]) {
			return docs, false
		}
		at.advance(text, start)
		docs = append(docs, fragment{off: start, end: end, line: at.line, column: at.column, dash: -1, json: true})
		start = end
	}
}

// jsonEnd returns where the object or array that starts at i ends.
func jsonEnd(text []byte, i int) int {
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// place is a position that moves forward through a text.
type place struct{ off, line, column int }

// advance moves to a byte of the text that is not before the present one.
func (p *place) advance(text []byte, to int) {
	part := text[p.off:to]
	if n := bytes.Count(part, []byte("\n")); n > 0 {
		p.line += n
		p.column = 1
		part = part[bytes.LastIndexByte(part, '\n')+1:]
	}
	p.column += utf8.RuneCount(part)
	p.off = to
}

// splitJSONList splits a JSON List into its items and the rest. The document is
// known to be JSON. ok is false where it is no List.
func splitJSONList(text []byte, doc fragment) (head []byte, items []fragment, ok bool) {
	part := text[doc.off:doc.end]
	from, to, elements := jsonItems(part)
	if len(elements) == 0 {
		return nil, nil, false
	}
	at := place{line: doc.line, column: doc.column}
	for _, e := range elements {
		at.advance(part, e[0])
		items = append(items, fragment{off: doc.off + e[0], end: doc.off + e[1], line: at.line, column: at.column, dash: -1, json: true})
	}
	return append(append(append([]byte{}, part[:from]...), "[]"...), part[to:]...), items, true
}

// jsonItems finds the array under the key "items" of an object, and its
// elements. With several such keys it finds none: the reader of the whole tells
// what is wrong.
func jsonItems(part []byte) (from, to int, elements [][2]int) {
	depth, start, found := 0, -1, 0
	inItems, isKey := false, false
	for i := 0; i < len(part); i++ {
		c := part[i]
		if start < 0 && inItems && depth == 2 && !isBlank(c) && c != ',' && c != ']' {
			start = i
		}
		switch c {
		case '"':
			end := skipString(part, i)
			if depth == 1 && !inItems && string(part[i:end]) == `"items"` && isJSONKey(part, end) {
				isKey = true
			}
			i = end - 1
		case '{', '[':
			depth++
			if depth == 2 && isKey {
				if isKey = false; c == '[' {
					inItems, from = true, i
					found++
				}
			}
		case '}', ']':
			if depth == 2 && inItems {
				if start >= 0 {
					elements = append(elements, [2]int{start, lastByte(part, i)})
				}
				inItems, start, to = false, -1, i+1
			}
			depth--
		case ',':
			if depth == 2 && inItems && start >= 0 {
				elements = append(elements, [2]int{start, lastByte(part, i)})
				start = -1
			}
			if depth == 1 {
				isKey = false
			}
		}
	}
	if found != 1 {
		return 0, 0, nil
	}
	return from, to, elements
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// lastByte returns where the blanks before end begin.
func lastByte(part []byte, end int) int {
	for end > 0 && isBlank(part[end-1]) {
		end--
	}
	return end
}

// skipString returns the end of the string that starts at i.
func skipString(part []byte, i int) int {
	for i++; i < len(part); i++ {
		switch part[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(part)
}

// isJSONKey reports whether a colon follows.
func isJSONKey(part []byte, i int) bool {
	for i < len(part) && isBlank(part[i]) {
		i++
	}
	return i < len(part) && part[i] == ':'
}

// parseJSON makes of one JSON value the tree that the YAML parser would make,
// with what JSON does differently: tabs, surrogate pairs, long keys, numbers.
func parseJSON(text []byte, maxDepth int) (*yaml.Node, error) {
	p := jsonParser{text: text, dec: json.NewDecoder(bytes.NewReader(text)), at: place{line: 1, column: 1}, maxDepth: maxDepth}
	p.dec.UseNumber()
	n, err := p.value(0)
	if err == nil {
		if _, err = p.dec.Token(); errors.Is(err, io.EOF) {
			return n, nil
		}
		err = errors.New("more than one value")
	}
	p.at.advance(text, min(int(p.dec.InputOffset()), len(text)))
	return nil, &syntaxError{line: p.at.line, column: p.at.column, message: strings.TrimPrefix(err.Error(), "json: ")}
}

type jsonParser struct {
	text     []byte
	dec      *json.Decoder
	at       place
	maxDepth int
}

// value reads one value.
func (p *jsonParser) value(depth int) (*yaml.Node, error) {
	if depth > p.maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", p.maxDepth)
	}
	// Before a token stand blanks and what separates it from the last one.
	start := int(p.dec.InputOffset())
	for start < len(p.text) && (isBlank(p.text[start]) || p.text[start] == ',' || p.text[start] == ':') {
		start++
	}
	p.at.advance(p.text, min(start, len(p.text)))
	n := &yaml.Node{Line: p.at.line, Column: p.at.column}
	token, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		n.Style = yaml.FlowStyle
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		if t == '[' {
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
		for p.dec.More() {
			child, err := p.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := p.dec.Token()
		return n, err
	case string:
		n.Kind, n.Tag, n.Style, n.Value = yaml.ScalarNode, "!!str", yaml.DoubleQuotedStyle, t
	case json.Number:
		n.Kind, n.Tag, n.Style, n.Value = yaml.ScalarNode, tagJSON, yaml.TaggedStyle, t.String()
	case bool:
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!bool", fmt.Sprint(t)
	case nil:
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!null", "null"
	}
	return n, nil
}
