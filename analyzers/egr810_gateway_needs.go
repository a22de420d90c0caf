package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/netpol"
)

// unmetOfGateways gathers what policies keep from the pods of egress gateways and
// waypoints: istiod, and DNS if they look up what they forward to. Of the pods in told
// it has been said that they are closed altogether.
func (in *intent) unmetOfGateways(g *gathered, told []*model.Workload) {
	for _, gw := range in.gateways {
		if !slices.Contains(told, gw.Workload) {
			in.unmetOfGateway(g, gw.Workload, "egress gateway", in.lookedUp(gw))
		}
	}
	var waypoints []*model.Workload
	asked := map[*model.Workload]string{}
	for _, h := range served(in.waypointHosts()) {
		w := in.push.WaypointWorkload(h.Binding.Waypoint)
		if w == nil || slices.Contains(told, w) {
			continue
		}
		if !slices.Contains(waypoints, w) {
			waypoints = append(waypoints, w)
		}
		if asked[w] == "" && h.Service.Resolution.ByDNS() {
			asked[w] = h.name()
		}
	}
	for _, w := range waypoints {
		in.unmetOfGateway(g, w, "waypoint", asked[w])
	}
}

// unmetOfGateway is unmetOfGateways for one pod, which looks up a host, "" for none.
func (in *intent) unmetOfGateway(g *gathered, w *model.Workload, what, host string) {
	policies := in.pass.network.policies.Isolating(w, networkingv1.PolicyTypeEgress)
	if len(policies) == 0 {
		return
	}
	for _, u := range in.unmetNeedsOf(g, w, netpol.Sidecar, policies) {
		dns := u.todo == allowDNS
		switch {
		case u.severity == Note || dns && host == "":
			continue
		case dns:
			u.effect = "it finds no address of " + host
		default:
			u.effect = "it gets neither configuration nor certificates"
		}
		u.gateway = fmt.Sprintf("%s %s", what, w.ID())
		g.add(u, nil, nil)
	}
}

// lookedUp returns a host that is sent to a gateway and that it asks DNS for, "" if
// there is none.
func (in *intent) lookedUp(g *egressGateway) string {
	for _, s := range g.Steers {
		for _, service := range in.push.ServicesOf(s.Host) {
			if in.push.Visible(service, g.Namespace) && service.Resolution.ByDNS() {
				return string(s.Host)
			}
		}
	}
	return ""
}
