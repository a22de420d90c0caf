package manifest

import (
	"bytes"
	"hash/maphash"
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
	*k = skimmer{text: text, into: &skimmed{object: &Object{}}, stack: k.stack[:0], sieved: k.sieved}
	if !k.lines() || k.into.kind == "" || k.into.apiVersion == "" || k.into.object.Name == "" {
		return nil, false
	}
	return k.into, true
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

// look looks at the lines of a document before it is parsed. It makes an object of
// it if its kind decides nothing, and blanks what nobody asks for, if that is known
// of its kind.
func (l *loader) look(t *task, k *skimmer) {
	text := t.text[t.piece.off:t.piece.end]
	if t.list != nil || t.ytt || t.piece.json || t.piece.ignored != nil || t.piece.excerpt || t.in.values ||
		len(text) > l.opts.MaxDocumentBytes || l.opts.MaxDepth < 2*maxSkimmedDepth {
		return
	}
	defer func() {
		if recover() != nil { // no input may end the program; what was not looked at is parsed
			t.skimmed, t.rest = nil, nil
			*k = skimmer{}
		}
	}()
	o := Object{APIVersion: value(text, "apiVersion"), Kind: value(text, "kind")}
	if l.opts.Unread != nil && o.Kind != "Template" && l.opts.Unread(&o, text) { // before every line is looked at
		t.skimmed = l.skim(t, k, text)
		return
	}
	if l.opts.Outline != nil && t.inOneGo {
		if outline := l.opts.Outline(o.APIVersion, o.Kind); outline != nil {
			if rest, ok := k.sift(text, outline); ok {
				t.rest = rest
			}
		}
	}
}

// skim makes an object of a document whose kind decides nothing, without parsing
// it. It returns nil where the document is to be parsed.
func (l *loader) skim(t *task, k *skimmer, text []byte) *Object {
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
