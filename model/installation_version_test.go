package model

import "testing"

func TestIstioVersion(t *testing.T) {
	for _, test := range []struct{ name, manifest, version, field string }{
		{"none", labelledDefault, "", ""},
		{"tag of an IstioOperator", `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh}
spec: {profile: empty, tag: 1.23.0-distroless}
`, "1.23.0", "spec.tag"},
		{"latest is no version", `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh}
spec: {profile: empty, tag: latest}
`, "", ""},
		{"Sail", `
apiVersion: sailoperator.io/v1
kind: Istio
metadata: {name: default}
spec: {version: v1.24.3}
`, "1.24.3", "spec.version"},
		{"Helm values", `
meshConfig: {}
global: {tag: 1.22.1}
`, "1.22.1", "global.tag"},
		{"a proxy, with a registry that has a port", `
apiVersion: v1
kind: Pod
metadata: {name: gw}
spec: {containers: [{name: istio-proxy, image: "registry.example.com:5000/istio/proxyv2:1.21.0@sha256:00"}]}
`, "1.21.0", "spec.containers[0].image"},
	} {
		version, _, field := load(t, test.manifest, Options{}).IstioVersion()
		if version != test.version || field != test.field {
			t.Errorf("%s: version %q of %q, want %q of %q", test.name, version, field, test.version, test.field)
		}
	}
}
