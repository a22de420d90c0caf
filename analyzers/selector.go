package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// knowsPodsFor reports whether the input tells the labels of the pods that a
// policy may select.
func knowsPodsFor(p *Pass, policy *model.AuthorizationPolicy) bool {
	root := policy.Namespace == p.Mesh.Config.GetRootNamespace()
	own := false
	for _, w := range p.Mesh.Workloads {
		if !root && w.Namespace != policy.Namespace {
			continue
		}
		if w.PodUnknown != "" {
			return false
		}
		own = true
	}
	// Pods of Gateways of the Gateway API that istiod does not deploy.
	for _, g := range p.Mesh.KubeGateways {
		if (root || g.Namespace == policy.Namespace) && !slices.ContainsFunc(p.Mesh.Workloads, func(w *model.Workload) bool {
			return w.Namespace == g.Namespace && w.Labels[model.GatewayNameLabel] == g.Name
		}) {
			return false
		}
	}
	selector := policy.Spec.GetSelector().GetMatchLabels()
	for _, gw := range p.Mesh.Gateways {
		s := gw.Spec.GetSelector()
		if len(s) > 0 && (hasLabels(selector, s) || hasLabels(s, selector)) &&
			!slices.ContainsFunc(p.Mesh.Workloads, func(w *model.Workload) bool { return hasLabels(w.Labels, s) }) {
			return false
		}
	}
	return own
}

// alike reports whether two labels are the same but for letter case, dashes and
// the like: "egress-gateway" and "egressgateway".
func alike(a, b string) bool {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
	}
	return plain(a) == plain(b)
}

// selectorField is the first label of a selector that a pod does not have.
func selectorField(selector, labels map[string]string) string {
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if v, ok := labels[k]; !ok || v != selector[k] {
			return manifest.FieldPath("spec", "selector", "matchLabels", k)
		}
	}
	return "spec.selector.matchLabels"
}

func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, fmt.Sprintf("%q", k+"="+labels[k]))
	}
	return upTo3(out)
}
