// Command gendocs writes docs/rules from the documentation in the rules: a page
// for each and the table of all. Run it in the root of the repository.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/report"
)

func main() {
	if err := run(filepath.Join("docs", "rules")); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

// run makes dir hold exactly the generated pages.
func run(dir string) error {
	pages, err := generate(analyzers.All())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	present, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range present {
		if _, wanted := pages[filepath.Base(path)]; !wanted {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, content := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the pages by file name.
func generate(rules []*analyzers.Analyzer) (map[string][]byte, error) {
	pages := map[string][]byte{}
	add := func(name string, write func(io.Writer) error) error {
		var b bytes.Buffer
		err := write(&b)
		pages[name] = b.Bytes()
		return err
	}
	if err := add("README.md", func(w io.Writer) error { return report.RulesMarkdown(w, rules) }); err != nil {
		return nil, err
	}
	for _, a := range rules {
		if err := add(a.ID+".md", func(w io.Writer) error { return report.RuleMarkdown(w, a) }); err != nil {
			return nil, err
		}
	}
	return pages, nil
}
