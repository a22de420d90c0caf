package analyzers

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportPeersWithoutNamespace reports peers with a podSelector alone, which is about
// pods of the policy's own namespace, where no pod has the labels and a gateway or
// waypoint of another namespace has them.
func reportPeersWithoutNamespace(p *Pass, np *model.NetworkPolicy, pods podsOf) {
	for i, rule := range np.Spec.Spec.Egress {
		for j, peer := range rule.To {
			if peer.PodSelector == nil || peer.IPBlock != nil || len(peer.PodSelector.MatchLabels) == 0 {
				continue
			}
			if peer.NamespaceSelector != nil {
				pods.reportNearLabel(p, np, i, j)
				continue
			}
			meant := pods.elsewhere(np.Namespace, peer.PodSelector)
			if meant == nil {
				continue
			}
			f := Finding{Object: np.Object, Field: fmt.Sprintf("spec.egress[%d].to[%d].podSelector", i, j), Label: "of this namespace only", Severity: Error,
				Related: []Related{{meant.Object, meant.Field("metadata.labels"), "the labels of " + meant.ID()}},
				Help:    fmt.Sprintf("add namespaceSelector: {matchLabels: {%s: %s}} to the same element of to", model.NamespaceNameLabel, meant.Namespace)}
			effect := ""
			for _, other := range rule.To {
				if other.PodSelector == nil && selectsNamespace(p, other.NamespaceSelector, meant.Namespace) {
					f.Severity = Warning
					effect = fmt.Sprintf(", and another element of to, which is an alternative, allows all pods of namespace %q", meant.Namespace)
				}
			}
			f.Message = fmt.Sprintf("NetworkPolicy %s rule %d allows nothing by a podSelector alone: it is about pods of namespace %q, none of which has these labels, as %s of namespace %q has%s; put a namespaceSelector into the same element",
				np.ID(), i, np.Namespace, meant.Name, meant.Namespace, effect)
			p.Report(f)
		}
	}
}

// podsOf are the workloads by namespace, and the gateways and waypoints.
type podsOf struct {
	namespaces map[string][]*model.Workload
	proxies    []*model.Workload
}

func readPods(p *Pass) podsOf {
	pods := podsOf{namespaces: map[string][]*model.Workload{}}
	for _, w := range p.Mesh.Workloads {
		pods.namespaces[w.Namespace] = append(pods.namespaces[w.Namespace], w)
		if mode := p.Reach.Sim.Capture(w).Mode; mode == capture.Router || mode == capture.Waypoint {
			pods.proxies = append(pods.proxies, w)
		}
	}
	return pods
}

// elsewhere returns a gateway or waypoint of another namespace that a podSelector
// matches if no pod of the policy's own does.
func (pods podsOf) elsewhere(namespace string, selector *metav1.LabelSelector) *model.Workload {
	if slices.ContainsFunc(pods.namespaces[namespace], func(w *model.Workload) bool { return w.PodUnknown != "" || selectsPod(selector, w) }) {
		return nil
	}
	i := slices.IndexFunc(pods.proxies, func(w *model.Workload) bool { return selectsPod(selector, w) })
	if i < 0 {
		return nil
	}
	return pods.proxies[i]
}

// reportNearLabel reports a peer whose namespaceSelector selects the namespace of a
// gateway or waypoint, and whose podSelector selects no pod of the input, but that
// proxy if one value were written a little otherwise, or named the Gateway of the
// Gateway API in place of the Deployment that istiod makes of it.
func (pods podsOf) reportNearLabel(p *Pass, np *model.NetworkPolicy, i, j int) {
	peer := np.Spec.Spec.Egress[i].To[j]
	for _, w := range p.Mesh.Workloads {
		if (w.PodUnknown != "" || selectsPod(peer.PodSelector, w)) && selectsNamespace(p, peer.NamespaceSelector, w.Namespace) {
			return
		}
	}
	for _, w := range pods.proxies {
		missing := lacks(w.Labels, peer.PodSelector.MatchLabels)
		if len(missing) != 1 || len(peer.PodSelector.MatchExpressions) > 0 || !selectsNamespace(p, peer.NamespaceSelector, w.Namespace) {
			continue
		}
		key := missing[0]
		if got, value := w.Labels[key], peer.PodSelector.MatchLabels[key]; (near(got, value) || key == model.GatewayNameLabel && value == w.Name) && !asksFor(p, w.Namespace, key, value) {
			field := fmt.Sprintf("spec.egress[%d].to[%d].podSelector", i, j) + strings.TrimPrefix(manifest.FieldPath("x", "matchLabels", key), "x")
			p.Report(Finding{Object: np.Object, Field: field, Label: "no pod has this label", Severity: Error,
				Related: []Related{{w.Object, w.Field("metadata.labels"), "the labels of " + w.ID()}},
				Message: fmt.Sprintf("NetworkPolicy %s rule %d allows nothing by its podSelector: no pod there is labelled %s=%s, as %s is labelled %s=%s; write %q",
					np.ID(), i, key, value, w.ID(), key, got, got)})
			return
		}
	}
}

// asksFor reports whether a Service of a namespace selects by a label as well: then
// it is the label of the pods that is misspelt (EGR308).
func asksFor(p *Pass, namespace, key, value string) bool {
	return slices.ContainsFunc(p.Reach.Sim.Push().Services(), func(s *model.Service) bool {
		return s.Kubernetes() && s.Namespace == namespace && s.Selector[key] == value
	})
}

// selectsNamespace reports whether a selector certainly selects a namespace.
func selectsNamespace(p *Pass, selector *metav1.LabelSelector, namespace string) bool {
	ns := p.Mesh.Namespaces[namespace]
	if selector == nil || ns == nil {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(ns.Labels))
}
