package manifest

import (
	"bytes"

	"go.yaml.in/yaml/v4"
)

// stream parses the documents of a file one after the other with one parser:
// to make a parser for each costs as much as parsing a short document. Where
// anything is out of the ordinary, documents are parsed each alone.
type stream struct {
	load func(any) error
	line int // of the file, where the stream begins
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

// newStream starts a parser at the first of some tasks if what follows in the
// same file can be parsed in one go; nil if not.
func newStream(tasks []task, opts *Options) *stream {
	first, n := &tasks[0], 0
	for n < len(tasks) && tasks[n].inOneGo && tasks[n].in == first.in && len(tasks[n].text) == len(first.text) &&
		tasks[n].piece.end-tasks[n].piece.off <= opts.MaxDocumentBytes {
		n++
	}
	if n < 2 {
		return nil
	}
	whole := first.piece
	whole.end = tasks[n-1].piece.end
	loader, err := newLoader(whole.of(first.text), opts.MaxDepth)
	if err != nil {
		return nil
	}
	return &stream{load: loader.Load, line: first.piece.line}
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
	by := t.piece.line - s.line
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
