package agree

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/conformance/shrink"
	"github.com/egresslint/egresslint/model/flow"
)

// attempts bounds the meshes that are tried to reduce one disagreement.
const attempts = 1500

// Case is a disagreement reduced to what it needs.
type Case struct {
	Name    string
	Objects []generate.Object
	Answer  Answer
}

// Reduce shrinks the mesh of a disagreement: as long as judge and product give
// the same two answers to the flow, what is not needed goes, of the mesh and
// then of the flow.
func Reduce(seed uint64, objects []generate.Object, answer Answer) *Case {
	want := signature(&answer)
	rejected := -1
	ask := func(objects []generate.Object, f flow.Flow) *Answer {
		result, err := Check(generate.Stream(objects), []flow.Flow{f})
		if err != nil {
			return nil
		}
		if rejected < 0 {
			rejected = result.Rejected + result.ProductRejected
		}
		// What validation refuses is no mesh: a field must not go if that
		// makes an object invalid.
		if result.Rejected+result.ProductRejected > rejected {
			return nil
		}
		return &result.Answers[0]
	}
	holds := func(objects []generate.Object) bool {
		a := ask(objects, answer.Flow)
		return a != nil && signature(a) == want
	}
	if !holds(objects) {
		return &Case{Name: name(seed, &answer), Objects: objects, Answer: answer}
	}
	objects = shrink.Minimal(objects, holds, attempts)
	f := answer.Flow
	for _, simpler := range simplerFlows {
		candidate := f
		simpler(&candidate)
		if a := ask(objects, candidate); a != nil && signature(a) == want {
			f = candidate
		}
	}
	if a := ask(objects, f); a != nil {
		answer = *a
	}
	return &Case{Name: name(seed, &answer), Objects: objects, Answer: answer}
}

var simplerFlows = []func(*flow.Flow){
	func(f *flow.Flow) { f.Headers = nil },
	func(f *flow.Flow) { f.Method = "" },
	func(f *flow.Flow) { f.Path = "" },
	func(f *flow.Flow) { f.SNI = "" },
	func(f *flow.Flow) { f.DstIP = "" },
	func(f *flow.Flow) { f.ConnectTo = "" },
	func(f *flow.Flow) { f.Bypass = false },
}

// signature is what stays the same while a disagreement shrinks.
func signature(a *Answer) string {
	if len(a.Differences) == 0 {
		return ""
	}
	return fmt.Sprintf("%s/%s/%s %s/%s/%s %d", a.Judge.Outcome, a.Judge.Via, a.Judge.Reason,
		a.Product.Outcome, a.Product.Via, a.Product.Reason, len(a.Judge.Branches))
}

func name(seed uint64, a *Answer) string {
	return fmt.Sprintf("seed-%d-%s-%s", seed, a.Flow.ID, strings.ReplaceAll(string(a.Judge.Reason), "_", "-"))
}

// Save writes a case as a directory of its name, as those of testdata/mesh are:
// manifests/mesh.yaml, and flows.jsonl with the flow and the judge's answer as what
// is to be expected. Whoever keeps it checks that answer, and names the directory by
// what it shows.
func (c *Case) Save(dir string) error {
	manifests := filepath.Join(dir, c.Name, "manifests")
	if err := os.MkdirAll(manifests, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(manifests, "mesh.yaml"), generate.Stream(c.Objects), 0o644); err != nil {
		return err
	}
	line, err := json.Marshal(struct {
		flow.Flow
		Want   *flow.Trace `json:"want"`
		Source string      `json:"source"`
	}{c.Answer.Flow, plain(c.Answer.Judge), "istiod"})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, c.Name, "flows.jsonl"), append(line, '\n'), 0o644)
}

// plain is an answer without the way to it.
func plain(t *flow.Trace) *flow.Trace {
	c := *t
	c.ID, c.Hops, c.Detail, c.Assumptions = "", nil, "", nil
	c.Branches = nil
	for _, b := range t.Branches {
		c.Branches = append(c.Branches, flow.Branch{Weight: b.Weight, Trace: *plain(&b.Trace)})
	}
	return &c
}

// String shows a case: the manifests, the flow, and both ways side by side.
func (c *Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", strings.Join(c.Answer.Differences, "; "), generate.Stream(c.Objects))
	question, err := json.Marshal(c.Answer.Flow)
	if err != nil {
		question = []byte(err.Error())
	}
	fmt.Fprintf(&b, "flow: %s\n\n", question)
	sideBySide(&b, "judge: "+verdict(c.Answer.Judge), way(c.Answer.Judge), "product: "+verdict(c.Answer.Product), way(c.Answer.Product))
	return b.String()
}

func verdict(t *flow.Trace) string {
	parts := []string{string(t.Outcome), string(t.Via), string(t.Reason)}
	if t.Policy != "" {
		parts = append(parts, t.Policy)
	}
	if t.HTTPStatus != 0 {
		parts = append(parts, fmt.Sprint(t.HTTPStatus))
	}
	if t.UpstreamTLS != "" {
		parts = append(parts, "tls="+string(t.UpstreamTLS))
	}
	return strings.Join(parts, " ")
}

// way lists the hops of an answer, and those of its branches.
func way(t *flow.Trace) []string {
	var lines []string
	for _, h := range t.Hops {
		line := fmt.Sprintf("%s %s: %s", h.At, h.Proxy, h.Decision)
		for _, part := range [][2]string{{"listener", h.Listener}, {"chain", h.FilterChain}, {"host", h.VirtualHost}, {"route", h.Route}, {"cluster", h.Cluster}, {"sni", h.SNI}} {
			if part[1] != "" {
				line += " [" + part[0] + " " + part[1] + "]"
			}
		}
		lines = append(lines, line)
	}
	for i, branch := range t.Branches {
		lines = append(lines, fmt.Sprintf("branch %d, weight %d: %s", i, branch.Weight, verdict(&branch.Trace)))
		lines = append(lines, way(&branch.Trace)...)
	}
	return lines
}

// column is the width of each of two columns of text.
const column = 76

func sideBySide(b *strings.Builder, leftTitle string, left []string, rightTitle string, right []string) {
	l, r := wrap(append([]string{leftTitle, ""}, left...)), wrap(append([]string{rightTitle, ""}, right...))
	for i := range max(len(l), len(r)) {
		var a, c string
		if i < len(l) {
			a = l[i]
		}
		if i < len(r) {
			c = r[i]
		}
		fmt.Fprintf(b, "%-*s | %s\n", column, a, c)
	}
}

func wrap(lines []string) []string {
	var out []string
	for _, line := range lines {
		for len(line) > column {
			cut := strings.LastIndexByte(line[:column], ' ')
			if cut <= 2 {
				cut = column
			}
			out = append(out, line[:cut])
			line = "  " + strings.TrimPrefix(line[cut:], " ")
		}
		out = append(out, line)
	}
	return out
}
