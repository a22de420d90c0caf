package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// update writes docs/egresslint.schema.json anew: `go test ./cmd/egresslint -run Schema -update`.
var update = flag.Bool("update", false, "write docs/egresslint.schema.json anew")

// patterns are what else the values of settings look like. Names of rules are not
// among it: the command knows them in any case.
var patterns = map[string]string{
	"baseline":        `^.+$`,
	"mesh-config":     `^.+$`,
	"namespace":       `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`,
	"namespace-label": `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(:[^=]+=.*)?$`,
	"set":             `^[^=]*[^=. ][^=]*=`,
	"severity":        `^ *(error|warning|note|[^=, ]+=(error|warning|note)) *(, *(error|warning|note|[^=, ]+=(error|warning|note)) *)*$`,
}

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
		if pattern := patterns[key]; pattern != "" {
			one["pattern"] = pattern
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
		"type":                 []string{"object", "null"},
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

// TestSchemaAgreesWithTheCommand asks the published schema and the command about the
// same configurations: an editor must not pass what the command refuses, nor the
// other way round.
func TestSchemaAgreesWithTheCommand(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("..", "..", "docs", "egresslint.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("mesh.yaml", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for _, content := range configurations {
		var value any
		if err := yaml.Unmarshal([]byte(content), &value); err != nil {
			t.Fatalf("%q: %v", content, err)
		}
		ofSchema := schema.Validate(value)
		_, ofCommand := settings(t, "c.yaml", content)
		if (ofSchema == nil) != (ofCommand == nil) {
			t.Errorf("%q: the schema says %v, the command %v", content, ofSchema, ofCommand)
		}
		if ofCommand == nil {
			accepted++
		}
	}
	if accepted < 20 || accepted > len(configurations)-20 {
		t.Errorf("%d of %d configurations are accepted: too few of one kind", accepted, len(configurations))
	}
}

var configurations = []string{
	"", "# comments alone\n", "{}", "[]", "words", "fail-on: error", "fail-on: Error", "fail-on: \"\"", "fail-on: [error]", "fail-on:", "fail-on: 1",
	"fail-on: never", "{\"fail-on\": \"note\", \"verbose\": true}", "fail_on: error", "Fail-On: error", "unknown: 1", "1: 2",
	"verbose: true", "verbose: yes", "verbose: \"true\"", "verbose: 1", "verbose: 0", "verbose: t", "verbose: True", "verbose: [true]", "verbose:",
	"allow-partial: false", "allow-partial: no", "allow-partial: FALSE", "show-suppressed: true", "show-suppressed: on",
	"enable: EGR301", "enable: EGR301,EGR302", "enable: \"EGR301, EGR302\"", "enable: [EGR301, unsteered-port]", "enable: egr301", "enable: []", "enable: \"\"",
	"enable: {EGR301: true}", "enable: [[EGR301]]", "disable: [EGR301, 5]", "disable: [EGR301, null]", "disable:\n- EGR301\n- EGR301\n",
	"severity: warning", "severity: EGR301=warning", "severity: [note, EGR301=warning]", "severity: \"EGR301=warning, note\"", "severity: fatal",
	"severity: EGR301=fatal", "severity: [EGR301 = warning]", "severity: {EGR301: warning}", "severity: true",
	"namespace: shop", "namespace: 123", "namespace: \"123\"", "namespace: UPPER", "namespace: -x", "namespace: true", "namespace: ~",
	"namespace-label: shop", "namespace-label: shop:istio-injection=enabled", "namespace-label: [\"shop:a=\", \"cart:b=c=d\"]", "namespace-label: [shop: x]",
	"namespace-label: shop:x", "namespace-label: Shop:a=b", "namespace-label: \":a=b\"", "namespace-label: \"shop:=b\"",
	"set: profile=demo", "set: [profile=demo, meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY]", "set: profile", "set: =x", "set: {profile: demo}", "set: []", "set: .=x",
	"mesh-config: mesh.yaml", "mesh-config: [mesh.yaml]", "mesh-config: 5", "mesh-config: \"\"", "baseline: known.json", "baseline: [known.json]", "baseline: \"\"", "baseline: 1",
	"color: never", "color: red", "color: [never]", "assume-injected: yes", "assume-injected: \"no\"", "assume-injected: true", "assume-injected: maybe",
	"config: x", "format: json", "output: x", "today: 2027-01-31", "write-baseline: x", "help: true", "version: true", "from: a",
}
