package switches

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model/flow"
)

const cases = "../../testdata/switches"

// question is a flow of a case, with istiod's answers by default and with the
// variable.
type question struct {
	flow.Flow
	Value        string
	With         map[string]string
	Default, Set flow.Trace
	Source       string
}

// TestIstiodAnswers asks istiod what the cases say that it answers.
func TestIstiodAnswers(t *testing.T) {
	files, err := filepath.Glob(cases + "/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	asked := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		questions := read(t, file)
		questions = slices.DeleteFunc(questions, func(q question) bool { return q.Source != "istiod" })
		if len(questions) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			asked++
			ask(t, name, questions, func(q question) flow.Trace { return q.Default })
			restore, err := Set(name, questions[0].Value)
			if err != nil {
				t.Fatal(err)
			}
			defer restore()
			ask(t, name, questions, func(q question) flow.Trace { return q.Set })
		})
	}
	if can := len(Names()); asked != can {
		t.Errorf("%d variables are asked about, of %d that can be", asked, can)
	}
}

func read(t *testing.T, file string) []question {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []question
	for line := range strings.Lines(string(text)) {
		var q question
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// ask compares istiod's answers.
func ask(t *testing.T, name string, questions []question, want func(question) flow.Trace) {
	var stream []byte
	for _, file := range []string{"base.yaml", name + ".yaml"} {
		text, err := os.ReadFile(filepath.Join(cases, file))
		if err != nil {
			t.Fatal(err)
		}
		stream = append(append(stream, text...), "\n---\n"...)
	}
	manifests, err := judge.Parse(stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, rejected := range manifests.Rejected {
		t.Errorf("rejected: %v", rejected)
	}
	mesh, err := judge.Open(manifests)
	if err != nil {
		t.Fatal(err)
	}
	defer mesh.Close()
	for _, q := range questions {
		got, want := mesh.Trace(q.Flow), want(q)
		if got.Outcome != want.Outcome || got.Via != want.Via || got.Reason != want.Reason || got.UpstreamTLS != want.UpstreamTLS ||
			got.HTTPStatus != want.HTTPStatus || got.Policy != want.Policy {
			t.Errorf("flow %s: istiod answers %s %s %s tls=%s %d %s, want %s %s %s tls=%s %d %s (%s)", q.ID,
				got.Outcome, got.Via, got.Reason, got.UpstreamTLS, got.HTTPStatus, got.Policy,
				want.Outcome, want.Via, want.Reason, want.UpstreamTLS, want.HTTPStatus, want.Policy, got.Detail)
		}
	}
}
