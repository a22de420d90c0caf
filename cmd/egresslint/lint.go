package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
	"github.com/egresslint/egresslint/report"
)

const lintFormats = "text|concise|json|sarif"

type lintFlags struct {
	inputFlags
	targetFlags
	failOn          string
	enable, disable []string
	severity        []string
	suppressFlags
}

func (c *Command) lint() *cobra.Command { return c.lintWith(&lintFlags{}) }

// lintWith makes the command with flags that a test can look at.
func (c *Command) lintWith(f *lintFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lint PATH...",
		Short: "Report gaps in the control of egress and ways around it",
		Long:  "Report gaps in the control of egress and ways around it. \"egresslint PATH\" does the same.",
		Example: `  egresslint lint manifests/
  egresslint lint base/ overlays/prod/=prod --fail-on warning
  egresslint lint manifests/ --format text --output - --format sarif --output egress.sarif`,
		Args: needPaths,
		RunE: func(cmd *cobra.Command, args []string) error { return c.runLint(cmd, f, args) },
	}
	f.inputFlags.register(cmd)
	fs := cmd.Flags()
	f.targetFlags.register(fs, lintFormats)
	fs.StringVar(&f.failOn, "fail-on", "error", "exit with 1 for findings of this severity or worse: `error|warning|note|never`")
	fs.StringSliceVar(&f.enable, "enable", nil, "run only these `RULES` (IDs or names, comma-separated or repeated)")
	fs.StringSliceVar(&f.disable, "disable", nil, "do not run these `RULES`")
	fs.StringSliceVar(&f.severity, "severity", nil, "leave out findings below `LEVEL`; RULE=LEVEL gives the findings of a rule that severity (comma-separated or repeated)")
	f.suppressFlags.register(cmd)
	words(cmd, "severity", "error", "warning", "note")
	words(cmd, "format", splitFormats(lintFormats)...)
	words(cmd, "fail-on", "error", "warning", "note", "never")
	for _, flag := range []string{"enable", "disable"} {
		if err := cmd.RegisterFlagCompletionFunc(flag, completeRules); err != nil {
			panic(err) // the flag does not exist: a slip above
		}
	}
	return cmd
}

func (c *Command) runLint(cmd *cobra.Command, f *lintFlags, args []string) error {
	targets, err := f.targets()
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := ofFlag("format", oneOf(t.format, splitFormats(lintFormats)...)); err != nil {
			return err
		}
	}
	if err := c.configure(cmd, &f.inputFlags); err != nil {
		return err
	}
	if err := ofFlag("fail-on", oneOf(f.failOn, "error", "warning", "note", "never")); err != nil {
		return err
	}
	config, err := ruleConfig(f.enable, f.disable)
	if err != nil {
		return err
	}
	if err := gradeConfig(&config, splitWords(f.severity...)); err != nil {
		return ofFlag("severity", err)
	}
	if config.Today, err = f.today(); err != nil {
		return err
	}
	known, err := f.readBaseline()
	if err != nil {
		return err
	}
	in, err := c.load(cmd, &f.inputFlags, args)
	if err != nil {
		return err
	}
	result := &report.Lint{Input: in.input(), Rules: ran(config), Lines: in.set}
	done := c.progress("deciding")
	rows := reach.New(traffic.New(in.mesh))
	c.garbage.point(true)
	findings := analyzers.Run(in.mesh, rows, config)
	done()
	if known != nil {
		if gone := known.Apply(findings); gone > 0 {
			result.Input.Notes = append(result.Input.Notes, fmt.Sprintf("%d of the findings in the baseline are no longer found: write it anew (--write-baseline)", gone))
		}
	}
	if err := f.writeBaseline(findings); err != nil {
		return err
	}
	for _, finding := range findings {
		if finding.Suppressed == nil {
			result.Findings = append(result.Findings, finding)
		} else {
			result.Suppressed = append(result.Suppressed, finding)
		}
	}
	for _, t := range targets {
		if err := c.write(t, f.color, func(w io.Writer, color bool) error {
			o := options(color, f.verbose)
			o.Suppressed = f.show
			return c.render(w, t.format, result, o)
		}); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(targets, func(t target) bool { return t.format != "concise" }) {
		c.tell(in.settingsNote(), report.SuppressedNote(result, f.show))
	}
	code := ExitClean
	if failing(result.Findings, f.failOn) {
		code = ExitFindings
	}
	c.finish(in, &f.inputFlags, code)
	return nil
}

// failing reports whether a finding is at or above --fail-on; "never" has no
// rank.
func failing(findings []analyzers.Finding, failOn string) bool {
	limit := analyzers.Severity(failOn).Rank()
	return limit > 0 && slices.ContainsFunc(findings, func(f analyzers.Finding) bool { return f.Severity.Rank() >= limit })
}

func (c *Command) render(w io.Writer, format string, l *report.Lint, o report.Options) error {
	switch format {
	case "concise":
		return report.Concise(w, l, o)
	case "json":
		return report.JSON(w, l, o)
	case "sarif":
		omitted, err := report.SARIF(w, l, o)
		if n := omitted.OverLimit; n > 0 {
			c.complain(fmt.Sprintf("%d of the least severe findings are not in the SARIF output: GitHub accepts no more in one upload", n))
		}
		if n := omitted.Unplaced; n > 0 {
			c.complain(fmt.Sprintf("%d findings are not in the SARIF output: no file holds them", n))
		}
		return err
	default:
		return report.Text(w, l, o)
	}
}

// ruleConfig turns rules as given, IDs or names in any case, into IDs.
func ruleConfig(enable, disable []string) (analyzers.Config, error) {
	on, err := rulesOf(splitWords(enable...))
	if err != nil {
		return analyzers.Config{}, fmt.Errorf("--enable: %w", err)
	}
	off, err := rulesOf(splitWords(disable...))
	if err != nil {
		return analyzers.Config{}, fmt.Errorf("--disable: %w", err)
	}
	config := analyzers.Config{Enable: on, Disable: off}
	if len(ran(config)) == 0 && len(analyzers.All()) > 0 {
		return config, fmt.Errorf("--enable and --disable leave no rule to run")
	}
	return config, nil
}

// rulesOf returns the IDs of rules as given.
func rulesOf(given []string) (ids []string, err error) {
	for _, id := range given {
		rule, err := findRule(id)
		if err != nil {
			return nil, err
		}
		ids = append(ids, rule.ID)
	}
	return ids, nil
}

// ran returns the rules that a configuration runs.
func ran(config analyzers.Config) []*analyzers.Analyzer {
	var rules []*analyzers.Analyzer
	for _, a := range analyzers.All() {
		if config.Runs(a) {
			rules = append(rules, a)
		}
	}
	return rules
}

// findRule finds a rule by ID or name, in any case.
func findRule(id string) (*analyzers.Analyzer, error) {
	var known []string
	for _, a := range analyzers.All() {
		if strings.EqualFold(id, a.ID) || strings.EqualFold(id, a.Name) {
			return a, nil
		}
		known = append(known, a.ID, a.Name)
	}
	if near := nearest(id, known); near != "" {
		return nil, fmt.Errorf("there is no rule %q; did you mean %s?", id, near)
	}
	return nil, fmt.Errorf("there is no rule %q; 'egresslint rules' lists them", id)
}

func completeRules(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, a := range analyzers.All() {
		out = append(out, cobra.CompletionWithDesc(a.ID, a.Doc.Title))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
