package model

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// discovers returns a test of whether istiod watches a namespace, nil where it
// watches all: by meshConfig.discoverySelectors (istio pkg/kube/namespace/filter.go)
// and by ISTIO_WATCH_NAMESPACE, which is one namespace (pkg/kube/kclient/client.go
// ToOpts).
// Objects of other namespaces do not exist for istiod, even those of the root
// namespace. A namespace that the input does not declare counts as watched: its
// labels are not known, and whoever writes objects for it means them.
func discovers(mesh *Mesh, config *MeshConfig) func(namespace string) bool {
	selectors, only := config.GetDiscoverySelectors(), config.Setting("ISTIO_WATCH_NAMESPACE")
	if len(selectors) == 0 && only == "" {
		return nil
	}
	return func(namespace string) bool {
		if only != "" && namespace != only {
			return false
		}
		if len(selectors) == 0 {
			return true
		}
		ns := mesh.Namespaces[namespace]
		if ns == nil || !ns.Declared {
			return true
		}
		for _, s := range selectors {
			var expressions []metav1.LabelSelectorRequirement
			for _, e := range s.GetMatchExpressions() {
				expressions = append(expressions, metav1.LabelSelectorRequirement{
					Key: e.GetKey(), Operator: metav1.LabelSelectorOperator(e.GetOperator()), Values: e.GetValues(),
				})
			}
			if selectorMatches(s.GetMatchLabels(), expressions, ns.Labels) {
				return true
			}
		}
		return false
	}
}

// discovered returns the mesh without the objects of namespaces that istiod does
// not watch.
func (m *Mesh) discovered(watched func(string) bool) *Mesh {
	out := *m
	keep(&out.KubeServices, watched)
	keep(&out.KubeEndpoints, watched)
	keep(&out.EndpointSlices, watched)
	keep(&out.ServiceEntries, watched)
	keep(&out.WorkloadEntries, watched)
	keep(&out.VirtualServices, watched)
	keep(&out.DestinationRules, watched)
	keep(&out.Gateways, watched)
	keep(&out.Sidecars, watched)
	keep(&out.EnvoyFilters, watched)
	keep(&out.ProxyConfigs, watched)
	keep(&out.AuthorizationPolicies, watched)
	keep(&out.PeerAuthentications, watched)
	keep(&out.RequestAuthentications, watched)
	keep(&out.KubeGateways, watched)
	keep(&out.KubeHTTPRoutes, watched)
	keep(&out.KubeGRPCRoutes, watched)
	keep(&out.KubeTLSRoutes, watched)
	keep(&out.KubeTCPRoutes, watched)
	keep(&out.ReferenceGrants, watched)
	out.Workloads = slices.DeleteFunc(slices.Clone(m.Workloads), func(w *Workload) bool { return !watched(w.Namespace) })
	out.Unmodelled = slices.DeleteFunc(slices.Clone(m.Unmodelled), func(o *manifest.Object) bool { return o.Namespace != "" && !watched(o.Namespace) })
	return &out
}

// keep leaves the objects of watched namespaces, in a new slice.
func keep[S any](list *[]*Resource[S], watched func(string) bool) {
	*list = slices.DeleteFunc(slices.Clone(*list), func(r *Resource[S]) bool { return r.Namespace != "" && !watched(r.Namespace) })
}

// Watches reports whether istiod of a mesh configuration watches a namespace; for
// one that the input does not declare, it is taken to.
func (m *Mesh) Watches(config *MeshConfig, namespace string) bool {
	watched := discovers(m, config)
	return watched == nil || watched(namespace)
}
