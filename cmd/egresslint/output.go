package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/pflag"

	"github.com/egresslint/egresslint/report"
)

// target is one format and where it goes.
type target struct {
	format string
	output string // "" or "-" for standard output
}

// targetFlags pair each --format with its --output.
type targetFlags struct {
	given []given // in the order of the command line
}

type given struct {
	output bool // else a format
	value  string
}

// targetValue is a pflag.Value that notes what is given, in order.
type targetValue struct {
	flags  *targetFlags
	output bool
}

func (v targetValue) String() string { return "" }
func (v targetValue) Type() string   { return "stringArray" }
func (v targetValue) Set(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	v.flags.given = append(v.flags.given, given{v.output, s})
	return nil
}

func (f *targetFlags) register(fs *pflag.FlagSet, formats string) {
	fs.Var(targetValue{f, false}, "format", "output format: `"+formats+"` (repeatable, each with an --output)")
	fs.Var(targetValue{f, true}, "output", "`FILE` for the --format at the same place; - is standard output, and the default")
}

// targets pairs formats with outputs. As many outputs as formats go by their
// place; fewer must each stand right behind their format, so that nobody has
// to guess. Standard output takes one format.
func (f *targetFlags) targets() ([]target, error) {
	var targets []target
	var outputs []string
	adjacent := true
	for i, g := range f.given {
		if !g.output {
			targets = append(targets, target{format: g.value})
			continue
		}
		outputs = append(outputs, g.value)
		if i > 0 && !f.given[i-1].output {
			targets[len(targets)-1].output = g.value
		} else {
			adjacent = false
		}
	}
	if len(targets) == 0 {
		targets = []target{{format: "text"}}
		adjacent = len(outputs) == 0
	}
	switch {
	case len(outputs) == len(targets):
		for i := range targets {
			targets[i].output = outputs[i]
		}
	case len(outputs) > len(targets):
		return nil, fmt.Errorf("--output %q has no --format; give each --output its --format", outputs[len(targets)])
	case !adjacent:
		return nil, fmt.Errorf("--output %q: it is not clear for which --format; write it right behind its --format", outputs[0])
	}
	seen := map[string]string{}
	for _, t := range targets {
		name := filepath.Clean(t.output)
		if t.output == "" {
			name = "-"
		}
		if other, taken := seen[name]; taken {
			if name == "-" {
				name = "standard output"
			}
			return nil, fmt.Errorf("formats %s and %s would both go to %s; give each its own --output", other, t.format, name)
		}
		seen[name] = t.format
	}
	return targets, nil
}

// write renders into the target. Colours follow --color, for each writer by
// itself.
func (c *Command) write(t target, color string, render func(io.Writer, bool) error) error {
	if t.output == "" || t.output == "-" {
		return render(c.Stdout, colored(color, c.Stdout))
	}
	file, err := os.Create(t.output)
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if err := errors.Join(render(file, colored(color, file)), file.Close()); err != nil {
		return fmt.Errorf("--output %s: %w", t.output, err)
	}
	return nil
}

// colored decides about colours: always and never are orders; auto asks
// whether the writer is a terminal and honours NO_COLOR (https://no-color.org).
func colored(color string, w io.Writer) bool {
	switch color {
	case "always":
		return true
	case "never":
		return false
	}
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	file, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}

// options are what every report says of its maker.
func options(color, verbose bool) report.Options {
	v := currentVersion()
	return report.Options{Color: color, Verbose: verbose, Version: v.tool, Istio: v.istio}
}

// splitFormats turns "text|json" into its words.
func splitFormats(formats string) []string { return strings.Split(formats, "|") }
