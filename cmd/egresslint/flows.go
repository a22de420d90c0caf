package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
	"github.com/egresslint/egresslint/report"
)

// maxLine bounds a line of --flows.
const maxLine = 1 << 20

// traceMany answers the flows of a file, line by line and in their order.
func (c *Command) traceMany(cmd *cobra.Command, f *traceFlags, args []string) error {
	for _, name := range []string{"from", "to", "method", "header", "sni", "dst-ip", "connect-to", "bypass"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s describes one request and --flows reads many: give one of them", name)
		}
	}
	input := c.Stdin
	if f.flows != "-" {
		file, err := os.Open(f.flows)
		if err != nil {
			return fmt.Errorf("--flows: %w", err)
		}
		defer func() { _ = file.Close() }()
		input = file
	} else if slices.ContainsFunc(args, func(a string) bool { return a == "-" || strings.HasPrefix(a, "-=") }) {
		return errors.New("standard input (-) is given for both the manifests and --flows; it can be read once")
	}
	if err := c.configure(cmd, &f.inputFlags); err != nil {
		return err
	}
	in, err := c.load(cmd, &f.inputFlags, args)
	if err != nil {
		return err
	}
	sim := traffic.New(in.mesh)
	c.garbage.point(true)
	lines := lineReader{r: bufio.NewReaderSize(input, 64<<10)}
	out := bufio.NewWriter(c.Stdout)
	o := options(colored(f.color, c.Stdout), f.verbose)
	var traces []*flow.Trace
	for n := 0; ; {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return fmt.Errorf("--flows: %w", err)
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		question, answer := decodeFlow(line, err)
		if answer == nil {
			answer = sim.Explain(question)
			answer.ID = question.ID
		}
		switch f.format {
		case "json":
			traces = append(traces, answer)
		case "text":
			if n > 0 {
				_, _ = out.WriteString("\n") // the next write reports what failed
			}
			err = report.TraceText(out, question, answer, o)
		default:
			err = report.TraceLine(out, answer)
			if lines.r.Buffered() == 0 && err == nil {
				err = out.Flush() // whoever writes the flows may wait for the answer
			}
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return err
		}
		n++
	}
	if f.format == "json" {
		if err := report.TracesJSON(out, traces); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	c.tell(in.settingsNote())
	c.finish(in, &f.inputFlags, ExitClean)
	c.code = ExitClean // every line has its answer
	return nil
}

var errLongLine = fmt.Errorf("the line is longer than %d bytes", maxLine)

// lineReader reads lines of bounded length.
type lineReader struct{ r *bufio.Reader }

// next returns the next line, or errLongLine after skipping one that is too
// long, or io.EOF after the last.
func (l lineReader) next() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && !long):
			return nil, err
		case long:
			return nil, errLongLine
		}
		return line, nil
	}
}

// decodeFlow reads a line as a flow. The answer is not nil where the line is
// none; it carries the line's id, if that can be made out.
func decodeFlow(line []byte, err error) (flow.Flow, *flow.Trace) {
	var f flow.Flow
	if err == nil {
		f, err = parseFlow(line)
	}
	if err == nil {
		return f, nil
	}
	return f, &flow.Trace{ID: f.ID, Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.BadFlow, Detail: "the line is no flow: " + err.Error()}
}

// flowFields are the fields of a flow.
var flowFields = []string{"id", "from", "host", "port", "scheme", "method", "path", "headers", "sni", "dst_ip", "connect_to", "bypass"}

// parseFlow decodes a flow. Fields that a flow does not have are left to whoever
// wrote them, unless they look like a slip: a misspelt dst_ip must not change
// an answer silently.
func parseFlow(line []byte) (flow.Flow, error) {
	var f flow.Flow
	d := json.NewDecoder(bytes.NewReader(line))
	var fields map[string]json.RawMessage
	if err := d.Decode(&fields); err != nil {
		return f, plainJSONError(err)
	}
	if fields == nil {
		return f, errors.New("it is null")
	}
	f.ID = looseID(fields["id"])
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return f, errors.New("more than one value on the line")
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(flowFields, name) {
			continue
		}
		if near := nearest(strings.ReplaceAll(name, "-", "_"), flowFields); near != "" {
			return f, fmt.Errorf("unknown field %q; did you mean %q?", name, near)
		}
	}
	id := f.ID
	delete(fields, "id")
	for _, name := range names {
		if raw, known := fields[name]; known {
			if err := setField(&f, name, raw); err != nil {
				return f, err
			}
		}
	}
	f.ID = id
	return f, nil
}

// setField decodes one field, so that an error names it.
func setField(f *flow.Flow, name string, raw json.RawMessage) error {
	var into any
	switch name {
	case "from":
		into = &f.From
	case "host":
		into = &f.Host
	case "port":
		into = &f.Port
	case "scheme":
		into = &f.Scheme
	case "method":
		into = &f.Method
	case "path":
		into = &f.Path
	case "headers":
		into = &f.Headers
	case "sni":
		into = &f.SNI
	case "dst_ip":
		into = &f.DstIP
	case "connect_to":
		into = &f.ConnectTo
	case "bypass":
		into = &f.Bypass
	default:
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("field %q: %w", name, plainJSONError(err))
	}
	return nil
}

// looseID returns an id, which should be a string and may be a number.
func looseID(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// plainJSONError says what is wrong without the names of Go types.
func plainJSONError(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("a JSON %s is not expected here", mismatch.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the JSON ends too early")
	}
	return err
}
