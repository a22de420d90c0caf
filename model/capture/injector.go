package capture

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model/flow"
)

// injector is the second gate: does istiod's injector agree? It returns the
// refusal, nil if it agrees (istio pkg/kube/inject/inject.go injectRequired).
func (s *subject) injector() *Capture {
	w := s.w
	switch {
	case w.Pod != nil && w.Pod.HostNetwork:
		return &Capture{Mode: None, Why: "its pods use the host's network and are never injected",
			Because: []flow.Because{because(w, "spec.hostNetwork")}}
	case contains(ignoredNamespaces, w.Namespace):
		return &Capture{Mode: None, Why: "pods of namespace " + w.Namespace + " are never injected"}
	}
	policy := "enabled"
	policyFrom := valueBecause(s.config, "global.proxy.autoInject")
	if v, ok := Value(s.config, "global", "proxy", "autoInject"); ok {
		policy, _ = v.(string)
		if policy != "enabled" && policy != "disabled" {
			return &Capture{Mode: None, Why: fmt.Sprintf("the injector is installed with autoInject=%v, and with a value other than enabled and disabled it injects nothing", v), Because: policyFrom}
		}
	}
	value, labelled := w.Labels[injectKey]
	said, from := "labelled", s.podLabel(injectKey)
	if !labelled {
		value, said, from = w.Annotations[injectKey], "annotated", s.podAnnotation(injectKey)
	}
	switch value {
	case "true":
		return nil
	case "false":
		return &Capture{Mode: None, Why: "its pods are " + said + " " + injectKey + "=false", Because: from}
	}
	// Anything else counts as not said.
	for _, list := range []struct {
		name string
		veto bool
	}{{"neverInjectSelector", true}, {"alwaysInjectSelector", false}} {
		i, broken := s.matching(list.name)
		field := "sidecarInjectorWebhook." + list.name
		switch {
		case broken:
			return refused(field+" of the installation is not a list of label selectors: istiod's injector does not start with it", valueBecause(s.config, field)...)
		case i < 0:
		case list.veto:
			return &Capture{Mode: None, Why: fmt.Sprintf("the injector's %s selects its pods", list.name), Because: valueBecause(s.config, fmt.Sprintf("%s[%d]", field, i))}
		default:
			return nil
		}
	}
	if policy == "disabled" {
		return &Capture{Mode: None, Why: "the injector is installed with autoInject=disabled", Because: policyFrom}
	}
	return nil
}

// matching returns the index of the first selector of a list in the
// installation's values that selects the pod, -1 if none does. Empty selectors
// and such as are none are skipped.
func (s *subject) matching(list string) (index int, broken bool) {
	v, ok := Value(s.config, "sidecarInjectorWebhook", list)
	if !ok {
		return -1, false
	}
	var selectors []metav1.LabelSelector
	if decodeValue(v, &selectors) != nil {
		return -1, true
	}
	pod := labels.Set(admitted(s.w))
	for i := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(&selectors[i])
		if err == nil && !selector.Empty() && selector.Matches(pod) {
			return i, false
		}
	}
	return -1, false
}

// shippedTemplates are the injection templates of Istio's chart (istio
// manifests/charts/istio-control/istio-discovery/templates/istiod-injector-configmap.yaml).
var shippedTemplates = []string{"sidecar", "gateway", "grpc-simple", "grpc-agent", "waypoint", "kube-gateway", "agentgateway", "agentgateway-waypoint"}

// templates recognises injection templates that capture nothing or that nobody
// can tell about, nil for the usual one (istio pkg/kube/inject/inject.go
// selectTemplates, RunTemplate).
func (s *subject) templates() *Capture {
	names, from := []string{"sidecar"}, []flow.Because(nil)
	if v, ok := Value(s.config, "sidecarInjectorWebhook", "defaultTemplates"); ok && truth(v) {
		var list []string
		if decodeValue(v, &list) == nil && len(list) > 0 {
			names, from = list, valueBecause(s.config, "sidecarInjectorWebhook.defaultTemplates")
		}
	}
	if text, ok := s.w.Annotations[templatesKey]; ok {
		names, from = nil, s.podAnnotation(templatesKey)
		for _, name := range strings.Split(text, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	custom := map[string]any{}
	if v, ok := Value(s.config, "sidecarInjectorWebhook", "templates"); ok {
		custom, _ = v.(map[string]any)
	}
	for _, name := range names {
		text, own := custom[name]
		switch {
		case own && (name == "sidecar" || meddles(fmt.Sprint(text))):
			return &Capture{Mode: Undecided, Why: fmt.Sprintf("it is injected with template %s, which the installation changes", name),
				Because: slices.Concat(from, valueBecause(s.config, "sidecarInjectorWebhook.templates."+name))}
		case own, contains(shippedTemplates, name):
		case s.config.Values != nil:
			return refused(fmt.Sprintf("it asks for injection template %q, which the installation does not have: the injector refuses its pods", name), from...)
		default:
			return &Capture{Mode: Undecided, Why: fmt.Sprintf("it is injected with template %q, which the manifests do not show", name), Because: from}
		}
	}
	if contains(names, "sidecar") {
		return nil
	}
	if contains(names, "gateway") {
		return &Capture{Mode: Router, Why: "it is injected with template gateway", Because: from}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "grpc-") {
			return &Capture{Mode: None, Why: "it is injected with template " + name + ", which redirects nothing", Because: from}
		}
	}
	return &Capture{Mode: Undecided, Why: fmt.Sprintf("it is injected with template %q, which the manifests do not show", strings.Join(names, ",")), Because: from}
}

// meddles reports whether a template of the user's own may change what is
// redirected.
func meddles(template string) bool {
	for _, word := range []string{"istio-init", "istio-validation", "traffic.sidecar.istio.io", "interceptionMode", "hostNetwork", "runAsUser", "runAsGroup"} {
		if strings.Contains(template, word) {
			return true
		}
	}
	return false
}
