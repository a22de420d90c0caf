package capture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// defaultRevision is the name under which webhooks know the revision "".
const defaultRevision = "default"

// webhook is the first gate: does a webhook select the pod when it is created?
// What the webhooks of an installation select follows from its chart (istio
// manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml,
// revision-tags-mwc.yaml); where the input has the webhooks themselves, they
// count.
func (s *subject) webhook() *Capture {
	revision, c := s.asked()
	if s.ns.Declared {
		if selected := s.selected(c); selected != nil {
			return selected
		}
	}
	if c.Mode != Sidecar || revision == "" {
		return c
	}
	return s.exists(revision, c)
}

// asked says which revision the labels ask for, "" where none or where it rests
// on an assumption about the namespace.
func (s *subject) asked() (string, *Capture) {
	w, ns := s.w, s.ns
	if w.Labels[injectKey] == "false" {
		return "", &Capture{Mode: None, Why: "its pods are labelled " + injectKey + "=false", Because: s.podLabel(injectKey)}
	}
	if value, ok := ns.Labels[injectionKey]; ok {
		why := fmt.Sprintf("namespace %s is labelled %s=%s", ns.Name, injectionKey, value)
		if value != "enabled" {
			return "", &Capture{Mode: None, Why: why + ", and only \"enabled\" injects sidecars", Because: labelBecause(ns, injectionKey)}
		}
		return defaultRevision, &Capture{Mode: Sidecar, Why: why, Because: labelBecause(ns, injectionKey)}
	}
	if value, ok := ns.Labels[revisionKey]; ok {
		why := fmt.Sprintf("namespace %s is labelled %s=%s", ns.Name, revisionKey, value)
		if value == "" {
			return "", &Capture{Mode: None, Why: why + ", which names no revision", Because: labelBecause(ns, revisionKey)}
		}
		return value, &Capture{Mode: Sidecar, Why: why, Because: labelBecause(ns, revisionKey)}
	}
	if value, ok := w.Labels[revisionKey]; ok {
		why := fmt.Sprintf("its pods are labelled %s=%s", revisionKey, value)
		if value == "" {
			return "", &Capture{Mode: None, Why: why + ", which names no revision", Because: s.podLabel(revisionKey)}
		}
		return value, &Capture{Mode: Sidecar, Why: why, Because: s.podLabel(revisionKey)}
	}
	if w.Labels[injectKey] == "true" {
		return defaultRevision, &Capture{Mode: Sidecar, Why: "its pods are labelled " + injectKey + "=true", Because: s.podLabel(injectKey)}
	}
	_, labelled := w.Labels[injectKey]
	if on, ok := Value(s.config, "sidecarInjectorWebhook", "enableNamespacesByDefault"); ok && truth(on) &&
		!labelled && !contains(ignoredNamespaces, w.Namespace) && s.rendersDefault() {
		return defaultRevision, &Capture{Mode: Sidecar, Why: "sidecars are injected in every namespace by default",
			Because: valueBecause(s.config, "sidecarInjectorWebhook.enableNamespacesByDefault")}
	}
	return "", s.unlabelled()
}

// unlabelled is about pods that nothing in the input enrols.
func (s *subject) unlabelled() *Capture {
	if !s.ns.Declared {
		a := s.mesh.InjectionAssumption
		c := &Capture{Assumption: Assumption(a)}
		if a.Injected && s.w.Namespace != s.config.GetRootNamespace() && !contains(ignoredNamespaces, s.w.Namespace) {
			c.Mode, c.Why = Sidecar, fmt.Sprintf("namespace %s is assumed to be injected", s.w.Namespace)
		} else {
			c.Mode, c.Why = None, fmt.Sprintf("namespace %s is assumed not to be injected", s.w.Namespace)
		}
		return c
	}
	c := &Capture{Mode: None, Why: fmt.Sprintf("namespace %s has no injection label", s.ns.Name)}
	if s.ns.Object != nil {
		c.Because = []flow.Because{{Object: s.ns.Object, Field: "metadata.labels"}}
	}
	return c
}

// truth is how Helm's "if" takes a value.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	default:
		return fmt.Sprint(v) != "0"
	}
}

// rendersDefault reports whether the chart of the workload's control plane has
// the webhooks of the default revision: it does without revision, and for the
// tag "default".
func (s *subject) rendersDefault() bool {
	return s.config.Revision == "" || s.mesh.RevisionTags[defaultRevision] == s.config.Revision || s.soleByOperator() != ""
}

