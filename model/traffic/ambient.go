package traffic

import (
	"fmt"
	"net/netip"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// ztunnel decides what the client's ztunnel does with a connection: only its
// address counts, no REGISTRY_ONLY, no exportTo and no Sidecar (istio/ztunnel
// src/proxy/outbound.rs build_request).
func (w *walker) ztunnel(c *capture.Capture, conn connection) *flow.Trace {
	name := w.client.ID()
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: name, Because: slices.Clone(c.Because)}
	address := conn.dst.Addr()
	if w.push.WorkloadAt(address) != nil {
		hop.Decision = fmt.Sprintf("the ztunnel of %s takes the connection (%s): the address is a pod's", name, c.Why)
		return after([]flow.Hop{hop}, w.network(nil, conn))
	}
	if entry := w.push.EndpointAt(address); entry != nil {
		// A workload's address is looked up before any service's.
		hop.Decision = fmt.Sprintf("the ztunnel of %s takes the connection (%s): %s lists the address as an endpoint, so it goes there without waypoint", name, c.Why, entry)
		hop.Because = append(hop.Because, flow.Because{Object: entry, Field: "spec"})
		return after([]flow.Hop{hop}, w.network(nil, conn))
	}
	s, ties := w.push.AmbientServiceAt(w.client.Namespace, address)
	for _, t := range ties {
		if *w.push.WaypointOf(t) != *w.push.WaypointOf(s) {
			hop.Decision = fmt.Sprintf("%s and %s have the same address, and ztunnel may take either", s.Object, t.Object)
			hop.Because = append(hop.Because, flow.Because{Object: s.Object, Field: s.HostField}, flow.Because{Object: t.Object, Field: t.HostField})
			return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.Undetermined, hop.Decision))
		}
	}
	if s == nil || s.Resolution == model.DynamicDNS && w.push.WaypointOf(s).Waypoint == nil {
		hop.Decision = fmt.Sprintf("the ztunnel of %s takes the connection (%s), knows no service at its address and passes it on: ztunnel has no REGISTRY_ONLY", name, c.Why)
		return after([]flow.Hop{hop}, eachEnd(w.network(nil, conn), func(t *flow.Trace) {
			if t.Outcome == flow.Allowed && t.Via == flow.ViaDirect && t.Reason == flow.OK {
				t.Via = flow.ViaPassthrough
			}
		}))
	}
	hop.Because = append(hop.Because, flow.Because{Object: s.Object, Field: s.HostField})
	b := w.push.WaypointOf(s)
	if b.Object != nil {
		hop.Because = append(hop.Because, flow.Because{Object: b.Object, Field: b.Field})
	}
	hop.Decision = fmt.Sprintf("the ztunnel of %s takes the connection (%s) and knows its address as %s of %s", name, c.Why, s.Hostname, s.Object)
	switch {
	case b.Unknown != "":
		hop.Decision += ": " + b.Unknown
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.MissingObject, b.Unknown))
	case b.Waypoint == nil:
		hop.Decision += "; " + b.Why + ", so it goes straight there"
		return after([]flow.Hop{hop}, w.ztunnelDirect(s, conn))
	}
	hop.Decision += "; " + b.Why
	if b.Canary == nil {
		return after([]flow.Hop{hop}, w.toWaypoint(b.Waypoint, conn))
	}
	seen := slices.Clone(w.seen)
	canary := w.toWaypoint(b.Canary, conn)
	w.seen = seen
	if b.CanaryWeight == 100 {
		return after([]flow.Hop{hop}, canary)
	}
	return after([]flow.Hop{hop}, merge([]flow.Branch{
		{Weight: 100 - b.CanaryWeight, Trace: *w.toWaypoint(b.Waypoint, conn)}, {Weight: b.CanaryWeight, Trace: *canary},
	}))
}

