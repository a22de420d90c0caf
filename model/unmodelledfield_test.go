package model

import (
	"fmt"
	"testing"
)

// Fields that may bear on egress and are not followed are counted, and those
// that have no bearing are not.
func TestUnmodelledFields(t *testing.T) {
	m := load(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    connectTimeout: 5s
    configSources: [{address: "k8s://"}, {address: "fs:///etc/more"}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a.example.com
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 1}}
    tunnel: {targetHost: b.example.com, targetPort: 443}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: shop}
spec:
  host: b.example.com
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}, trafficPolicy: {tunnel: {targetHost: b.example.com, targetPort: 443}}}
  - {name: v3, labels: {version: v3}, trafficPolicy: {proxyProtocol: {version: V2}}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: f, namespace: shop}
spec:
  configPatches:
  - {applyTo: CLUSTER, match: {context: ANY}, patch: {operation: MERGE, value: {connect_timeout: 1s}}}
---
apiVersion: v1
kind: Service
metadata: {name: local, namespace: shop}
spec: {internalTrafficPolicy: Local, ports: [{port: 80}], externalIPs: [203.0.113.1]}
---
apiVersion: v1
kind: Service
metadata: {name: cluster, namespace: shop}
spec: {internalTrafficPolicy: Cluster, ports: [{port: 80}], sessionAffinity: ClientIP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: out, namespace: shop}
spec:
  gatewayClassName: istio
  infrastructure: {parametersRef: {group: "", kind: ConfigMap, name: options}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: manual, namespace: shop}
spec:
  gatewayClassName: istio
  addresses: [{type: Hostname, value: gateway.shop.svc.cluster.local}]
  infrastructure: {parametersRef: {group: "", kind: ConfigMap, name: options}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
`, Options{})
	wantProblems(t, m)
	var got []string
	for _, f := range m.UnmodelledFields {
		got = append(got, fmt.Sprintf("%s %s %d at %d", f.Kind, f.Field, f.Count, f.First.Object.At(f.First.Field).Line))
	}
	want := []string{
		"DestinationRule spec.trafficPolicy.proxyProtocol 1 at 27",
		"DestinationRule spec.trafficPolicy.tunnel 2 at 17",
		"EnvoyFilter spec.configPatches 1 at 33",
		"Gateway spec.infrastructure.parametersRef 1 at 51",
		"MeshConfig configSources 1 at 8",
		"Service spec.externalIPs 1 at 39",
		"Service spec.internalTrafficPolicy 1 at 39",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// The network of endpoints counts only where there are gateways between networks.
func TestUnmodelledNetworks(t *testing.T) {
	const entry = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: shop}
spec: {hosts: [far.example.com], resolution: STATIC, endpoints: [{address: 198.51.100.1, network: vms}], ports: [{number: 80, name: http, protocol: HTTP}]}
`
	for more, want := range map[string]string{
		"": "[]",
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: '', meshNetworks: 'networks: {}'}\n":                                                                     "[]",
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: '', meshNetworks: 'networks: {vms: {}}'}\n":                                                              "[data.meshNetworks spec.endpoints.network]",
		"---\napiVersion: v1\nkind: Service\nmetadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: main}}\nspec: {selector: {istio: eastwest}, ports: [{name: tls, port: 15443}]}\n": "[spec.endpoints.network]",
	} {
		var got []string
		for _, f := range load(t, entry+more, Options{}).UnmodelledFields {
			got = append(got, f.Field)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", more, got, want)
		}
	}
}
