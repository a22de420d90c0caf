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
//
// So does one that is bound to the sidecars too and has this rule for the Gateway and
// none for them: the two rules were given each other's gateways.
func (in *intent) reportOwnGateway(vs *model.MergedVirtualService) {
	if !slices.ContainsFunc(vs.Hosts, in.outside) {
		return
	}
	both := slices.Contains(vs.Gateways, model.MeshGateway)
	if both && slices.ContainsFunc(in.steerings, func(s *steering) bool { return s.Route == vs }) {
		return
	}
	for _, d := range destinationsOf(vs) {
		if d.object != vs.Object {
			continue // a delegate may be of several
		}
		for _, name := range vs.Gateways {
			g, _ := in.gatewayNamed(name)
			if g == nil || len(d.gateways) > 0 && !slices.Contains(d.gateways, name) || both && slices.Contains(d.gateways, model.MeshGateway) {
				continue
			}
			pods := in.routers(d.to)
			if len(pods) == 0 || slices.ContainsFunc(pods, func(w *model.Workload) bool { return !hasLabels(w.Labels, g.Spec.GetSelector()) }) {
				continue
			}
			if both {
				todo := fmt.Sprintf("write gateways: [%s] into the match of this rule, and the Gateway into that of the rule which leads to the host", model.MeshGateway)
				in.pass.Report(Finding{
					Object: vs.Object, Field: d.field, Severity: Error, Label: "leads to the gateway itself", Help: todo,
					Message: fmt.Sprintf("%s leads from %s to the pods of that very gateway, and has no rule by which sidecars send %s there: requests go straight out, or nowhere; %s",
						vs.Title(), g, upTo3(hostNames(vs.Hosts)), todo),
					Related: []Related{{g.Object, "spec.selector", fmt.Sprintf("selects the pods of %s", pods[0].ID())}},
				})
				return
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
