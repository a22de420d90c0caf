package analyzers

import "strings"

// The rules about policies at egress gateways document themselves with one small
// mesh: workload shop/orders, whose requests for http://api.example.com are sent
// through gateway istio-egress/egress. It is complete, so that the tests can run
// the rule over it.

// egressDoc returns a policy (or whatever the documentation is about) together
// with the mesh in which clients call the gateway over mesh TLS. Arguments after
// the first are pairs of a text of the mesh and what to put in its place.
func egressDoc(about string, edits ...string) string {
	return joinDocs(about, strings.NewReplacer(edits...).Replace(docMesh+docMutual))
}

// plainEgressDoc is [egressDoc] with clients that call the gateway in plaintext.
func plainEgressDoc(about string) string {
	return joinDocs(about, docMesh+docPlain)
}

// tlsEgressDoc is [egressDoc] with a gateway that passes the clients' own TLS
// through, and a host on port 443 alone.
func tlsEgressDoc(about string) string {
	return joinDocs(about, strings.NewReplacer("number: 80\n    name: http\n"+entryPorts, "number: 443\n    name: tls\n    protocol: TLS\n  resolution: DNS\n").Replace(docMesh)+docPassthrough)
}

func joinDocs(a, b string) string {
	if a == "" {
		return b
	}
	return a + "---\n" + b
}

const docMesh = `apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    istio-injection: enabled
---
apiVersion: v1
kind: Namespace
metadata:
  name: istio-egress
---
apiVersion: v1
kind: Namespace
metadata:
  name: istio-system
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  namespace: shop
spec:
  selector:
    matchLabels:
      app: orders
  template:
    metadata:
      labels:
        app: orders
    spec:
      serviceAccountName: orders
      containers:
      - name: orders
        image: registry.example/orders:1
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: egress
  namespace: istio-egress
spec:
  selector:
    matchLabels:
      istio: egressgateway
  template:
    metadata:
      labels:
        istio: egressgateway
      annotations:
        inject.istio.io/templates: gateway
    spec:
      serviceAccountName: egress
      containers:
      - name: istio-proxy
        image: auto
---
apiVersion: v1
kind: Service
metadata:
  name: egress
  namespace: istio-egress
spec:
  selector:
    istio: egressgateway
  ports:
  - name: http2
    port: 80
    targetPort: 8080
  - name: https
    port: 443
    targetPort: 8443
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: istio-egress
spec:
  hosts:
  - api.example.com
  ports:
  - number: 80
    name: http
    protocol: HTTP
  resolution: DNS
---
`

const docMutual = `apiVersion: networking.istio.io/v1
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
      name: https
      protocol: HTTPS
    hosts:
    - api.example.com
    tls:
      mode: ISTIO_MUTUAL
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: egress
  namespace: istio-egress
spec:
  host: egress.istio-egress.svc.cluster.local
  trafficPolicy:
    tls:
      mode: ISTIO_MUTUAL
      sni: api.example.com
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
  http:
  - match:
    - gateways:
      - mesh
      port: 80
    route:
    - destination:
        host: egress.istio-egress.svc.cluster.local
        port:
          number: 443
  - match:
    - gateways:
      - egress
      port: 443
    route:
    - destination:
        host: api.example.com
        port:
          number: 80
`

const docPlain = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: egress
  namespace: istio-egress
spec:
  selector:
    istio: egressgateway
  servers:
  - port:
      number: 80
      name: http
      protocol: HTTP
    hosts:
    - api.example.com
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
  http:
  - match:
    - gateways:
      - mesh
      port: 80
    route:
    - destination:
        host: egress.istio-egress.svc.cluster.local
        port:
          number: 80
  - match:
    - gateways:
      - egress
      port: 80
    route:
    - destination:
        host: api.example.com
        port:
          number: 80
`

const docPassthrough = `apiVersion: networking.istio.io/v1
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
`
