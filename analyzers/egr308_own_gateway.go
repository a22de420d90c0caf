package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// reportOwnGateway reports a VirtualService for hosts outside that is bound to
// Gateways alone and leads to the very pods that one of them selects: such a rule is
// meant for the sidecars, which do not get it, and would go round at the gateway.
func (in *intent) reportOwnGateway(vs *model.MergedVirtualService) {
	if slices.Contains(vs.Gateways, model.MeshGateway) || !slices.ContainsFunc(vs.Hosts, in.outside) {
		return
	}
	for _, d := range destinationsOf(vs) {
		if d.object != vs.Object {
			continue // a delegate may be of several
		}
		for _, name := range vs.Gateways {
			g, _ := in.gatewayNamed(name)
			if g == nil || len(d.gateways) > 0 && !slices.Contains(d.gateways, name) {
				continue
			}
			pods := in.routers(d.to)
			if len(pods) == 0 || slices.ContainsFunc(pods, func(w *model.Workload) bool { return !hasLabels(w.Labels, g.Spec.GetSelector()) }) {
				continue
			}
			in.pass.Report(Finding{
				Object: vs.Object, Field: d.field, Severity: Error, Label: "leads to the gateway itself",
				Help: fmt.Sprintf("add %q to its gateways with a rule for it, and let the rule for the gateway lead to the host", model.MeshGateway),
				Message: fmt.Sprintf("%s is bound to %s alone and sends %s to that gateway: requests of the mesh do not take the rule, and those that come to the gateway go round; add %q to its gateways, and let the rule for the gateway lead to the host",
					vs.Title(), g, upTo3(hostNames(vs.Hosts)), model.MeshGateway),
				Related: []Related{{g.Object, "spec.selector", fmt.Sprintf("selects the pods of %s", pods[0].ID())}},
			})
			return
		}
	}
}

// outside reports whether a host is no Service of the cluster, by whatever name.
func (in *intent) outside(h host.Name) bool {
	return strings.Contains(string(h), ".") && !inCluster(in.push, h) && in.service(completed(h)) == nil
}

// ruleDestination is a destination of a rule, and the gateways that the rule is for,
// none for all that its VirtualService lists.
type ruleDestination struct {
	to       host.Name
	gateways []string
	object   *manifest.Object
	field    string
}

// destinationsOf returns the destinations of the rules of a VirtualService.
func destinationsOf(vs *model.MergedVirtualService) []ruleDestination {
	var out []ruleDestination
	for _, r := range vs.HTTP {
		var gateways []string
		for _, m := range r.GetMatch() {
			gateways = append(gateways, m.GetGateways()...)
		}
		for i, d := range r.GetRoute() {
			out = append(out, ruleDestination{host.Name(d.GetDestination().GetHost()), gateways, r.Object, fmt.Sprintf("%s.route[%d].destination", r.Field, i)})
		}
	}
	add := func(routes []*networking.RouteDestination, gateways []string, field string) {
		for i, d := range routes {
			out = append(out, ruleDestination{host.Name(d.GetDestination().GetHost()), gateways, vs.Object, fmt.Sprintf("%s.route[%d].destination", field, i)})
		}
	}
	for i, r := range vs.TLS {
		var gateways []string
		for _, m := range r.GetMatch() {
			gateways = append(gateways, m.GetGateways()...)
		}
		add(r.GetRoute(), gateways, fmt.Sprintf("spec.tls[%d]", i))
	}
	for i, r := range vs.TCP {
		var gateways []string
		for _, m := range r.GetMatch() {
			gateways = append(gateways, m.GetGateways()...)
		}
		add(r.GetRoute(), gateways, fmt.Sprintf("spec.tcp[%d]", i))
	}
	return out
}
