package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// The labels and annotations of injection.
const (
	injectKey    = "sidecar.istio.io/inject"
	injectionKey = "istio-injection"
	revisionKey  = "istio.io/rev"
	modeKey      = "istio.io/dataplane-mode"
	// dnsCaptureKey turns ztunnel's DNS on or off for a pod.
	dnsCaptureKey = "ambient.istio.io/dns-capture"
)

// ignoredNamespaces never have sidecars (istio pkg/kube/inject/initializer.go).
var ignoredNamespaces = []string{"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}

// injection decides which proxy a workload's pods have.
func injection(mesh *model.Mesh, config *model.MeshConfig, w *model.Workload) *Capture {
	switch w.ProxyRole() {
	case model.Router:
		return &Capture{Mode: Router, Why: "it is a gateway", Because: []flow.Because{{Object: w.Object}}}
	case model.WaypointProxy:
		return &Capture{Mode: Waypoint, Why: "it is a waypoint", Because: []flow.Because{{Object: w.Object}}}
	case model.SidecarProxy:
		return &Capture{Mode: Sidecar, Why: "its pod template holds an istio-proxy container", DNSCapture: dnsCapture(config, w),
			Because: []flow.Because{because(w, "spec.containers")}}
	}
	if w.PodUnknown != "" {
		return &Capture{Mode: Undecided, Why: w.PodUnknown, Because: []flow.Because{{Object: w.Object}}}
	}
	c := webhook(mesh, config, w)
	if c.Mode == Sidecar {
		if veto := injector(config, w); veto != nil {
			c = veto
		}
	}
	if c.Mode == None {
		// A pod with a sidecar stays out of ambient mode; any other pod of the
		// namespace is enrolled.
		if a := ambient(mesh, config, w); a != nil {
			return a
		}
		return c
	}
	if c.Mode == Sidecar {
		if t := templateOf(w); t != nil {
			t.Assumption = c.Assumption
			return t
		}
		c.DNSCapture = dnsCapture(config, w)
	}
	return c
}

// namespaceOf returns the namespace of a workload; one that nothing declares is
// empty.
func namespaceOf(mesh *model.Mesh, w *model.Workload) *model.Namespace {
	if ns := mesh.Namespaces[w.Namespace]; ns != nil {
		return ns
	}
	return &model.Namespace{Name: w.Namespace}
}

func labelBecause(ns *model.Namespace, key string) []flow.Because {
	if ns.Object == nil {
		return nil
	}
	return []flow.Because{{Object: ns.Object, Field: "metadata.labels['" + key + "']"}}
}

// ambient recognises pods of ambient mode, whose traffic ztunnel takes.
func ambient(mesh *model.Mesh, config *model.MeshConfig, w *model.Workload) *Capture {
	ns := namespaceOf(mesh, w)
	var from []flow.Because
	switch {
	case w.Pod != nil && w.Pod.HostNetwork, w.Namespace == "kube-system":
		return nil
	case w.Labels[modeKey] == "ambient":
		from = []flow.Because{because(w, "metadata.labels['"+modeKey+"']")}
	case ns.Labels[modeKey] == "ambient" && w.Labels[modeKey] != "none":
		from = labelBecause(ns, modeKey)
	default:
		return nil
	}
	c := &Capture{Mode: Ambient, Because: from, Why: "it is in ambient mode", DNSCapture: true}
	if on, ok := Value(config, "ambient", "dnsCapture"); ok {
		c.DNSCapture = fmt.Sprint(on) == "true"
	}
	if on, ok := w.Annotations[dnsCaptureKey]; ok {
		c.DNSCapture = on == "true"
	}
	return c
}

// webhook is the first gate: does a webhook select the pod when it is created?
func webhook(mesh *model.Mesh, config *model.MeshConfig, w *model.Workload) *Capture {
	if w.Labels[injectKey] == "false" {
		return &Capture{Mode: None, Why: "its pods are labelled " + injectKey + "=false",
			Because: []flow.Because{because(w, "metadata.labels['"+injectKey+"']")}}
	}
	ns := namespaceOf(mesh, w)
	if value, ok := ns.Labels[injectionKey]; ok {
		why := fmt.Sprintf("namespace %s is labelled %s=%s", ns.Name, injectionKey, value)
		mode := Sidecar
		if value != "enabled" {
			mode, why = None, why+", and only \"enabled\" injects sidecars"
		}
		return &Capture{Mode: mode, Why: why, Because: labelBecause(ns, injectionKey)}
	}
	if value := ns.Labels[revisionKey]; value != "" {
		return &Capture{Mode: Sidecar, Why: fmt.Sprintf("namespace %s is labelled %s=%s", ns.Name, revisionKey, value), Because: labelBecause(ns, revisionKey)}
	}
	if value := w.Labels[revisionKey]; value != "" {
		return &Capture{Mode: Sidecar, Why: fmt.Sprintf("its pods are labelled %s=%s", revisionKey, value),
			Because: []flow.Because{because(w, "metadata.labels['"+revisionKey+"']")}}
	}
	if w.Labels[injectKey] == "true" {
		return &Capture{Mode: Sidecar, Why: "its pods are labelled " + injectKey + "=true",
			Because: []flow.Because{because(w, "metadata.labels['"+injectKey+"']")}}
	}
	if on, ok := Value(config, "sidecarInjectorWebhook", "enableNamespacesByDefault"); ok && fmt.Sprint(on) == "true" &&
		!slices.Contains(ignoredNamespaces, w.Namespace) {
		return &Capture{Mode: Sidecar, Why: "sidecars are injected in every namespace by default",
			Because: valueBecause(config, "sidecarInjectorWebhook.enableNamespacesByDefault")}
	}
	if !ns.Declared {
		a := mesh.InjectionAssumption
		c := &Capture{Assumption: Assumption(a)}
		if a.Injected && w.Namespace != config.GetRootNamespace() && !slices.Contains(ignoredNamespaces, w.Namespace) {
			c.Mode, c.Why = Sidecar, fmt.Sprintf("namespace %s is assumed to be injected", w.Namespace)
		} else {
			c.Mode, c.Why = None, fmt.Sprintf("namespace %s is assumed not to be injected", w.Namespace)
		}
		return c
	}
	c := &Capture{Mode: None, Why: fmt.Sprintf("namespace %s has no injection label", ns.Name)}
	if ns.Object != nil {
		c.Because = []flow.Because{{Object: ns.Object, Field: "metadata.labels"}}
	}
	return c
}

// Assumption is the sentence about namespaces without Namespace object that
// verdicts name.
func Assumption(a model.InjectionAssumption) string {
	what := "not injected"
	if a.Injected {
		what = "injected"
	}
	s := "namespaces without a Namespace object are taken as " + what
	if a.Reason != "" {
		s += " " + a.Reason
	}
	return s
}

// injector is the second gate: does istiod's injector agree? It returns the
// refusal, nil if it agrees (istio pkg/kube/inject/inject.go injectRequired).
func injector(config *model.MeshConfig, w *model.Workload) *Capture {
	switch {
	case w.Pod != nil && w.Pod.HostNetwork:
		return &Capture{Mode: None, Why: "its pods use the host's network and are never injected",
			Because: []flow.Because{because(w, "spec.hostNetwork")}}
	case slices.Contains(ignoredNamespaces, w.Namespace):
		return &Capture{Mode: None, Why: "pods of namespace " + w.Namespace + " are never injected"}
	}
	value, field := w.Labels[injectKey], "metadata.labels['"+injectKey+"']"
	if _, ok := w.Labels[injectKey]; !ok {
		value, field = w.Annotations[injectKey], "metadata.annotations['"+injectKey+"']"
	}
	switch value {
	case "true":
		return nil
	case "false":
		return &Capture{Mode: None, Why: "its pods are annotated " + injectKey + "=false", Because: []flow.Because{because(w, field)}}
	}
	if v, ok := Value(config, "global", "proxy", "autoInject"); ok && fmt.Sprint(v) != "enabled" {
		return &Capture{Mode: None, Why: fmt.Sprintf("the injector is installed with autoInject=%v", v),
			Because: valueBecause(config, "global.proxy.autoInject")}
	}
	return nil
}

// templateOf recognises injection templates that capture nothing, nil for the
// usual one.
func templateOf(w *model.Workload) *Capture {
	const key = "inject.istio.io/templates"
	templates, ok := w.Annotations[key]
	if !ok {
		return nil
	}
	from := []flow.Because{because(w, "metadata.annotations['"+key+"']")}
	names := splitList(templates)
	if slices.Contains(names, "sidecar") {
		return nil
	}
	for _, name := range names {
		if strings.HasPrefix(name, "grpc-") {
			return &Capture{Mode: None, Why: "it is injected with template " + name + ", which redirects nothing", Because: from}
		}
	}
	return &Capture{Mode: Undecided, Why: fmt.Sprintf("it is injected with template %q, which the manifests do not show", templates), Because: from}
}
