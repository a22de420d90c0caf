package traffic

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// bypassInbound keeps what comes without a tunnel from the ztunnel of a pod (istio
// cni/pkg/iptables/iptables.go AppendInpodRules).
const bypassInbound = "ambient.istio.io/bypass-inbound-capture"

// ztunnel decides what the client's ztunnel does with a connection: only its
// address counts, no REGISTRY_ONLY, no exportTo and no Sidecar (istio/ztunnel
// src/proxy/outbound.rs build_request). Where istiod or ztunnel may take one of
// several services, all of them must come to the same.
func (w *walker) ztunnel(c *capture.Capture, conn connection) *flow.Trace {
	w.openZtunnel(&conn)
	ways := w.ztunnelAt(c, conn)
	if _, own := hostAlias(w.client, w.flow.Host); c.DNSCapture && w.flow.DstIP == "" && w.flow.ConnectTo == "" && own == nil {
		for _, rival := range w.push.AmbientRivals(w.client.Namespace, w.flow.Host) {
			to := conn
			to.dst = netip.AddrPortFrom(rival, conn.dst.Port())
			ways = append(ways, w.ztunnelAt(c, to)...)
		}
	}
	for _, other := range ways[1:] {
		if sameVerdict(ways[0], other) {
			continue
		}
		hop := flow.Hop{At: flow.AtZtunnel, Proxy: w.client.ID(), Because: append(slices.Clone(ways[0].Hops[len(ways[0].Hops)-1].Because), other.Hops[len(other.Hops)-1].Because...),
			Decision: fmt.Sprintf("several services have this name or address, and it is left to chance which of them ztunnel takes: with one the flow is %s (%s), with another %s (%s)",
				ways[0].Outcome, ways[0].Reason, other.Outcome, other.Reason)}
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.Undetermined, hop.Decision+"; creation timestamps that differ, or one entry, would settle it"))
	}
	return ways[0]
}

// ztunnelAt returns what ztunnel may do with a connection to an address, never
// nothing.
func (w *walker) ztunnelAt(c *capture.Capture, conn connection) []*flow.Trace {
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: w.client.ID(), Because: slices.Clone(c.Because),
		Decision: fmt.Sprintf("the ztunnel of %s takes the connection (%s)", w.client.ID(), c.Why)}
	address := conn.dst.Addr()
	// A workload's address is looked up before any service's.
	if to := w.push.WorkloadAt(address); to != nil {
		hop.Decision += ": the address is a pod's"
		return []*flow.Trace{w.ztunnelToWorkload(hop, w.push.WorkloadWaypoint(to.Labels, to.Object, to.Namespace), func() *flow.Trace { return w.ztunnelToPod(to, conn) })}
	}
	s, ties := w.push.AmbientServiceAt(w.client.Namespace, address)
	if entry, field, labels := w.push.EndpointAt(address); entry != nil {
		hop.Decision += fmt.Sprintf(": %s lists the address as an endpoint, so it goes there without waypoint", entry)
		hop.Because = append(hop.Because, flow.Because{Object: entry, Field: field})
		return []*flow.Trace{w.ztunnelToWorkload(hop, w.push.WorkloadWaypoint(labels, entry, entry.Namespace), func() *flow.Trace {
			// Without a waypoint the service of the address comes first after all
			// (istio/ztunnel src/state.rs find_upstream), if it has the port.
			if s != nil && !s.Kubernetes() && s.Resolution != model.Passthrough && s.AnyPort(int(conn.dst.Port())) != nil {
				return w.ztunnelDirect(s, conn)
			}
			return w.network(nil, conn)
		})}
	}
	if s == nil {
		hop.Decision += ", knows no service at its address and passes it on: ztunnel has no REGISTRY_ONLY"
		return []*flow.Trace{after([]flow.Hop{hop}, eachEnd(w.network(nil, conn), func(t *flow.Trace) {
			if t.Outcome == flow.Allowed && t.Via == flow.ViaDirect && t.Reason == flow.OK {
				t.Via = flow.ViaPassthrough
			}
		}))}
	}
	var ways []*flow.Trace
	for _, s := range append([]*model.Service{s}, ties...) {
		seen := slices.Clone(w.seen)
		ways = append(ways, w.ztunnelToService(hop, s, conn))
		w.seen = seen
	}
	return ways
}

// ztunnelToWorkload answers for a connection to the address of a workload, which
// may have a waypoint of its own.
func (w *walker) ztunnelToWorkload(hop flow.Hop, b *model.WaypointBinding, direct func() *flow.Trace) *flow.Trace {
	switch {
	case b.Unknown != "":
		hop.Decision += "; " + b.Unknown
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.MissingObject, b.Unknown))
	case b.Waypoint != nil:
		hop.Decision += "; " + b.Why + ", and what that does with connections to workloads is not simulated"
		hop.Because = append(hop.Because, flow.Because{Object: b.Waypoint.Object, Field: "metadata.labels"})
		return after([]flow.Hop{hop}, unknown(flow.ViaWaypoint, flow.OpaqueFilter, hop.Decision))
	}
	return after([]flow.Hop{hop}, direct())
}

