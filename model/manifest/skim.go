package manifest

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"strings"
)

// Most documents of a cluster decide nothing (ConfigMaps, roles, quotas), and
// parsing costs more than everything else. What is looked for in them is who they
// are and whether they are sound, which the lines tell of a document in the
// plainest YAML: block style, scalars of one line or literal blocks, nothing but
// ASCII. skim reads those and refuses all others, which are parsed: it is no
// parser, and what it accepts a parser accepts too, with the same outcome.

// skimmed is what the lines tell of a document.
type skimmed struct {
	apiVersion, kind string
	object           *Object // name, namespace, labels and annotations
	line             int     // of the first key, from 1
}

// skim reads a document of which the parser would make a mapping without
// repeated keys, tags, anchors and aliases. ok is false where that is not plain.
func (k *skimmer) skim(text []byte) (s *skimmed, ok bool) {
	if bytes.Contains(text, []byte("{{")) || hasCorner(text) {
		return nil, false
	}
	*k = skimmer{text: text, into: &skimmed{object: &Object{}}, stack: k.stack[:0]}
	if !k.lines() || k.into.kind == "" || k.into.apiVersion == "" || k.into.object.Name == "" {
		return nil, false
	}
	return k.into, true
}

// open opens a collection, with the memory of one that was closed.
func (k *skimmer) open(indent int, list bool) {
	n := len(k.stack)
	if n == cap(k.stack) {
		k.stack = append(k.stack, level{})
	}
	k.stack = k.stack[:n+1]
	k.stack[n] = level{indent, list, k.stack[n].keys[:0]}
}

// level is a collection that is open.
type level struct {
	indent int
	list   bool
	keys   [][]byte // of a mapping
}

// skimmer goes through the lines of documents.
type skimmer struct {
	text  []byte
	into  *skimmed
	stack []level
	line  int
	// pending says that the key or "-" of the last line has its value below.
	pending bool
}

// What is looked at: so many keys of one mapping, so many levels.
const (
	maxSkimmedKeys  = 200
	maxSkimmedDepth = 32
)

// lines reads all lines.
func (k *skimmer) lines() bool {
	for first := true; len(k.text) > 0; first = false {
		line := k.next()
		indent, content := cut(line)
		if len(content) == 0 || content[0] == '#' {
			if !isASCII(content) {
				return false
			}
			continue
		}
		if first && len(line) >= 3 && string(line[:3]) == "---" {
			if len(bytes.TrimLeft(line[3:], " ")) > 0 {
				return false
			}
			continue
		}
		if !isASCII(content) || !k.place(indent, content) || !k.entry(indent, content) {
			return false
		}
	}
	return len(k.stack) > 0
}

// next returns the next line without its end.
func (k *skimmer) next() []byte {
	k.line++
	line := k.text
	if i := bytes.IndexByte(k.text, '\n'); i >= 0 {
		line, k.text = k.text[:i], k.text[i+1:]
	} else {
		k.text = nil
	}
	return line
}

// cut returns how far a line is indented, and the rest without blanks at the end.
func cut(line []byte) (indent int, content []byte) {
	content = bytes.TrimLeft(line, " ")
	return len(line) - len(content), bytes.TrimRight(content, " ")
}

