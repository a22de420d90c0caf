package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsWhatIsPrinted runs each command of a "console" block of the README
// and holds its output against what the block shows; "…" on a line of its own stands
// for lines that are left out.
func TestReadmeShowsWhatIsPrinted(t *testing.T) {
	t.Chdir("../..")
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(readme), "```console\n$ egresslint ")[1:]
	if len(blocks) == 0 {
		t.Fatal("the README shows no command with its output")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		command, shown, _ := strings.Cut(block, "\n")
		var out bytes.Buffer
		(&Command{Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard}).Main(strings.Fields(command))
		rest, skipped := out.String(), false
		for part := range strings.SplitAfterSeq("\n"+shown, "\n…\n") {
			if part == "" {
				break // the block ends in what is left out
			}
			elided := strings.HasSuffix(part, "\n…\n")
			part = strings.TrimPrefix(strings.TrimSuffix(part, "…\n"), "\n")
			i := strings.Index(rest, part)
			if i < 0 || i > 0 && !skipped {
				t.Fatalf("egresslint %s prints\n%s\nand the README shows\n%s", command, rest, part)
			}
			rest, skipped = rest[i+len(part):], elided
		}
		if rest != "" && !skipped {
			t.Errorf("egresslint %s goes on with\n%s", command, rest)
		}
	}
}
