package manifest

import (
	"bytes"
	"math"
	"slices"
	"strings"
)

// A skimmer goes through the lines of documents in the plainest YAML: block style,
// scalars of one line or literal blocks, nothing but ASCII. It finds out who the
// object is (into), or what of the document can be left out (sieve), and refuses
// all other documents: it is no parser, and what it accepts a parser accepts too,
// with the same outcome.
type skimmer struct {
	text  []byte
	into  *skimmed
	sieve *sieve // nil if nothing is left out
	// sieved is where sieve points to.
	sieved sieve
	stack  []level
	line   int
	from   int // where in the text the line begins
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
	size := len(k.text)
	for first := true; len(k.text) > 0; first = false {
		k.from = size - len(k.text)
		line := k.next()
		indent, content := cut(line)
		if len(content) == 0 || content[0] == '#' {
			if !isASCII(content) {
				return false
			}
			if k.sieve != nil && len(content) > 0 {
				k.sieve.leaveOut(k.from, size-len(k.text))
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
		if k.sieve != nil && k.sieve.drop {
			k.sieve.leaveOut(k.from, size-len(k.text))
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
	for indent < len(line) && line[indent] == ' ' {
		indent++
	}
	end := len(line)
	for end > indent && line[end-1] == ' ' {
		end--
	}
	return indent, line[indent:end]
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
		if k.sieve == nil {
			k.into.line = k.line
		} else {
			k.sieve.opened(k, part{o: k.sieve.outline})
		}
		return indent == 0 && !item
	}
	top := &k.stack[len(k.stack)-1]
	if k.pending && (indent > top.indent || indent == top.indent && item && !top.list) {
		k.pending = false
		if len(k.stack) > maxSkimmedDepth {
			return false
		}
		k.open(indent, item)
		if k.sieve != nil {
			k.sieve.opened(k, k.sieve.below)
		}
		return true
	}
	if k.pending && k.sieve != nil {
		k.sieve.absent(k)
	}
	k.pending = false // and the value is null
	for len(k.stack) > 0 {
		top = &k.stack[len(k.stack)-1]
		if indent == top.indent && item == top.list {
			if k.sieve != nil && len(k.stack) <= k.sieve.in.depth {
				k.sieve.in = dropping{}
			}
			return true
		}
		if indent > top.indent || indent == top.indent && item {
			return false
		}
		k.close()
	}
	return false
}

// close closes the innermost collection.
func (k *skimmer) close() {
	if k.sieve != nil {
		k.sieve.closed(k)
	}
	k.stack = k.stack[:len(k.stack)-1]
}

// entry reads an item or a key with its value.
func (k *skimmer) entry(indent int, content []byte) bool {
	if isItem(content) {
		dash := indent
		content, indent = content[2:], indent+2
		if content[0] == ' ' || isItem(content) || k.sieve == nil && string(k.stack[0].last()) == "metadata" {
			return false
		}
		key, value, ok := splitKey(content)
		switch {
		case ok && k.sieve != nil:
			p := k.sieve.item(k)
			k.open(indent, false)
			k.sieve.first = true
			k.sieve.opened(k, p)
			return k.key(indent, key, value)
		case ok:
			k.open(indent, false)
			return k.key(indent, key, value)
		}
		form, ok := formOf(content)
		if !ok || form == collectionForm {
			return false
		}
		if k.sieve != nil {
			if !k.sieve.scalarItem(k, content, form) {
				return false
			}
		}
		return form != blockForm || k.block(dash)
	}
	if k.sieve != nil {
		k.sieve.first = false
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
	form, ok := formOf(value)
	if !ok {
		return false
	}
	k.pending = form == emptyForm
	switch {
	case k.sieve != nil:
		if !k.sieve.key(k, key, value, form) {
			return false
		}
	case form == blockForm || form == collectionForm:
		if k.identifies() {
			return false
		}
	default:
		if !k.identify(value) {
			return false
		}
	}
	return form != blockForm || k.block(indent)
}

// form is what the value of a key looks like in its line.
type form int

const (
	emptyForm      form = iota // it is below, or null
	blockForm                  // the head of a literal or folded block
	collectionForm             // "{}" or "[]"
	lineForm                   // it stands there whole
)

// formOf tells the form of a value; ok is false where that is not plain.
func formOf(value []byte) (f form, ok bool) {
	switch {
	case len(value) == 0:
		return emptyForm, true
	case value[0] == '|' || value[0] == '>':
		return blockForm, len(value) == 1 || len(value) == 2 && (value[1] == '-' || value[1] == '+')
	case string(value) == "{}" || string(value) == "[]":
		return collectionForm, true
	}
	return lineForm, isPlainValue(value)
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
	case isWord(c) || c == '$' || c == '(' || c == '-' && len(v) > 1 && v[1] != ' ':
	default:
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
	if item[0] == '-' && len(item) > 1 && item[1] != '.' && isWord(item[1]) {
		item = item[1:]
	}
	for i, c := range item {
		if !isWord(c) && (i == 0 || c != '-') {
			return false
		}
	}
	return item[0] != '.'
}

// open opens a collection, with the memory of one that was closed.
func (k *skimmer) open(indent int, list bool) {
	n := len(k.stack)
	if n == cap(k.stack) {
		k.stack = append(k.stack, level{})
	}
	k.stack = k.stack[:n+1]
	k.stack[n] = level{indent: indent, list: list, keys: k.stack[n].keys[:0]}
}

// level is a collection that is open.
type level struct {
	indent int
	list   bool
	keys   [][]byte // of a mapping
	part   part     // of a sieve
}

// last is the last key of a mapping, nil of a list.
func (l *level) last() []byte {
	if l.list {
		return nil
	}
	return l.keys[len(l.keys)-1]
}
