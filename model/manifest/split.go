package manifest

import (
	"bytes"
	"regexp"
)

// fragment is a piece of a file that is parsed on its own: a document, or an
// item of a List.
type fragment struct {
	off, end int // bytes of the text
	line     int // of the first byte, from 1
	column   int // of the first byte, from 1, in code points
	// dash is where, from off on, the "-" of an item stands that is blanked
	// before parsing so that columns stay; -1 if none.
	dash int
	json bool
	// ignored says why kubectl does not read it; nil if it does.
	ignored *reason
	// excerpt: "..." stands for what an object must have, and more follows.
	excerpt bool
}

// reason is why a document is left out, and what to do about it.
type reason struct{ why, remedy string }

// of cuts the fragment out of the text of its file. Its last line ends as a
// line, as kubectl sees to (LineReader in
// k8s.io/apimachinery/pkg/util/yaml/decoder.go): a literal block depends on it.
func (f fragment) of(text []byte) []byte {
	part := text[f.off:f.end:f.end]
	if f.json {
		return part
	}
	if f.dash >= 0 {
		part = bytes.Clone(part)
		part[f.dash] = ' '
	}
	if len(part) > 0 && part[len(part)-1] != '\n' {
		part = append(part, '\n')
	}
	return part
}

// elided matches the beginning of an object that has neither metadata nor spec:
// no API server takes it, and in documentation "..." follows in their place.
var elided = regexp.MustCompile(`^(---[ \t]*\r?\n|\s*#[^\n]*\n)*apiVersion:[^\n]*\nkind:[^\n]*\n\s*$`)

// splitDocuments splits YAML at its document markers, so that one document
// that does not parse does not hide the others. Documents without content are
// left out. A marker at the start of a line is one wherever it stands: the YAML
// specification forbids it inside of scalars (c-forbidden).
//
// kubectl splits at "---" alone, of which nothing but a comment may follow on
// the line, and takes the first document between two of them (YAMLReader in
// k8s.io/apimachinery/pkg/util/yaml/decoder.go): what it does not read is marked.
func splitDocuments(text []byte) []fragment {
	var docs []fragment
	line, counted := 1, 0
	start, pending := 0, 0 // pending: where directives of the coming document start
	ended := false         // by "...", and no "---" since
	emit := func(end int, marker bool) {
		c := contentOf(text[start:end])
		if c.empty {
			if !c.directives || !marker {
				pending = end
			}
			start = end
			return
		}
		line += bytes.Count(text[counted:pending], []byte("\n"))
		counted = pending
		doc := fragment{off: pending, end: end, line: line, column: 1, dash: -1}
		switch {
		case ended && len(docs) > 0 && elided.Match(docs[len(docs)-1].of(text)):
			docs[len(docs)-1].end, docs[len(docs)-1].excerpt = end, true
			start, pending = end, end
			return
		case ended:
			doc.ignored = &reason{`kubectl ignores what follows "..." without "---"`, `begin it after a line "---"`}
		case c.onMarker:
			doc.ignored = &reason{`kubectl refuses content on the line of "---"`, `begin it after a line "---"`}
		case c.glued:
			doc.ignored = &reason{`kubectl refuses a line that begins with "---" and goes on`, "separate the two, or indent the line"}
		}
		docs = append(docs, doc)
		start, pending = end, end
	}
	for at := 0; ; {
		next, isStart, lineEnd := nextMarker(text, at)
		if next < 0 {
			emit(len(text), false)
			return docs
		}
		emit(next, isStart)
		if isStart {
			ended = false
		} else { // "..." belongs to nobody
			ended = true
			start, pending = lineEnd, lineEnd
		}
		at = lineEnd
	}
}

// nextMarker finds the next line from at on, which is the start of a line, that
// is a document marker. isStart tells "---" from "...".
func nextMarker(text []byte, at int) (pos int, isStart bool, lineEnd int) {
	for at < len(text) {
		rest := text[at:]
		lineEnd = len(text)
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			lineEnd = at + i + 1
		}
		if len(rest) >= 3 && (rest[0] == '-' || rest[0] == '.') && rest[1] == rest[0] && rest[2] == rest[0] &&
			(len(rest) == 3 || isBlank(rest[3])) {
			return at, rest[0] == '-', lineEnd
		}
		at = lineEnd
	}
	return -1, false, len(text)
}

