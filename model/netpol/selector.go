package netpol

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
)

// onHostNetwork reports whether pods of w use their node's network.
func onHostNetwork(w *model.Workload) bool { return w.Pod != nil && w.Pod.HostNetwork }

// podMatches evaluates a selector over a pod's labels.
func podMatches(selector *metav1.LabelSelector, w *model.Workload) answer {
	if w.PodUnknown != "" && !everything(selector) {
		return unsure(fmt.Sprintf("the labels of the pods of %s, which the input does not show", w.ID()))
	}
	if len(w.Open) == 0 {
		return sure(selects(selector, w.Labels))
	}
	return mayMatch(selector, w.Labels, func(key string) (model.OpenLabel, string) {
		if open, ok := w.Open[key]; ok && !open.Proxies {
			return open, openLabel(w, key)
		}
		return model.OpenLabel{}, ""
	})
}

// mayMatch evaluates a selector over labels of which some may have other values: of these
// open returns what they may be, and a doubt, which is "" for others.
func mayMatch(selector *metav1.LabelSelector, labels map[string]string, open func(key string) (may model.OpenLabel, doubt string)) answer {
	keys := openKeys(selector, func(key string) bool { _, doubt := open(key); return doubt != "" })
	if len(keys) == 0 {
		return sure(selects(selector, labels))
	}
	// Keys are independent of each other: what is certain decides first.
	out := sure(selects(without(selector, keys), labels))
	for _, key := range keys {
		may, doubt := open(key)
		out = out.and(openMatches(key, byKey(selector)[key], may, doubt))
	}
	return out
}

// openKeys are the keys that a selector asks for and whose values the manifests
// do not tell, sorted.
func openKeys(selector *metav1.LabelSelector, open func(key string) bool) []string {
	var out []string
	add := func(key string) {
		if open(key) {
			out = append(out, key)
		}
	}
	for k := range selector.MatchLabels {
		add(k)
	}
	for _, e := range selector.MatchExpressions {
		add(e.Key)
	}
	return unique(out)
}

// without is a selector without what it asks of open labels.
func without(selector *metav1.LabelSelector, open []string) *metav1.LabelSelector {
	out := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for k, v := range selector.MatchLabels {
		if !contains(open, k) {
			out.MatchLabels[k] = v
		}
	}
	for _, e := range selector.MatchExpressions {
		if !contains(open, e.Key) {
			out.MatchExpressions = append(out.MatchExpressions, e)
		}
	}
	return out
}

// openMatches evaluates what a selector asks of a label whose value the
// manifests do not tell: over its absence, each value that the selector names,
// and any other.
func openMatches(key string, requirements *metav1.LabelSelector, open model.OpenLabel, doubt string) answer {
	values := open.Values
	if len(values) == 0 {
		values = []string{"\x00another"}
		for _, v := range named(requirements) {
			if open.May(v) {
				values = append(values, v)
			}
		}
	}
	can, cannot := false, false
	note := func(matches bool) { can, cannot = can || matches, cannot || !matches }
	if open.Absent {
		note(selects(requirements, nil))
	}
	for _, v := range values {
		note(selects(requirements, map[string]string{key: v}))
	}
	if can && cannot {
		return unsure(doubt)
	}
	return sure(can)
}

func openLabel(w *model.Workload, key string) string {
	return fmt.Sprintf("label %s of the pods of %s, which is not in the manifests: %s", key, w.ID(), w.Open[key].Why)
}

// named are the values that a selector names.
func named(requirements *metav1.LabelSelector) []string {
	var out []string
	for _, v := range requirements.MatchLabels {
		out = append(out, v)
	}
	for _, e := range requirements.MatchExpressions {
		out = append(out, e.Values...)
	}
	return out
}

// namespaceMatches evaluates a selector over a namespace's labels. Where the
// input does not declare the namespace, only its name is known.
func (p *Policies) namespaceMatches(selector *metav1.LabelSelector, namespace string) answer {
	if ns := p.mesh.Namespaces[namespace]; ns != nil && ns.Declared {
		return mayMatch(selector, ns.Labels, func(key string) (model.OpenLabel, string) {
			text := model.PlaceholderIn(ns.Labels[key])
			if text == "" {
				return model.OpenLabel{}, ""
			}
			return model.OpenLabel{}, fmt.Sprintf("label %s of namespace %s, which is the placeholder %s", key, ns.Name, text)
		})
	}
	if everything(selector) {
		return sure(true)
	}
	// Keys are independent of each other: each can fail alone.
	out := sure(true)
	for key, requirements := range byKey(selector) {
		if key == model.NamespaceNameLabel {
			out = out.and(sure(selects(requirements, map[string]string{key: namespace})))
		} else if satisfiable(key, requirements) {
			out = out.and(unsure(fmt.Sprintf("the labels of namespace %s, which the input does not declare", namespace)))
		} else {
			return sure(false)
		}
	}
	return out
}

// byKey takes a selector apart.
func byKey(selector *metav1.LabelSelector) map[string]*metav1.LabelSelector {
	out := map[string]*metav1.LabelSelector{}
	at := func(key string) *metav1.LabelSelector {
		if out[key] == nil {
			out[key] = &metav1.LabelSelector{MatchLabels: map[string]string{}}
		}
		return out[key]
	}
	for k, v := range selector.MatchLabels {
		at(k).MatchLabels[k] = v
	}
	for _, e := range selector.MatchExpressions {
		at(e.Key).MatchExpressions = append(at(e.Key).MatchExpressions, e)
	}
	return out
}

// satisfiable reports whether the requirements on one key do not contradict each
// other: whether its absence, a value that they name, or another satisfies them.
func satisfiable(key string, requirements *metav1.LabelSelector) bool {
	values := append([]string{"\x00another"}, named(requirements)...)
	return selects(requirements, nil) ||
		slices.ContainsFunc(values, func(v string) bool { return selects(requirements, map[string]string{key: v}) })
}

// podsMatch evaluates a selection by namespace and pod labels.
func (p *Policies) podsMatch(selection *model.PolicyPods, w *model.Workload) answer {
	a := p.namespaceMatches(&selection.Namespaces, w.Namespace)
	if selection.Pods != nil {
		a = a.and(podMatches(selection.Pods, w))
	}
	return a
}

func everything(s *metav1.LabelSelector) bool {
	return len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	if len(selector.MatchExpressions) == 0 {
		for k, v := range selector.MatchLabels {
			if got, has := set[k]; !has || got != v {
				return false
			}
		}
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

// hasNamedPort reports whether the listening end calls the port by a name.
// Outside addresses have no names. Of the init containers only those that stay
// are looked at (Kubernetes pkg/api/v1/pod FindPort).
func (q *question) hasNamedPort(name string) answer {
	if q.at == nil {
		return sure(false)
	}
	if q.at.Pod == nil {
		return unsure(fmt.Sprintf("the ports of the pods of %s, which the input does not show", q.at.ID()))
	}
	containers := q.at.Pod.Containers
	for _, c := range q.at.Pod.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers[:len(containers):len(containers)], c)
		}
	}
	for _, c := range containers {
		for _, port := range c.Ports {
			if port.Name == name && protocolOr(port.Protocol) == q.protocol && int(port.ContainerPort) == q.port {
				return sure(true)
			}
		}
	}
	return sure(false)
}

func protocolOr(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}
