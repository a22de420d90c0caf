package model

// PartOfIstio reports whether a workload is, by the labels of its pods, a part of
// Istio's control plane, its node agents, or one of the tools that come with it
// (Prometheus, Grafana, Kiali, Jaeger, Zipkin and the like). Gateways and waypoints
// are known otherwise: see [Workload.ProxyRole].
//
//go:noinline
func (w *Workload) PartOfIstio() bool {
	for _, key := range []string{"app", "app.kubernetes.io/name", "k8s-app", "name"} {
		if contains(istioParts, w.Labels[key]) {
			return true
		}
	}
	return false
}

// istioParts are the labels of what is installed together with Istio (manifests
// and samples/addons of Istio).
var istioParts = []string{
	"istiod", "pilot", "ztunnel", "istio-cni-node", "istio-cni", "istio-operator", "sail-operator", "prometheus", "grafana", "kiali", "kiali-operator", "jaeger", "tracing", "zipkin",
	"skywalking", "skywalking-oap", "skywalking-ui", "loki", "tempo", "opentelemetry-collector", "otel-collector", "cert-manager", "istio-csr", "cert-manager-istio-csr",
}