// ztunnelDirect sends to one of the endpoints of a service without waypoint.
func (w *walker) ztunnelDirect(s *model.Service, conn connection) *flow.Trace {
	if s.Kubernetes() {
		return w.network(nil, conn)
	}
	if s.Resolution == model.Passthrough {
		conn.name = w.flow.Host
		return w.network(nil, conn)
	}
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: w.client.ID(), Because: []flow.Because{{Object: s.Object, Field: "spec.ports"}}}
	port := s.PortByNumber(int(conn.dst.Port()))
	if port == nil {
		// istio/ztunnel src/state.rs load_balance: the port is invalid, and
		// build_request refuses what has a service but no endpoint.
		hop.Decision = fmt.Sprintf("%s has no port %d: ztunnel closes the connection", s.Object, conn.dst.Port())
		return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
	}
	hop.Because[0].Field = port.Field
	endpoints := w.push.Endpoints(s, port)
	if len(endpoints) == 0 {
		hop.Decision = fmt.Sprintf("%s has no endpoint: ztunnel closes the connection", s.Object)
		if w.push.SelectsNothing(s) {
			return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.MissingObject, fmt.Sprintf("no workload in the input has the labels that %s selects", s.Object)))
		}
		return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
	}
	var alternatives []flow.Branch
	for i := range endpoints {
		e := &endpoints[i]
		to := conn
		to.name, to.standIn = e.Address, false
		number := uint16(e.Port) //nolint:gosec // a port
		if addr, err := netip.ParseAddr(e.Address); err == nil {
			to.dst = netip.AddrPortFrom(addr.Unmap(), number)
		} else if e.IsUnixSocket() {
			to.unix = true
		} else if r := w.push.Resolve(w.client.Namespace, e.Address, false); r.Service != nil {
			to.dst = netip.AddrPortFrom(r.Addr, number)
		} else {
			to.dst, to.standIn = netip.AddrPortFrom(w.push.PublicAddress(e.Address), number), true
		}
		h := hop
		h.Decision = fmt.Sprintf("ztunnel sends it to %s on port %d as it is", e.Address, e.Port)
		alternatives = append(alternatives, flow.Branch{Weight: 1, Trace: *after([]flow.Hop{h}, w.network(nil, to))})
		if len(alternatives) == 8 {
			break // more alike tell nothing more
		}
	}
	return united(alternatives)
}

// toWaypoint sends a connection through an HBONE tunnel to a waypoint.
func (w *walker) toWaypoint(g *model.KubeGateway, conn connection) *flow.Trace {
	to := w.push.WaypointWorkload(g)
	if to == nil {
		detail := fmt.Sprintf("waypoint %s is not deployed by istiod, and no workload of the input is labelled as its proxy", g.ID())
		return after([]flow.Hop{{At: flow.AtZtunnel, Proxy: w.client.ID(), Decision: detail, Because: []flow.Because{{Object: g.Object, Field: "spec"}}}},
			unknown(flow.ViaNone, flow.MissingObject, detail))
	}
	conn.hbone = &tunnel{target: conn.dst, identity: w.push.Identity(w.client)}
	conn.dst = netip.AddrPortFrom(w.push.PodAddress(to), model.HBONEPort)
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: w.client.ID(), TLS: "HBONE", Because: []flow.Because{{Object: g.Object, Field: "spec.listeners"}},
		Decision: fmt.Sprintf("it goes through a tunnel (HBONE, port %d) to waypoint %s, with the client's identity %s", model.HBONEPort, to.ID(), conn.hbone.identity)}
	return after([]flow.Hop{hop}, w.cross(nil, to, conn))
}

// ztunnelInbound hands a connection to a pod in ambient mode.
func (w *walker) ztunnelInbound(to *model.Workload, conn connection) *flow.Trace {
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: to.ID(), Because: []flow.Because{{Object: to.Object}},
		Decision: fmt.Sprintf("it reaches the ztunnel of %s", to.ID())}
	attached := w.push.AuthorizationPoliciesFor(to)
	mode, _, _ := w.push.WorkloadMTLS(to.Namespace, to.Labels, int(conn.dst.Port()))
	if len(attached.Allow)+len(attached.Deny) > 0 || mode == model.MTLSStrict {
		hop.Decision += "; policies that ztunnel enforces for workloads of the mesh are not simulated"
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.Capture, hop.Decision))
	}
	return after([]flow.Hop{hop}, inMesh())
}

