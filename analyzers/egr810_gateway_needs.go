package analyzers

import (
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/netpol"
)

// unmetOfGateways gathers what policies keep from the pods of egress gateways: istiod,
// and DNS if they look up what they forward to. What lets them reach no address
// outside is told as such.
func (in *intent) unmetOfGateways(g *gathered) {
	p := in.pass
	for _, gw := range in.gateways {
		policies := p.network.policies.Isolating(gw.Workload, networkingv1.PolicyTypeEgress)
		if len(policies) == 0 || in.closing(gw.Workload) != nil {
			continue
		}
		for _, u := range in.unmetNeedsOf(g, gw.Workload, netpol.Sidecar, policies) {
			switch {
			case u.severity == Note:
				continue
			case u.todo == allowDNS:
				host := in.lookedUp(gw)
				if host == "" {
					continue
				}
				u.effect = "it finds no address of " + host
			default:
				u.effect = "it gets neither configuration nor certificates"
			}
			u.gateway = "egress gateway " + gw.ID()
			g.add(u, nil, nil)
		}
	}
}

// lookedUp returns a host that is sent to a gateway and that it asks DNS for, "" if
// there is none (istio pilot/pkg/networking/core/cluster_builder.go
// convertResolution).
func (in *intent) lookedUp(g *egressGateway) string {
	for _, s := range g.Steers {
		for _, service := range in.push.ServicesOf(s.Host) {
			if in.push.Visible(service, g.Namespace) && (service.Resolution == model.DNSLB || service.Resolution == model.DNSRoundRobinLB) {
				return string(s.Host)
			}
		}
	}
	return ""
}
