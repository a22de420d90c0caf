package manifest

import (
	"bytes"
	"io"

	"go.yaml.in/yaml/v4"
)

// stream parses the documents of a batch one after the other with one parser: to
// make a parser for each costs as much as parsing a short document. Where
// anything is out of the ordinary, documents are parsed each alone.
type stream struct {
	load func(any) error
}

// inOneGo reports whether the documents of a text are the same to one parser as
// each alone: without directives, end markers, and line ends that only YAML
// knows.
func inOneGo(text []byte) bool {
	for _, odd := range []string{"\n%", "\n...", "\u0085", "\u2028", "\u2029"} {
		if bytes.Contains(text, []byte(odd)) {
			return false
		}
	}
	return !bytes.HasPrefix(text, []byte("%")) && !bytes.HasPrefix(text, []byte("..."))
}

// newStream starts a parser for what can be parsed in one go of some tasks, which
// are taken up to the first that cannot; nil if it is not worth it. It leaves out
// what was skimmed.
func newStream(tasks []task, opts *Options) *stream {
	n, lines := 0, 0
	texts := make(joined, 0, 2*len(tasks))
	for i := range tasks {
		t := &tasks[i]
		if t.skimmed != nil {
			continue
		}
		if !t.inOneGo || t.piece.end-t.piece.off > opts.MaxDocumentBytes {
			break
		}
		n++
		part := t.text[t.piece.off:t.piece.end]
		if t.rest != nil {
			part = t.rest
		}
		if !bytes.HasPrefix(part, marker[:3]) {
			texts = append(texts, marker)
			lines++
		}
		t.before = lines
		lines += bytes.Count(part, lineEnd)
		texts = append(texts, part)
		if !bytes.HasSuffix(part, lineEnd) {
			texts = append(texts, lineEnd)
			lines++
		}
	}
	if n < 2 {
		return nil
	}
	loader, err := newLoader(&texts, opts.MaxDepth)
	if err != nil {
		return nil
	}
	return &stream{load: loader.Load}
}

var marker, lineEnd = []byte("---\n")[:4:4], []byte("\n")

// joined reads texts one after the other.
type joined [][]byte

func (j *joined) Read(into []byte) (n int, err error) {
	for n < len(into) && len(*j) > 0 {
		k := copy(into[n:], (*j)[0])
		n += k
		if (*j)[0] = (*j)[0][k:]; len((*j)[0]) == 0 {
			*j = (*j)[1:]
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// next parses the document of a task. ok is false if the stream is not where it
// should be and of no more use. Without root the task is to be parsed alone.
func (s *stream) next(t *task) (root *yaml.Node, ok bool) {
	defer func() {
		if recover() != nil { // parsed alone, it will say so
			root, ok = nil, false
		}
	}()
	for {
		var doc yaml.Node
		if s.load(&doc) != nil || doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
			return nil, false
		}
		root = doc.Content[0]
		if root.Kind != yaml.ScalarNode || root.Value != "" || root.Style != 0 || root.Anchor != "" {
			break
		} // else there is nothing between two markers
	}
	by := t.before
	last := 1 + by + bytes.Count(t.text[t.piece.off:t.piece.end], []byte("\n"))
	if root.Line <= by || root.Line > last {
		return nil, false
	}
	if !moveUp(root, by) {
		return nil, true
	}
	return root, true
}

// moveUp makes lines count from the start of the document. It returns false for
// a document with aliases, which may lead into another.
func moveUp(n *yaml.Node, by int) bool {
	n.Line -= by
	if n.Kind == yaml.AliasNode {
		return false
	}
	for _, c := range n.Content {
		if !moveUp(c, by) {
			return false
		}
	}
	return true
}
