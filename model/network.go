package model

import "istio.io/api/label"

// networkGateways returns what shows that the mesh has several networks with
// gateways between them, nil if nothing does: proxies then reach endpoints of
// other networks through those gateways (istio
// pilot/pkg/xds/endpoints/ep_filters.go EndpointsByNetworkFilter,
// pilot/pkg/model/network.go).
func (m *Mesh) networkGateways() *Place {
	for _, s := range m.KubeServices {
		if s.Labels[label.TopologyNetwork.Name] != "" {
			return &Place{s.Object, "metadata.labels"}
		}
	}
	for _, g := range m.KubeGateways {
		if g.Labels[label.TopologyNetwork.Name] != "" {
			return &Place{g.Object, "metadata.labels"}
		}
	}
	if m.meshNetworks != nil {
		return &Place{m.meshNetworks, "data.meshNetworks"}
	}
	return nil
}

// ByNetwork says why it is not known how proxies reach an endpoint, nil if that
// is known: it is in a network of its own, and there are gateways between
// networks.
func (p *PushContext) ByNetwork(e *Endpoint) *Unmodelled {
	if e.Network == "" {
		return nil
	}
	at := p.cluster.networkGateways()
	if at == nil {
		return nil
	}
	return &Unmodelled{Why: "an endpoint is in network " + e.Network + ", and which gateway between networks leads there is not simulated", Place: Place{e.Object, e.Field}}
}
