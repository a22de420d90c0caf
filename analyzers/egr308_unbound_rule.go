package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// reportUnboundRules reports the rules of a VirtualService for hosts outside that
// are for gateways which its own list does not have: proxies get a VirtualService
// only if that list names them (istio pilot/pkg/model/push_context.go
// initVirtualServices), so that such a rule holds nowhere.
func (in *intent) reportUnboundRules(vs *model.MergedVirtualService) {
	if !slices.ContainsFunc(vs.Hosts, in.outside) {
		return
	}
	// A list that is not written means the sidecars alone.
	field := "spec.gateways"
	if len(vs.Spec.GetGateways()) == 0 {
		field = "spec"
	}
	told := map[string]bool{}
	for _, block := range []string{"http", "tls", "tcp"} {
		for _, c := range conditionsOf(vs, block) {
			for _, name := range c.gateways {
				if slices.Contains(vs.Gateways, name) || told[name] {
					continue
				}
				told[name] = true
				who := "Gateway " + name
				effect := "the gateway does not get them"
				if name == model.MeshGateway {
					who, effect = "the sidecars (mesh)", fmt.Sprintf("requests of the mesh for %s do not take them", upTo3(hostNames(vs.Hosts)))
				}
				todo, at, label := fmt.Sprintf("add %q to its gateways", name), field, fmt.Sprintf("lacks %q", name)
				if meant := nearest(name, vs.Gateways); meant != "" {
					todo, at, label = fmt.Sprintf("is %q meant?", meant), c.field+".gateways", "not in the list"
				}
				in.pass.Report(Finding{
					Object: vs.Object, Field: at, Severity: Error, Label: label, Help: todo,
					Message: fmt.Sprintf("%s has rules for %s, which its gateways do not list: they hold nowhere, and %s; %s", vs.Title(), who, effect, todo),
					Related: []Related{{vs.Object, c.field + ".gateways", "this condition never holds"}},
				})
			}
		}
	}
}

// gatewaysByHost are the Gateways to which VirtualServices for a host are bound.
func (in *intent) gatewaysByHost() map[host.Name][]string {
	out := map[host.Name][]string{}
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" {
			continue
		}
		for _, h := range vs.Hosts {
			for _, name := range vs.Gateways {
				if name != model.MeshGateway && !slices.Contains(out[h], name) {
					out[h] = append(out[h], name)
				}
			}
		}
	}
	return out
}

// reportOtherPods reports a Gateway to which the second leg of a steered host is bound,
// in the same VirtualService or in another, and that selects none of the pods to which
// the first leg leads.
func (in *intent) reportOtherPods(vs *model.MergedVirtualService, bound map[host.Name][]string, told map[*model.Gateway]bool) {
	for _, s := range in.byRoute[vs] {
		if len(s.Pods) == 0 {
			continue
		}
		for _, h := range s.Hosts {
			var wrong *model.Gateway
			right := false
			for _, name := range bound[h] {
				g, known := in.gatewayNamed(name)
				switch {
				case g == nil:
					right = right || !known || in.unread(name)
				case !takesHost(g, h):
				case slices.ContainsFunc(s.Pods, func(w *model.Workload) bool { return hasLabels(w.Labels, g.Spec.GetSelector()) }):
					right = true
				default:
					wrong = g
				}
			}
			if wrong == nil || right || told[wrong] {
				continue
			}
			told[wrong] = true
			pod := s.Pods[0]
			in.pass.Report(Finding{
				Object: wrong.Object, Field: selectorLabel(wrong.Spec.GetSelector(), pod.Labels), Severity: Error, Label: "selects other pods",
				Help: "select the labels of the gateway's pods",
				Message: fmt.Sprintf("%s selects other pods (%s) than those of egress gateway %s, to which %s sends %s: nothing there takes the requests; select the labels of the gateway's pods",
					wrong, labelText(wrong.Spec.GetSelector()), pod.ID(), vs.Title(), h),
				Related: []Related{s.related(), {pod.Object, pod.Field("metadata.labels"), fmt.Sprintf("the labels of %s", pod.ID())}},
			})
		}
	}
}
