// Command judge answers flows with istiod's own configuration, in the format
// of the product's trace command:
//
//	judge DIR --flows FILE
//	judge trace DIR --flows FILE --format jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model/flow"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

// arguments takes flags before and after the directory, as the product does.
func arguments(args []string) (dir, flows string, err error) {
	if len(args) > 0 && args[0] == "trace" {
		args = args[1:]
	}
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		switch name {
		case "--flows", "--format":
			if !given {
				i++
				if i == len(args) {
					return "", "", fmt.Errorf("%s needs a value", name)
				}
				value = args[i]
			}
			if name == "--flows" {
				flows = value
			} else if value != "jsonl" {
				return "", "", fmt.Errorf("format %q is not known, only jsonl", value)
			}
		default:
			if dir != "" || strings.HasPrefix(name, "--") {
				return "", "", fmt.Errorf("unexpected argument %q", args[i])
			}
			dir = args[i]
		}
	}
	if dir == "" || flows == "" {
		return "", "", fmt.Errorf("usage: judge DIR --flows FILE")
	}
	return dir, flows, nil
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	dir, name, err := arguments(args)
	if err != nil {
		return err
	}
	input := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		input = file
	}
	manifests, err := judge.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, rejected := range manifests.Rejected {
		fmt.Fprintln(stderr, "rejected:", rejected)
	}
	mesh, err := judge.Open(manifests)
	if err != nil {
		return err
	}
	defer mesh.Close()
	out := bufio.NewWriter(stdout)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	lines := bufio.NewScanner(input)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var question flow.Flow
		if err := json.Unmarshal(lines.Bytes(), &question); err != nil {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
		if err := answers.Encode(mesh.Trace(question)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return out.Flush()
}