// isASCII reports that there is nothing but printable ASCII.
func isASCII(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isItem reports whether a line begins an item of a list.
func isItem(content []byte) bool { return len(content) > 2 && content[0] == '-' && content[1] == ' ' }

// place opens or closes collections, so that the last open one is that of a line.
func (k *skimmer) place(indent int, content []byte) bool {
	item := isItem(content)
	if len(k.stack) == 0 {
		k.open(0, false)
		k.into.line = k.line
		return indent == 0 && !item
	}
	top := &k.stack[len(k.stack)-1]
	if k.pending && (indent > top.indent || indent == top.indent && item && !top.list) {
		k.pending = false
		if len(k.stack) > maxSkimmedDepth {
			return false
		}
		k.open(indent, item)
		return true
	}
	k.pending = false // and the value is null
	for len(k.stack) > 0 {
		top = &k.stack[len(k.stack)-1]
		if indent == top.indent && item == top.list {
			return true
		}
		if indent > top.indent || indent == top.indent && item {
			return false
		}
		k.stack = k.stack[:len(k.stack)-1]
	}
	return false
}

// entry reads an item or a key with its value.
func (k *skimmer) entry(indent int, content []byte) bool {
	if isItem(content) {
		content, indent = content[2:], indent+2
		if content[0] == ' ' || content[0] == '-' || string(k.stack[0].last()) == "metadata" {
			return false
		}
		if key, value, ok := splitKey(content); ok {
			k.open(indent, false)
			return k.key(indent, key, value)
		}
		return isPlainValue(content)
	}
	key, value, ok := splitKey(content)
	return ok && k.key(indent, key, value)
}

// splitKey cuts a line into key and value.
func splitKey(content []byte) (key, value []byte, ok bool) {
	i := 0
	for i < len(content) && (isWord(content[i]) || i > 0 && content[i] == '-') {
		i++
	}
	if i == 0 || i > 200 || i == len(content) || content[i] != ':' || !isPlainText(content[:i]) {
		return nil, nil, false
	}
	key, value = content[:i], content[i+1:]
	if len(value) > 0 && value[0] != ' ' {
		return nil, nil, false
	}
	return key, bytes.TrimLeft(value, " "), true
}

// isPlainText reports that a plain scalar can only be a string, as [plainString].
func isPlainText(s []byte) bool {
	c := s[0]
	return c >= 'a' && c <= 'z' && strings.IndexByte("yntfo", c) < 0 || plainString(string(s))
}

// isWord tells the characters that mean nothing to YAML anywhere in a scalar.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '/'
}

// key takes a key and its value into the innermost mapping.
func (k *skimmer) key(indent int, key, value []byte) bool {
	top := &k.stack[len(k.stack)-1]
	if len(top.keys) == maxSkimmedKeys ||
		slices.ContainsFunc(top.keys, func(other []byte) bool { return bytes.Equal(other, key) }) {
		return false
	}
	top.keys = append(top.keys, key)
	switch {
	case len(value) == 0:
		k.pending = true
		return k.identify(value)
	case value[0] == '|' || value[0] == '>':
		return !k.identifies() && (len(value) == 1 || len(value) == 2 && (value[1] == '-' || value[1] == '+')) && k.block(indent)
	case string(value) == "{}" || string(value) == "[]":
		return !k.identifies()
	}
	return isPlainValue(value) && k.identify(value)
}

// block passes over a literal or folded block below a key.
func (k *skimmer) block(parent int) bool {
	indent := -1
	for len(k.text) > 0 {
		rest, at := k.text, k.line
		line := k.next()
		n, content := cut(line)
		switch {
		case len(content) == 0:
			if indent < 0 && n > 0 {
				return false // perhaps more than what follows
			}
			continue
		case n <= parent:
			k.text, k.line = rest, at
			return true
		case indent < 0:
			indent = n
		case n < indent:
			return false
		}
		if !isASCII(content) {
			return false
		}
	}
	return true
}

// isPlainValue tells scalars of one line that are what they look like: in quotes
// without escapes, or plain, or a list of words in brackets.
func isPlainValue(v []byte) bool {
	last := v[len(v)-1]
	switch c := v[0]; {
	case c == '"' || c == '\'':
		return len(v) > 1 && last == c && bytes.IndexByte(v[1:len(v)-1], c) < 0 && bytes.IndexByte(v, '\\') < 0
	case c == '[':
		if last != ']' {
			return false
		}
		for item := range bytes.SplitSeq(v[1:len(v)-1], []byte(",")) {
			item = bytes.Trim(item, " ")
			if len(item) == 0 || !isQuotedWord(item) {
				return false
			}
		}
		return true
	case !isWord(c):
		return false
	}
	for i, c := range v {
		switch {
		case isWord(c) || strings.IndexByte(" -@%=+(),;*$", c) >= 0:
		case c == ':' && i+1 < len(v) && v[i+1] != ' ':
		default:
			return false
		}
	}
	f, isFloat := constants[string(v)].(float64)
	return !isFloat || !math.IsInf(f, 0) && !math.IsNaN(f)
}

// isQuotedWord tells an item of a list in brackets.
func isQuotedWord(item []byte) bool {
	if c := item[0]; c == '"' || c == '\'' {
		if len(item) < 2 || item[len(item)-1] != c {
			return false
		}
		item = item[1 : len(item)-1]
		for _, c := range item {
			if !isWord(c) && c != '-' && c != '*' {
				return false
			}
		}
		return true
	}
	for i, c := range item {
		if !isWord(c) && (i == 0 || c != '-') {
			return false
		}
	}
	return item[0] != '.'
}

