package model

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// BenchmarkLoad loads a mesh of 1,000 namespaces: a Deployment, a Service, a
// ServiceEntry, a VirtualService, a DestinationRule, an AuthorizationPolicy and
// a NetworkPolicy in each.
func BenchmarkLoad(b *testing.B) {
	var text bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&text, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: ns-%[1]d, labels: {app: app}}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: app}}
    spec:
      serviceAccountName: app
      containers:
      - name: app
        image: registry.example.com/app:1.0
        env: [{name: A, value: b}]
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 100m, memory: 128Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: ns-%[1]d}
spec:
  selector: {app: app}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: ns-%[1]d}
spec:
  hosts: [api-%[1]d.example.com]
  ports:
  - {name: tls, number: 443, protocol: TLS}
  - {name: http, number: 80, protocol: HTTP}
  resolution: DNS
  exportTo: ["."]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: ns-%[1]d}
spec:
  hosts: [api-%[1]d.example.com]
  gateways: [mesh]
  tls:
  - match: [{port: 443, sniHosts: [api-%[1]d.example.com]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 443}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api, namespace: ns-%[1]d}
spec:
  host: api-%[1]d.example.com
  trafficPolicy: {tls: {mode: SIMPLE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: api, namespace: ns-%[1]d}
spec:
  rules:
  - from: [{source: {namespaces: [a, b]}}]
    to: [{operation: {methods: [GET], paths: [/a]}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: ns-%[1]d}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: istio-system}}}], ports: [{port: 8443}]}]
---
`, i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		m, _, err := Load(context.Background(), manifest.Options{
			Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(text.Bytes()),
		}, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if len(m.ServiceEntries) != 1000 || len(m.Problems) > 0 {
			b.Fatal(problems(m)[:1])
		}
	}
}
