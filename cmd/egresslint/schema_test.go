package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// update writes docs/egresslint.schema.json anew: `go test ./cmd/egresslint -run Schema -update`.
var update = flag.Bool("update", false, "write docs/egresslint.schema.json anew")

// TestSchema holds the published schema of the configuration against the flags
// that a configuration may set.
func TestSchema(t *testing.T) {
	command := &Command{}
	properties := map[string]any{}
	for _, key := range configKeys {
		var found *pflag.Flag
		for _, flags := range []*pflag.FlagSet{command.lint().Flags(), command.trace().Flags(), command.reach().Flags()} {
			if found == nil {
				found = flags.Lookup(key)
			}
		}
		if found == nil {
			t.Fatalf("no command has the setting %q", key)
		}
		_, usage := pflag.UnquoteUsage(found)
		one := map[string]any{"type": "string"}
		if name, _ := pflag.UnquoteUsage(found); strings.Contains(name, "|") {
			one["enum"] = strings.Split(name, "|")
		}
		property := map[string]any{"description": usage}
		switch found.Value.Type() {
		case "bool":
			property["type"] = "boolean"
		case "string":
			for k, v := range one {
				property[k] = v
			}
		default:
			property["anyOf"] = []any{one, map[string]any{"type": "array", "items": one}}
		}
		properties[key] = property
	}
	schema := map[string]any{
		"$schema":              "http://json-schema.org/draft-07/schema#",
		"$id":                  "https://raw.githubusercontent.com/egresslint/egresslint/main/docs/egresslint.schema.json",
		"title":                "Configuration of egresslint",
		"type":                 "object",
		"additionalProperties": false,
		"properties":           properties,
	}
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", "egresslint.schema.json")
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the flags say: go test ./cmd/egresslint -run Schema -update", file)
	}
}
