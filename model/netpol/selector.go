package netpol

import (
	"fmt"

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
	// Each requirement alone: one that asks for the name and fails decides.
	known := map[string]string{model.NamespaceNameLabel: namespace}
	named, others := &metav1.LabelSelector{MatchLabels: map[string]string{}}, false
	for k, v := range selector.MatchLabels {
		if k == model.NamespaceNameLabel {
			named.MatchLabels[k] = v
		} else {
			others = true
		}
	}
	for _, e := range selector.MatchExpressions {
		if e.Key == model.NamespaceNameLabel {
			named.MatchExpressions = append(named.MatchExpressions, e)
		} else {
			others = true
		}
	}
	switch {
	case !selects(named, known):
		return sure(false)
	case others:
		return unsure(fmt.Sprintf("the labels of namespace %s, which the input does not declare", namespace))
	default:
		return sure(true)
	}
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
