package analyzers

import "strings"

// The rules about ambient mode document themselves with workload shop/orders,
// whose requests for http://api.example.com are to go through waypoint
// istio-egress/waypoint.

const ambientShop = `apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    istio.io/dataplane-mode: ambient
`

const waypointNamespace = `apiVersion: v1
kind: Namespace
metadata:
  name: istio-egress
  labels:
    istio.io/use-waypoint: waypoint
`

const waypointGateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
  namespace: istio-egress
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
`

const waypointEntry = `apiVersion: networking.istio.io/v1
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
`

// closedShop lets the pods of namespace shop reach the cluster and nothing else.
const closedShop = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: inside-only
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {}
`

// ambientDoc returns the whole mesh with edits, which are pairs of a text of it
// and what to put in its place, and further manifests.
func ambientDoc(edits []string, more ...string) string {
	mesh := documents(ambientShop, waypointNamespace, ordersDeployment, waypointGateway, waypointEntry)
	return documents(append([]string{strings.NewReplacer(edits...).Replace(mesh)}, more...)...)
}