// selected asks the webhooks that the input itself has; nil where none selects
// the pod. c is what the labels ask for.
func (s *subject) selected(c *Capture) *Capture {
	if len(s.mesh.InjectionWebhooks) == 0 {
		return nil
	}
	configs := slices.Clone(s.mesh.InjectionWebhooks)
	slices.SortStableFunc(configs, func(a, b *model.MutatingWebhook) int { return cmp.Compare(a.Name, b.Name) })
	pod := admitted(s.w)
	for _, config := range configs {
		for i := range config.Spec.Webhooks {
			hook := &config.Spec.Webhooks[i]
			if !onPods(hook) {
				continue
			}
			inNamespace, err := selects(hook.NamespaceSelector, s.ns.Labels)
			onPod, err2 := selects(hook.ObjectSelector, pod)
			from := flow.Because{Object: config.Object, Field: fmt.Sprintf("webhooks[%d]", i)}
			switch {
			case err != nil || err2 != nil || !inNamespace || !onPod:
				continue // the API server refuses what is no selector
			case len(hook.MatchConditions) > 0:
				from.Field += ".matchConditions"
				return &Capture{Mode: Undecided, Why: fmt.Sprintf("whether %s selects its pods is up to conditions that are not evaluated", config.Object), Because: []flow.Because{from}}
			}
			out := &Capture{Mode: Sidecar, Why: c.Why, Because: append(slices.Clone(c.Because), from)}
			if c.Mode != Sidecar || c.Assumption != "" {
				out.Why, out.Because = fmt.Sprintf("%s selects its pods", config.Object), []flow.Because{from}
			}
			if hook.FailurePolicy != nil && *hook.FailurePolicy == "Ignore" {
				out.Assumption = fmt.Sprintf("istiod answers when the pods are created: %s has failurePolicy Ignore, and without an answer they start without a sidecar", config.Object)
			}
			return out
		}
	}
	return nil
}

// onPods reports whether a webhook is asked when pods are created.
func onPods(hook *model.Webhook) bool {
	return slices.ContainsFunc(hook.Rules, func(r model.WebhookRule) bool {
		has := func(list []string, v string) bool { return contains(list, v) || contains(list, "*") }
		return has(r.APIGroups, "") && has(r.APIVersions, "v1") && has(r.Resources, "pods") &&
			(contains(r.Operations, "CREATE") || contains(r.Operations, "*"))
	})
}

// revisionOfWebhook is the revision or tag that a webhook of the input is for.
func revisionOfWebhook(config *model.MutatingWebhook) string {
	if name := cmp.Or(config.Labels["istio.io/tag"], config.Labels[revisionKey]); name != "" {
		return name
	}
	for _, hook := range config.Spec.Webhooks {
		if service := hook.ClientConfig.Service; service != nil {
			return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(service.Name, "istiod"), "-"), defaultRevision)
		}
	}
	return defaultRevision
}

// exists decides about pods whose labels ask for a revision, c, that no webhook
// of the input selects: is there such a revision?
func (s *subject) exists(revision string, c *Capture) *Capture {
	if s.ns.Declared {
		for _, config := range s.mesh.InjectionWebhooks {
			if len(config.Spec.Webhooks) > 0 && revisionOfWebhook(config) == revision {
				return &Capture{Mode: None, Why: fmt.Sprintf("%s, but %s, which injects revision %s, does not select its pods", c.Why, config.Object, revision),
					Because: append(slices.Clone(c.Because), flow.Because{Object: config.Object, Field: "webhooks"})}
			}
		}
	}
	known := s.revisions()
	switch {
	case len(known) == 0, contains(known, revision):
		return c
	case revision == defaultRevision:
		if named := s.soleByOperator(); named != "" {
			c.Assumption = join(c.Assumption, fmt.Sprintf("revision %s is the default one too, as istioctl makes the first revision that it installs in a cluster", named))
			return c
		}
		return &Capture{Mode: Undecided, Because: c.Because, Why: fmt.Sprintf(
			"%s, but the input installs no default revision (only %s), and without one nothing injects its pods; add the installation or revision tag that is the default one",
			c.Why, strings.Join(known, ", "))}
	default:
		return &Capture{Mode: Undecided, Because: c.Because, Why: fmt.Sprintf(
			"%s, but the input installs no revision or revision tag of that name (only %s), and without one nothing injects its pods; add the installation or webhook of %s",
			c.Why, strings.Join(known, ", "), revision)}
	}
}

// revisions are the revisions and revision tags that the input shows to be
// installed, sorted; none where it shows no installation at all.
func (s *subject) revisions() []string {
	known := slices.Concat(slices.Collect(maps.Keys(s.mesh.Revisions)), slices.Collect(maps.Keys(s.mesh.RevisionTags)))
	if c := s.mesh.Config; c != nil && c.Revision == "" && (c.Source != nil || c.ValuesSource != nil || c.Environment != nil) {
		known = append(known, defaultRevision)
	}
	for _, config := range s.mesh.InjectionWebhooks {
		if len(config.Spec.Webhooks) > 0 {
			known = append(known, revisionOfWebhook(config))
		}
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// soleByOperator returns the only control plane of the input if istioctl
// installs it under a revision's name: then istioctl tags it "default" too,
// unless the cluster has another (istio operator/pkg/webhook/webhook.go
// detectIfTagWebhookIsNeeded). "" otherwise.
func (s *subject) soleByOperator() string {
	c := s.mesh.Config
	if c == nil || c.Revision == "" || len(s.mesh.Revisions) != 1 || len(s.mesh.RevisionTags) > 0 ||
		c.Source == nil || c.Source.Kind != "IstioOperator" {
		return ""
	}
	if managed, ok := Value(c, "global", "operatorManageWebhooks"); ok && truth(managed) {
		return ""
	}
	return c.Revision
}
