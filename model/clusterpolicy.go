package model

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterPolicy is the spec of a ClusterNetworkPolicy, AdminNetworkPolicy or
// BaselineAdminNetworkPolicy (policy.networking.k8s.io): the three say the same
// in different words.
//
// Source: kubernetes-sigs/network-policy-api apis/v1alpha1 and apis/v1alpha2.
type ClusterPolicy struct {
	Tier PolicyTier
	// Priority counts within the tier: the lowest is asked first. That of a
	// BaselineAdminNetworkPolicy, which is alone in its tier, is 0.
	Priority int
	// Subject are the pods that the policy holds for.
	Subject PolicyPods
	// Ingress and Egress are asked in order; the first that matches decides.
	Ingress, Egress []ClusterPolicyRule
}

// PolicyTier says when policies are asked: those of the Admin tier before
// NetworkPolicies, those of the Baseline tier after them.
type PolicyTier string

// The tiers of policy.networking.k8s.io.
const (
	AdminTier    PolicyTier = "Admin"
	BaselineTier PolicyTier = "Baseline"
)

// PolicyPods selects pods by the labels of their namespace and their own; nil
// Pods are all pods of the namespaces.
type PolicyPods struct {
	Namespaces metav1.LabelSelector
	Pods       *metav1.LabelSelector
}

// PolicyAction is what a rule of a ClusterPolicy does.
type PolicyAction string

// The actions. Accept is called Allow in v1alpha1.
const (
	PolicyAccept PolicyAction = "Accept"
	PolicyDeny   PolicyAction = "Deny"
	PolicyPass   PolicyAction = "Pass" // on to the next tier
)

// ClusterPolicyRule matches any of its Peers on any of its Ports; without Ports
// it matches every port of every protocol.
type ClusterPolicyRule struct {
	Action PolicyAction
	Peers  []ClusterPolicyPeer
	Ports  []ClusterPolicyPort
}

// ClusterPolicyPeer is one kind of other end: exactly one field is set.
type ClusterPolicyPeer struct {
	Pods *PolicyPods
	// Nodes selects nodes, by labels.
	Nodes *metav1.LabelSelector
	// Networks match addresses, those of pods too.
	Networks []netip.Prefix
	// Domains are names, in lower case and without final dot; "*.x" stands for
	// one or more labels before x.
	Domains []string
	// Unknown is the path within the peer of a field that the API does not
	// have, so that a newer one may give it a meaning.
	Unknown string
}

// ClusterPolicyPort is a range of ports, inclusive, or a port that the pod at
// the listening end has by name.
type ClusterPolicyPort struct {
	// Protocol is "" for a named port, which has that of the container's port.
	Protocol   corev1.Protocol
	Name       string
	Start, End int
}
