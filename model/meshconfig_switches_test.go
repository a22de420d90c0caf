package model

import (
	"fmt"
	"strings"
	"testing"
)

// What sets a switch is found wherever an installation may say it, and it is the
// last of several that counts.
func TestWhereSwitchesAreSet(t *testing.T) {
	const (
		name     = "PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE"
		operator = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: istio, namespace: istio-system}\nspec:\n"
		release  = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: istiod, namespace: istio-system}\nspec:\n  chart: {spec: {chart: istiod}}\n  values:\n"
		sail     = "apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec:\n  namespace: istio-system\n  values:\n"
		istiod   = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}\nspec:\n  selector: {matchLabels: {app: istiod}}\n" +
			"  template:\n    metadata: {labels: {app: istiod}}\n    spec:\n      containers:\n      - name: discovery\n        image: pilot\n        env:\n"
		configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: \"{}\"}\n"
	)
	for _, test := range []struct {
		name, manifest string
		set            []string
		want           string // value@line, "" for the default
	}{
		{"component", operator + "  components: {pilot: {k8s: {env: [\n    {name: OTHER, value: a},\n    {name: " + name + ", value: \"false\"}]}}}\n", nil, "false@7"},
		{"operator's values", operator + "  values:\n    pilot:\n      env:\n        " + name + ": false\n", nil, "false@8"},
		{"component before values", operator + "  values: {pilot: {env: {" + name + ": \"true\"}}}\n  components: {pilot: {k8s: {env: [{name: " + name + ", value: \"0\"}]}}}\n", nil, "0@6"},
		{"unvalidated values", operator + "  unvalidatedValues:\n    pilot: {env: {" + name + ": \"F\"}}\n", nil, "F@6"},
		{"compatibility version of an operator", operator + "  profile: default\n  values: {compatibilityVersion: \"1.28\"}\n", nil, "false@6"},
		{"compatibility version beside an operator's values", operator + "  compatibilityVersion: \"1.28\"\n", nil, "false@5"},
		{"release", release + "    pilot: {env: {" + name + ": \"false\"}}\n", nil, "false@7"},
		{"compatibility version", release + "    compatibilityVersion: \"1.28\"\n", nil, "false@7"},
		{"values before the compatibility version", release + "    compatibilityVersion: \"1.28\"\n    pilot: {env: {" + name + ": \"true\"}}\n", nil, ""},
		{"Sail", sail + "    pilot: {env: {" + name + ": \"false\"}}\n", nil, "false@7"},
		{"Deployment", istiod + "        - {name: OTHER, value: a}\n        - {name: " + name + ", value: \"false\"}\n", nil, "false@14"},
		{"Deployment before values", istiod + "        - {name: " + name + ", value: \"false\"}\n---\n" + release + "    pilot: {env: {" + name + ": \"true\"}}\n", nil, "false@13"},
		{"as by default", release + "    pilot: {env: {" + name + ": \"1\"}}\n", nil, ""},
		{"no truth value", release + "    pilot: {env: {" + name + ": \"no\"}}\n", nil, ""},
		{"flag", "", []string{"values.pilot.env." + name + "=false"}, "false@0"},
		{"flag before an operator", operator + "  values: {pilot: {env: {" + name + ": \"true\"}}}\n", []string{"values.pilot.env." + name + "=false"}, "false@0"},
		{"flag beside the result of an installation", configMap, []string{"values.pilot.env." + name + "=false"}, "false@0"},
		{"flag of another revision", configMap, []string{"revision=new", "values.pilot.env." + name + "=false"}, ""},
	} {
		if test.manifest == "" {
			test.manifest = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
		}
		m := load(t, test.manifest, Options{Set: test.set})
		got := ""
		if s := m.Config.Switch(name); s != nil {
			got = fmt.Sprintf("%s@%d", s.Value, s.Object.At(s.Field).Line)
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if on := m.Config.Enabled(name); on != (test.want == "") {
			t.Errorf("%s: it counts as %t", test.name, on)
		}
	}
}

// What a profile sets is placed at the profile, though a compatibility version sets
// others.
func TestWhereAProfileSetsSwitches(t *testing.T) {
	for text, want := range map[string]int{
		"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: a, namespace: istio-system}\nspec:\n  compatibilityVersion: \"1.28\"\n  profile: ambient\n":                                                6,
		"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: a, namespace: istio-system}\nspec:\n  compatibilityVersion: \"1.28\"\n  values:\n    profile: ambient\n":                                   7,
		"apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec:\n  namespace: istio-system\n  profile: ambient\n  values: {compatibilityVersion: \"1.28\"}\n":                                             6,
		"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: a, namespace: istio-system}\nspec:\n  chart: {spec: {chart: istiod}}\n  values:\n    compatibilityVersion: \"1.28\"\n    profile: ambient\n": 8,
	} {
		s := load(t, text, Options{}).Config.Switch("PILOT_ENABLE_AMBIENT")
		if s == nil || s.Object.At(s.Field).Line != want {
			t.Errorf("%s: %v, want line %d", text, s, want)
		}
	}
}

// What a switch is set to is anybody's text.
func TestTextOfSwitches(t *testing.T) {
	s := &Switch{Name: "A", Value: "x\x1b[31m\n" + strings.Repeat("long ", 100)}
	if text := s.String(); len(text) > 100 || strings.ContainsAny(text, "\x1b\n") || !strings.HasPrefix(text, "A=x") {
		t.Errorf("%q", text)
	}
}

// Each control plane has its own switches.
func TestSwitchesOfRevisions(t *testing.T) {
	const istiod = `apiVersion: apps/v1
kind: Deployment
metadata: {name: $name, namespace: istio-system, labels: {app: istiod}}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod}}
    spec: {containers: [{name: discovery, image: pilot, env: [{name: REVISION, value: $rev}, $env]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: $map, namespace: istio-system}
data: {mesh: "{}"}
---
`
	m := load(t, strings.NewReplacer("$name", "istiod", "$rev", "default", "$map", "istio", "$env", "{name: ISTIO_WATCH_NAMESPACE, value: shop}").Replace(istiod)+
		strings.NewReplacer("$name", "istiod-new", "$rev", "new", "$map", "istio-new", "$env", "{name: PILOT_IGNORE_RESOURCES, valueFrom: {configMapKeyRef: {name: a, key: b}}}").Replace(istiod), Options{})
	if got := m.ConfigFor(&Workload{Namespace: "a", Labels: map[string]string{"istio.io/rev": "new"}}).Switched(); len(got) != 0 {
		t.Errorf("revision new has %v", got)
	}
	if got := fmt.Sprint(m.ConfigFor(&Workload{Namespace: "a"}).Switched()); got != "[ISTIO_WATCH_NAMESPACE=shop]" {
		t.Errorf("the default revision has %s", got)
	}
	if len(m.Configs()) != 2 {
		t.Errorf("%d control planes", len(m.Configs()))
	}
	wantNotes(t, m, "Deployment istio-system/istiod-new takes PILOT_IGNORE_RESOURCES from elsewhere, which is not read: its default is taken")
}