// content is what stands between two markers.
type content struct {
	empty      bool // nothing but the marker, comments and blanks
	directives bool
	onMarker   bool // something stands on the marker's line
	glued      bool // a line begins with "---" but is no marker
}

func contentOf(part []byte) (c content) {
	for i := 0; i < len(part); {
		if bytes.HasPrefix(part[i:], []byte("---")) && len(part) > i+3 && !isBlank(part[i+3]) {
			c.glued = true
			break
		}
		next := bytes.Index(part[i:], []byte("\n---"))
		if next < 0 {
			break
		}
		i += next + 1
	}
	for first := true; len(part) > 0; first = false {
		line := part
		if i := bytes.IndexByte(part, '\n'); i >= 0 {
			line, part = part[:i], part[i+1:]
		} else {
			part = nil
		}
		marker := first && bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || isBlank(line[3]))
		if marker {
			line = line[3:]
		}
		switch trimmed := bytes.TrimLeft(line, " \t\r"); {
		case len(trimmed) == 0 || trimmed[0] == '#':
		case line[0] == '%' && !marker:
			c.directives = true
		default:
			c.onMarker = marker
			return c
		}
	}
	c.empty = true
	return c
}

// splitList splits a block style List as `kubectl get -o yaml` writes it into
// the fragments of its items and the rest, which still is a document. It goes
// by indentation alone, so its result counts only if every fragment parses:
// where an item's end was mistaken, a quotation or a bracket is left open. ok is
// false where the document does not look like that.
//
// A List of a whole cluster as one tree would take 25 times its size.
func splitList(text []byte, doc fragment) (head []byte, items []fragment, ok bool) {
	part := text[doc.off:doc.end]
	from, found := topLevelKey(part, "items:")
	if !found {
		return nil, nil, false
	}
	line := doc.line + bytes.Count(part[:from], []byte("\n"))
	indent, pos, last := -1, from, from
	for pos < len(part) {
		end := len(part)
		if i := bytes.IndexByte(part[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		content := bytes.TrimLeft(part[pos:end], " ")
		depth := end - pos - len(content)
		trimmed := bytes.TrimRight(content, "\r\n")
		switch {
		case len(trimmed) == 0 || trimmed[0] == '#': // belongs to the item before
		case trimmed[0] == '-' && (len(trimmed) == 1 || trimmed[1] == ' ') && (indent < 0 || depth == indent):
			if n := len(items); n > 0 {
				items[n-1].end = doc.off + pos
			}
			indent = depth
			items = append(items, fragment{off: doc.off + pos, end: doc.off + end, line: line, column: 1, dash: depth})
		case indent < 0:
			return nil, nil, false
		case depth <= indent:
			if depth > 0 || trimmed[0] == '-' {
				return nil, nil, false
			}
			return listHead(part, from, pos, &items[len(items)-1], doc), items, true
		}
		pos, last, line = end, end, line+1
	}
	if len(items) == 0 {
		return nil, nil, false
	}
	return listHead(part, from, last, &items[len(items)-1], doc), items, true
}

// listHead ends the last item and returns the document without its items, with
// its lines kept.
func listHead(part []byte, from, to int, item *fragment, doc fragment) []byte {
	item.end = doc.off + to
	head := append([]byte{}, part[:from]...)
	head = append(head, bytes.Repeat([]byte("\n"), bytes.Count(part[from:to], []byte("\n")))...)
	return append(head, part[to:]...)
}

// topLevelKey finds the line that is key and nothing else but a comment, and
// returns where the next line starts.
func topLevelKey(part []byte, key string) (next int, found bool) {
	for pos := 0; pos < len(part); {
		i := bytes.IndexByte(part[pos:], '\n')
		if i < 0 {
			return 0, false
		}
		line := part[pos : pos+i]
		pos += i + 1
		if bytes.HasPrefix(line, []byte(key)) {
			rest := bytes.Trim(line[len(key):], " \t\r")
			return pos, len(rest) == 0 || rest[0] == '#'
		}
	}
	return 0, false
}