// ztunnelToService sends to a service, through its waypoint if it has one.
func (w *walker) ztunnelToService(hop flow.Hop, s *model.Service, conn connection) *flow.Trace {
	hop.Because = append(slices.Clone(hop.Because), flow.Because{Object: s.Object, Field: s.HostField})
	b := w.push.WaypointOf(s)
	if b.Object != nil {
		hop.Because = append(hop.Because, flow.Because{Object: b.Object, Field: b.Field})
	}
	hop.Decision += fmt.Sprintf(" and knows its address as %s of %s", s.Hostname, s.Object)
	switch {
	case b.Unknown != "":
		hop.Decision += ": " + b.Unknown
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.MissingObject, b.Unknown))
	case b.Waypoint == nil:
		hop.Decision += "; " + b.Why + ", so it goes straight there"
		t := after([]flow.Hop{hop}, w.ztunnelDirect(s, conn))
		if b.Assumption != "" && !contains(t.Assumptions, b.Assumption) {
			t.Assumptions = append(t.Assumptions, b.Assumption)
		}
		return t
	}
	hop.Decision += "; " + b.Why
	if b.Canary == nil {
		return after([]flow.Hop{hop}, w.toWaypoint(b.Waypoint, conn))
	}
	hop.Decision += fmt.Sprintf(", and %d%% of connections go to waypoint %s", b.CanaryWeight, b.Canary.ID())
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

// ztunnelDirect sends to one of the endpoints of a service without waypoint
// (istio/ztunnel src/state.rs find_upstream_from_service, load_balance).
func (w *walker) ztunnelDirect(s *model.Service, conn connection) *flow.Trace {
	if s.Kubernetes() {
		return w.ztunnelToKubernetes(s, conn)
	}
	if s.Resolution == model.Passthrough {
		conn.name = w.flow.Host
		return w.network(nil, conn)
	}
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: w.client.ID(), Because: []flow.Because{{Object: s.Object, Field: "spec.ports"}}}
	port := s.AnyPort(int(conn.dst.Port()))
	if port == nil {
		hop.Decision = fmt.Sprintf("%s has no port %d: ztunnel closes the connection", s.Object, conn.dst.Port())
		return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
	}
	hop.Because[0].Field = port.Field
	if s.Hostname.IsWildCarded() && len(s.Entry.Spec.GetEndpoints()) == 0 && len(s.Selector) == 0 && s.Resolution != model.ClientSideLB {
		// istiod makes the host itself the endpoint's name (istio
		// ambient/workloads.go serviceEntryWorkloadBuilder).
		hop.Decision = fmt.Sprintf("ztunnel looks up the name %s as it stands, with the asterisk, and what DNS answers to that is not known", s.Hostname)
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.Undetermined, hop.Decision))
	}
	endpoints := w.push.Endpoints(s, port)
	if len(endpoints) == 0 {
		hop.Decision = fmt.Sprintf("%s has no endpoint: ztunnel closes the connection", s.Object)
		if w.push.SelectsNothing(s) {
			return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.MissingObject, fmt.Sprintf("no workload in the input has the labels that %s selects", s.Object)))
		}
		return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
	}
	return w.ztunnelToEndpoints(hop, endpoints, conn)
}

// ztunnelToKubernetes sends to a Kubernetes Service. What ztunnel knows no pod
// for is left to what the cluster's network would do with it.
func (w *walker) ztunnelToKubernetes(s *model.Service, conn connection) *flow.Trace {
	port := s.AnyPort(int(conn.dst.Port()))
	if port == nil {
		return w.network(nil, conn)
	}
	w.openService(s)
	if t := w.sameNode(nil, s); t != nil {
		return t
	}
	endpoints := slices.DeleteFunc(w.push.OwnEndpoints(s, port), func(e model.Endpoint) bool { return e.Workload == nil })
	if !slices.ContainsFunc(endpoints, func(e model.Endpoint) bool { return w.sim.takesTunnels(e.Workload) }) {
		return w.network(nil, conn)
	}
	return w.ztunnelToEndpoints(flow.Hop{At: flow.AtZtunnel, Proxy: w.client.ID(), Because: []flow.Because{{Object: s.Object, Field: port.Field}}}, endpoints, conn)
}

