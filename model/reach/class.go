package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// classify groups the clients by what configuration can tell apart: namespace,
// identity, capture, and those labels that some selector names.
func (r *Reach) classify() {
	keys := selectorKeys(r.Mesh)
	byKey := map[string]int{}
	r.class = map[*model.Workload]*model.Workload{}
	for _, w := range r.Mesh.Workloads {
		c := r.Sim.Capture(w)
		if c.Mode == capture.Router || c.Mode == capture.Waypoint {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%q %q %q", w.Namespace, w.ServiceAccount, c.Signature())
		for _, k := range keys {
			if v, ok := w.Labels[k]; ok {
				fmt.Fprintf(&b, " %q=%q", k, v)
			}
		}
		i, ok := byKey[b.String()]
		if !ok {
			i = len(r.classes)
			byKey[b.String()] = i
			r.classes = append(r.classes, nil)
		}
		r.classes[i] = append(r.classes[i], w)
		r.class[w] = r.classes[i][0]
	}
}

// selectorKeys returns the label keys that any selector over client pods names,
// sorted.
func selectorKeys(mesh *model.Mesh) []string {
	var keys []string
	add := func(labels map[string]string) {
		for k := range labels {
			keys = append(keys, k)
		}
	}
	for _, s := range mesh.Sidecars {
		add(s.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, d := range mesh.DestinationRules {
		add(d.Spec.GetWorkloadSelector().GetMatchLabels())
	}
	for _, f := range mesh.EnvoyFilters {
		add(f.Spec.GetWorkloadSelector().GetLabels())
	}
	for _, vs := range mesh.VirtualServices {
		for _, h := range vs.Spec.GetHttp() {
			for _, m := range h.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
		for _, t := range vs.Spec.GetTls() {
			for _, m := range t.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
		for _, t := range vs.Spec.GetTcp() {
			for _, m := range t.GetMatch() {
				add(m.GetSourceLabels())
			}
		}
	}
	keys = append(keys, "istio.io/rev")
	slices.Sort(keys)
	return slices.Compact(keys)
}
