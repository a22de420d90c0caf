package traffic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// meshCase is a directory of testdata/mesh; the README there says what is in it.
type meshCase struct {
	name  string
	dir   string
	flows []knownFlow
	opts  model.Options
	// labelled are the namespaces that the flags label.
	labelled []string
}

// knownFlow is a flow with the answer that Istio gives.
type knownFlow struct {
	flow.Flow
	Want   flow.Trace `json:"want"`
	Source string     `json:"source"`
}

func meshCases(t *testing.T) []meshCase {
	t.Helper()
	const root = "../../testdata/mesh"
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var cases []meshCase
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		c := meshCase{name: e.Name(), dir: filepath.Join(root, e.Name())}
		if err := c.readFlags(); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(filepath.Join(c.dir, "flows.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		d := json.NewDecoder(file)
		d.DisallowUnknownFields()
		for {
			var f knownFlow
			if err := d.Decode(&f); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: flow %d: %v", file.Name(), len(c.flows)+1, err)
			}
			if f.ID == "" || f.Source == "" || f.Want.Outcome == "" {
				t.Fatalf("%s: flow %d lacks id, source or want", file.Name(), len(c.flows)+1)
			}
			c.flows = append(c.flows, f)
		}
		if len(c.flows) == 0 {
			t.Fatalf("%s asks nothing", file.Name())
		}
		cases = append(cases, c)
	}
	return cases
}

// readFlags reads the flags of a case, one a line as they are typed.
func (c *meshCase) readFlags() error {
	text, err := os.ReadFile(filepath.Join(c.dir, "flags"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case "--set":
			c.opts.Set = append(c.opts.Set, value)
		case "--namespace-label":
			namespace, label, _ := strings.Cut(value, ":")
			key, value, _ := strings.Cut(label, "=")
			c.opts.NamespaceLabels = append(c.opts.NamespaceLabels, model.NamespaceLabel{Namespace: namespace, Key: key, Value: value})
			c.labelled = append(c.labelled, namespace)
		default:
			return fmt.Errorf("%s/flags: %q is no flag that this test knows", c.dir, name)
		}
	}
	return nil
}

// load makes the mesh of the case.
func (c *meshCase) load(t *testing.T) *model.Mesh {
	t.Helper()
	paths := []manifest.Path{{Name: filepath.Join(c.dir, "manifests")}}
	m, _, err := model.Load(context.Background(), manifest.Options{Paths: paths}, c.opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// verdict is the part of a trace that a case fixes.
func verdict(t *flow.Trace) flow.Trace {
	v := flow.Trace{
		Outcome: t.Outcome, Via: t.Via, Reason: t.Reason, Policy: t.Policy, Rule: t.Rule,
		UpstreamTLS: t.UpstreamTLS, HTTPStatus: t.HTTPStatus,
	}
	for _, b := range t.Branches {
		v.Branches = append(v.Branches, flow.Branch{Weight: b.Weight, Trace: verdict(&b.Trace)})
	}
	// The order of branches means nothing.
	slices.SortFunc(v.Branches, func(a, b flow.Branch) int { return strings.Compare(jsonText(a), jsonText(b)) })
	return v
}

// differences lists the fields in which a trace is not what is wanted. The rule
// counts where it is given.
func differences(want, got flow.Trace) []string {
	var out []string
	if want.Rule == nil {
		got.Rule = nil
	}
	w, g := reflect.ValueOf(want), reflect.ValueOf(got)
	for i := range w.NumField() {
		if a, b := w.Field(i).Interface(), g.Field(i).Interface(); !reflect.DeepEqual(a, b) {
			out = append(out, fmt.Sprintf("%s: want %s, got %s", w.Type().Field(i).Name, jsonText(a), jsonText(b)))
		}
	}
	return out
}

func jsonText(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

// hopsText lists the hops of a trace, one a line, for whoever reads a failure.
func hopsText(t *flow.Trace) string {
	var b strings.Builder
	for i, h := range t.Hops {
		fmt.Fprintf(&b, "\n\t%d. %s %s: %s", i+1, h.At, h.Proxy, h.Decision)
		for _, because := range h.Because {
			fmt.Fprintf(&b, "\n\t     %s", jsonText(because))
		}
	}
	for _, branch := range t.Branches {
		fmt.Fprintf(&b, "\n\tbranch of weight %d:%s", branch.Weight, hopsText(&branch.Trace))
	}
	if t.Detail != "" {
		fmt.Fprintf(&b, "\n\tdetail: %s", t.Detail)
	}
	return b.String()
}

func TestMesh(t *testing.T) {
	for _, c := range meshCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sim := traffic.New(c.load(t))
			for _, f := range c.flows {
				got := sim.Trace(f.Flow)
				if diff := differences(verdict(&f.Want), verdict(got)); diff != nil {
					t.Errorf("%s\n\t%s\n\t%s\n\tsource: %s%s", f.ID, jsonText(f.Flow), strings.Join(diff, "\n\t"), f.Source, hopsText(got))
				}
			}
		})
	}
}

