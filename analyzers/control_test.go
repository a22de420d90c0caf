package analyzers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers/analyzertest"
)

// gatewayMesh steers as many hosts to an egress gateway, and has a workload whose
// namespace asks for sidecars with a word that means nothing.
func gatewayMesh(hosts int) string {
	var b strings.Builder
	b.WriteString(`apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    istio-injection: "yes"
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  namespace: shop
spec:
  template:
    metadata:
      labels: {app: orders}
    spec:
      containers: [{name: app, image: registry.example/orders:1}]
  selector: {matchLabels: {app: orders}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: egress
  namespace: istio-egress
spec:
  template:
    metadata:
      labels: {istio: egressgateway}
      annotations: {inject.istio.io/templates: gateway}
    spec:
      containers: [{name: istio-proxy, image: auto}]
  selector: {matchLabels: {istio: egressgateway}}
---
apiVersion: v1
kind: Service
metadata:
  name: egress
  namespace: istio-egress
spec:
  selector: {istio: egressgateway}
  ports: [{name: http, port: 80}]
`)
	for i := range hosts {
		fmt.Fprintf(&b, `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: host-%03d
  namespace: istio-egress
spec:
  hosts: [host-%03d.example.com]
  http:
  - match: [{port: 80}]
    route:
    - destination: {host: egress.istio-egress.svc.cluster.local}
`, i, i)
	}
	return b.String()
}

// What a finding says about the number of hosts must be true, also where not all
// of them are tried.
func TestManySteeredHosts(t *testing.T) {
	for _, test := range []struct {
		hosts int
		want  string
	}{
		{1, "to host-000.example.com:80 (steered"},
		{5, "to host-000.example.com:80, host-001.example.com:80, host-002.example.com:80 +2 more (steered"},
		{64, "host-002.example.com:80 +61 more (steered"},
		{65, "host-002.example.com:80 and more (steered"},
		{200, "host-002.example.com:80 and more (steered"},
	} {
		t.Run(fmt.Sprint(test.hosts), func(t *testing.T) {
			findings := analyzertest.RunText(t, gatewayMesh(test.hosts), "EGR103")
			if len(findings) != 1 || !strings.Contains(findings[0], test.want) {
				t.Errorf("got %q, want one finding with %q", findings, test.want)
			}
		})
	}
}
