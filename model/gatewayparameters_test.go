package model

import (
	"fmt"
	"strings"
	"testing"
)

// Overlays for what istiod deploys for a Gateway count where they may change
// where requests go.
func TestGatewayParameters(t *testing.T) {
	const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: out, namespace: shop, labels: {team: a}}
spec:
  gatewayClassName: istio
  infrastructure: {INFRA}
  listeners: [{name: http, port: 80, protocol: HTTP}]
`
	const ref = `parametersRef: {group: "", kind: ConfigMap, name: options}`
	options := func(data string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: options, namespace: shop}\ndata: " + data + "\n"
	}
	defaults := func(data string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: d, namespace: istio-system, labels: {gateway.istio.io/defaults-for-class: istio}}\ndata: " + data + "\n"
	}
	for _, test := range []struct {
		infra, more string
		unknown     bool
	}{
		{"", "", false},
		{ref, "", true}, // the input does not hold the ConfigMap
		{ref, options(`{horizontalPodAutoscaler: "spec: {minReplicas: 2}", podDisruptionBudget: "spec: {minAvailable: 1}"}`), false},
		{ref, options(`{service: "spec: {type: ClusterIP}"}`), false},
		{ref, options(`{service: "spec: {ports: [{name: http, port: 80, targetPort: 8080}]}"}`), true},
		{ref, options(`{service: "metadata: {labels: {istio.io/use-waypoint: w}}"}`), true},
		{ref, options(`{deployment: "spec: {replicas: 3, template: {spec: {nodeSelector: {a: b}, containers: [{name: istio-proxy, resources: {requests: {cpu: 1}}}]}}}"}`), false},
		{ref, options(`{deployment: "spec: {template: {spec: {containers: [{name: istio-proxy, args: [proxy]}]}}}"}`), true},
		{ref, options(`{deployment: "spec: {template: {metadata: {labels: {app: other}}}}"}`), true},
		{ref, options(`{deployment: "metadata: {annotations: {note: a}}", serviceAccount: "metadata: {annotations: {note: a}}"}`), false},
		{ref, options(`{deployment: "spec: {template: {metadata: {annotations: {proxy.istio.io/config: a}}}}"}`), true},
		{ref, options(`{deployment: "- no overlay"}`), true},
		{"", defaults(`{service: "spec: {type: ClusterIP}"}`), false},
		{"", defaults(`{service: "spec: {selector: {a: b}}"}`), true},
		{"", defaults(`{wrong: "spec: {type: ClusterIP}"}`), true}, // istiod then deploys nothing
	} {
		text := strings.Replace(gateway, "INFRA", test.infra, 1) + test.more
		m := load(t, text, Options{})
		p := NewPushContext(m, m.Config, 0)
		u := p.UnmodelledGateway(workloadOf(t, m, "shop/out-istio"))
		if (u != nil) != test.unknown || (len(m.UnmodelledFields) > 0) != test.unknown {
			t.Errorf("%s%s: unmodelled %v, fields %v, want unknown %v", test.infra, test.more, u, m.UnmodelledFields, test.unknown)
		}
	}
}

// What istiod deploys has the labels and annotations of spec.infrastructure,
// else those of the Gateway, one by one.
func TestGatewayInfrastructure(t *testing.T) {
	for infra, want := range map[string]string{
		"":                                    "a numTrustedProxies: 1",
		"{annotations: {note.istio.io/x: b}}": "a ",
		"{labels: {team: b}}":                 "b numTrustedProxies: 1",
		"{labels: {team: b, gateway.networking.k8s.io/x: z}, annotations: {proxy.istio.io/config: other}}": "b other",
	} {
		text := `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: out, namespace: shop, labels: {team: a}, annotations: {proxy.istio.io/config: "numTrustedProxies: 1"}}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
`
		if infra != "" {
			text += "  infrastructure: " + infra + "\n"
		}
		w := workloadOf(t, load(t, text, Options{}), "shop/out-istio")
		if got := fmt.Sprint(w.Labels["team"], " ", w.Annotations["proxy.istio.io/config"]); got != want {
			t.Errorf("infrastructure %q: %q, want %q", infra, got, want)
		}
		if _, copied := w.Labels["gateway.networking.k8s.io/x"]; copied {
			t.Errorf("infrastructure %q: a label of the Gateway API is copied", infra)
		}
	}
}

func workloadOf(t *testing.T, m *Mesh, id string) *Workload {
	t.Helper()
	for _, w := range m.Workloads {
		if w.ID() == id {
			return w
		}
	}
	t.Fatalf("no workload %s: %q", id, problems(m))
	return nil
}
