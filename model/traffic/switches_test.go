package traffic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// switchCase is a flow that one of istiod's environment variables decides, or in the
// same mesh another that it does not; testdata/switches has them by variable.
type switchCase struct {
	flow.Flow
	// Value is what the variable is set to, With are others that are set in both
	// answers.
	Value string            `json:"value"`
	With  map[string]string `json:"with,omitempty"`
	// Default and Set are the answers without and with it.
	Default flow.Trace `json:"default"`
	Set     flow.Trace `json:"set"`
	Source  string     `json:"source"`
}

const switchesDir = "../../testdata/switches"

func switchCases(t *testing.T, name string) []switchCase {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(switchesDir, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []switchCase
	for line := range strings.Lines(string(text)) {
		var c switchCase
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.ID == "" || c.Source == "" || c.Value == "" || c.Default.Outcome == "" || c.Set.Outcome == "" {
			t.Fatalf("%s: flow %q lacks id, value, default, set or source", name, c.ID)
		}
		out = append(out, c)
	}
	return out
}

// istiodWith is istiod's Deployment with some environment variables, one a line.
func istiodWith(env map[string]string) (text string, lineOf map[string]int) {
	text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}\nspec:\n" +
		"  selector: {matchLabels: {app: istiod}}\n  template:\n    metadata: {labels: {app: istiod}}\n    spec:\n      containers:\n      - name: discovery\n" +
		"        image: pilot\n        env:\n        - {name: REVISION, value: default}\n"
	lineOf = map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lineOf[name] = strings.Count(text, "\n") + 1
		text += fmt.Sprintf("        - {name: %s, value: %q}\n", name, env[name])
	}
	return text, lineOf
}

// switchMesh loads the mesh of a case with some environment of istiod.
func switchMesh(t *testing.T, name string, env map[string]string) (*model.Mesh, map[string]int) {
	t.Helper()
	text, lines := istiodWith(env)
	file := filepath.Join(t.TempDir(), "istiod.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	mesh, _, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{
		{Name: filepath.Join(switchesDir, "base.yaml")}, {Name: filepath.Join(switchesDir, name+".yaml")}, {Name: file},
	}}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range mesh.Problems {
		t.Errorf("%s: %s", p.Position, p.Message)
	}
	return mesh, lines
}

// Each switch that the model knows decides a flow, and the trace says so and where it
// is set.
func TestSwitches(t *testing.T) {
	for name := range model.Switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decides := false
			for _, c := range switchCases(t, name) {
				env := map[string]string{}
				maps.Copy(env, c.With)
				mesh, _ := switchMesh(t, name, env)
				got := traffic.New(mesh).Explain(c.Flow)
				if d := differences(c.Default, verdict(got)); len(d) > 0 {
					t.Errorf("%s by default: %s%s", c.ID, strings.Join(d, "; "), hopsText(got))
				}
				env[name] = c.Value
				mesh, lines := switchMesh(t, name, env)
				got = traffic.New(mesh).Explain(c.Flow)
				if d := differences(c.Set, verdict(got)); len(d) > 0 {
					t.Errorf("%s with %s: %s%s", c.ID, c.Value, strings.Join(d, "; "), hopsText(got))
				}
				differs := jsonText(c.Default) != jsonText(c.Set)
				decides = decides || differs
				if cites := citesSwitch(got, name+"="+c.Value, lines[name]); cites != differs {
					t.Errorf("%s with %s: a decision names the switch and points to line %d: %t, want %t%s", c.ID, c.Value, lines[name], cites, differs, hopsText(got))
				}
			}
			if !decides {
				t.Error("the switch decides none of the flows")
			}
		})
	}
}

// citesSwitch reports whether the decision of a hop names a switch and points to the
// line that sets it.
func citesSwitch(t *flow.Trace, set string, line int) bool {
	for i := range t.Hops {
		h := &t.Hops[i]
		for _, b := range h.Because {
			p := b.Object.At(b.Field)
			if strings.Contains(h.Decision, set) && filepath.Base(p.File) == "istiod.yaml" && p.Line == line {
				return true
			}
		}
	}
	return false
}

// The switches of a control plane hold for the workloads that it serves.
func TestSwitchesOfRevisions(t *testing.T) {
	const mesh = `
apiVersion: v1
kind: Namespace
metadata: {name: old, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: new, labels: {istio.io/rev: new}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-new, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod-new, namespace: istio-system, labels: {app: istiod}}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod}}
    spec: {containers: [{name: discovery, image: pilot, env: [{name: REVISION, value: new}, {name: PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN, value: "false"}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: old}
spec: {containers: [{name: cart, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: new}
spec: {containers: [{name: cart, image: i}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: old}
spec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
`
	sim := traffic.New(meshOf(t, mesh))
	for from, want := range map[string]string{
		"old/cart": "allowed ",
		"new/cart": "blocked istiod of revision new is started with PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN=false: by default (true) the flow would be allowed (ok)",
	} {
		trace := sim.Explain(flow.Flow{From: from, Host: "api.example.com", Port: 80, Scheme: flow.HTTP, Headers: map[string]string{"Host": "api.example.com."}})
		said := ""
		if strings.Contains(trace.Hops[0].Decision, "is started with") {
			said = trace.Hops[0].Decision
		}
		if got := string(trace.Outcome) + " " + said; got != want {
			t.Errorf("%s: %s, want %s%s", from, got, want, hopsText(trace))
		}
	}
}
