package analyzers

import "strings"

// The rules about sidecars document themselves with workload shop/orders in a
// mesh that is closed to hosts that nothing registers.

// documents joins manifests.
func documents(docs ...string) string {
	trimmed := make([]string, len(docs))
	for i, d := range docs {
		trimmed[i] = strings.TrimSpace(d) + "\n"
	}
	return strings.Join(trimmed, "---\n")
}

const closedMesh = `apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
`

const shopNamespace = `apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels:
    istio-injection: enabled
`

const ordersDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  namespace: shop
spec:
  selector:
    matchLabels: {app: orders}
  template:
    metadata:
      labels: {app: orders}
    spec:
      containers:
      - name: orders
        image: registry.example/orders:1
`

// annotatedOrders is the workload with an annotation of its pods.
func annotatedOrders(annotation string) string {
	return strings.Replace(ordersDeployment, "      labels: {app: orders}\n",
		"      labels: {app: orders}\n      annotations:\n        "+annotation+"\n", 1)
}

// labelledShop is the closed mesh with the workload in a namespace of a label.
func labelledShop(label string) string {
	return documents(closedMesh, strings.Replace(shopNamespace, "istio-injection: enabled", label, 1), ordersDeployment)
}
