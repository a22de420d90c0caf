package capture_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// TestLabels is about what pods have beside the labels of their template. The
// expectations are those of Istio's injection templates and of Kubernetes'
// controllers.
func TestLabels(t *testing.T) {
	const (
		tls, name, revision = model.TLSModeLabel, "service.istio.io/canonical-name", "service.istio.io/canonical-revision"
		injected            = "istio-injection: enabled"
	)
	for _, test := range []struct {
		name  string
		setup setup
		want  map[string]string // labels for certain
		open  []string          // keys that may be there
		no    []string          // keys that are not
	}{
		{"not injected", setup{}, nil, []string{"pod-template-hash"}, []string{tls, name, revision}},
		{"injected", setup{labels: injected}, map[string]string{tls: "istio", name: "cart", revision: "latest"}, nil, nil},
		{"named by app", setup{labels: injected, pod: "app: till, version: v2"}, map[string]string{name: "till", revision: "v2"}, nil, nil},
		{"named by app.kubernetes.io", setup{labels: injected, pod: "app: till, app.kubernetes.io/name: shop"}, map[string]string{name: "shop"}, nil, nil},
		{"the template has its own", setup{labels: injected, pod: tls + ": disabled, " + name + ": mine"}, map[string]string{tls: "disabled", name: "mine"}, nil, nil},
		{"perhaps injected", setup{labels: "istio.io/rev: other", values: "revision: canary"}, nil, []string{tls, name, revision}, nil},
		{"ambient", setup{labels: "istio.io/dataplane-mode: ambient"}, nil, nil, []string{tls, name}},
		{"gRPC without proxy", setup{labels: injected, annotations: "inject.istio.io/templates: grpc-agent"}, map[string]string{name: "cart"}, nil, []string{tls}},
		{"gateway", setup{labels: injected, annotations: "inject.istio.io/templates: gateway"}, map[string]string{name: "cart"}, nil, []string{tls}},
		{"network", setup{labels: injected, values: "global: {network: east}"}, map[string]string{"topology.istio.io/network": "east"}, nil, nil},
		{"StatefulSet", setup{kind: "StatefulSet"}, nil, []string{"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "controller-revision-hash"}, []string{"pod-template-hash"}},
		{"DaemonSet", setup{kind: "DaemonSet"}, nil, []string{"controller-revision-hash", "pod-template-generation"}, nil},
		{"place", setup{}, nil, []string{"topology.kubernetes.io/zone", "kubernetes.io/hostname", "topology.istio.io/cluster"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := test.setup.workload(t)
			for _, key := range slices.Sorted(maps.Keys(test.want)) {
				if w.Labels[key] != test.want[key] {
					t.Errorf("%s=%q, want %q", key, w.Labels[key], test.want[key])
				}
			}
			for _, key := range test.open {
				if _, ok := w.Open[key]; !ok {
					t.Errorf("%s is settled (%q), want open", key, w.Labels[key])
				}
			}
			for _, key := range test.no {
				_, open := w.Open[key]
				if value, ok := w.Labels[key]; ok || open {
					t.Errorf("%s is there (%q, open %t), want absent", key, value, open)
				}
			}
		})
	}
}

// TestOpenValues holds which values an open label may have.
func TestOpenValues(t *testing.T) {
	w := setup{kind: "StatefulSet"}.workload(t)
	name := w.Open["statefulset.kubernetes.io/pod-name"]
	for value, want := range map[string]bool{"cart-0": true, "cart-17": true, "cart": false, "till-0": false, "cart-x": false} {
		if got := name.May(value); got != want {
			t.Errorf("a pod of StatefulSet cart named %s: %t", value, got)
		}
	}
}

// TestAdmissionSeesNoInjectedLabel holds that completing a mesh does not change
// who is injected.
func TestAdmissionSeesNoInjectedLabel(t *testing.T) {
	s := setup{labels: "istio-injection: enabled", values: "sidecarInjectorWebhook: {neverInjectSelector: [{matchExpressions: [{key: service.istio.io/canonical-name, operator: Exists}]}]}"}
	m, w := s.load(t)
	capture.Complete(m)
	if got := capture.Of(m, m.ConfigFor(w), w); got.Mode != capture.Sidecar {
		t.Errorf("mode %s (%s), want sidecar", modes[got.Mode], got.Why)
	}
}
