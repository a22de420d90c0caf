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
	return sure(selects(selector, w.Labels))
}

// namespaceMatches evaluates a selector over a namespace's labels. Where the
// input does not declare the namespace, only its name is known.
func (p *Policies) namespaceMatches(selector *metav1.LabelSelector, namespace string) answer {
	if ns := p.mesh.Namespaces[namespace]; ns != nil && ns.Declared {
		return sure(selects(selector, ns.Labels))
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
	values := []string{"\x00another"}
	for _, v := range requirements.MatchLabels {
		values = append(values, v)
	}
	for _, e := range requirements.MatchExpressions {
		values = append(values, e.Values...)
	}
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
