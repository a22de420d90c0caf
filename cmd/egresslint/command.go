package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/report"
)

// Exit codes. They do not depend on the output format.
const (
	// ExitClean: nothing at or above --fail-on, or a question was answered.
	ExitClean = 0
	// ExitFindings: findings at or above --fail-on.
	ExitFindings = 1
	// ExitUsage: the command line, the configuration, or the output file.
	ExitUsage = 2
	// ExitPartial: some of the input was not analysed, and --allow-partial is
	// not given. It wins over ExitFindings.
	ExitPartial = 3
)

// Command is the command line as an ordinary function over its streams.
type Command struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	code int // of the subcommand that ran
	// garbage is nil where somebody else sees to memory.
	garbage *collector
}

// Main runs the command with its arguments, without the program's name, and
// returns the exit code.
func (c *Command) Main(args []string) int {
	c.code = ExitClean
	root := c.root()
	root.SetArgs(shieldStdin(args))
	if len(args) > 1 && args[0] == "help" {
		// For cobra whatever is no command is a PATH of the root command.
		root.InitDefaultHelpCmd()
		root.InitDefaultCompletionCmd(args...)
		if about, _, err := root.Find(args[1:]); err == nil && about == root {
			c.complain(fmt.Sprintf("no help on %q; see 'egresslint --help'", args[1]))
			return ExitUsage
		}
	}
	if err := root.Execute(); err != nil {
		c.complain(err.Error())
		return ExitUsage
	}
	return c.code
}

// shieldStdin rewrites "-=NAMESPACE", which pflag would take for a flag.
func shieldStdin(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "-=") {
			args[i] = stdinName + arg[1:]
		}
	}
	return args
}

// complain writes a line to standard error.
func (c *Command) complain(message string) {
	lines := strings.Split(strings.TrimRight(message, "\n"), "\n")
	for i := range lines {
		lines[i] = report.Printable(lines[i])
	}
	_, _ = fmt.Fprintf(c.Stderr, "egresslint: %s\n", strings.Join(lines, "\n"))
}

// tell writes what a report has no place for to standard error.
func (c *Command) tell(notes ...string) {
	for _, note := range notes {
		if note != "" {
			c.complain(note)
		}
	}
}

const rootLong = `egresslint reads a directory of Kubernetes and Istio manifests, builds the mesh
in memory as Istio would see it, and decides for every workload, host and port
whether a request gets out, by which path and what stops it. It needs no
cluster and no network.

  egresslint manifests/                      report gaps and ways around the control
  egresslint trace manifests/ --from shop/cart --to https://api.example.com/
                                             explain what becomes of one request
  egresslint reach manifests/ --from 'shop/*'
                                             list what workloads can reach
  kubectl get all,… -A -o yaml | egresslint -

A PATH is a file, a directory or "-" for standard input; PATH=NAMESPACE gives
the objects of PATH that name no namespace another one than --namespace. All
paths of one call form one mesh. A directory that is called like a command is
written ./lint.

Exit codes: 0 clean, 1 findings at or above --fail-on, 2 usage or
configuration, 3 some of the input was not analysed (unless --allow-partial).`

func (c *Command) root() *cobra.Command {
	root := c.lint()
	root.Use = "egresslint [command] PATH..."
	root.Short = "Decide offline what gets out of an Istio mesh"
	root.Long = rootLong
	root.Example = ""
	root.SilenceErrors, root.SilenceUsage = true, true
	c.versionFlag(root)
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(c.lint(), c.trace(), c.reach(), c.explain(), c.rules(), c.version())
	return root
}

// oneOf checks a value that is one of a few words.
func oneOf(value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("%q: give one of %s", value, strings.Join(words, ", "))
}

// ofFlag says of which flag an error is.
func ofFlag(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--%s %w", flag, err)
}

// words completes a flag with fixed words.
func words(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist: a slip in this package
	}
}

// needPaths makes a missing PATH an error that says what to give.
func needPaths(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("no PATH given: name a file or a directory with manifests, or - for standard input; see '" + cmd.CommandPath() + " --help'")
	}
	return nil
}
