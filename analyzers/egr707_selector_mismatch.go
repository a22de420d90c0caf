package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR707", Name: "netpol-selector-mismatch", Severity: Error,
	Run: runSelectorMismatch,
	Doc: Doc{
		Title: "The namespaceSelector of a NetworkPolicy matches no namespace, and one of the input is meant",
		What: "An egress rule selects namespaces by a label that no namespace of the input has, while the value of the label is the name of a namespace of the input, " +
			"or differs from a label of one in letter case or dashes only.",
		Why: "`namespaceSelector` looks at labels, not at names. A namespace has the label `kubernetes.io/metadata.name` by itself and no other. " +
			"The rule allows nothing, and what it was for (DNS, istiod, the egress gateway) stays closed.",
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
				if ns, key, hint := meantNamespace(p, peer.NamespaceSelector); ns != nil {
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
	}
}

// meantNamespace finds the namespace that a selector evidently means although it selects
// none: the key of the label that it lacks, and what to do.
func meantNamespace(p *Pass, selector *metav1.LabelSelector) (meant *model.Namespace, key, hint string) {
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
			case !ns.Declared:
			case name == value && key != model.NamespaceNameLabel && !labelled:
				return ns, key, fmt.Sprintf("has no such label; select it by %s", model.NamespaceNameLabel)
			case labelled && alike(got, value):
				return ns, key, fmt.Sprintf("has %s=%s; write the value like that", key, got)
			}
		}
	}
	return nil, "", ""
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
