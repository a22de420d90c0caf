package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/manifest"
)

// injectKey is the label, or annotation, of pods that asks for a sidecar or
// declines it.
const injectKey = "sidecar.istio.io/inject"

func labelField(key string) string      { return "metadata.labels['" + key + "']" }
func annotationField(key string) string { return "metadata.annotations['" + key + "']" }

// mislabel is a label or annotation without the effect that its author wanted.
type mislabel struct {
	object *manifest.Object
	field  string
	// setting is key="value"; why says what is looked at, write what to do.
	setting, why, write string
}

// mislabelOf returns the label because of which a workload has no sidecar
// although somebody asked for one.
func mislabelOf(p *Pass, w *model.Workload) (mislabel, bool) {
	ns := p.Mesh.Namespaces[w.Namespace]
	if p.Reach.Sim.Capture(w).Mode != capture.None || w.Pod == nil || w.Pod.HostNetwork || ns == nil || !ns.Declared ||
		declines(w.Labels[injectKey]) || declines(w.Annotations[injectKey]) {
		return mislabel{}, false
	}
	value, labelled := ns.Labels[model.InjectionLabel]
	switch {
	case !labelled && ns.Labels[model.RevisionLabel] == "":
		if m, ok := asked(w, "", ""); ok || ns.Object == nil {
			return m, ok
		}
		return misspeltLabel(ns)
	case !labelled || value == "enabled" || value == "":
		return mislabel{}, false // enabled for other reasons than a label not; "" says nothing
	case !declines(value):
		if ns.Object == nil {
			return mislabel{}, false // a flag says so
		}
		return mislabel{ns.Object, labelField(model.InjectionLabel), fmt.Sprintf("%s=%q", model.InjectionLabel, value),
			`only the value "enabled" does`, `write "enabled"`}, true
	}
	beside := fmt.Sprintf("%s=%s of namespace %s is looked at first", model.InjectionLabel, value, w.Namespace)
	remove := fmt.Sprintf("remove the label %s from the namespace", model.InjectionLabel)
	if m, ok := asked(w, beside, remove); ok {
		return m, true
	}
	if ns.Object != nil && ns.Object.Labels[model.RevisionLabel] != "" {
		return mislabel{ns.Object, labelField(model.RevisionLabel), fmt.Sprintf("%s=%q", model.RevisionLabel, ns.Object.Labels[model.RevisionLabel]),
			beside, remove}, true
	}
	return mislabel{}, false
}

// misspeltLabel returns the label of a namespace that is meant to enable injection and
// has a key at which no webhook looks on namespaces.
func misspeltLabel(ns *model.Namespace) (mislabel, bool) {
	for _, key := range slices.Sorted(maps.Keys(ns.Object.Labels)) {
		if value := ns.Object.Labels[key]; wants(value) && (key == injectKey || near(strings.NewReplacer("_", "-", ".", "-", "/", "-").Replace(key), model.InjectionLabel) ||
			strings.NewReplacer("_", "-", ".", "-", "/", "-").Replace(key) == model.InjectionLabel) {
			return mislabel{ns.Object, labelField(key), fmt.Sprintf("%s=%q", key, value),
				fmt.Sprintf("on namespaces the webhook looks at the label %q", model.InjectionLabel), fmt.Sprintf("label it %s=enabled", model.InjectionLabel)}, true
		}
	}
	return mislabel{}, false
}

// asked returns the place where a workload itself asks for a sidecar. why and
// write are given where the labels of its namespace stand against it; otherwise
// it is the place or the value that is wrong.
func asked(w *model.Workload, why, write string) (mislabel, bool) {
	label := "the label " + injectKey + " of the pod template"
	if w.Template == "" {
		label = "the label " + injectKey
	}
	const only = "the webhook looks at the labels of the pod template only"
	for _, place := range []struct {
		values     map[string]string
		key, field string
		why, write string
		// counts says that the place is looked at where the namespace is for it.
		counts bool
	}{
		{w.Labels, injectKey, w.Field(labelField(injectKey)), `only the value "true" does`, `write "true"`, true},
		{w.Labels, model.RevisionLabel, w.Field(labelField(model.RevisionLabel)), "", "", true},
		{w.Annotations, injectKey, w.Field(annotationField(injectKey)), "an annotation can only decline", "set " + label + ` to "true"`, false},
		{w.Object.Labels, injectKey, labelField(injectKey), only, "set " + label + ` to "true"`, false},
		{w.Object.Annotations, injectKey, annotationField(injectKey), only, "set " + label + ` to "true"`, false},
	} {
		value := place.values[place.key]
		switch {
		case !wants(value) && (place.key == injectKey || value == ""):
		case place.why == "" && why == "":
		case why != "" && place.counts:
			return mislabel{w.Object, place.field, fmt.Sprintf("%s=%q", place.key, value), why, write}, true
		default:
			return mislabel{w.Object, place.field, fmt.Sprintf("%s=%q", place.key, value), place.why, place.write}, true
		}
	}
	return mislabel{}, false
}

// wants and declines read what somebody means with a value of a label, right or
// wrong. A value that is neither asks for nothing.
func wants(value string) bool {
	return contains([]string{"true", "yes", "y", "on", "1", "enabled", "enable", "inject"}, strings.ToLower(value))
}

func declines(value string) bool {
	return contains([]string{"false", "no", "n", "off", "0", "disabled", "disable", "none", "never"}, strings.ToLower(value))
}
