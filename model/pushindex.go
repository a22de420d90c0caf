package model

import (
	"maps"
	"net/netip"
	"slices"

	"go4.org/netipx"
	"istio.io/istio/pkg/config/host"
)

// pushIndex finds objects without looking at all of them. It is filled once and
// only read afterwards.
type pushIndex struct {
	// pods and clusterPods are the workloads of a namespace, in the order of the
	// input: those that istiod watches, and all.
	pods, clusterPods podIndex
	// policies, peers and requests are sorted by age, by namespace.
	policies map[string][]*AuthorizationPolicy
	peers    map[string][]*PeerAuthentication
	requests map[string][]*RequestAuthentication
	// allPolicies are sorted by age.
	allPolicies []*AuthorizationPolicy
	allRequests []*RequestAuthentication
	// services are those of a host, in the order of the registry.
	services map[host.Name][]*Service
	bearings *bearingIndex
}

func (p *PushContext) initIndex() {
	x := &p.index
	x.pods = indexPods(p.Mesh.Workloads)
	x.clusterPods = x.pods
	if p.cluster != p.Mesh {
		x.clusterPods = indexPods(p.cluster.Workloads)
	}
	x.allPolicies = sortedByAge(p.Mesh.AuthorizationPolicies)
	x.policies = byNamespace(x.allPolicies)
	x.peers = byNamespace(sortedByAge(p.Mesh.PeerAuthentications))
	x.allRequests = sortedByAge(p.Mesh.RequestAuthentications)
	x.requests = byNamespace(x.allRequests)
}

// byNamespace keeps the order of a list in each namespace.
func byNamespace[S any](list []*Resource[S]) map[string][]*Resource[S] {
	out := map[string][]*Resource[S]{}
	for _, r := range list {
		out[r.Namespace] = append(out[r.Namespace], r)
	}
	return out
}

// podLabel is a label of the pods of a namespace; the zero label stands for all
// of them.
type podLabel struct{ namespace, key, value string }

// podIndex finds pods by namespace and label.
type podIndex map[podLabel][]*Workload

func indexPods(list []*Workload) podIndex {
	x := podIndex{}
	for _, w := range list {
		x[podLabel{namespace: w.Namespace}] = append(x[podLabel{namespace: w.Namespace}], w)
		for k, v := range w.Labels {
			l := podLabel{w.Namespace, k, v}
			x[l] = append(x[l], w)
		}
	}
	return x
}

// selected returns the pods of a namespace that have all labels of a selector,
// in the order of the input.
func (x podIndex) selected(namespace string, selector map[string]string) []*Workload {
	few := x[podLabel{namespace: namespace}]
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if some := x[podLabel{namespace, k, selector[k]}]; len(some) < len(few) {
			few = some
		}
	}
	if len(selector) == 0 {
		return few
	}
	var out []*Workload
	for _, w := range few {
		if subset(selector, w.Labels) {
			out = append(out, w)
		}
	}
	return out
}

// addressSet unites prefixes.
func addressSet(list []netip.Prefix) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, p := range list {
		b.AddPrefix(p)
	}
	set, err := b.IPSet()
	if err != nil { // only of prefixes that are not valid
		return &netipx.IPSet{}
	}
	return set
}
