package traffic

import (
	"fmt"
	"maps"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// supposition is a simulation under the supposition that open labels of pods
// have certain values.
type supposition struct {
	*Simulation
	values map[string]string
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
			if !slices.Contains(named[k], v) && slices.ContainsFunc(open[k], func(l model.OpenLabel) bool { return l.May(v) }) {
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
			slices.SortStableFunc(choices, func(a, b map[string]string) int { return len(a) - len(b) })
			choices = choices[:mostSuppositions+1]
		}
	}
	var out []supposition
	for _, values := range choices[1:] {
		out = append(out, supposition{newSimulation(s.mesh.Supposing(values), chance{}), values})
	}
	return out
}

// selectors are the labels that Istio's objects and Services ask of pods.
func selectors(mesh *model.Mesh) []map[string]string {
	var out []map[string]string
	add := func(labels map[string]string) {
		if len(labels) > 0 {
			out = append(out, labels)
		}
	}
	for _, o := range mesh.KubeServices {
		add(o.Spec.Spec.Selector)
	}
	for _, o := range mesh.ServiceEntries {
		add(o.Spec.GetWorkloadSelector().GetLabels())
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
// manifests do not tell: with those of other it is b.
func unsettled(other supposition, a, b *flow.Trace) *flow.Trace {
	t := &flow.Trace{ID: a.ID, Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.Undetermined, Assumptions: a.Assumptions}
	hop := flow.Hop{At: flow.AtNetwork}
	if len(a.Hops) > 0 {
		hop.Proxy = a.Hops[0].Proxy
	}
	text, why := "", ""
	for _, k := range slices.Sorted(maps.Keys(other.values)) {
		text += fmt.Sprintf(" %s=%s", k, other.values[k])
		for _, w := range other.mesh.Workloads {
			if l, ok := w.Open[k]; ok && why == "" {
				why = l.Why
			}
		}
	}
	hop.Decision = fmt.Sprintf("a selector asks for label%s, which the manifests do not tell (%s): pods without it have the flow %s (%s), pods with it %s (%s)",
		text, why, a.Outcome, a.Reason, b.Outcome, b.Reason)
	t.Detail = hop.Decision + "; a selector for labels of the template would settle it"
	t.Hops = append(slices.Clone(a.Hops), hop)
	return t
}
