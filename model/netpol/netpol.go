// Package netpol decides what Kubernetes network policies let a pod reach, and
// whom they let in. It knows pods, addresses and ports, and nothing of proxies.
//
// Source: k8s.io/api/networking/v1 types.go and the Kubernetes documentation
// "Network Policies".
package netpol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// Policies are the network policies of a mesh.
type Policies struct {
	mesh *model.Mesh
}

// New returns the policies of a mesh.
func New(mesh *model.Mesh) *Policies { return &Policies{mesh: mesh} }

// Decision is what policies say about a connection.
type Decision int

const (
	// Allowed: no policy isolates the pod, or a rule allows the connection.
	Allowed Decision = iota
	// Denied: policies isolate the pod and no rule allows the connection.
	Denied
	// Undecided: what decides is not in the input or not modelled.
	Undecided
)

// Verdict is a decision with its reasons.
type Verdict struct {
	Decision Decision
	// Policies isolate the pod: "namespace/name", sorted.
	Policies []string
	// Foreign: policies of kinds that are not interpreted may decide.
	Foreign bool
	Text    string
	Because []flow.Because
}

// Peer is the other end of a connection.
type Peer struct {
	// Workload is the pod, nil for an address outside the cluster.
	Workload *model.Workload
	Addr     netip.Addr
	// Port is the one that the peer listens on (a pod's own, not its
	// Service's).
	Port     int
	Protocol corev1.Protocol
}

// Egress decides whether a pod may connect to a peer.
func (p *Policies) Egress(from *model.Workload, to Peer) Verdict {
	return p.decide(from, networkingv1.PolicyTypeEgress, func(np *model.NetworkPolicy) (Decision, string) {
		for i, rule := range np.Spec.Spec.Egress {
			if d := p.ruleAllows(np, rule.To, rule.Ports, to, to); d != Denied {
				return d, fmt.Sprintf("spec.egress[%d]", i)
			}
		}
		return Denied, "spec.egress"
	}, func() string { return peerText("connect to", to) })
}

// Ingress decides whether a pod takes a connection from a peer on one of its
// own ports.
func (p *Policies) Ingress(to *model.Workload, port int, protocol corev1.Protocol, from Peer) Verdict {
	at := Peer{Workload: to, Port: port, Protocol: protocol}
	return p.decide(to, networkingv1.PolicyTypeIngress, func(np *model.NetworkPolicy) (Decision, string) {
		for i, rule := range np.Spec.Spec.Ingress {
			if d := p.ruleAllows(np, rule.From, rule.Ports, from, at); d != Denied {
				return d, fmt.Sprintf("spec.ingress[%d]", i)
			}
		}
		return Denied, "spec.ingress"
	}, func() string { return peerText("be reached by", from) })
}

func peerText(verb string, peer Peer) string {
	who := peer.Addr.String()
	if peer.Workload != nil {
		who = peer.Workload.ID()
	}
	return fmt.Sprintf("%s %s", verb, who)
}

// decide unites the policies that isolate a pod in a direction: what any of them
// allows is allowed.
func (p *Policies) decide(pod *model.Workload, direction networkingv1.PolicyType, allows func(*model.NetworkPolicy) (Decision, string), what func() string) Verdict {
	v := Verdict{Decision: Allowed, Text: "no NetworkPolicy isolates it"}
	if foreign := p.foreign(pod, direction); len(foreign) > 0 && (pod.Pod == nil || !pod.Pod.HostNetwork) {
		return undecided(foreign)
	}
	open := false
	for _, np := range p.Isolating(pod, direction) {
		d, field := allows(np)
		switch d {
		case Allowed:
			return Verdict{Decision: Allowed, Policies: []string{np.ID()}, Text: fmt.Sprintf("NetworkPolicy %s lets it %s", np.ID(), what()),
				Because: []flow.Because{{Object: np.Object, Field: field}}}
		case Undecided:
			open = true
		}
		v.Decision = Denied
		v.Policies = append(v.Policies, np.ID())
		v.Because = append(v.Because, flow.Because{Object: np.Object, Field: field})
	}
	slices.Sort(v.Policies)
	switch {
	case open:
		v.Decision = Undecided
		v.Text = fmt.Sprintf("whether NetworkPolicy %s lets it %s depends on the labels of a namespace that the input does not declare", strings.Join(v.Policies, ", "), what())
	case v.Decision == Denied:
		v.Text = fmt.Sprintf("NetworkPolicy %s does not let it %s", strings.Join(v.Policies, ", "), what())
	}
	return v
}

