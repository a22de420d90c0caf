package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/report"
)

const rulesFormats = "text|json|markdown"

func (c *Command) rules() *cobra.Command {
	var format, color string
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "List the rules",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := errors.Join(ofFlag("format", oneOf(format, splitFormats(rulesFormats)...)), ofFlag("color", oneOf(color, "auto", "always", "never"))); err != nil {
				return err
			}
			switch format {
			case "json":
				return report.RulesJSON(c.Stdout, analyzers.All())
			case "markdown":
				return report.RulesMarkdown(c.Stdout, analyzers.All())
			default:
				return report.RulesText(c.Stdout, analyzers.All(), options(colored(color, c.Stdout), false))
			}
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "output format: `"+rulesFormats+"`")
	cmd.Flags().StringVar(&color, "color", "auto", "colour text: `auto|always|never`; NO_COLOR is honoured")
	words(cmd, "format", splitFormats(rulesFormats)...)
	words(cmd, "color", "auto", "always", "never")
	return cmd
}

func (c *Command) explain() *cobra.Command {
	var color string
	cmd := &cobra.Command{
		Use:               "explain RULE",
		Short:             "Explain a rule: what it reports, why, and how to fix it",
		Example:           "  egresslint explain EGR202",
		ValidArgsFunction: completeRules,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("give the ID or name of one rule; 'egresslint rules' lists them")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := ofFlag("color", oneOf(color, "auto", "always", "never")); err != nil {
				return err
			}
			rule, err := findRule(args[0])
			if err != nil {
				return err
			}
			return report.RuleText(c.Stdout, rule, options(colored(color, c.Stdout), false))
		},
	}
	cmd.Flags().StringVar(&color, "color", "auto", "colour text: `auto|always|never`; NO_COLOR is honoured")
	words(cmd, "color", "auto", "always", "never")
	return cmd
}
