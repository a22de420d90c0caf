package model

import (
	"strings"
	"testing"
)

// What an installation says counts as far as it reaches an istiod.
func TestWhatReachesIstiod(t *testing.T) {
	const (
		closed  = "meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"
		release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: istiod, namespace: istio-system}\nspec: {chart: {spec: {chart: CHART}}, values: {" + closed + "}MORE}\n"
		argo    = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: istiod, namespace: argocd}\nspec: {source: {chart: istiod, helm: {HELM}}}\n"
		open    = "{name: meshConfig.outboundTrafficPolicy.mode, value: ALLOW_ANY}"
	)
	released := func(chart, more string) string {
		return strings.NewReplacer("CHART", chart, "MORE", more).Replace(release)
	}
	application := func(helm string) string { return strings.Replace(argo, "HELM", helm, 1) }
	operator := func(name, spec string) string {
		return "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: " + name + ", namespace: istio-system}\nspec: {" + spec + "}\n"
	}
	azure := func(rev string) string { return closedIn("istio-shared-configmap-"+rev, "aks-istio-system") }
	labelled := "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio.io/rev: asm-1-27}}\n"
	for _, test := range []struct {
		name, manifest string
		mode, field    string
		assumed, note  string // "" for none, and for any
		doubts         int
	}{
		{name: "a release of istiod", manifest: released("istiod", ""), mode: "REGISTRY_ONLY", field: "spec.values.meshConfig.outboundTrafficPolicy.mode"},
		{name: "one of a chart that reads no mesh configuration", manifest: released("base", ""), mode: "ALLOW_ANY", note: "HelmRelease istio-system/istiod is not rendered…"},
		{name: "one of gateways", manifest: released("gateway", ""), mode: "ALLOW_ANY"},
		{name: "values from elsewhere beneath a mode", manifest: released("istiod", ", valuesFrom: [{kind: ConfigMap, name: v}]"), mode: "REGISTRY_ONLY",
			field: "spec.values.meshConfig.outboundTrafficPolicy.mode", note: "HelmRelease istio-system/istiod also takes values from elsewhere (spec.valuesFrom), which are not read"},
		{name: "values from elsewhere without a mode", mode: "ALLOW_ANY", manifest: strings.Replace(released("istiod", ", valuesFrom: [{kind: ConfigMap, name: v}]"), "outboundTrafficPolicy: {mode: REGISTRY_ONLY}", "", 1),
			assumed: "HelmRelease istio-system/istiod also takes values from elsewhere…"},

		{name: "parameters", manifest: application("parameters: [{name: meshConfig.outboundTrafficPolicy.mode, value: REGISTRY_ONLY}]"), mode: "REGISTRY_ONLY", field: "spec.source.helm.parameters[0].value"},
		{name: "parameters before values", manifest: application("parameters: [{name: a, value: b}, " + open + "], valuesObject: {" + closed + "}"), mode: "ALLOW_ANY", field: "spec.source.helm.parameters[1].value"},
		{name: "parameters of a subchart", manifest: application("parameters: [{name: istiod.meshConfig.outboundTrafficPolicy.mode, value: ALLOW_ANY}], valuesObject: {istiod: {" + closed + "}}"), mode: "ALLOW_ANY", field: "spec.source.helm.parameters[0].value"},
		{name: "an object in place of values", manifest: application("valuesObject: {pilot: {}, meshConfig: {accessLogFile: a}}, values: '" + closed + "'"), mode: "ALLOW_ANY"},
		{name: "parameters that make no sense", manifest: application("parameters: [{name: '', value: b}, {name: 'a[', value: b}, 7], valuesObject: {" + closed + "}"), mode: "REGISTRY_ONLY", field: "spec.source.helm.valuesObject.meshConfig.outboundTrafficPolicy.mode"},

		{name: "a disabled subchart", manifest: "istiod:\n  enabled: false\n  " + closed + "\n", mode: "ALLOW_ANY", note: "HelmValues <stdin>: istiod.enabled is false, so that it installs no control plane…"},
		{name: "an enabled subchart", manifest: "istiod:\n  enabled: true\n  " + closed + "\n", mode: "REGISTRY_ONLY", field: "istiod.meshConfig.outboundTrafficPolicy.mode"},
		{name: "one in a disabled chart", manifest: "mesh:\n  enabled: false\n  istiod:\n    enabled: true\n    " + closed + "\n", mode: "ALLOW_ANY"},

		{name: "profile remote", manifest: operator("a", "profile: remote, "+closed), mode: "ALLOW_ANY", doubts: 1, note: "IstioOperator istio-system/a: its values have configMap: false…"},
		{name: "no ConfigMap", manifest: "configMap: false\n" + closed + "\n", mode: "ALLOW_ANY", doubts: 1},
		{name: "no ConfigMap, and no policy", manifest: "configMap: false\nmeshConfig: {accessLogFile: a}\n", mode: "ALLOW_ANY"},
		{name: "no ConfigMap of the installation's, but another", manifest: operator("a", "profile: remote, "+closed) + "---\n" + openIn("istio", "istio-system"), mode: "ALLOW_ANY", field: "data.mesh.outboundTrafficPolicy.mode"},

		{name: "two installations that differ", manifest: operator("a", "profile: minimal") + "---\n" + operator("b", "profile: minimal, "+closed), mode: "REGISTRY_ONLY", field: "spec.meshConfig.outboundTrafficPolicy.mode",
			assumed: "IstioOperator istio-system/a and IstioOperator istio-system/b install the default revision: IstioOperator istio-system/b is taken; they differ in outboundTrafficPolicy"},
		{name: "two installations that do not", manifest: operator("a", closed) + "---\n" + operator("b", closed), mode: "REGISTRY_ONLY", field: "spec.meshConfig.outboundTrafficPolicy.mode"},
		{name: "two definitions that differ", manifest: openIn("istio", "istio-system") + "---\n" + closedIn("istio", "istio-system"), mode: "REGISTRY_ONLY", field: "data.mesh.outboundTrafficPolicy.mode",
			assumed: "ConfigMap istio-system/istio is defined in <stdin>:1:1, too, and differs there: the last definition counts"},
		{name: "two definitions that do not", manifest: closedIn("istio", "istio-system") + "---\n" + closedIn("istio", "istio-system"), mode: "REGISTRY_ONLY", field: "data.mesh.outboundTrafficPolicy.mode"},

		{name: "shared on Azure", manifest: azure("asm-1-27") + "---\n" + labelled, mode: "REGISTRY_ONLY", field: "data.mesh.outboundTrafficPolicy.mode"},
		{name: "shared on Azure by two", manifest: strings.Replace(azure("asm-1-24"), "REGISTRY_ONLY", "ALLOW_ANY", 1) + "---\n" + azure("asm-1-27") + "---\n" + labelled, mode: "REGISTRY_ONLY", field: "data.mesh.outboundTrafficPolicy.mode"},
		{name: "shared on Azure beneath its own", manifest: openIn("istio-asm-1-27", "aks-istio-system") + "---\n" + azure("asm-1-27") + "---\n" + labelled, mode: "ALLOW_ANY", field: "data.mesh.outboundTrafficPolicy.mode"},
		{name: "called like one of Azure's", manifest: closedIn("istio-shared-configmap-asm-1-27", "istio-system") + "---\n" + labelled, mode: "REGISTRY_ONLY", field: "data.mesh.outboundTrafficPolicy.mode"},

		{name: "an empty policy", manifest: strings.Replace(closedIn("istio", "istio-system"), "mode: REGISTRY_ONLY", "", 1), mode: "REGISTRY_ONLY", field: "data.mesh.outboundTrafficPolicy"},
		{name: "no policy", manifest: strings.Replace(closedIn("istio", "istio-system"), "{mode: REGISTRY_ONLY}", "null", 1), mode: "ALLOW_ANY"},
		{name: "protobuf's name", manifest: strings.Replace(closedIn("istio", "istio-system"), "outboundTrafficPolicy", "outbound_traffic_policy", 1), mode: "REGISTRY_ONLY", field: "data.mesh.outbound_traffic_policy.mode"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := load(t, test.manifest, Options{})
			c := m.ConfigFor(&Workload{Namespace: "default", Name: "app"})
			if got := c.OutboundTrafficPolicy.GetMode().String(); got != test.mode {
				t.Errorf("mode %s, want %s\n%s", got, test.mode, strings.Join(m.Notes, "\n"))
			}
			if _, field := c.Because("outboundTrafficPolicy.mode"); field != test.field {
				t.Errorf("because of field %q, want %q", field, test.field)
			}
			if got := strings.Join(c.Assumptions, "; "); !matches(got, test.assumed) || (got == "") != (test.assumed == "") {
				t.Errorf("assumed %q, want %q", got, test.assumed)
			}
			if got := len(m.Doubts()); got != test.doubts {
				t.Errorf("%d doubts, want %d", got, test.doubts)
			}
			noted := test.note == ""
			for _, n := range m.Notes {
				noted = noted || matches(n, test.note)
			}
			if !noted {
				t.Errorf("no note %q:\n%s", test.note, strings.Join(m.Notes, "\n"))
			}
		})
	}
}
