package analyzers

import "strings"

// passthroughDoc is the documented mesh with clients that speak TLS themselves,
// which the gateway passes through.
func passthroughDoc(about string) string {
	return documents(about, strings.TrimSuffix(strings.Replace(docMesh, entryPorts, entryPortsTLS, 1), "---\n"), `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: egress
  namespace: istio-egress
spec:
  selector:
    istio: egressgateway
  servers:
  - port:
      number: 443
      name: tls
      protocol: TLS
    hosts:
    - api.example.com
    tls:
      mode: PASSTHROUGH
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: api
  namespace: istio-egress
spec:
  hosts:
  - api.example.com
  gateways:
  - mesh
  - egress
  tls:
  - match:
    - gateways:
      - mesh
      port: 443
      sniHosts:
      - api.example.com
    route:
    - destination:
        host: egress.istio-egress.svc.cluster.local
        port:
          number: 443
  - match:
    - gateways:
      - egress
      port: 443
      sniHosts:
      - api.example.com
    route:
    - destination:
        host: api.example.com
        port:
          number: 443
`)
}
