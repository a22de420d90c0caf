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
	kept := func(o *manifest.Object) bool { return o.Namespace == "" || watched(o.Namespace) }
	out := m.keeping(kept)
	keep(&out.KubeServices, kept)
	keep(&out.KubeEndpoints, kept)
	keep(&out.EndpointSlices, kept)
	out.Workloads = slices.DeleteFunc(slices.Clone(m.Workloads), func(w *Workload) bool { return !watched(w.Namespace) })
	out.inhabit()
	return out
}

// keeping returns the mesh with some of the objects that istiod reads from custom
// resources, those of namespaces.
func (m *Mesh) keeping(kept func(*manifest.Object) bool) *Mesh {
	out := *m
	keep(&out.ServiceEntries, kept)
	keep(&out.WorkloadEntries, kept)
	keep(&out.VirtualServices, kept)
	keep(&out.DestinationRules, kept)
	keep(&out.Gateways, kept)
	keep(&out.Sidecars, kept)
	keep(&out.EnvoyFilters, kept)
	keep(&out.ProxyConfigs, kept)
	keep(&out.AuthorizationPolicies, kept)
	keep(&out.PeerAuthentications, kept)
	keep(&out.RequestAuthentications, kept)
	keep(&out.KubeGateways, kept)
	keep(&out.KubeHTTPRoutes, kept)
	keep(&out.KubeGRPCRoutes, kept)
	keep(&out.KubeTLSRoutes, kept)
	keep(&out.KubeTCPRoutes, kept)
	keep(&out.ReferenceGrants, kept)
	out.Unmodelled = slices.DeleteFunc(slices.Clone(m.Unmodelled), func(o *manifest.Object) bool { return !kept(o) })
	return &out
}

// keep leaves some objects, in a new slice.
func keep[S any](list *[]*Resource[S], kept func(*manifest.Object) bool) {
	*list = slices.DeleteFunc(slices.Clone(*list), func(r *Resource[S]) bool { return !kept(r.Object) })
}

// Watches reports whether istiod of a mesh configuration watches a namespace; for
// one that the input does not declare, it is taken to.
func (m *Mesh) Watches(config *MeshConfig, namespace string) bool {
	watched := discovers(m, config)
	return watched == nil || watched(namespace)
}
