package agree

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/model/flow"
)

// A saved case is what model/traffic reads as a regression case: the judge's
// answer is what it wants, without the way to it.
func TestSavedCase(t *testing.T) {
	dir := t.TempDir()
	c := &Case{
		Name:    "some-name",
		Objects: []generate.Object{{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "app"}}},
		Answer: Answer{
			Flow:    flow.Flow{ID: "f1", From: "app/sleep", Host: "a.example.com", Port: 80, Scheme: flow.HTTP},
			Judge:   &flow.Trace{Outcome: flow.Blocked, Via: flow.ViaNone, Reason: flow.NoRoute, HTTPStatus: 404, Hops: []flow.Hop{{Decision: "no"}}},
			Product: &flow.Trace{Outcome: flow.Allowed},
		},
	}
	if err := c.Save(dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "some-name", "manifests", "mesh.yaml")); err != nil || string(text) != string(generate.Stream(c.Objects)) {
		t.Errorf("%s %v", text, err)
	}
	line, err := os.ReadFile(filepath.Join(dir, "some-name", "flows.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var saved struct {
		flow.Flow
		Want   flow.Trace `json:"want"`
		Source string     `json:"source"`
	}
	if err := json.Unmarshal(line, &saved); err != nil {
		t.Fatal(err)
	}
	if saved.From != "app/sleep" || saved.Want.Outcome != flow.Blocked || saved.Want.HTTPStatus != 404 || saved.Want.Hops != nil || saved.Source != "istiod" {
		t.Errorf("%s", line)
	}
}
