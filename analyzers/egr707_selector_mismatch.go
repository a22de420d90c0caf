package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR707", Name: "netpol-selector-mismatch", Severity: Error,
	Run: runSelectorMismatch,
	Doc: Doc{
		Title: "The namespaceSelector of a NetworkPolicy matches no namespace, and one of the input is meant",
		What: "An egress rule selects namespaces by a label that no namespace of the input has, while the value of the label is the name of a namespace of the input, " +
			"differs from a label of one in a letter or two, or spells its name in other words (`istio: system`), " +
			"or while the podSelector beside it selects pods of one namespace of the input. And a policy whose own podSelector selects no pod of its namespace, " +
			"although some pod there has nearly that label. And an egress rule with a podSelector alone that selects no pod of the policy's namespace, while a gateway or waypoint of another one has the labels " +
			"(a warning where another element of `to` allows the whole namespace), or one whose podSelector misses a gateway or waypoint of the namespaces that it selects by a letter or two.",
		Why: "`namespaceSelector` looks at labels, not at names. A namespace has the label `kubernetes.io/metadata.name` by itself and no other. " +
			"The rule allows nothing, and what it was for (DNS, istiod, the egress gateway) stays closed. A `podSelector` without `namespaceSelector` in the same element is about the policy's own namespace; two elements are alternatives.",
		Bad:  egressDoc(selectorDoc("name")),
		Good: egressDoc(selectorDoc(model.NamespaceNameLabel)),
		Fix:  "Select by `kubernetes.io/metadata.name`, which every namespace has, or label the namespace.",
		Silent: "Some namespace of the input has the label, or nothing in the input resembles what the selector asks for: the namespace is then taken to be part of another input. " +
			"Namespaces of which the input has no Namespace object count as unlabelled by nobody: they may match.",
		Sources: []string{"https://kubernetes.io/docs/concepts/services-networking/network-policies/#targeting-a-namespace-by-its-name"},
	},
})

