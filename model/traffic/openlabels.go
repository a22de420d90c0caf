package traffic

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// supposition is a simulation under the supposition that open labels of pods
// have certain values, or that a field of mesh configuration has that a placeholder
// leaves open.
type supposition struct {
	// simulation is made when it is first asked.
	simulation func() *Simulation
	values     map[string]string
	doubt      *model.Doubt
	// services are the objects whose selectors alone name these labels: only
	// flows that come by one of them can depend on it. Without any, all may.
	services []*manifest.Object
}

// concerns reports whether a flow that was answered with t may fare differently.
func (s *supposition) concerns(t *flow.Trace) bool {
	return len(s.services) == 0 || slices.ContainsFunc(s.services, func(o *manifest.Object) bool { return cites(t, o) })
}

// mostSuppositions bounds what is tried where selectors name many open labels.
const mostSuppositions = 16

// findSuppositions sets up what the labels that manifests do not tell may be, as
// far as a selector of Istio or of a Service asks for them: each value that one
// names, and together with those of other labels. Network policies deal with
// open labels themselves.
func (s *Simulation) findSuppositions() []supposition {
	open := map[string][]model.OpenLabel{}
	for _, w := range s.mesh.Workloads {
		for k, l := range w.Open {
			open[k] = append(open[k], l)
		}
	}
	named := map[string][]string{}
	for _, selector := range selectors(s.mesh) {
		for k, v := range selector {
			if !contains(named[k], v) && slices.ContainsFunc(open[k], func(l model.OpenLabel) bool { return l.May(v) }) {
				named[k] = append(named[k], v)
			}
		}
	}
	// Each label has a value that is not named, too: that of the base.
	choices := []map[string]string{{}}
	for _, k := range slices.Sorted(maps.Keys(named)) {
		slices.Sort(named[k])
		for _, c := range slices.Clone(choices) {
			for _, v := range named[k] {
				next := maps.Clone(c)
				next[k] = v
				choices = append(choices, next)
			}
		}
		if len(choices) > mostSuppositions {
			// The fewest labels first: what depends on one is found in any case.
			sort.SliceStable(choices, func(i, j int) bool { return len(choices[i]) < len(choices[j]) })
			choices = choices[:mostSuppositions+1]
		}
	}
	var out []supposition
	for _, values := range choices[1:] {
		out = append(out, supposition{
			simulation: sync.OnceValue(func() *Simulation { return newSimulation(s.mesh.Supposing(values), chance{}) }),
			values:     values, services: s.onlyServices(values),
		})
	}
	for _, d := range s.mesh.Doubts() {
		out = append(out, supposition{
			simulation: sync.OnceValue(func() *Simulation { return newSimulation(s.mesh.Otherwise(d), chance{}) }),
			doubt:      &d,
		})
	}
	return out
}

// onlyServices returns the Services and ServiceEntries whose selectors name some
// of the labels, nil where other objects do, too, or where one of them is in a
// namespace with gateways, whose ports depend on the Services that select them.
func (s *Simulation) onlyServices(values map[string]string) []*manifest.Object {
	names := func(selector map[string]string) bool {
		for k, v := range values {
			if selector[k] == v {
				return true
			}
		}
		return false
	}
	var out []*manifest.Object
	for _, o := range s.mesh.KubeServices {
		if names(o.Spec.Spec.Selector) {
			out = append(out, o.Object)
		}
	}
	for _, o := range s.mesh.ServiceEntries {
		if names(o.Spec.GetWorkloadSelector().GetLabels()) {
			out = append(out, o.Object)
		}
	}
	for _, w := range s.mesh.Workloads {
		if mode := s.capture(w).Mode; (mode == capture.Router || mode == capture.Waypoint) &&
			slices.ContainsFunc(out, func(o *manifest.Object) bool { return o.Namespace == w.Namespace }) {
			return nil
		}
	}
	if slices.ContainsFunc(otherSelectors(s.mesh), names) {
		return nil
	}
	return out
}

