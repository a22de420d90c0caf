package netpol

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// naive decides as the Kubernetes documentation puts it, "Network Policies",
// one connection at a time. It shares nothing with the product.
type naive struct {
	mesh *model.Mesh
	// dark are the labels of the undeclared namespace in this world.
	dark map[string]string
	// matched counts how often a peer matched.
	matched map[*networkingv1.NetworkPolicyPeer]int
}

// "By default, a pod is non-isolated for egress; all outbound connections are
// allowed. A pod is isolated for egress if there is any NetworkPolicy that both
// selects the pod and has "Egress" in its policyTypes […] the only allowed
// connections from the pod are those allowed by the egress list of some
// NetworkPolicy that applies to the pod for egress. […] The effects of those
// egress lists combine additively."
func (n naive) egress(pod *model.Workload, to Peer, addr netip.Addr) bool {
	isolated, allowed := false, false
	for _, np := range n.mesh.NetworkPolicies {
		spec := &np.Spec.Spec
		// "If no policyTypes are specified on a NetworkPolicy then by default
		// Ingress will always be set and Egress will be set if the
		// NetworkPolicy has any egress rules."
		applies := len(spec.PolicyTypes) == 0 && len(spec.Egress) > 0
		for _, t := range spec.PolicyTypes {
			applies = applies || t == "Egress"
		}
		if !applies || np.Namespace != pod.Namespace || !naiveSelects(&spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for i := range spec.Egress {
			// "Each rule allows traffic which matches both the to and ports
			// sections."
			peers := n.peers(np.Namespace, spec.Egress[i].To, to.Workload, addr)
			ports := naivePorts(spec.Egress[i].Ports, to.Workload, to.Port, to.Protocol)
			allowed = allowed || peers && ports
		}
	}
	return !isolated || allowed
}

func (n naive) ingress(pod *model.Workload, port int, protocol corev1.Protocol, from Peer, addr netip.Addr) bool {
	isolated, allowed := false, false
	for _, np := range n.mesh.NetworkPolicies {
		spec := &np.Spec.Spec
		applies := len(spec.PolicyTypes) == 0
		for _, t := range spec.PolicyTypes {
			applies = applies || t == "Ingress"
		}
		if !applies || np.Namespace != pod.Namespace || !naiveSelects(&spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for i := range spec.Ingress {
			peers := n.peers(np.Namespace, spec.Ingress[i].From, from.Workload, addr)
			ports := naivePorts(spec.Ingress[i].Ports, pod, port, protocol)
			allowed = allowed || peers && ports
		}
	}
	return !isolated || allowed
}

// peers: an empty or missing list matches all; "ipBlock: This selects
// particular IP CIDR ranges"; a podSelector alone selects pods in the policy's
// namespace, a namespaceSelector alone all pods of namespaces, both in one entry
// particular pods within particular namespaces.
func (n naive) peers(namespace string, peers []networkingv1.NetworkPolicyPeer, w *model.Workload, addr netip.Addr) bool {
	result := len(peers) == 0
	for i := range peers {
		peer := &peers[i]
		match := false
		switch {
		case peer.IPBlock != nil:
			match = netip.MustParsePrefix(peer.IPBlock.CIDR).Contains(addr)
			for _, except := range peer.IPBlock.Except {
				match = match && !netip.MustParsePrefix(except).Contains(addr)
			}
		case w == nil:
		case peer.NamespaceSelector == nil:
			match = w.Namespace == namespace && naiveSelects(peer.PodSelector, w.Labels)
		default:
			labels := n.mesh.Namespaces[w.Namespace].Labels
			if w.Namespace == "dark" {
				labels = n.dark
			}
			match = naiveSelects(peer.NamespaceSelector, labels) && (peer.PodSelector == nil || naiveSelects(peer.PodSelector, w.Labels))
		}
		if match && n.matched != nil {
			n.matched[peer]++
		}
		result = result || match
	}
	return result
}

// naivePorts: protocol "If not specified, this field defaults to TCP"; port "If
// this field is not provided, this matches all port names and numbers"; endPort
// "the range of ports from port to endPort, inclusive, should be allowed".
func naivePorts(ports []networkingv1.NetworkPolicyPort, at *model.Workload, port int, protocol corev1.Protocol) bool {
	if len(ports) == 0 {
		return true
	}
	for _, p := range ports {
		want := corev1.Protocol("TCP")
		if p.Protocol != nil {
			want = *p.Protocol
		}
		if want != protocol {
			continue
		}
		if p.Port == nil {
			return true
		}
		if p.Port.StrVal != "" {
			if at == nil {
				continue
			}
			for _, c := range at.Pod.Containers {
				for _, cp := range c.Ports {
					of := cp.Protocol
					if of == "" {
						of = "TCP"
					}
					if cp.Name == p.Port.StrVal && of == want && int(cp.ContainerPort) == port {
						return true
					}
				}
			}
			continue
		}
		end := p.Port.IntVal
		if p.EndPort != nil {
			end = *p.EndPort
		}
		if int32(port) >= p.Port.IntVal && int32(port) <= end {
			return true
		}
	}
	return false
}

func naiveSelects(s *metav1.LabelSelector, labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if got, has := labels[k]; !has || got != v {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		got, has := labels[e.Key]
		in := false
		for _, v := range e.Values {
			in = in || has && got == v
		}
		switch e.Operator {
		case "In":
			if !in {
				return false
			}
		case "NotIn":
			if in {
				return false
			}
		case "Exists":
			if !has {
				return false
			}
		case "DoesNotExist":
			if has {
				return false
			}
		}
	}
	return true
}