// selectorDoc is a policy for the clients of the documentation that selects the
// gateway's namespace.
func selectorDoc(key string) string {
	return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: gateway-only
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector:
        matchLabels:
          ` + key + `: istio-egress
`
}

func runSelectorMismatch(p *Pass) {
	type answer struct {
		meant     *model.Namespace
		key, hint string
	}
	if len(p.Mesh.NetworkPolicies) == 0 {
		return
	}
	pods := readPods(p)
	known := map[string]answer{} // policies of many namespaces are copies
	for _, np := range p.Mesh.NetworkPolicies {
		if !isolatesEgress(np) {
			continue
		}
		for i, rule := range np.Spec.Spec.Egress {
			for j, peer := range rule.To {
				if peer.NamespaceSelector == nil {
					continue
				}
				field := fmt.Sprintf("spec.egress[%d].to[%d].namespaceSelector", i, j)
				selector := metav1.FormatLabelSelector(peer.NamespaceSelector) + " " + metav1.FormatLabelSelector(peer.PodSelector)
				x, ok := known[selector]
				if !ok {
					x.meant, x.key, x.hint = meantNamespace(p, peer)
					known[selector] = x
				}
				if reportApart(p, np, i, field, peer.NamespaceSelector) {
					continue
				}
				if ns, key, hint := x.meant, x.key, x.hint; ns != nil {
					f := Finding{Object: np.Object, Field: field + strings.TrimPrefix(manifest.FieldPath("x", "matchLabels", key), "x"), Label: "no namespace has this label"}
					f.Message = fmt.Sprintf("NetworkPolicy %s rule %d allows nothing by its namespaceSelector: no namespace is labelled %s=%s, namespace %s %s",
						np.ID(), i, key, peer.NamespaceSelector.MatchLabels[key], ns.Name, hint)
					if ns.Object != nil {
						f.Related = append(f.Related, Related{ns.Object, "metadata", fmt.Sprintf("namespace %s", ns.Name)})
					}
					p.Report(f)
				}
			}
		}
		reportPodSelector(p, np)
		reportPeersWithoutNamespace(p, np, pods)
	}
}

// reportPodSelector reports a policy that selects no pod of its namespace, although one
// has nearly the label that it asks for.
func reportPodSelector(p *Pass, np *model.NetworkPolicy) {
	selector := &np.Spec.Spec.PodSelector
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil || len(selector.MatchLabels) == 0 {
		return
	}
	var here []*model.Workload
	for _, w := range p.Mesh.Workloads {
		switch {
		case w.Namespace != np.Namespace:
		case w.PodUnknown != "" || s.Matches(labels.Set(w.Labels)):
			return
		default:
			here = append(here, w)
		}
	}
	for _, key := range sortedKeys(selector.MatchLabels) {
		for _, w := range here {
			got, labelled := w.Labels[key]
			if !labelled || !near(got, selector.MatchLabels[key]) && !alike(got, selector.MatchLabels[key]) {
				continue
			}
			field := "spec.podSelector" + strings.TrimPrefix(manifest.FieldPath("x", "matchLabels", key), "x")
			p.Report(Finding{
				Object: np.Object, Field: field, Label: "no pod has this label", Help: fmt.Sprintf("is %s=%s meant?", key, got),
				Message: fmt.Sprintf("NetworkPolicy %s closes nothing by its podSelector: no pod of namespace %q is labelled %s=%s; is %s=%s meant, as %s has?",
					np.ID(), np.Namespace, key, selector.MatchLabels[key], key, got, w.ID()),
				Related: []Related{{w.Object, w.Field("metadata.labels"), "the labels of " + w.ID()}},
			})
			return
		}
	}
}

// meantNamespace finds the namespace that a selector evidently means although it selects
// none: the key of the label that it lacks, and what to do.
func meantNamespace(p *Pass, peer networkingv1.NetworkPolicyPeer) (meant *model.Namespace, key, hint string) {
	selector := peer.NamespaceSelector
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, "", ""
	}
	names := slices.Sorted(maps.Keys(p.Mesh.Namespaces))
	for _, name := range names {
		if s.Matches(labels.Set(p.Mesh.Namespaces[name].Labels)) {
			return nil, "", ""
		}
	}
	for _, key := range sortedKeys(selector.MatchLabels) {
		value := selector.MatchLabels[key]
		for _, name := range names {
			ns := p.Mesh.Namespaces[name]
			got, labelled := ns.Labels[key]
			switch {
			case !ns.Declared || got == value:
			case name == value && key != model.NamespaceNameLabel && !labelled:
				return ns, key, fmt.Sprintf("has no such label; select it by %s", model.NamespaceNameLabel)
			case !labelled && spells(name, key, value):
				return ns, key, fmt.Sprintf("has no such label; label it %s=%s, or select it by %s", key, value, model.NamespaceNameLabel)
			case labelled && (alike(got, value) || near(got, value)):
				return ns, key, fmt.Sprintf("has %s=%s; write the value like that", key, got)
			}
		}
	}
	if ns := namespaceOfPods(p, peer.PodSelector); ns != nil && len(selector.MatchLabels) > 0 {
		keys := sortedKeys(selector.MatchLabels)
		key := keys[0]
		if i := slices.IndexFunc(keys, func(k string) bool { return ns.Labels[k] != selector.MatchLabels[k] }); i >= 0 {
			key = keys[i]
		}
		return ns, key, fmt.Sprintf("holds the pods that the podSelector beside it selects, and lacks the label; select it by %s", model.NamespaceNameLabel)
	}
	return nil, "", ""
}

// reportApart reports a selector whose labels several namespaces have, but none has them
// all: a peer selects by all of them together. It is false where that is not so.
func reportApart(p *Pass, np *model.NetworkPolicy, rule int, field string, selector *metav1.LabelSelector) bool {
	if len(selector.MatchLabels) < 2 || len(selector.MatchExpressions) > 0 {
		return false
	}
	var parts []string
	for _, key := range sortedKeys(selector.MatchLabels) {
		value, has := selector.MatchLabels[key], ""
		for _, name := range slices.Sorted(maps.Keys(p.Mesh.Namespaces)) {
			switch ns := p.Mesh.Namespaces[name]; {
			case labels.SelectorFromSet(selector.MatchLabels).Matches(labels.Set(ns.Labels)):
				return false
			case ns.Declared && ns.Labels[key] == value && has == "":
				has = name
			}
		}
		if has == "" {
			return false
		}
		parts = append(parts, fmt.Sprintf("namespace %s has %s=%s", has, key, value))
	}
	const todo = "write a peer for each"
	p.Report(Finding{
		Object: np.Object, Field: field, Label: "no namespace has all of these labels", Help: todo,
		Message: fmt.Sprintf("NetworkPolicy %s rule %d allows nothing by its namespaceSelector, which asks for all of its labels together: %s, and none has them all; %s",
			np.ID(), rule, strings.Join(parts[:min(len(parts), 3)], ", "), todo),
	})
	return true
}

// spells reports whether a label says the name of a namespace in other words:
// "istio=system" or "kube-system=true".
func spells(name, key, value string) bool {
	return alike(name, key+"-"+value) || name == key && !declines(value)
}

// namespaceOfPods returns the only declared namespace with workloads that a selector
// of pods selects, nil if there is none or several.
func namespaceOfPods(p *Pass, selector *metav1.LabelSelector) *model.Namespace {
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return nil
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil
	}
	var found *model.Namespace
	for _, w := range p.Mesh.Workloads {
		if !s.Matches(labels.Set(w.Labels)) {
			continue
		}
		ns := p.Mesh.Namespaces[w.Namespace]
		if ns == nil || !ns.Declared || found != nil && found != ns {
			return nil
		}
		found = ns
	}
	return found
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