// Isolating returns the policies that select a pod and restrict a direction.
// Without policyTypes a policy restricts ingress, and egress too if it has an
// egress rule. Pods on the host's network are not isolated.
func (p *Policies) Isolating(pod *model.Workload, direction networkingv1.PolicyType) []*model.NetworkPolicy {
	if pod.Pod != nil && pod.Pod.HostNetwork {
		return nil
	}
	var out []*model.NetworkPolicy
	for _, np := range p.mesh.NetworkPolicies {
		spec := &np.Spec.Spec
		if np.Namespace != pod.Namespace || !selects(&spec.PodSelector, pod.Labels) {
			continue
		}
		types := spec.PolicyTypes
		if len(types) == 0 {
			if types = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}; len(spec.Egress) > 0 {
				types = append(types, networkingv1.PolicyTypeEgress)
			}
		}
		if slices.Contains(types, direction) {
			out = append(out, np)
		}
	}
	return out
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

// ruleAllows evaluates one rule: any of its peers (none given: everybody) on any
// of its ports (none given: all). at is the end whose port counts.
func (p *Policies) ruleAllows(np *model.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, who, at Peer) Decision {
	if len(ports) > 0 && !slices.ContainsFunc(ports, func(rule networkingv1.NetworkPolicyPort) bool { return portMatches(rule, at) }) {
		return Denied
	}
	if len(peers) == 0 {
		return Allowed
	}
	result := Denied
	for _, peer := range peers {
		switch p.peerMatches(np, peer, who) {
		case Allowed:
			return Allowed
		case Undecided:
			result = Undecided
		}
	}
	return result
}

func portMatches(rule networkingv1.NetworkPolicyPort, at Peer) bool {
	protocol := corev1.ProtocolTCP
	if rule.Protocol != nil {
		protocol = *rule.Protocol
	}
	if protocol != at.Protocol {
		return false
	}
	switch {
	case rule.Port == nil:
		return true
	case rule.Port.StrVal != "":
		return namedPort(at.Workload, rule.Port.StrVal, protocol) == at.Port && at.Workload != nil
	case rule.EndPort != nil:
		return at.Port >= int(rule.Port.IntVal) && at.Port <= int(*rule.EndPort)
	default:
		return at.Port == int(rule.Port.IntVal)
	}
}

// namedPort returns the number of a named container port, 0 if the pod has none
// of that name. Outside addresses have no names.
func namedPort(w *model.Workload, name string, protocol corev1.Protocol) int {
	if w == nil || w.Pod == nil {
		return 0
	}
	for _, c := range w.Pod.Containers {
		for _, cp := range c.Ports {
			is := cp.Protocol
			if is == "" {
				is = corev1.ProtocolTCP
			}
			if cp.Name == name && is == protocol {
				return int(cp.ContainerPort)
			}
		}
	}
	return 0
}

func (p *Policies) peerMatches(np *model.NetworkPolicy, peer networkingv1.NetworkPolicyPeer, who Peer) Decision {
	if block := peer.IPBlock; block != nil {
		if Blocks(block).Contains(who.Addr) {
			return Allowed
		}
		return Denied
	}
	if who.Workload == nil {
		return Denied
	}
	if peer.PodSelector != nil && !selects(peer.PodSelector, who.Workload.Labels) {
		return Denied
	}
	if peer.NamespaceSelector == nil {
		if who.Workload.Namespace == np.Namespace && peer.PodSelector != nil {
			return Allowed
		}
		return Denied
	}
	return p.namespaceMatches(peer.NamespaceSelector, who.Workload.Namespace)
}

// namespaceMatches evaluates a selector over a namespace's labels. Where the
// input does not declare the namespace, only its name is known.
func (p *Policies) namespaceMatches(selector *metav1.LabelSelector, namespace string) Decision {
	set := map[string]string{model.NamespaceNameLabel: namespace}
	declared := false
	if ns := p.mesh.Namespaces[namespace]; ns != nil {
		set, declared = ns.Labels, ns.Declared
	}
	switch {
	case selects(selector, set):
		return Allowed
	case declared || onlyByName(selector):
		return Denied
	default:
		return Undecided
	}
}

// onlyByName reports whether a selector asks for nothing but the namespace's
// name.
func onlyByName(selector *metav1.LabelSelector) bool {
	for k := range selector.MatchLabels {
		if k != model.NamespaceNameLabel {
			return false
		}
	}
	for _, e := range selector.MatchExpressions {
		if e.Key != model.NamespaceNameLabel {
			return false
		}
	}
	return true
}

func anyPort(ports []networkingv1.NetworkPolicyPort, at Peer) bool {
	return slices.ContainsFunc(ports, func(rule networkingv1.NetworkPolicyPort) bool { return portMatches(rule, at) })
}

func ruleBecause(np *model.NetworkPolicy, index int) flow.Because {
	return flow.Because{Object: np.Object, Field: fmt.Sprintf("spec.egress[%d]", index)}
}
