package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// versions are those of the tool and of what it models.
type versions struct {
	tool  string // "v1.2.3", or "(devel)"
	istio string // "1.31", or "" if the build does not tell
	code  string // version of Istio's own packages
}

// currentVersion reads what the build recorded.
func currentVersion() versions {
	v := versions{tool: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.tool = info.Main.Version
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "istio.io/api": // released with Istio, under the same numbers
			numbers := strings.SplitN(strings.TrimPrefix(dep.Version, "v"), ".", 3)
			if len(numbers) == 3 {
				v.istio = numbers[0] + "." + numbers[1]
			}
		case "istio.io/istio":
			v.code = dep.Version
		}
	}
	return v
}

func (v versions) String() string {
	s := "egresslint " + v.tool
	if v.istio != "" {
		s += ", models Istio " + v.istio
	}
	if v.code != "" {
		s += fmt.Sprintf(" (istio.io/istio %s)", v.code)
	}
	return s
}

// versionFlag gives the root command --version. That of cobra prints what a
// template says, and a program that may execute templates keeps every exported
// method that it links: a fifth of its size.
func (c *Command) versionFlag(root *cobra.Command) {
	asked := root.Flags().Bool("version", false, "version for "+root.Name())
	args, run := root.Args, root.RunE
	root.Args = func(cmd *cobra.Command, given []string) error {
		if *asked {
			return nil
		}
		return args(cmd, given)
	}
	root.RunE = func(cmd *cobra.Command, given []string) error {
		if *asked {
			return c.version().RunE(cmd, nil)
		}
		return run(cmd, given)
	}
}

func (c *Command) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of egresslint and of the Istio that it models",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.Stdout, currentVersion())
			return err
		},
	}
}