// ztunnelToEndpoints sends to any of several endpoints.
func (w *walker) ztunnelToEndpoints(hop flow.Hop, endpoints []model.Endpoint, conn connection) *flow.Trace {
	var alternatives []flow.Branch
	seen := w.seen
	for i := range min(len(endpoints), maxNextHops) {
		e := &endpoints[i]
		w.seen = slices.Clone(seen)
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
		var t *flow.Trace
		if u := w.push.ByNetwork(e); u != nil {
			h.Decision, h.Because = u.Why, unmodelledBecause(u)
			alternatives = append(alternatives, flow.Branch{Weight: 1, Trace: *after([]flow.Hop{h}, unknown(flow.ViaNone, flow.OpaqueFilter, u.Why))})
			continue
		}
		if e.Workload != nil {
			h.Decision = fmt.Sprintf("ztunnel sends it to %s, pod port %d", e.Workload.ID(), e.Port)
			t = w.ztunnelToPod(e.Workload, to)
		} else {
			h.Decision = fmt.Sprintf("ztunnel sends it to %s on port %d as it is", e.Address, e.Port)
			t = w.network(nil, to)
		}
		alternatives = append(alternatives, flow.Branch{Weight: 1, Trace: *after([]flow.Hop{h}, t)})
	}
	return united(alternatives)
}

// ztunnelToPod sends to a pod: through a tunnel if that takes one, so that network
// policies see the tunnel's port.
func (w *walker) ztunnelToPod(to *model.Workload, conn connection) *flow.Trace {
	if !w.sim.takesTunnels(to) {
		return w.cross(nil, to, conn)
	}
	conn.hbone = &tunnel{target: conn.dst, identity: w.push.Identity(w.client)}
	conn.dst = netip.AddrPortFrom(conn.dst.Addr(), model.HBONEPort)
	return w.cross(nil, to, conn)
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
	w.askWho()
	w.openInbound(to, &conn)
	hop := flow.Hop{At: flow.AtZtunnel, Proxy: to.ID(), Because: []flow.Because{{Object: to.Object}},
		Decision: fmt.Sprintf("it reaches the ztunnel of %s", to.ID())}
	peer := ztunnelPeer{source: conn.sourceIP, destination: conn.dst.Addr(), port: int(conn.dst.Port())}
	tunnelled := conn.hbone != nil
	if tunnelled {
		peer.identity = conn.hbone.identity
		conn.dst, conn.hbone = conn.hbone.target, nil
		peer.destination, peer.port = conn.dst.Addr(), int(conn.dst.Port())
	}
	hops := []flow.Hop{hop}
	if u := w.allowsFromWaypoint(to); u != nil {
		return after(hops, unsimulated(u, flow.AtZtunnel, to.ID(), flow.ViaNone))
	}
	attached := w.push.AuthorizationPoliciesFor(to)
	mode, policy, field := w.push.WorkloadMTLS(to.Namespace, to.Labels, peer.port)
	strict := mode == model.MTLSStrict
	bypass := to.Annotations[bypassInbound]
	switch text := model.PlaceholderIn(bypass); {
	case !tunnelled && text != "":
		hops[0].Decision = fmt.Sprintf("%s is annotated %s=%s, and whether its ztunnel sees the connection depends on what is filled in", to.ID(), bypassInbound, text)
		hops[0].Because = []flow.Because{{Object: to.Object, Field: to.Field("metadata.annotations['" + bypassInbound + "']")}}
		return after(hops, unknown(flow.ViaNone, flow.Template, hops[0].Decision))
	case !tunnelled && bypass == "true":
		hops[0].At, hops[0].Decision = flow.AtNetwork, fmt.Sprintf("%s takes what comes without a tunnel itself (%s)", to.ID(), bypassInbound)
		return after(hops, inMesh())
	case len(attached.Allow)+len(attached.Deny) == 0 && !strict:
		return after(hops, inMesh())
	case conn.carries(meshTLS):
		// Nobody asks for it, and only a sidecar could read it.
		hops[0].Decision += "; what becomes of mesh TLS there is not simulated"
		return after(hops, unknown(flow.ViaNone, flow.Capture, hops[0].Decision))
	}
	// It is known who comes, and that nobody comes with an identity where there
	// is no tunnel.
	if strict && !tunnelled {
		hop := flow.Hop{At: flow.AtZtunnel, Proxy: to.ID(), Decision: "PeerAuthentication is STRICT, and the connection comes without mesh identity"}
		t := blocked(flow.RBACDenied, 0)
		if policy != nil {
			hop.Because = []flow.Because{{Object: policy.Object, Field: field}}
			t.Policy = policy.ID()
		}
		return after(append(hops, hop), t)
	}
	if t := w.ztunnelAuthorize(to, peer); t != nil {
		return after(hops, t)
	}
	return after(hops, inMesh())
}
