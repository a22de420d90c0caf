package netpol

import (
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// foreignKind is a kind of network policy whose rules are not interpreted.
type foreignKind struct {
	// namespaced policies hold for the pods of their namespace only.
	namespaced bool
	// egressOnly policies do not touch what reaches a pod.
	egressOnly bool
	// outsideOnly policies do not touch what goes to pods.
	outsideOnly bool
}

// foreignKinds are the kinds that may stop or open connections of a pod, by
// "group/Kind".
var foreignKinds = map[string]foreignKind{
	// Versions that are newer than those that are known.
	"policy.networking.k8s.io/*":         {},
	"crd.antrea.io/NetworkPolicy":        {namespaced: true},
	"crd.antrea.io/ClusterNetworkPolicy": {},
	// OpenShift's are about hosts outside of the cluster's network
	// (docs.openshift.com, "Configuring an egress firewall for a project").
	"k8s.ovn.org/EgressFirewall":                  {namespaced: true, egressOnly: true, outsideOnly: true},
	"network.openshift.io/EgressNetworkPolicy":    {namespaced: true, egressOnly: true, outsideOnly: true},
	"networking.gke.io/FQDNNetworkPolicy":         {namespaced: true, egressOnly: true},
	"vpcresources.k8s.aws/SecurityGroupPolicy":    {namespaced: true},
	"networking.k8s.aws/ApplicationNetworkPolicy": {namespaced: true},
	"networking.k8s.aws/ClusterNetworkPolicy":     {},
	"policy.linkerd.io/EgressNetwork":             {namespaced: true, egressOnly: true},
	// NSX, Kube-OVN, NeuVector, KubeArmor.
	"crd.nsx.vmware.com/SecurityPolicy":          {namespaced: true},
	"kubeovn.io/SecurityGroup":                   {},
	"neuvector.com/NvSecurityRule":               {namespaced: true},
	"neuvector.com/NvClusterSecurityRule":        {},
	"security.kubearmor.com/KubeArmorPolicy":     {namespaced: true, egressOnly: true},
	"security.kubearmor.com/KubeArmorHostPolicy": {egressOnly: true},
}

// foreignKindOf returns the kind of an object whose rules are not interpreted.
func foreignKindOf(o *manifest.Object) (foreignKind, bool) {
	kind, ok := foreignKinds[o.Group()+"/"+o.Kind]
	if !ok {
		kind, ok = foreignKinds[o.Group()+"/*"]
	}
	return kind, ok
}

// uninterpreted is the reason for no answer where policies that are not
// interpreted may hold for the pod: most of them can deny what a NetworkPolicy
// allows, and allow what one denies. The zero reason: there are none.
func (q *question) uninterpreted() reason {
	var list []*manifest.Object
	for _, o := range q.policies.foreign {
		kind, _ := foreignKindOf(o)
		if kind.namespaced && o.Namespace != q.pod.Namespace || kind.egressOnly && q.direction != networkingv1.PolicyTypeEgress ||
			kind.outsideOnly && q.peer != nil && (q.peer.Pod == nil || !q.peer.Pod.HostNetwork) {
			continue
		}
		list = append(list, o)
	}
	return objectsReason(list, doubt{text: "rules of a kind that is not interpreted", foreign: true})
}
