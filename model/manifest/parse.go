package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// syntaxError says where in a parsed text it went wrong: by line and column as
// the parser counts them, or, where line is 0, by an offset.
type syntaxError struct {
	line, column int
	offset       int
	message      string
	help         string
}

func (e *syntaxError) Error() string { return e.message }

// parseYAML parses a text and returns the roots of its documents, which is one
// where the text was split at markers before, except where a line ends in one of
// Unicode's exotic line ends.
func parseYAML(text []byte, maxDepth int) (roots []*yaml.Node, err error) {
	defer func() {
		// The parser reports by panics inside; that one escapes is a defect of
		// it, and no input may end the program.
		if r := recover(); r != nil {
			roots, err = nil, &syntaxError{message: fmt.Sprintf("the parser failed: %v", r)}
		}
	}()
	loader, err := newLoader(bytes.NewReader(text), maxDepth)
	if err != nil {
		return nil, err
	}
	for {
		var doc yaml.Node
		switch err := loader.Load(&doc); {
		case errors.Is(err, io.EOF):
			return roots, nil
		case err != nil:
			return roots, explain(err, text)
		case doc.Kind == yaml.DocumentNode && len(doc.Content) == 1:
			roots = append(roots, doc.Content[0])
		}
	}
}

func newLoader(text io.Reader, maxDepth int) (*yaml.Loader, error) {
	return yaml.NewLoader(text, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
}

// explain turns an error of the YAML parser into a syntaxError.
func explain(err error, text []byte) error {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return &syntaxError{message: err.Error()}
	}
	e := &syntaxError{line: load.Mark.Line, column: load.Mark.Column, offset: load.Mark.Index, message: load.Message}
	if load.ContextMsg != "" {
		e.message += " " + load.ContextMsg
		// What was begun says more than where its end was missed.
		if start := load.ContextMark; start.Line > 0 && start.Line < e.line &&
			(strings.Contains(load.Message, "unexpected end of stream") || load.ContextMsg == "while scanning a simple key") {
			e.line, e.column = start.Line, start.Column
		}
	}
	switch {
	case strings.Contains(load.Message, "cannot start any token") && startsWithTab(text, load.Mark.Line):
		e.message, e.help = "a tab indents the line", "indent with spaces"
	case strings.Contains(load.Message, "unknown anchor"), strings.Contains(load.ContextMsg, "scanning an alias"):
		e.help = `quote a value that starts with "*"`
	case strings.Contains(load.Message, "exceeded max depth"):
		e.message = strings.TrimPrefix(load.Message, "exceeded max ") + " is exceeded"
	}
	return e
}

// offsetIn returns where in the text the error is. An error at the end is shown
// at the last thing that is there.
func (e *syntaxError) offsetIn(t *text) int {
	at := min(max(e.offset, 0), len(t.bytes))
	if e.line > 0 {
		at = t.offset(e.line, max(e.column, 1))
	}
	rest := bytes.TrimRight(t.bytes, " \t\r\n")
	if at >= len(rest) {
		_, size := utf8.DecodeLastRune(rest)
		at = len(rest) - size
	}
	return at
}

// startsWithTab reports whether there is a tab among the blanks at the start of
// a line.
func startsWithTab(text []byte, line int) bool {
	for ; line > 1; line-- {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return false
		}
		text = text[i+1:]
	}
	return bytes.HasPrefix(bytes.TrimLeft(text, " "), []byte("\t"))
}
