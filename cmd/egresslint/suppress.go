package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/report"
)

// suppressFlags say what becomes of findings that are known.
type suppressFlags struct {
	baseline, write string
	show            bool
	date            string
}

func (f *suppressFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.baseline, "baseline", "", "leave out the findings that `FILE` knows")
	fs.StringVar(&f.write, "write-baseline", "", "write the findings to `FILE`, for --baseline")
	fs.BoolVar(&f.show, "show-suppressed", false, "tell the findings that comments, annotations and the baseline leave out, marked as such")
	fs.StringVar(&f.date, "today", "", "the `DATE` on which suppressions with a date are judged, as 2027-01-31 (default the clock's)")
}

// today returns midnight UTC of the day that counts.
func (f *suppressFlags) today() (time.Time, error) {
	if f.date == "" {
		return time.Now().UTC().Truncate(24 * time.Hour), nil
	}
	day, err := time.Parse(time.DateOnly, f.date)
	if err != nil {
		return day, fmt.Errorf("--today %q: write a date as 2027-01-31", f.date)
	}
	return day, nil
}

// readBaseline returns nil where no baseline is given, or where it is still to be
// written.
func (f *suppressFlags) readBaseline() (*report.Baseline, error) {
	if f.write == "-" {
		return nil, errors.New("--write-baseline: give a file; standard output is for the report")
	}
	if f.baseline == "" {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	file, err := os.Open(f.baseline)
	if errors.Is(err, fs.ErrNotExist) && f.write != "" && filepath.Clean(f.write) == filepath.Clean(f.baseline) {
		return nil, nil //nolint:nilnil // this run writes it
	}
	if err != nil {
		return nil, fmt.Errorf("--baseline: %w; --write-baseline makes one", err)
	}
	defer func() { _ = file.Close() }()
	known, err := report.ReadBaseline(file)
	if err != nil {
		return nil, fmt.Errorf("--baseline %s: %w", f.baseline, err)
	}
	return known, nil
}

// writeBaseline writes the findings, those included that an older baseline
// knows and those not that a directive suppresses: it stays where it is.
func (f *suppressFlags) writeBaseline(findings []analyzers.Finding) error {
	if f.write == "" {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(findings), func(x analyzers.Finding) bool {
		return x.Suppressed != nil && x.Suppressed.By != "baseline"
	})
	var content bytes.Buffer
	if err := report.WriteBaseline(&content, kept); err != nil {
		return err
	}
	if err := os.WriteFile(f.write, content.Bytes(), 0o644); err != nil { //nolint:gosec // it is to be committed
		return fmt.Errorf("--write-baseline: %w", err)
	}
	return nil
}

// gradeConfig reads LEVEL and RULE=LEVEL.
func gradeConfig(config *analyzers.Config, given []string) error {
	for _, word := range given {
		rule, level, ofRule := strings.Cut(word, "=")
		if !ofRule {
			level = rule
		}
		severity := analyzers.Severity(level)
		if severity.Rank() == 0 {
			return fmt.Errorf("%q: give error, warning or note, or RULE=LEVEL", word)
		}
		if !ofRule {
			if config.Least != "" && config.Least != severity {
				return errors.New("gives two levels; keep one")
			}
			config.Least = severity
			continue
		}
		a, err := findRule(rule)
		if err != nil {
			return fmt.Errorf("%q: %w", word, err)
		}
		if config.Severities == nil {
			config.Severities = map[string]analyzers.Severity{}
		}
		config.Severities[a.ID] = severity
	}
	return nil
}
