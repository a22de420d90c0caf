package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/visibility"
)

// MergedDestinationRule is one or more DestinationRules of a namespace for the
// same host string, merged as istiod merges them (istio
// pilot/pkg/model/destination_rule.go mergeDestinationRule).
type MergedDestinationRule struct {
	Host      host.Name
	Namespace string
	// From are the rules merged, oldest first.
	From []*DestinationRule
	// Policy is the top-level traffic policy and PolicyFrom the rule that gives
	// it: the oldest that has one. Both nil where none has.
	Policy     *networking.TrafficPolicy
	PolicyFrom *DestinationRule
	Subsets    []Subset
	// Selector is the workload selector's labels; HasSelector tells an empty
	// selector from none.
	Selector    map[string]string
	HasSelector bool

	exportTo ExportTo
}

// Subset is a subset of a merged rule; the first definition of a name stays.
type Subset struct {
	*networking.Subset
	From  *DestinationRule
	Field string
}

// SubsetByName returns a subset, nil if the rule does not define it.
func (m *MergedDestinationRule) SubsetByName(name string) *Subset {
	for i := range m.Subsets {
		if m.Subsets[i].GetName() == name {
			return &m.Subsets[i]
		}
	}
	return nil
}

// ruleSet finds merged rules by host.
type ruleSet struct {
	byHost map[host.Name][]*MergedDestinationRule
}

// lookup returns the rules for the most specific host that covers h (istio
// pilot/pkg/model/context.go MostSpecificHostMatch).
func (s *ruleSet) lookup(h host.Name) []*MergedDestinationRule {
	if s == nil {
		return nil
	}
	if rules := s.byHost[h]; rules != nil {
		return rules
	}
	best := host.Name("")
	for candidate := range s.byHost {
		if candidate.IsWildCarded() && h.SubsetOf(candidate) && candidate != h && (best == "" || host.MoreSpecific(candidate, best)) {
			best = candidate
		}
	}
	return s.byHost[best]
}

type destinationRuleIndex struct {
	local       map[string]*ruleSet
	exported    map[string]*ruleSet
	rootPrivate *ruleSet
}

