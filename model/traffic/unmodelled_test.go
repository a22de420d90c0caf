package traffic_test

import (
	"testing"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// A name in the pod's own hosts file is not looked up, whatever the mesh or the
// cluster has for it.
func TestHostsFileComesFirst(t *testing.T) {
	const mesh = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop}
spec:
  hostAliases: [{ip: 192.0.2.9, hostnames: [api.example.com, db.elsewhere.svc.cluster.local]}]
  containers: [{name: cart, image: i}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec: {hosts: [api.example.com], resolution: STATIC, endpoints: [{address: 198.51.100.1}], ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: twin, namespace: shop}
spec: {hosts: [api.example.com], resolution: STATIC, endpoints: [{address: 198.51.100.2}], ports: [{number: 81, name: http, protocol: HTTP}]}
`
	sim := traffic.New(meshOf(t, mesh))
	for host, want := range map[string]string{
		"api.example.com":                 "allowed passthrough",
		"API.example.com.":                "allowed passthrough",
		"db.elsewhere.svc.cluster.local":  "allowed passthrough",
		"db2.elsewhere.svc.cluster.local": "unknown none",
	} {
		trace := sim.Trace(flow.Flow{From: "shop/cart", Host: host, Port: 80, Scheme: flow.HTTP})
		if got := string(trace.Outcome) + " " + string(trace.Via); got != want {
			t.Errorf("%s: %s (%s: %s), want %s", host, got, trace.Reason, trace.Detail, want)
		}
	}
}
