package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
	"github.com/egresslint/egresslint/report"
)

const traceFormats = "text|json|jsonl"

type traceFlags struct {
	inputFlags
	flow   flowFlags
	flows  string
	format string
}

func (c *Command) trace() *cobra.Command {
	f := &traceFlags{}
	cmd := &cobra.Command{
		Use:   "trace PATH... --from NAMESPACE/WORKLOAD --to URL",
		Short: "Explain what becomes of one request, or answer many",
		Long: `Explain what becomes of one request: whether it gets out, by which path, who
stops it, and which fields of which manifests decide that.

With --bypass it says what a process can do that ignores its proxy: go straight
out, or straight to each port of a gateway or waypoint.

--flows reads many requests, one JSON object a line, and answers each with one
line in the same order (docs/json.md). A line that is no request is answered
with reason bad_flow.

Exit codes: 0 whatever the verdict; 2 usage, or a --from that the input does
not hold; 3 some of the input was not analysed (unless --allow-partial), with
the answer printed all the same. With --flows the exit code is 0 once every
line is answered, and a partial input is noted on standard error.`,
		Example: `  egresslint trace manifests/ --from shop/cart --to https://api.example.com/v1
  egresslint trace manifests/ --from shop/cart --to tcp://203.0.113.7:5432
  egresslint trace manifests/ --flows flows.jsonl --format jsonl`,
		Args: needPaths,
		RunE: func(cmd *cobra.Command, args []string) error { return c.runTrace(cmd, f, args) },
	}
	f.register(cmd)
	f.flow.register(cmd)
	cmd.Flags().StringVar(&f.flows, "flows", "", "`FILE` with one request a line, - for standard input")
	cmd.Flags().StringVar(&f.format, "format", "", "output format: `"+traceFormats+"` (default text, with --flows jsonl)")
	words(cmd, "format", splitFormats(traceFormats)...)
	return cmd
}

func (c *Command) runTrace(cmd *cobra.Command, f *traceFlags, args []string) error {
	many := cmd.Flags().Changed("flows")
	switch {
	case f.format == "" && many:
		f.format = "jsonl"
	case f.format == "":
		f.format = "text"
	}
	if err := ofFlag("format", oneOf(f.format, splitFormats(traceFormats)...)); err != nil {
		return err
	}
	if many {
		return c.traceMany(cmd, f, args)
	}
	question, err := f.flow.parse()
	if err != nil {
		return err
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
	if question.Bypass && question.ConnectTo == "" {
		return c.traceBypasses(f, in, sim, question)
	}
	answer := sim.Explain(question)
	makesNoSense := answer.Reason == flow.NoSuchWorkload || answer.Reason == flow.BadFlow
	if makesNoSense && f.format == "text" {
		return badQuestion(in, question, answer)
	}
	if err := c.write(target{format: f.format}, f.color, func(w io.Writer, color bool) error {
		switch f.format {
		case "json":
			return report.TraceJSON(w, answer)
		case "jsonl":
			return report.TraceLine(w, answer)
		default:
			return report.TraceText(w, question, answer, options(color, f.verbose))
		}
	}); err != nil {
		return err
	}
	if makesNoSense {
		return badQuestion(in, question, answer)
	}
	c.tell(in.settingsNote())
	c.finish(in, &f.inputFlags, ExitClean)
	return nil
}

// traceBypasses answers what a process can do that ignores its proxy: go straight
// out, or straight to a gateway or waypoint.
func (c *Command) traceBypasses(f *traceFlags, in *loaded, sim *traffic.Simulation, question flow.Flow) error {
	ways := sim.Bypasses(question)
	answers := make([]*flow.Trace, 0, len(ways))
	for i := range ways {
		ways[i].ID = "straight out"
		if to := ways[i].ConnectTo; to != "" {
			ways[i].ID = "straight to " + to
		}
		answers = append(answers, sim.Explain(ways[i]))
	}
	if r := answers[0].Reason; r == flow.NoSuchWorkload || r == flow.BadFlow {
		return badQuestion(in, question, answers[0])
	}
	if err := c.write(target{format: f.format}, f.color, func(w io.Writer, color bool) error {
		if f.format == "json" {
			return report.TracesJSON(w, answers)
		}
		for i, answer := range answers {
			if f.format == "jsonl" {
				if err := report.TraceLine(w, answer); err != nil {
					return err
				}
				continue
			}
			if i > 0 {
				if _, err := fmt.Fprintln(w); err != nil {
					return err
				}
			}
			if err := report.TraceText(w, ways[i], answer, options(color, f.verbose)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	c.tell(in.settingsNote())
	c.finish(in, &f.inputFlags, ExitClean)
	return nil
}

// badQuestion makes an error of a question that makes no sense.
func badQuestion(in *loaded, question flow.Flow, answer *flow.Trace) error {
	detail := answer.Detail
	if detail == "" {
		detail = fmt.Sprintf("the request from %q to %q makes no sense", question.From, question.Host)
	}
	if answer.Reason == flow.BadFlow {
		return errors.New(detail)
	}
	var known []string
	for _, w := range in.mesh.Workloads {
		known = append(known, w.ID())
	}
	near := nearest(question.From, known)
	switch {
	case len(known) == 0:
		return fmt.Errorf("--from: %s, which holds no workload at all", detail)
	case strings.Contains(detail, ";") || slices.Contains(known, question.From):
		return fmt.Errorf("--from: %s", detail) // it says what there is
	case near != "":
		return fmt.Errorf("--from: %s; did you mean %q?", detail, near)
	case len(known) > 10:
		return fmt.Errorf("--from: %s; there are %s +%d more", detail, strings.Join(known[:10], ", "), len(known)-10)
	case len(known) == 1:
		return fmt.Errorf("--from: %s; there is %s", detail, known[0])
	default:
		return fmt.Errorf("--from: %s; there are %s", detail, strings.Join(known, ", "))
	}
}