// identifies reports whether the last key is one of those that tell who the
// object is.
func (k *skimmer) identifies() bool {
	switch key := string(k.stack[0].last()); len(k.stack) {
	case 1:
		return key == "apiVersion" || key == "kind" || key == "metadata" || key == "items"
	default:
		return key == "metadata"
	}
}

// last is the last key of a mapping, nil of a list.
func (l *level) last() []byte {
	if l.list {
		return nil
	}
	return l.keys[len(l.keys)-1]
}

// identify takes the value of the last key, if it tells who the object is.
func (k *skimmer) identify(value []byte) bool {
	top := string(k.stack[0].last())
	if len(k.stack) > 1 && top != "metadata" {
		return true
	}
	o := k.into.object
	if len(k.stack) == 1 {
		text, isText := unquoted(value)
		switch top {
		case "apiVersion":
			k.into.apiVersion = intern(text)
			return isText && text != "" && len(text) <= 512
		case "kind":
			k.into.kind = intern(text)
			return isText && isName(text) && !strings.HasSuffix(text, "List")
		case "metadata":
			return len(value) == 0
		default:
			return top != "items"
		}
	}
	field := string(k.stack[1].last())
	if (field == "labels" || field == "annotations") && len(k.stack) == 2 {
		return len(value) == 0
	}
	text, isText := unquoted(value)
	switch {
	case len(k.stack) == 2 && field == "name":
		o.Name = intern(text)
		return isText && isName(text)
	case len(k.stack) == 2 && field == "namespace":
		o.Namespace = intern(text)
		return isText && isName(text)
	case len(k.stack) == 3 && field == "labels":
		o.Labels = with(o.Labels, string(k.stack[2].last()), text)
	case len(k.stack) == 3 && field == "annotations":
		o.Annotations = with(o.Annotations, string(k.stack[2].last()), text)
	default:
		return false
	}
	return isText
}

func with(m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[intern(key)] = intern(value)
	return m
}

// unquoted returns the text of a value; isText is false if it is a number, a
// boolean or null, or a list.
func unquoted(value []byte) (text string, isText bool) {
	switch {
	case len(value) == 0 || value[0] == '[':
		return "", false
	case value[0] == '"' || value[0] == '\'':
		return string(value[1 : len(value)-1]), true
	}
	text = string(value)
	return text, plainString(text)
}

// isName reports that a text is a name that [identifier] takes.
func isName(text string) bool {
	return text != "" && text != "." && text != ".." && len(text) <= 512 && !strings.ContainsAny(text, "/%")
}

// skim makes an object of a document whose kind decides nothing, without parsing
// it. It returns nil where the document is to be parsed.
func (l *loader) skim(t *task, k *skimmer) *Object {
	text := t.text[t.piece.off:t.piece.end]
	if l.opts.Unread == nil || t.list != nil || t.ytt || t.piece.json || t.piece.ignored != nil || t.piece.excerpt || t.in.values ||
		len(text) > l.opts.MaxDocumentBytes || l.opts.MaxDepth < 2*maxSkimmedDepth {
		return nil
	}
	kind := value(text, "kind")
	if kind == "Template" || !l.opts.Unread(&Object{APIVersion: value(text, "apiVersion"), Kind: kind}, text) {
		return nil // before every line is looked at
	}
	s, ok := k.skim(text)
	if !ok {
		return nil
	}
	o := s.object
	o.APIVersion, o.Kind = s.apiVersion, s.kind
	if !l.opts.Unread(o, text) {
		return nil
	}
	l.settle(t.in, o)
	o.source = newSource(t.in.file, t.piece, maphash.Bytes(l.store.seed, text))
	o.source.line, o.source.column = o.source.pieceLine+int32(s.line)-1, 1
	return o
}

// value finds what a key at the start of a line has behind it.
func value(text []byte, key string) string {
	for len(text) > 0 {
		line := text
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = nil
		}
		if len(line) > len(key) && line[len(key)] == ':' && string(line[:len(key)]) == key {
			return string(bytes.Trim(line[len(key)+1:], " "))
		}
	}
	return ""
}
