package analyzers

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// bareWorkload is why a workload has no proxy of any kind.
type bareWorkload struct {
	cause
	// ofNamespace: the labels of the namespace are why. declined: with them
	// somebody said so on purpose.
	ofNamespace, declined bool
}

// bareOf tells why a workload has no proxy. It is false for workloads that have
// one or may have one, for those of the cluster itself, and where another rule
// says why: a label without effect (EGR103), the host's network (EGR105).
func bareOf(p *Pass, w *model.Workload) (bareWorkload, bool) {
	c := p.Reach.Sim.Capture(w)
	if c.Mode != capture.None || c.Assumption != "" || w.Pod == nil || w.Pod.HostNetwork || systemNamespace(p, w.Namespace) {
		return bareWorkload{}, false
	}
	if _, mislabelled := mislabelOf(p, w); mislabelled {
		return bareWorkload{}, false
	}
	ns := p.Mesh.Namespaces[w.Namespace]
	if ns == nil || !ns.Declared {
		// The pod itself declines sidecars; its namespace may be in ambient mode.
		if anyAmbient(p) {
			return bareWorkload{}, false
		}
		ns = &model.Namespace{Name: w.Namespace}
	}
	if ns.Labels[model.DataplaneModeLabel] == "ambient" {
		return outOfAmbient(w, c)
	}
	// Where the pod would have no proxy without its own opt-out either, the
	// namespace is to be mended first.
	plain := captureIf(p, w, func(other *model.Workload, _ *corev1.PodSpec) {
		if declines(other.Labels[injectKey]) {
			delete(other.Labels, injectKey)
		}
		if declines(other.Annotations[injectKey]) {
			delete(other.Annotations, injectKey)
		}
	})
	if plain.Mode == capture.None && plain.Assumption == "" {
		c = plain
	}
	b := bareWorkload{cause: cause{why: c.Why, place: placeOf(w, c.Because)}}
	value, labelled := ns.Labels[model.InjectionLabel]
	field := b.place.field
	switch {
	case len(c.Because) > 0 && ns.Object != nil && c.Because[0].Object == ns.Object,
		ns.Object == nil && strings.HasPrefix(c.Why, "namespace "):
		b.ofNamespace, b.declined = true, labelled && declines(value)
		b.todo = fmt.Sprintf("label the namespace %s, or close it with a NetworkPolicy", enrolment(p))
		if b.declined {
			b.why = fmt.Sprintf("namespace %s is labelled %s=%s", ns.Name, model.InjectionLabel, value)
		}
	case strings.HasSuffix(field, labelField(injectKey)):
		b.todo = "remove the label, or stop the requests with a NetworkPolicy"
	case strings.HasSuffix(field, annotationField(injectKey)):
		b.todo = "remove the annotation, or stop the requests with a NetworkPolicy"
	default:
		b.todo = "have a sidecar injected, or stop the requests with a NetworkPolicy"
	}
	return b, true
}

// outOfAmbient is about pods of a namespace in ambient mode that no ztunnel
// serves because they themselves say so.
func outOfAmbient(w *model.Workload, c *capture.Capture) (bareWorkload, bool) {
	b := bareWorkload{cause: cause{why: c.Why, place: placeOf(w, c.Because)}}
	switch {
	case w.Labels[model.DataplaneModeLabel] == "none":
		b.why = "its pods are labelled " + model.DataplaneModeLabel + "=none"
		b.place = exclusion{w.Object, w.Field(labelField(model.DataplaneModeLabel))}
		b.todo = "remove the label, or stop the requests with a NetworkPolicy"
	case strings.HasSuffix(b.place.field, annotationField("sidecar.istio.io/status")):
		b.todo = "remove the annotation, or stop the requests with a NetworkPolicy"
	default:
		return bareWorkload{}, false
	}
	return b, true
}

func anyAmbient(p *Pass) bool {
	for _, ns := range p.Mesh.Namespaces {
		if ns.Labels[model.DataplaneModeLabel] == "ambient" {
			return true
		}
	}
	return slices.ContainsFunc(p.Reach.Clients(), func(w *model.Workload) bool { return p.Reach.Sim.Capture(w).Mode == capture.Ambient })
}

// enrolment is the label with which namespaces of this mesh ask for sidecars.
func enrolment(p *Pass) string {
	for _, w := range p.Reach.Clients() {
		ns := p.Mesh.Namespaces[w.Namespace]
		if ns == nil || p.Reach.Sim.Capture(w).Mode != capture.Sidecar {
			continue
		}
		switch revision := ns.Labels[model.RevisionLabel]; {
		case ns.Labels[model.InjectionLabel] == "enabled":
			return model.InjectionLabel + "=enabled"
		case revision != "":
			return model.RevisionLabel + "=" + revision
		}
	}
	return model.InjectionLabel + "=enabled"
}

// bareEscape is an escape of workloads without a proxy.
type bareEscape struct {
	*escape
	ofNamespace, declined bool
	// outside: the whole namespace is in no mesh mode, and no manifest means
	// the mesh to control it in particular.
	outside bool
}

// bareEscapes returns what workloads without a proxy send past the controls.
func bareEscapes(p *Pass, in *controls) []bareEscape {
	var all escapes
	about := map[*escape]bareWorkload{}
	for _, class := range p.Reach.Classes() {
		var found *leak // of the class, made when it is needed
		for _, w := range class {
			b, ok := bareOf(p, w)
			if !ok {
				continue
			}
			if found == nil {
				list, more := in.of(class[0], anyPort)
				l := leakOf(p, list, more, anyTrace)
				found = &l
			}
			if x := all.add(w, b.cause, *found); x != nil {
				about[x] = b
			}
		}
	}
	out := make([]bareEscape, 0, len(all.order))
	for _, x := range all.order {
		b, namespace := about[x], x.workloads[0].Namespace
		out = append(out, bareEscape{x, b.ofNamespace, b.declined, b.ofNamespace && !in.meantFor(namespace)})
	}
	return out
}

// meantFor reports whether the mesh is evidently meant to control a namespace: a
// workload there has a proxy or asks for one, or configuration of the mesh for
// external hosts or for clients stands there or names it.
func (in *controls) meantFor(namespace string) bool {
	mesh := in.pass.Mesh
	if slices.ContainsFunc(in.pass.Reach.Clients(), func(w *model.Workload) bool {
		return w.Namespace == namespace && in.pass.Reach.Sim.Capture(w).Mode != capture.None
	}) {
		return true
	}
	if slices.ContainsFunc(mesh.Sidecars, func(s *model.Sidecar) bool { return s.Namespace == namespace }) ||
		slices.ContainsFunc(mesh.ServiceEntries, func(e *model.ServiceEntry) bool { return e.Namespace == namespace }) ||
		slices.ContainsFunc(in.steerings, func(s *steering) bool { return s.Namespace == namespace || s.Object.Namespace == namespace }) {
		return true
	}
	for _, policy := range mesh.AuthorizationPolicies {
		for _, rule := range policy.Spec.GetRules() {
			for _, from := range rule.GetFrom() {
				if contains(from.GetSource().GetNamespaces(), namespace) {
					return true
				}
			}
		}
	}
	return false
}
