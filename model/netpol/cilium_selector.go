package netpol

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// The labels that Cilium adds to those of a pod.
const (
	ciliumNamespace       = "io.kubernetes.pod.namespace"
	ciliumNamespaceLabels = "io.cilium.k8s.namespace.labels."
	ciliumServiceAccount  = "io.cilium.k8s.policy.serviceaccount"
)

// ciliumSelects evaluates an endpoint selector over a pod. One of a namespaced
// policy keeps to its namespace unless it names another; that of the policy's
// subject always does (utils.go ParseToCiliumRule, getEndpointSelector).
func (q *question) ciliumSelects(o *manifest.Object, value any, w *model.Workload, at string, subject bool) answer {
	selector, ok := ciliumSelector(value)
	if !ok {
		return strange(o, at)
	}
	out := sure(true)
	named := false
	for _, e := range selector.MatchExpressions {
		named = named || e.Key == ciliumNamespace || strings.HasPrefix(e.Key, ciliumNamespaceLabels)
		if subject && o.Namespace != "" && e.Key == ciliumNamespace {
			continue // taken away where it names another namespace
		}
		out = out.and(q.ciliumLabel(o, at, e, w))
	}
	if o.Namespace != "" && (subject || !named) {
		out = out.and(sure(w.Namespace == o.Namespace))
	}
	return out
}

// ciliumLabel evaluates one requirement.
func (q *question) ciliumLabel(o *manifest.Object, at string, e metav1.LabelSelectorRequirement, w *model.Workload) answer {
	one := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{e}}
	namespaceLabel, ofNamespace := strings.CutPrefix(e.Key, ciliumNamespaceLabels)
	switch {
	case e.Key == ciliumNamespace:
		return sure(selects(one, map[string]string{e.Key: w.Namespace}))
	case e.Key == ciliumServiceAccount:
		return sure(selects(one, map[string]string{e.Key: w.ServiceAccount}))
	case ofNamespace:
		e.Key = namespaceLabel
		return q.policies.namespaceMatches(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{e}}, w.Namespace)
	case ciliumIdentityLabel(e.Key):
		return podMatches(one, w)
	default:
		return strange(o, fmt.Sprintf("label %s in %s", e.Key, at))
	}
}

// ciliumIdentityLabel reports whether a pod's label is part of what Cilium
// knows of it. Of those with a domain of Kubernetes' own most are not
// (Documentation "Limiting Identity-Relevant Labels").
func ciliumIdentityLabel(key string) bool {
	if strings.Contains(key, ":") || strings.HasPrefix(key, "io.cilium.") || strings.HasPrefix(key, "io.kubernetes") {
		return false
	}
	prefix, _, qualified := strings.Cut(key, "/")
	switch {
	case !qualified:
		return key != "pod-template-hash" && key != "controller-revision-hash" && key != "pod-template-generation" && !strings.HasPrefix(key, "annotation.")
	case prefix == "app.kubernetes.io":
		return true
	default:
		return !strings.HasSuffix(prefix, "kubernetes.io") && !strings.HasSuffix(prefix, "k8s.io")
	}
}

// ciliumSelector reads a selector as requirements, with the prefix of the
// labels' source taken off.
func ciliumSelector(value any) (*metav1.LabelSelector, bool) {
	m, ok := value.(map[string]any)
	if !ok || foreignKey(m, "matchLabels", "matchExpressions") != "" {
		return nil, false
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, false
	}
	var s metav1.LabelSelector
	if json.Unmarshal(data, &s) != nil {
		return nil, false
	}
	out := &metav1.LabelSelector{}
	for _, k := range sortedKeys(s.MatchLabels) {
		out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: k, Operator: metav1.LabelSelectorOpIn, Values: []string{s.MatchLabels[k]}})
	}
	out.MatchExpressions = append(out.MatchExpressions, s.MatchExpressions...)
	for i := range out.MatchExpressions {
		e := &out.MatchExpressions[i]
		for _, source := range []string{"any:", "k8s:"} {
			e.Key = strings.TrimPrefix(e.Key, source)
		}
		switch e.Operator {
		case metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn:
			if len(e.Values) == 0 {
				return nil, false
			}
		case metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist:
			if len(e.Values) > 0 {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return out, true
}

// ciliumBeyondPods reports whether a selector may match something that is no
// pod of the cluster: "reserved:world", a label from another source than
// Kubernetes, or nothing but the absence of labels where no namespace is implied.
func ciliumBeyondPods(value any) bool {
	s, ok := ciliumSelector(value)
	if !ok {
		return true
	}
	absent, named := true, false
	for _, e := range s.MatchExpressions {
		if strings.Contains(e.Key, ":") || strings.HasPrefix(e.Key, "reserved") || strings.HasPrefix(e.Key, "cidr") {
			return true
		}
		absent = absent && (e.Operator == metav1.LabelSelectorOpNotIn || e.Operator == metav1.LabelSelectorOpDoesNotExist)
		named = named || e.Key == ciliumNamespace || strings.HasPrefix(e.Key, ciliumNamespaceLabels)
	}
	return absent && named
}