// waypointInbound decides what a waypoint does with a connection.
func (w *walker) waypointInbound(to *model.Workload, conn connection) *flow.Trace {
	p := w.sim.waypoint(to)
	w.shared = w.shared || w.sim.shares(to.Namespace)
	hop := flow.Hop{At: flow.AtWaypoint, Proxy: to.ID(), SNI: conn.sni()}
	stop := func(decision string, because []flow.Because, t *flow.Trace) *flow.Trace {
		hop.Decision, hop.Because = decision, because
		t.Via = flow.ViaWaypoint
		return after([]flow.Hop{hop}, t)
	}
	switch {
	case p == nil:
		return stop(fmt.Sprintf("%s is a waypoint, and the input does not hold its Gateway", to.ID()), []flow.Because{{Object: to.Object}},
			unknown(flow.ViaWaypoint, flow.MissingObject, fmt.Sprintf("the Gateway of waypoint %s is not in the input", to.ID())))
	case conn.hbone == nil && conn.dst.Port() == model.HBONEPort:
		return stop("the waypoint takes only tunnels (HBONE) with a mesh identity on this port", []flow.Because{{Object: p.waypoint.Object, Field: "spec.listeners"}},
			blocked(flow.TLSMismatch, 0))
	case conn.hbone == nil:
		return stop(fmt.Sprintf("the waypoint does not listen on port %d", conn.dst.Port()), []flow.Because{{Object: p.waypoint.Object, Field: "spec.listeners"}},
			blocked(flow.NoListener, 0))
	}
	identity := conn.hbone.identity
	conn.dst, conn.hbone = conn.hbone.target, nil
	s := p.servedAt(conn.dst.Addr())
	if s == nil {
		return stop(fmt.Sprintf("no service that the waypoint serves has the address %s: the connection is closed", conn.dst.Addr()), nil, blocked(flow.NoFilterChain, 0))
	}
	port := s.PortByNumber(int(conn.dst.Port()))
	if port == nil || port.Protocol == protocol.UDP ||
		port.Protocol.IsTLS() && s.Hostname.IsWildCarded() && s.Resolution == model.DynamicDNS && !p.enabled("ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS") {
		return stop(fmt.Sprintf("%s has no port %d that the waypoint serves: the connection is closed", s.Object, conn.dst.Port()),
			[]flow.Because{{Object: s.Object, Field: "spec.ports"}}, blocked(flow.NoFilterChain, 0))
	}
	place := fmt.Sprint(to.ID(), conn.dst, conn.sni())
	if conn.request != nil {
		place += conn.request.fingerprint()
	}
	if slices.Contains(w.seen, place) || len(w.seen) >= maxProxies {
		return stop("the waypoint has forwarded this before: it goes round in a loop", nil, blocked(flow.Loop, 503))
	}
	w.seen = append(w.seen, place)
	ch := p.waypointChain(s, port, conn.plaintextHTTP())
	hop.FilterChain = ch.name
	if t := p.waypointFiltered(s, port, ch); t != nil {
		return stop(t.Detail, ch.because, t)
	}
	who := &subject{connection: &conn, identity: identity, sni: conn.sni(), port: port.Number, service: s}
	hop.Decision, hop.Because = fmt.Sprintf("waypoint %s takes it: %s; the client is known as %s", to.ID(), ch.what, identity), ch.because
	if ch.http() {
		return after([]flow.Hop{hop}, w.http(p, ch, conn, who))
	}
	hops := []flow.Hop{hop}
	if t := w.authorize(p, ch, who, true); t != nil {
		if t.Outcome != flow.Allowed {
			return after(hops, t)
		}
		hops = append(hops, t.Hops...)
	}
	return after(hops, w.tcp(p, ch, conn))
}

// waypointFiltered answers unknown where an EnvoyFilter is attached to a
// waypoint or to the service.
func (p *proxy) waypointFiltered(s *model.Service, port *model.Port, ch *chain) *flow.Trace {
	for _, f := range p.push.EnvoyFiltersForWaypoint(p.waypoint, s) {
		for i, patch := range f.Spec.GetConfigPatches() {
			if c := patch.GetMatch().GetContext(); c != networking.EnvoyFilter_ANY && c != networking.EnvoyFilter_WAYPOINT || !touches(patch, port.Number, ch, nil) {
				continue
			}
			detail := fmt.Sprintf("EnvoyFilter %s changes the waypoint's %s, and what that does is not simulated", f.ID(), patch.GetApplyTo())
			t := unknown(flow.ViaWaypoint, flow.EnvoyFilter, detail)
			t.Hops = []flow.Hop{{At: flow.AtWaypoint, Proxy: p.workload.ID(), Decision: detail,
				Because: []flow.Because{{Object: f.Object, Field: fmt.Sprintf("spec.configPatches[%d]", i)}}}}
			return t
		}
	}
	return p.extended(ch)
}
