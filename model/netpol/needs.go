package netpol

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
)

// Proxy is what captures a pod's traffic.
type Proxy int

// The proxies whose needs [Policies.Needs] knows.
const (
	// Sidecar runs in the pod and talks to istiod itself.
	Sidecar Proxy = iota
	// Ztunnel runs on the node and opens its connections from the pod's network,
	// so that the pod's policies hold for them; only its own pod talks to istiod.
	Ztunnel
)

// Stop is a pod that the mesh's own path goes through: an egress gateway or a
// waypoint.
type Stop struct {
	Workload *model.Workload
	// Port is the one that the pod listens on, not its Service's. A ztunnel
	// always connects to HBONE's instead.
	Port int
}

// Need is a connection that must get through for the mesh to carry a pod's
// traffic.
type Need struct {
	// Purpose is what it is for: "DNS over UDP".
	Purpose  string
	To       *model.Workload
	Port     int
	Protocol corev1.Protocol
	// Assumed: To is not in the input, but taken as a default installation has
	// it; the verdict is only as good as that.
	Assumed bool
	// Verdict is that of the pod's policies, or where they allow it, that of
	// the policies of To.
	Verdict Verdict
}

// istiodPort is the one on which istiod serves proxies with TLS.
const istiodPort = 15012

// Needs tells what the proxy of a pod needs of the network and whether policies
// let it: DNS (UDP and TCP), istiod where it is a sidecar, and the stops of the
// path, in this order; of several istiods each. Gateways ask the same for their
// own pods, as a Sidecar.
func (p *Policies) Needs(from *model.Workload, proxy Proxy, path ...Stop) []Need {
	var out []Need
	servers, assumed := p.serving(clusterDNS, map[string]string{"k8s-app": "kube-dns"})
	for _, dns := range servers {
		out = append(out, Need{"DNS over UDP", dns, 53, corev1.ProtocolUDP, assumed, Verdict{}},
			Need{"DNS over TCP", dns, 53, corev1.ProtocolTCP, assumed, Verdict{}})
	}
	if proxy == Sidecar {
		istiods, assumed := p.serving(p.defaultIstiod(), map[string]string{"app": "istiod"})
		for _, istiod := range istiods {
			out = append(out, Need{"configuration and certificates from istiod", istiod, istiodPort, corev1.ProtocolTCP, assumed, Verdict{}})
		}
	}
	for _, stop := range path {
		port := stop.Port
		if proxy == Ztunnel {
			port = model.HBONEPort
		}
		out = append(out, Need{"the way through " + stop.Workload.ID(), stop.Workload, port, corev1.ProtocolTCP, false, Verdict{}})
	}
	for i := range out {
		n := &out[i]
		if n.Verdict = p.Egress(from, Peer{Workload: n.To, Port: n.Port, Protocol: n.Protocol}); n.Verdict.Decision == Allowed {
			if in := p.Ingress(n.To, n.Port, n.Protocol, Peer{Workload: from}); in.Decision != Allowed {
				n.Verdict = in
			}
		}
	}
	return out
}

// serving returns the workloads that have labels, or the assumed one where the
// input has none.
func (p *Policies) serving(assumed *model.Workload, labels map[string]string) (list []*model.Workload, isAssumed bool) {
	m := &p.memo
	m.mu.Lock()
	defer m.mu.Unlock()
	key := fmt.Sprint(labels)
	list, known := m.serving[key]
	if !known {
		for _, w := range p.mesh.Workloads {
			has := true
			for k, v := range labels {
				has = has && w.Labels[k] == v
			}
			if has {
				list = append(list, w)
			}
		}
		if m.serving == nil {
			m.serving = map[string][]*model.Workload{}
		}
		m.serving[key] = list
	}
	if len(list) == 0 {
		return []*model.Workload{assumed}, true
	}
	return list, false
}

// clusterDNS is CoreDNS as kubeadm installs it (Kubernetes
// cmd/kubeadm/app/phases/addons/dns/manifests.go).
var clusterDNS = &model.Workload{Kind: "Deployment", Namespace: "kube-system", Name: "coredns", ServiceAccount: "coredns",
	Labels: map[string]string{"k8s-app": "kube-dns"},
	Pod: &corev1.PodSpec{Containers: []corev1.Container{{Name: "coredns", Ports: []corev1.ContainerPort{
		{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
		{Name: "dns-tcp", ContainerPort: 53, Protocol: corev1.ProtocolTCP}}}}}}

// defaultIstiod is istiod as its chart installs it, where the ConfigMap lies that it
// reads the mesh configuration from, else into the root namespace
// (istio manifests/charts/istio-control/istio-discovery/templates/deployment.yaml,
// pilot/pkg/bootstrap/mesh.go getConfigurationSources).
func (p *Policies) defaultIstiod() *model.Workload {
	w := &model.Workload{Kind: "Deployment", Namespace: "istio-system", Name: "istiod", ServiceAccount: "istiod",
		Labels: map[string]string{"app": "istiod", "istio": "pilot", "istio.io/rev": "default", "istio.io/dataplane-mode": "none", "sidecar.istio.io/inject": "false"},
		Pod: &corev1.PodSpec{Containers: []corev1.Container{{Name: "discovery", Ports: []corev1.ContainerPort{
			{Name: "http-debug", ContainerPort: 8080}, {Name: "grpc-xds", ContainerPort: 15010},
			{Name: "tls-xds", ContainerPort: istiodPort}, {Name: "https-webhooks", ContainerPort: 15017},
			{Name: "http-monitoring", ContainerPort: 15014}}}}}}
	if p.mesh.Config != nil && p.mesh.Config.MeshConfig != nil && p.mesh.Config.GetRootNamespace() != "" {
		w.Namespace = p.mesh.Config.GetRootNamespace()
		if source := p.mesh.Config.Source; source != nil && source.Kind == "ConfigMap" {
			w.Namespace = source.Namespace
		}
	}
	return w
}
