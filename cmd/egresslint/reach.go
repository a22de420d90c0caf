package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
	"github.com/egresslint/egresslint/report"
)

const reachFormats = "text|json|csv"

type reachFlags struct {
	inputFlags
	from, to []string
	format   string
}

func (c *Command) reach() *cobra.Command {
	f := &reachFlags{}
	cmd := &cobra.Command{
		Use:   "reach PATH...",
		Short: "List what workloads reach, by which path, and what stops the others",
		Long: `List what becomes of the requests of every workload to every host and port that
the manifests name, and to unregistered names and addresses.

Exit codes: 0 whatever the answers; 2 usage; 3 some of the input was not
analysed (unless --allow-partial), with the answers printed all the same.`,
		Example: `  egresslint reach manifests/
  egresslint reach manifests/ --from 'shop/*' --to api.example.com:443
  egresslint reach manifests/ --format csv > reach.csv`,
		Args: needPaths,
		RunE: func(cmd *cobra.Command, args []string) error { return c.runReach(cmd, f, args) },
	}
	f.register(cmd)
	cmd.Flags().StringArrayVar(&f.from, "from", nil, "only workloads that match `GLOB`, as 'shop/*' (repeatable)")
	cmd.Flags().StringArrayVar(&f.to, "to", nil, "only this destination, as `HOST[:PORT]` (repeatable)")
	cmd.Flags().StringVar(&f.format, "format", "text", "output format: `"+reachFormats+"`")
	words(cmd, "format", splitFormats(reachFormats)...)
	return cmd
}

func (c *Command) runReach(cmd *cobra.Command, f *reachFlags, args []string) error {
	if err := ofFlag("format", oneOf(f.format, splitFormats(reachFormats)...)); err != nil {
		return err
	}
	for _, glob := range f.from {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("--from %q is no glob: %w", glob, err)
		}
	}
	query := reach.Query{From: f.from}
	for _, to := range f.to {
		d, err := parseDestination(to)
		if err != nil {
			return fmt.Errorf("--to %q: %w", to, err)
		}
		query.To = append(query.To, d)
	}
	if err := c.configure(cmd, &f.inputFlags); err != nil {
		return err
	}
	in, err := c.load(cmd, &f.inputFlags, args)
	if err != nil {
		return err
	}
	done := c.progress("deciding")
	rows := reach.New(traffic.New(in.mesh))
	c.garbage.point(true)
	matrix := rows.Matrix(query)
	done()
	if len(matrix.Workloads) == 0 && len(f.from) > 0 {
		return fmt.Errorf("--from %q: no workload of the input matches; 'egresslint reach PATH' lists them", f.from)
	}
	if err := c.write(target{format: f.format}, f.color, func(w io.Writer, color bool) error {
		o := options(color, f.verbose)
		switch f.format {
		case "json":
			return report.ReachJSON(w, matrix, in.input(), o)
		case "csv":
			return report.ReachCSV(w, matrix)
		default:
			return report.ReachText(w, matrix, in.input(), o)
		}
	}); err != nil {
		return err
	}
	if f.format == "csv" {
		c.tell(in.settingsNote())
	}
	c.finish(in, &f.inputFlags, ExitClean)
	return nil
}

// parseDestination reads HOST, HOST:PORT, [IPV6] or [IPV6]:PORT.
func parseDestination(to string) (reach.Destination, error) {
	if strings.Contains(to, "/") {
		return reach.Destination{}, errors.New("write HOST or HOST:PORT, without a scheme or path")
	}
	host, port := to, ""
	if strings.HasPrefix(to, "[") && strings.HasSuffix(to, "]") {
		host = to[1 : len(to)-1]
	} else if net.ParseIP(to) == nil && strings.Contains(to, ":") {
		var err error
		if host, port, err = net.SplitHostPort(to); err != nil {
			return reach.Destination{}, errors.New("write HOST:PORT, an IPv6 address in brackets")
		}
		if port == "" {
			return reach.Destination{}, errors.New("no port after the colon")
		}
	}
	if host == "" {
		return reach.Destination{}, errors.New("no host")
	}
	d := reach.Destination{Host: host}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return d, fmt.Errorf("port %q is not a number between 1 and 65535", port)
		}
		d.Port = n
	}
	return d, nil
}
