package traffic

import (
	"fmt"
	"net/netip"
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// gatewayToWaypoint sends what a gateway forwards to a service through the
// service's waypoint, with the gateway's own identity: its endpoints are those of
// the waypoint then, and each is a tunnel to the service's address (istio
// pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint,
// buildEnvoyLbEndpoint). nil: it goes straight to the service.
func (w *walker) gatewayToWaypoint(p *proxy, c *cluster, conn connection) *flow.Trace {
	if p.role != gatewayRole || c.service == nil {
		return nil
	}
	if why := p.push.IngressWaypointDoubt(c.service); why != "" {
		hop := flow.Hop{At: flow.AtGateway, Proxy: p.workload.ID(), Cluster: c.name, Decision: why, Because: []flow.Because{{Object: c.service.Object, Field: "metadata.labels"}}}
		return after([]flow.Hop{hop}, unknown(flow.ViaGateway, flow.MissingObject, why))
	}
	if !p.push.IngressUsesWaypoint(c.service) || p.disabled("PILOT_ENABLE_AMBIENT") || p.disabled("ENABLE_INGRESS_WAYPOINT_ROUTING") {
		return nil
	}
	b := p.push.WaypointOf(c.service)
	hop := flow.Hop{At: flow.AtGateway, Proxy: p.workload.ID(), Cluster: c.name, TLS: "HBONE", Because: []flow.Because{{Object: c.service.Object, Field: "metadata.labels"}}}
	opaque := func(why string) *flow.Trace {
		hop.Decision = why
		return after([]flow.Hop{hop}, unknown(flow.ViaGateway, flow.OpaqueFilter, why))
	}
	address := p.push.AmbientAddresses(c.service)[0]
	switch {
	case (p.push.Config.Environment != nil || p.push.Config.ValuesSource != nil) && !p.enabled("PILOT_ENABLE_AMBIENT"):
		return opaque(fmt.Sprintf("%s asks gateways to send through its waypoint, and the control plane of the input is not said to have ambient mode (PILOT_ENABLE_AMBIENT)", c.service.Object))
	case p.disabled("PILOT_ENABLE_SENDING_HBONE"):
		return opaque("PILOT_ENABLE_SENDING_HBONE=false: what becomes of connections to waypoints then is not simulated")
	case c.tls != nil && c.tls.mode != networking.ClientTLSSettings_ISTIO_MUTUAL:
		// It is originated within the tunnel (istio
		// pilot/pkg/networking/core/cluster_tls.go applyHBONETransportSocketMatches).
		return opaque(fmt.Sprintf("%s asks gateways to send through its waypoint, with TLS that the gateway originates, which is not simulated", c.service.Object))
	case !address.IsSingleIP():
		return opaque(fmt.Sprintf("%s asks gateways to send through its waypoint, which finds no service at a range of addresses; that is not simulated", c.service.Object))
	}
	seen := w.seen
	to := func(g *model.KubeGateway) *flow.Trace {
		w.seen = slices.Clone(seen)
		pod := p.push.WaypointWorkload(g)
		if pod == nil {
			detail := fmt.Sprintf("waypoint %s is not deployed by istiod, and no workload of the input is labelled as its proxy", g.ID())
			h := hop
			h.Decision = detail
			return after([]flow.Hop{h}, unknown(flow.ViaGateway, flow.MissingObject, detail))
		}
		n := conn
		n.sourceIP, n.fromClient, n.added, n.name, n.standIn = p.push.PodAddress(p.workload), false, flow.UpstreamNone, "", false
		n.hbone = &tunnel{target: netip.AddrPortFrom(address.Addr(), uint16(c.port.Number)), identity: p.push.Identity(p.workload)} //nolint:gosec // a port
		n.dst = netip.AddrPortFrom(p.push.PodAddress(pod), model.HBONEPort)
		h := hop
		h.Because = append(slices.Clone(hop.Because), flow.Because{Object: g.Object, Field: "spec.listeners"})
		h.Decision = fmt.Sprintf("%s asks gateways to send through its waypoint: it goes through a tunnel (HBONE, port %d) to waypoint %s, with the gateway's identity %s",
			c.service.Object, model.HBONEPort, pod.ID(), n.hbone.identity)
		return after([]flow.Hop{h}, w.cross(p, pod, n))
	}
	if b.Canary == nil || b.CanaryWeight == 0 {
		return to(b.Waypoint)
	}
	canary := to(b.Canary)
	if b.CanaryWeight == 100 {
		return canary
	}
	return merge([]flow.Branch{{Weight: 100 - b.CanaryWeight, Trace: *to(b.Waypoint)}, {Weight: b.CanaryWeight, Trace: *canary}})
}

// tunnels reports whether a proxy opens a tunnel to an endpoint: to pods in ambient
// mode that are not marked for mesh TLS, and from waypoints, or with
// PILOT_PREFER_SENDING_HBONE, to all that take one; where EDS gives the endpoints
// (istio pilot/pkg/xds/endpoints/endpoint_builder.go supportTunnel,
// buildEnvoyLbEndpoint; pilot/pkg/networking/core/cluster_builder.go sendHbone).
func (p *proxy) tunnels(c *cluster, e *model.Endpoint) bool {
	if e.Workload == nil {
		return false
	}
	prefers := p.role == waypointRole || p.enabled("PILOT_ENABLE_AMBIENT") && p.enabled("PILOT_PREFER_SENDING_HBONE")
	return p.sim.takesTunnels(e.Workload) && (prefers || p.mode(e) == "") &&
		!c.service.Resolution.ByDNS() &&
		(p.role == waypointRole || !p.disabled("PILOT_ENABLE_SENDING_HBONE"))
}

// takesTunnels reports whether ztunnels and waypoints open tunnels to a pod: one in
// ambient mode, or one whose sidecar is labelled so (istio
// pilot/pkg/serviceregistry/ambient/workloads.go setTunnelProtocol).
func (s *Simulation) takesTunnels(w *model.Workload) bool {
	switch s.capture(w).Mode {
	case capture.Ambient:
		return true
	case capture.Sidecar:
		return w.Labels[model.TunnelLabel] == "http"
	default:
		return false
	}
}

// tunnelled wraps a connection to a pod into a tunnel, which takes the place of
// mesh TLS; other TLS is within (istio pilot/pkg/networking/core/cluster_tls.go
// applyHBONETransportSocketMatches).
func (p *proxy) tunnelled(c *cluster, to connection, text string, e *model.Endpoint, from *model.Workload) nextHop {
	within := *c
	if within.tls != nil && within.tls.mode == networking.ClientTLSSettings_ISTIO_MUTUAL {
		within.tls = nil
	}
	within.autoMTLS = false
	n := p.originate(&within, to, text, nil, from)
	identity := p.push.Identity(from)
	n.conn.hbone = &tunnel{target: to.dst, identity: identity}
	n.conn.dst = netip.AddrPortFrom(to.dst.Addr(), model.HBONEPort)
	n.text = fmt.Sprintf("%s; through a tunnel (HBONE, port %d) to %s, with the identity %s", n.text, model.HBONEPort, e.Workload.ID(), identity)
	if n.tls == "" {
		n.tls = "HBONE"
	}
	return n
}

// disabled reports whether a variable of istiod's environment switches something
// off.
func (p *proxy) disabled(name string) bool {
	_, set := p.push.Config.Environment[name]
	return set && !p.enabled(name)
}
