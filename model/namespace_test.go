package model

import (
	"maps"
	"slices"
	"testing"
)

const sleepDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep, namespace: apps}
spec: {template: {metadata: {labels: {app: sleep}}, spec: {containers: [{name: sleep, image: sleep}]}}}
`

const someSidecar = `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: apps}
spec: {egress: [{hosts: ["./*"]}]}
`

func TestNamespaces(t *testing.T) {
	m := load(t, sleepDeployment+`---
apiVersion: v1
kind: Namespace
metadata: {name: declared, labels: {istio-injection: disabled, team: a}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: no-namespace}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: of-no-interest, namespace: named-only}
`, Options{NamespaceLabels: []NamespaceLabel{
		{"declared", "istio-injection", "enabled"},
		{"by-flag", "", ""},
	}})
	if got := slices.Sorted(maps.Keys(m.Namespaces)); !slices.Equal(got, []string{"apps", "by-flag", "declared", "named-only"}) {
		t.Fatalf("namespaces: %q", got)
	}
	for _, test := range []struct {
		name     string
		declared bool
		labels   map[string]string
	}{
		{"apps", false, map[string]string{"kubernetes.io/metadata.name": "apps"}},
		{"by-flag", true, map[string]string{"kubernetes.io/metadata.name": "by-flag"}},
		{"declared", true, map[string]string{"kubernetes.io/metadata.name": "declared", "istio-injection": "enabled", "team": "a"}},
		{"named-only", false, map[string]string{"kubernetes.io/metadata.name": "named-only"}},
	} {
		ns := m.Namespaces[test.name]
		if ns.Declared != test.declared || !maps.Equal(ns.Labels, test.labels) {
			t.Errorf("%s: declared %v, labels %v", test.name, ns.Declared, ns.Labels)
		}
	}
	if m.Namespaces["declared"].Object == nil || m.Namespaces["by-flag"].Object != nil {
		t.Error("the Namespace object belongs to the namespace that has one, and to no other")
	}
	if got := m.Namespaces["declared"].Object.Labels["istio-injection"]; got != "disabled" {
		t.Errorf("a flag changed the labels of the object itself: %q", got)
	}
}

func TestInjectionAssumption(t *testing.T) {
	for _, test := range []struct {
		name, manifest string
		opts           Options
		injected       bool
		reason         string
	}{
		{"told so", sleepDeployment, Options{AssumeInjected: "yes"}, true, "because the command line says so"},
		{"told not to", sleepDeployment + someSidecar, Options{AssumeInjected: "no"}, false, "because the command line says so"},
		{"nothing of Istio", sleepDeployment, Options{}, false, "because nothing in the input belongs to Istio"},
		{"Istio objects", sleepDeployment + someSidecar, Options{AssumeInjected: "auto"}, true,
			"because the input is that of a mesh (Sidecar apps/default is Istio's) and labels no namespace"},
		{"mesh configuration", sleepDeployment + "---" + registryOnlyMap, Options{}, true,
			"because the input is that of a mesh (ConfigMap istio-system/istio configures it) and labels no namespace"},
		{"mesh configuration by flag", sleepDeployment, Options{Set: []string{"meshConfig.trustDomain=x"}}, true,
			"because the input is that of a mesh (the command line configures it) and labels no namespace"},
		{"another namespace is labelled", sleepDeployment + someSidecar + "---" + labelledDefault, Options{}, false,
			"because the input says which namespaces are labelled for injection (default is), and this one is not among them"},
		{"another namespace is labelled by flag", sleepDeployment + someSidecar,
			Options{NamespaceLabels: []NamespaceLabel{{"other", "istio.io/rev", "canary"}}}, false,
			"because the input says which namespaces are labelled for injection (other is), and this one is not among them"},
		{"another namespace is kept out", sleepDeployment + someSidecar + `---
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {istio-injection: disabled}}
`, Options{}, true, "because the input is that of a mesh…"},
		{"an ambient namespace", sleepDeployment + someSidecar + `---
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {istio.io/dataplane-mode: ambient}}
`, Options{}, false, "because the input shows an ambient mesh (namespace other has istio.io/dataplane-mode=ambient)…"},
		{"a waypoint", sleepDeployment + someSidecar + `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: apps}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`, Options{}, false, "because the input shows an ambient mesh (Gateway apps/waypoint is a waypoint)…"},
		{"a host bound to a waypoint", sleepDeployment + `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: apps, labels: {istio.io/use-waypoint: waypoint}}
spec: {hosts: [api.example.com], ports: [{name: http, number: 80, protocol: HTTP}], resolution: DNS}
`, Options{}, false, "because the input shows an ambient mesh (ServiceEntry apps/api has istio.io/use-waypoint)…"},
		{"an ambient pod", `
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {istio.io/dataplane-mode: ambient}}
spec: {containers: [{name: app}]}
` + someSidecar, Options{}, false, "because the input shows an ambient mesh (Pod default/app has istio.io/dataplane-mode=ambient)…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := load(t, test.manifest, test.opts).InjectionAssumption
			if got.Injected != test.injected || !matches(got.Reason, test.reason) {
				t.Errorf("injected %v %s\nwant %v %s", got.Injected, got.Reason, test.injected, test.reason)
			}
		})
	}
}
