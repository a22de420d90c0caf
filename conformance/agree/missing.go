package agree

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/gvk"

	"github.com/egresslint/egresslint/conformance/judge"
	"github.com/egresslint/egresslint/model/flow"
)

// Input is what a mesh was made of. It says where the product may answer that
// an object is missing while istiod, which takes the input for the whole
// cluster, finds no endpoint or no cluster (docs/model.md): at a Service or
// ServiceEntry whose selector selects nothing, at a Service of a namespace of
// which the input holds no workload and no Service, and at a Service that is
// not there where the pods of a Gateway are missing, too. A nil Input accepts
// nothing.
type Input struct{ manifests *judge.Manifests }

func (in *Input) leavesOut(judge, product *flow.Trace) bool {
	if in == nil || product.Outcome != flow.Unknown || product.Reason != flow.MissingObject || len(product.Hops) == 0 ||
		judge.Outcome != flow.Blocked || judge.Reason != flow.NoEndpoints && judge.Reason != flow.NoCluster {
		return false
	}
	last := &product.Hops[len(product.Hops)-1]
	if host := hostOf(last.Cluster); host != "" {
		return judge.Reason == flow.NoEndpoints && in.selectsNothing(host) || judge.Reason == flow.NoCluster && in.holdsNothing(host)
	}
	// The cluster's own network leads to a Service, and from there to pods alone:
	// it knows no WorkloadEntry.
	return slices.ContainsFunc(last.Because, func(b flow.Because) bool {
		return b.Object != nil && b.Object.Kind == "Service" && slices.ContainsFunc(in.manifests.Services, func(s *corev1.Service) bool {
			return s.Name == b.Object.Name && s.Namespace == b.Object.Namespace && len(s.Spec.Selector) > 0 && !in.runs(s.Namespace, s.Spec.Selector)
		})
	})
}

// hostOf is the host in the name of a cluster, as routes or as servers of mode
// AUTO_PASSTHROUGH lead to it.
func hostOf(cluster string) string {
	if forwarded, found := strings.CutPrefix(cluster, "outbound_."); found {
		if parts := strings.SplitN(forwarded, "_.", 3); len(parts) == 3 {
			return parts[2]
		}
	}
	return cluster[strings.LastIndexByte(cluster, '|')+1:]
}

const clusterSuffix = ".svc.cluster.local"

// selectsNothing reports whether one of those that define a host has a selector
// that fits no pod and no WorkloadEntry.
func (in *Input) selectsNothing(host string) bool {
	for _, s := range in.manifests.Services {
		if s.Name+"."+s.Namespace+clusterSuffix == host && len(s.Spec.Selector) > 0 && !in.selected(s.Namespace, s.Spec.Selector) {
			return true
		}
	}
	for _, c := range in.manifests.Configs {
		entry, ok := c.Spec.(*networking.ServiceEntry)
		if ok && slices.Contains(entry.GetHosts(), host) && len(entry.GetWorkloadSelector().GetLabels()) > 0 &&
			!in.selected(c.Namespace, entry.GetWorkloadSelector().GetLabels()) {
			return true
		}
	}
	return false
}

// runs reports whether the input holds a pod that a selector fits.
func (in *Input) runs(namespace string, selector map[string]string) bool {
	return slices.ContainsFunc(in.manifests.Workloads, func(w *judge.Workload) bool {
		return w.Pod.Namespace == namespace && fits(selector, w.Pod.Labels)
	})
}

// selected reports whether a selector fits a pod or a WorkloadEntry.
func (in *Input) selected(namespace string, selector map[string]string) bool {
	if in.runs(namespace, selector) {
		return true
	}
	for _, c := range in.manifests.Configs {
		if c.GroupVersionKind != gvk.WorkloadEntry || c.Namespace != namespace {
			continue
		}
		labels := maps.Clone(c.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, c.Spec.(*networking.WorkloadEntry).GetLabels())
		if fits(selector, labels) {
			return true
		}
	}
	return false
}

// holdsNothing reports whether a host is a Service of a namespace that the input
// says nothing of, or a Service that is not in the input, as the pods of a
// Gateway are not.
func (in *Input) holdsNothing(host string) bool {
	name, found := strings.CutSuffix(host, clusterSuffix)
	_, namespace, dotted := strings.Cut(name, ".")
	if !found || !dotted {
		return false
	}
	empty := true
	for _, w := range in.manifests.Workloads {
		empty = empty && w.Pod.Namespace != namespace
	}
	for _, s := range in.manifests.Services {
		empty = empty && s.Namespace != namespace
		if s.Name+"."+s.Namespace == name {
			return false
		}
	}
	return empty || slices.ContainsFunc(in.manifests.Configs, func(c config.Config) bool {
		gateway, ok := c.Spec.(*networking.Gateway)
		return ok && len(gateway.GetSelector()) > 0 && !slices.ContainsFunc(in.manifests.Workloads, func(w *judge.Workload) bool {
			return fits(gateway.GetSelector(), w.Pod.Labels)
		})
	})
}

func fits(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, found := labels[key]; !found || got != value {
			return false
		}
	}
	return true
}
