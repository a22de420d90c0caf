package traffic

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// waypointInbound decides what a waypoint does with a connection.
func (w *walker) waypointInbound(to *model.Workload, conn connection) *flow.Trace {
	w.askWho()
	p := w.sim.waypoint(to)
	w.sharing(to)
	hop := flow.Hop{At: flow.AtWaypoint, Proxy: to.ID(), SNI: conn.sni()}
	stop := func(decision string, because []flow.Because, t *flow.Trace) *flow.Trace {
		hop.Decision, hop.Because = decision, because
		t.Via = flow.ViaWaypoint
		return after([]flow.Hop{hop}, t)
	}
	if p == nil {
		return stop(fmt.Sprintf("%s is a waypoint, and the input does not hold its Gateway", to.ID()), []flow.Because{{Object: to.Object}},
			unknown(flow.ViaWaypoint, flow.MissingObject, fmt.Sprintf("the Gateway of waypoint %s is not in the input", to.ID())))
	}
	if u := w.push.UnmodelledGateway(to); u != nil {
		return stop(u.Why, unmodelledBecause(u), unknown(flow.ViaWaypoint, flow.OpaqueFilter, u.Why))
	}
	listeners := []flow.Because{{Object: p.waypoint.Object, Field: "spec.listeners"}}
	switch {
	case conn.hbone == nil && conn.dst.Port() == model.HBONEPort:
		return stop("the waypoint takes only tunnels (HBONE) with a mesh identity on this port", listeners, blocked(flow.TLSMismatch, 0))
	case conn.hbone == nil:
		return stop(fmt.Sprintf("the waypoint does not listen on port %d", conn.dst.Port()), listeners, blocked(flow.NoListener, 0))
	}
	w.openEntrance(p, &conn)
	identity := conn.hbone.identity
	conn.dst, conn.hbone = conn.hbone.target, nil
	if layered := w.push.LayeredAuthorizationPolicies(to); len(layered) > 0 {
		decision := fmt.Sprintf("AuthorizationPolicy %s holds for tunnels to the waypoint (ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES), which is not simulated", layered[0].ID())
		return stop(decision, []flow.Because{{Object: layered[0].Object, Field: "spec"}}, unknown(flow.ViaWaypoint, flow.OpaqueFilter, decision))
	}
	s, port, nearest := p.servedAt(conn.dst)
	switch {
	case nearest == nil:
		return stop(fmt.Sprintf("no service that the waypoint serves has the address %s: the connection is closed", conn.dst.Addr()), listeners, blocked(flow.NoFilterChain, 0))
	case s == nil:
		if unsure := p.unsureService(nearest); unsure != "" {
			return stop(unsure, []flow.Because{{Object: nearest.Object, Field: nearest.HostField}}, unknown(flow.ViaWaypoint, flow.Undetermined, unsure))
		}
		return stop(fmt.Sprintf("%s has no port %d that the waypoint serves: the connection is closed", nearest.Object, conn.dst.Port()),
			[]flow.Because{{Object: nearest.Object, Field: "spec.ports"}}, blocked(flow.NoFilterChain, 0))
	}
	if unsure := p.unsureService(s); unsure != "" {
		return stop(unsure, []flow.Because{{Object: s.Object, Field: s.HostField}}, unknown(flow.ViaWaypoint, flow.Undetermined, unsure))
	}
	place := fmt.Sprint(to.ID(), conn.dst, conn.sni())
	if conn.request != nil {
		place += conn.request.fingerprint()
	}
	if contains(w.seen, place) || len(w.seen) >= maxProxies {
		return stop("the waypoint has forwarded this before: it goes round in a loop", nil, blocked(flow.Loop, 503))
	}
	w.seen = append(w.seen, place)
	ch := p.waypointChain(s, port, conn.plaintextHTTP())
	hop.FilterChain = ch.name
	if t := p.waypointFiltered(port, ch); t != nil {
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
// waypoint. Its clusters and routes are patched as those of sidecars (istio
// pilot/pkg/networking/core/cluster.go, httproute.go), so those contexts count
// too.
func (p *proxy) waypointFiltered(port *model.Port, ch *chain) *flow.Trace {
	for _, f := range p.push.EnvoyFiltersForWaypoint(p.waypoint) {
		for i, patch := range f.Spec.GetConfigPatches() {
			if patch.GetMatch().GetContext() == networking.EnvoyFilter_GATEWAY || !touches(patch, port.Number, ch, nil) {
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
