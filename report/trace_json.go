package report

import (
	"io"

	"github.com/egresslint/egresslint/model/flow"
)

// TraceJSON writes one answer, indented.
func TraceJSON(w io.Writer, t *flow.Trace) error { return writeIndented(w, t) }

// TracesJSON writes several answers as an indented array.
func TracesJSON(w io.Writer, traces []*flow.Trace) error {
	if traces == nil {
		traces = []*flow.Trace{}
	}
	return writeIndented(w, traces)
}

// TraceLine writes one answer as one line, its newline included: the format
// jsonl of docs/json.md.
func TraceLine(w io.Writer, t *flow.Trace) error {
	return writeEncoded(w, t, "")
}

func writeIndented(w io.Writer, v any) error { return writeEncoded(w, v, "  ") }

func writeEncoded(w io.Writer, v any, indent string) error {
	b, err := encode(v, indent)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
