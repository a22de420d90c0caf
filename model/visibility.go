package model

import (
	"slices"

	meshconfig "istio.io/api/mesh/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"istio.io/istio/pkg/config/visibility"
)

// ExportTo is the set of namespaces that an object is exported to: "*" is
// everybody, "." the object's own namespace, "~" nobody, anything else a
// namespace. Its order is that of the manifest.
type ExportTo []string

//go:noinline
func (e ExportTo) has(v visibility.Instance) bool { return contains(e, string(v)) }

// Public reports whether everybody sees an object exported so.
//
//go:noinline
func (e ExportTo) Public() bool { return e.has(visibility.Public) }

// VisibleTo reports whether a proxy in namespace sees an object of namespace
// own that is exported so (istio pilot/pkg/model/push_context.go
// IsServiceVisible).
func (e ExportTo) VisibleTo(own, namespace string) bool {
	return e.Public() || e.has(visibility.Private) && own == namespace || contains(e, namespace)
}

// equal reports whether both name the same set.
func (e ExportTo) equal(other ExportTo) bool {
	return !slices.ContainsFunc(e, func(v string) bool { return !contains(other, v) }) &&
		!slices.ContainsFunc(other, func(v string) bool { return !contains(e, v) })
}

// defaultExportTo gives a mesh default; unset means everybody.
func defaultExportTo(set []string) ExportTo {
	if set == nil {
		return ExportTo{string(visibility.Public)}
	}
	return ExportTo(set)
}

// serviceExportTo returns the namespaces that see a service: what it says, else
// the mesh default, capped by meshConfig.serviceEntryVisibility where that
// applies to sidecars (istio pilot/pkg/model/push_context.go serviceExportTo).
func (p *PushContext) serviceExportTo(s *Service) ExportTo {
	exported := p.defaultServiceExportTo
	if len(s.ExportTo) > 0 {
		exported = s.ExportTo
	}
	if len(exported) == 1 && exported.has(visibility.None) {
		return exported
	}
	rules := p.Config.GetServiceEntryVisibility()
	if s.Entry == nil || !rules.GetApplyToSidecars() {
		return exported
	}
	switch p.entryVisibility(rules, s.Namespace) {
	case meshconfig.ServiceEntryVisibility_NAMESPACE:
		if exported.Public() || exported.has(visibility.Private) || contains(exported, s.Namespace) {
			return ExportTo{string(visibility.Private)}
		}
		return ExportTo{string(visibility.None)}
	case meshconfig.ServiceEntryVisibility_NONE:
		return ExportTo{string(visibility.None)}
	default:
		return exported
	}
}

// entryVisibility resolves meshConfig.serviceEntryVisibility for a namespace:
// the first policy whose rules all match, else the default
// (istio pilot/pkg/model/serviceentry_visibility.go VisibilityFor).
func (p *PushContext) entryVisibility(rules *meshconfig.ServiceEntryVisibility, namespace string) meshconfig.ServiceEntryVisibility_Visibility {
	var set labels.Set
	if ns := p.Mesh.Namespaces[namespace]; ns != nil {
		set = ns.Labels
	}
	for _, policy := range rules.GetPolicies() {
		matches := true
		for _, rule := range policy.GetMatchingRules() {
			selector := rule.GetNamespaceSelector()
			matches = matches && selector != nil && selectorMatches(selector.GetMatchLabels(), nil, set)
			for _, e := range selector.GetMatchExpressions() {
				matches = matches && selectorMatches(nil, []metav1.LabelSelectorRequirement{{
					Key: e.GetKey(), Operator: metav1.LabelSelectorOperator(e.GetOperator()), Values: e.GetValues(),
				}}, set)
			}
		}
		if matches {
			return policy.GetVisibility()
		}
	}
	return rules.GetDefaultVisibility()
}

// selectorMatches reports whether a Kubernetes label selector selects labels;
// one that is not valid selects nothing.
func selectorMatches(match map[string]string, expressions []metav1.LabelSelectorRequirement, set labels.Set) bool {
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: match, MatchExpressions: expressions})
	return err == nil && selector.Matches(set)
}