// initDestinationRules fills the index (istio pilot/pkg/model/push_context.go
// setDestinationRules).
func (p *PushContext) initDestinationRules() {
	x := &p.destinationRules
	x.local, x.exported, x.rootPrivate = map[string]*ruleSet{}, map[string]*ruleSet{}, &ruleSet{byHost: map[host.Name][]*MergedDestinationRule{}}
	enhanced := p.Config.Enabled("ENABLE_ENHANCED_DESTINATIONRULE_MERGE")
	rules := slices.Clone(p.Mesh.DestinationRules)
	slices.SortStableFunc(rules, func(a, b *DestinationRule) int {
		// Rules with a selector come first.
		selects := func(r *DestinationRule) int {
			if r.Spec.GetWorkloadSelector() != nil {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(selects(a), selects(b)), compareAge(a.Object, b.Object))
	})
	for _, rule := range rules {
		exported := ExportTo(rule.Spec.GetExportTo())
		if rule.Spec.GetWorkloadSelector() != nil {
			exported = ExportTo{string(visibility.Private)}
		}
		own := contains(exported, rule.Namespace)
		if len(exported) == 0 || exported.Public() || exported.has(visibility.Private) || own {
			setFor(x.local, rule.Namespace).merge(rule, exported, enhanced)
		}
		// The mesh default is honoured only as "." or "*".
		private := len(exported) == 0 && p.defaultDestinationRuleExportTo.has(visibility.Private) ||
			len(exported) == 1 && (exported.has(visibility.Private) || own)
		switch {
		case !private:
			setFor(x.exported, rule.Namespace).merge(rule, exported, enhanced)
		case rule.Namespace == p.RootNamespace():
			x.rootPrivate.merge(rule, exported, enhanced)
		}
	}
}

func setFor(sets map[string]*ruleSet, namespace string) *ruleSet {
	if sets[namespace] == nil {
		sets[namespace] = &ruleSet{byHost: map[host.Name][]*MergedDestinationRule{}}
	}
	return sets[namespace]
}

// merge adds a rule to the rules of its host: into every one with the same
// exportTo and a fitting selector, or as one of its own. Unless enhanced, exportTo
// does not count, and that of the first rule stays.
func (s *ruleSet) merge(rule *DestinationRule, exported ExportTo, enhanced bool) {
	h := ResolveHost(rule.Spec.GetHost(), rule.Namespace)
	selector, hasSelector := rule.Spec.GetWorkloadSelector().GetMatchLabels(), rule.Spec.GetWorkloadSelector() != nil
	separate := true
	for _, existing := range s.byHost[h] {
		switch {
		case !enhanced:
		case exported.equal(existing.exportTo):
			separate = false
		default:
			separate = true
			// Only a rule that is exported at least as widely goes on to be
			// merged into this one, and is kept apart as well.
			if len(existing.exportTo) == 0 || !supersetOf(exported, existing.exportTo) {
				continue
			}
		}
		same := subset(selector, existing.Selector) && subset(existing.Selector, selector)
		if hasSelector && existing.HasSelector && !same {
			separate = true
			continue
		}
		if hasSelector == existing.HasSelector {
			separate = false
		}
		existing.add(rule)
	}
	if separate {
		m := &MergedDestinationRule{
			Host: h, Namespace: rule.Namespace, Selector: selector, HasSelector: hasSelector, exportTo: exported,
		}
		m.add(rule)
		s.byHost[h] = append(s.byHost[h], m)
	}
}

func supersetOf(a, b ExportTo) bool {
	return !slices.ContainsFunc(b, func(v string) bool { return !contains(a, v) })
}

func (m *MergedDestinationRule) add(rule *DestinationRule) {
	m.From = append(m.From, rule)
	for i, s := range rule.Spec.GetSubsets() {
		if m.SubsetByName(s.GetName()) == nil || len(m.From) == 1 {
			m.Subsets = append(m.Subsets, Subset{s, rule, fmt.Sprintf("spec.subsets[%d]", i)})
		}
	}
	if m.Policy == nil && rule.Spec.GetTrafficPolicy() != nil {
		m.Policy, m.PolicyFrom = rule.Spec.GetTrafficPolicy(), rule
	}
}

// destinationRulesFor returns the rules that clients in namespace use for a
// service: the first hit among the client's own namespace, the service's, and
// the root namespace hides the rest (istio pilot/pkg/model/push_context.go
// destinationRule).
func (p *PushContext) destinationRulesFor(namespace string, s *Service) []*MergedDestinationRule {
	x := &p.destinationRules
	if namespace != p.RootNamespace() {
		if rules := x.local[namespace].lookup(s.Hostname); rules != nil {
			return rules
		}
	} else if rules := x.rootPrivate.lookup(s.Hostname); rules != nil {
		return rules
	}
	for _, owner := range []string{s.Namespace, p.RootNamespace()} {
		var seen []*MergedDestinationRule
		for _, m := range x.exported[owner].lookup(s.Hostname) {
			if len(m.exportTo) == 0 || m.exportTo.Public() || contains(m.exportTo, namespace) {
				seen = append(seen, m)
			}
		}
		if len(seen) > 0 {
			return seen
		}
	}
	return nil
}

// DestinationRule returns the rule that a proxy in namespace with these pod
// labels uses for a service, nil if none: one whose workload selector matches,
// else the last without selector (istio pilot/pkg/model/sidecar.go
// DestinationRule).
func (p *PushContext) DestinationRule(namespace string, labels map[string]string, s *Service) *MergedDestinationRule {
	var plain *MergedDestinationRule
	for _, m := range p.destinationRulesFor(namespace, s) {
		if !m.HasSelector {
			plain = m
		} else if m.Namespace == namespace && subset(m.Selector, labels) {
			return m
		}
	}
	return plain
}

// String names the rules merged: "ns/a, ns/b".
func (m *MergedDestinationRule) String() string {
	names := make([]string, len(m.From))
	for i, r := range m.From {
		names[i] = r.ID()
	}
	return strings.Join(names, ", ")
}