// Every hop says in a sentence what was decided, and points to the fields that
// decided it.
func TestHopsSayWhy(t *testing.T) {
	for _, c := range meshCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sim := traffic.New(c.load(t))
			documents := readDocuments(t, filepath.Join(c.dir, "manifests"))
			for _, f := range c.flows {
				got := sim.Trace(f.Flow)
				var check func(*flow.Trace)
				check = func(tr *flow.Trace) {
					for i, h := range tr.Hops {
						for _, wrong := range wrongWithHop(&h, documents, c.labelled) {
							t.Errorf("%s: hop %d: %s%s", f.ID, i+1, wrong, hopsText(got))
						}
					}
					if tr.Outcome == flow.Unknown && tr.Detail == "" {
						t.Errorf("%s: unknown without a detail that says what is lacking%s", f.ID, hopsText(got))
					}
					for i := range tr.Branches {
						check(&tr.Branches[i].Trace)
					}
				}
				check(got)
				if len(got.Hops) == 0 && len(got.Branches) == 0 {
					t.Errorf("%s: the trace has no hop", f.ID)
				}
			}
		})
	}
}

// places are where hops happen.
var places = []flow.Place{flow.AtSidecar, flow.AtGateway, flow.AtWaypoint, flow.AtZtunnel, flow.AtNetwork}

// byDefault are the parts of decisions for which no manifest is the reason.
var byDefault = []string{
	"(Istio's default)", "no AuthorizationPolicy denies it",
	"it goes on to the address that the application dialled", "as the request names it", "the connection is closed: the destination is not registered",
	"goes round in a loop",
}

// wrongWithHop says what is wrong with the explanation of a hop. labelled are
// the namespaces whose labels were given on the command line.
func wrongWithHop(h *flow.Hop, documents map[string]document, labelled []string) []string {
	var out []string
	if !slices.Contains(places, h.At) {
		out = append(out, fmt.Sprintf("at is %q", h.At))
	}
	if h.At != flow.AtNetwork && h.Proxy == "" {
		out = append(out, "it names no proxy")
	}
	switch d := h.Decision; {
	case strings.TrimSpace(d) == "":
		out = append(out, "the decision is empty")
	case strings.HasSuffix(d, ".") || strings.ContainsAny(d, "\n\t") || strings.Contains(d, "  ") || strings.Contains(d, "%!"):
		out = append(out, fmt.Sprintf("the decision is not one clean sentence: %q", d))
	}
	unfounded := slices.ContainsFunc(byDefault, func(s string) bool { return strings.Contains(h.Decision, s) }) ||
		slices.ContainsFunc(labelled, func(ns string) bool { return strings.Contains(h.Decision, "(namespace "+ns+" is labelled") })
	if len(h.Because) == 0 && h.At != flow.AtNetwork && !unfounded {
		out = append(out, "nothing says because of which field")
	}
	for _, b := range h.Because {
		if b.Object == nil {
			out = append(out, "a reason has no object")
			continue
		}
		position := b.Object.At(b.Field)
		stands, field := b.Object, b.Field
		for stands.Implied != "" && stands.Cause != nil {
			stands, field = stands.Cause, stands.CauseField
		}
		if stands.Implied != "" {
			if !position.IsZero() {
				out = append(out, fmt.Sprintf("%s is implied by the command line and yet has position %s", b.Object, position))
			}
			continue
		}
		d, known := documents[stands.String()]
		switch {
		case !known:
			out = append(out, fmt.Sprintf("%s is in no manifest", stands))
		case position.Line < d.from || position.Line > d.to || filepath.Base(position.File) != d.file:
			out = append(out, fmt.Sprintf("%s %s is placed at %s, but the object is in %s:%d-%d", stands, field, position, d.file, d.from, d.to))
		case !d.has(field) && !mayBeAbsent(stands, field):
			out = append(out, fmt.Sprintf("%s has no field %q", stands, field))
		}
	}
	return out
}

// mayBeAbsent reports whether a field decides by being absent: that nothing is
// there, or in the Gateway API its default.
func mayBeAbsent(o *manifest.Object, field string) bool {
	return o.Group() == "gateway.networking.k8s.io" || slices.Contains([]string{
		"metadata.labels", "spec.outboundTrafficPolicy.mode", "spec.subsets", "spec.rules", "spec.template.metadata.labels",
	}, field)
}

// Traces are the same bytes each time, whatever was asked before.
func TestTracesAreDeterministic(t *testing.T) {
	for _, c := range meshCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first := map[string]string{}
			sim := traffic.New(c.load(t))
			for _, f := range c.flows {
				first[f.ID] = jsonText(sim.Trace(f.Flow))
			}
			again := traffic.New(c.load(t))
			for _, f := range slices.Backward(c.flows) {
				if second := jsonText(again.Trace(f.Flow)); second != first[f.ID] {
					t.Errorf("%s\n\tfirst  %s\n\tsecond %s", f.ID, first[f.ID], second)
				}
			}
		})
	}
}
