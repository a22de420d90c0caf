package netpol

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// Isolating returns the NetworkPolicies that certainly select a pod and restrict
// a direction, in the order of the input. Without policyTypes a policy restricts
// ingress, and egress too if it has an egress rule. Pods on the host's network
// are not isolated.
func (p *Policies) Isolating(pod *model.Workload, direction networkingv1.PolicyType) []*model.NetworkPolicy {
	if onHostNetwork(pod) {
		return nil
	}
	var out []*model.NetworkPolicy
	for _, np := range p.networkPolicies[pod.Namespace] {
		if restricts(&np.Spec.Spec, direction) && podMatches(&np.Spec.Spec.PodSelector, pod).truth == yes {
			out = append(out, np)
		}
	}
	return out
}

func restricts(spec *networkingv1.NetworkPolicySpec, direction networkingv1.PolicyType) bool {
	if len(spec.PolicyTypes) > 0 {
		return slices.Contains(spec.PolicyTypes, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(spec.Egress) > 0
}

// networkPolicyMembers are the NetworkPolicies that may hold for the pod.
func (q *question) networkPolicyMembers() []member {
	var out []member
	for _, np := range q.policies.networkPolicies[q.pod.Namespace] {
		spec := &np.Spec.Spec
		applies := podMatches(&spec.PodSelector, q.pod)
		if applies.truth == no || !restricts(spec, q.direction) {
			continue
		}
		m := member{object: np.Object, applies: applies, isolates: true, field: "spec.egress"}
		if q.direction == networkingv1.PolicyTypeEgress {
			for i, r := range spec.Egress {
				m.allow(i, q.networkPolicyRule(np, r.To, r.Ports))
			}
		} else {
			m.field = "spec.ingress"
			for i, r := range spec.Ingress {
				m.allow(i, q.networkPolicyRule(np, r.From, r.Ports))
			}
		}
		out = append(out, m)
	}
	return out
}

// networkPolicyRule is what a rule matches: any of its peers (none given:
// everybody) on any of its ports (none given: all).
func (q *question) networkPolicyRule(np *model.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) region {
	on := sure(len(ports) == 0)
	for _, port := range ports {
		on = on.or(q.portMatches(port))
	}
	if on.truth == no || len(peers) == 0 {
		return q.where(on)
	}
	to := make([]region, len(peers))
	for i := range peers {
		to[i] = q.networkPolicyPeer(np, &peers[i])
	}
	return anyOf(to).and(q.where(on))
}

func (q *question) portMatches(rule networkingv1.NetworkPolicyPort) answer {
	if rule.Protocol != nil && *rule.Protocol != q.protocol || rule.Protocol == nil && q.protocol != "TCP" {
		return sure(false)
	}
	switch {
	case rule.Port == nil:
		return sure(true)
	case rule.Port.StrVal != "":
		return q.hasNamedPort(rule.Port.StrVal)
	case rule.EndPort != nil:
		return sure(q.port >= int(rule.Port.IntVal) && q.port <= int(*rule.EndPort))
	default:
		return sure(q.port == int(rule.Port.IntVal))
	}
}

func (q *question) networkPolicyPeer(np *model.NetworkPolicy, peer *networkingv1.NetworkPolicyPeer) region {
	if peer.IPBlock != nil {
		if q.peer != nil && q.policies.cilium.present {
			// Cilium tells pods by their identity, never by address
			// (docs.cilium.io, "Network Policy": ipBlock "does not select pods").
			return nowhere
		}
		return q.within(q.policies.ipBlocks[peer.IPBlock])
	}
	if q.peer == nil {
		return nowhere
	}
	var a answer
	if peer.NamespaceSelector != nil {
		a = q.policies.namespaceMatches(peer.NamespaceSelector, q.peer.Namespace)
	} else {
		a = sure(q.peer.Namespace == np.Namespace)
	}
	selector := peer.PodSelector
	if selector == nil {
		selector = &metav1.LabelSelector{}
	}
	a = a.and(podMatches(selector, q.peer))
	if onHostNetwork(q.peer) {
		// Kubernetes documentation, "Network Policies", on hostNetwork pods: a
		// plugin applies selectors to them or ignores them.
		a = a.and(unsure(fmt.Sprintf("whether the network plugin lets selectors match %s, which is on its host's network", q.peer.ID())))
	}
	return q.where(a)
}