// selectors are the labels that Istio's objects and Services ask of pods.
func selectors(mesh *model.Mesh) []map[string]string {
	out := otherSelectors(mesh)
	for _, o := range mesh.KubeServices {
		out = append(out, o.Spec.Spec.Selector)
	}
	for _, o := range mesh.ServiceEntries {
		out = append(out, o.Spec.GetWorkloadSelector().GetLabels())
	}
	return out
}

// otherSelectors are those that do not make endpoints of pods.
func otherSelectors(mesh *model.Mesh) []map[string]string {
	var out []map[string]string
	add := func(labels map[string]string) {
		if len(labels) > 0 {
			out = append(out, labels)
		}
	}
	for _, o := range mesh.Sidecars {
		add(o.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, o := range mesh.EnvoyFilters {
		add(o.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, o := range mesh.Gateways {
		add(o.Spec.GetSelector())
	}
	for _, o := range mesh.AuthorizationPolicies {
		add(o.Spec.GetSelector().GetMatchLabels())
	}
	for _, o := range mesh.PeerAuthentications {
		add(o.Spec.GetSelector().GetMatchLabels())
	}
	for _, o := range mesh.RequestAuthentications {
		add(o.Spec.GetSelector().GetMatchLabels())
	}
	for _, o := range mesh.DestinationRules {
		add(o.Spec.GetWorkloadSelector().GetMatchLabels())
		for _, subset := range o.Spec.GetSubsets() {
			add(subset.GetLabels())
		}
	}
	for _, o := range mesh.VirtualServices {
		for _, r := range o.Spec.GetHttp() {
			for _, m := range r.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
		for _, r := range o.Spec.GetTls() {
			for _, m := range r.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
		for _, r := range o.Spec.GetTcp() {
			for _, m := range r.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
	}
	return out
}

// unsettled answers for a flow whose verdict a depends on labels that the
// manifests do not tell, or on a placeholder: with those of other it is b.
func unsettled(other supposition, a, b *flow.Trace) *flow.Trace {
	t := &flow.Trace{ID: a.ID, Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.Undetermined, Assumptions: a.Assumptions}
	hop := flow.Hop{At: flow.AtNetwork}
	if len(a.Hops) > 0 {
		hop.Proxy = a.Hops[0].Proxy
	}
	if d := other.doubt; d != nil {
		settles := "; the ConfigMap of istiod would settle it"
		if t.Reason = flow.Assumption; d.Text != "" {
			t.Reason = flow.Template
			settles = "; manifests in which it is filled in would settle it"
		}
		hop.Decision = fmt.Sprintf("%s: with %s the flow is %s (%s), with %s %s (%s)", d.Why, d.Taken, a.Outcome, a.Reason, d.Other, b.Outcome, b.Reason)
		hop.Because = []flow.Because{{Object: d.Object, Field: d.Field}}
		t.Detail = hop.Decision + settles
		t.Hops = append(slices.Clone(a.Hops), hop)
		return t
	}
	text, why, settles := "", "", "; a selector for labels of the template would settle it"
	for _, k := range slices.Sorted(maps.Keys(other.values)) {
		text += fmt.Sprintf(" %s=%s", k, other.values[k])
		for _, w := range other.simulation().mesh.Workloads {
			if l, ok := w.Open[k]; ok && why == "" && l.May(other.values[k]) {
				if why = l.Why; l.Text != "" {
					t.Reason, settles = flow.Template, "; manifests in which it is filled in would settle it"
				}
			}
		}
	}
	hop.Decision = fmt.Sprintf("a selector asks for label%s, which the manifests do not tell (%s): pods without it have the flow %s (%s), pods with it %s (%s)",
		text, why, a.Outcome, a.Reason, b.Outcome, b.Reason)
	t.Detail = hop.Decision + settles
	t.Hops = append(slices.Clone(a.Hops), hop)
	return t
}
