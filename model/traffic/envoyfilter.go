package traffic

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model/flow"
)

// filtered answers unknown where an EnvoyFilter may change what a proxy does
// with a connection, nil where none does. What a patch does is not interpreted;
// only whether it may touch the listener.
func (p *proxy) filtered(l *listener, ch *chain, conn *connection) *flow.Trace {
	want := networking.EnvoyFilter_SIDECAR_OUTBOUND
	switch p.role {
	case gatewayRole:
		want = networking.EnvoyFilter_GATEWAY
	case waypointRole:
		want = networking.EnvoyFilter_WAYPOINT
	}
	port := int(conn.dst.Port())
	for _, f := range p.push.EnvoyFiltersFor(p.workload) {
		for i, patch := range f.Spec.GetConfigPatches() {
			m := patch.GetMatch()
			if c := m.GetContext(); c != networking.EnvoyFilter_ANY && c != want || !touches(patch, port, ch, l) {
				continue
			}
			detail := fmt.Sprintf("EnvoyFilter %s changes the proxy's %s, and what that does is not simulated", f.ID(), patch.GetApplyTo())
			t := unknown(viaOf(p, flow.ViaNone), flow.EnvoyFilter, detail)
			t.Hops = []flow.Hop{{At: place(p), Proxy: p.workload.ID(), Decision: detail,
				Because: []flow.Because{{Object: f.Object, Field: fmt.Sprintf("spec.configPatches[%d]", i)}}}}
			return t
		}
	}
	return p.extended(ch)
}

// touches reports whether a patch may apply to what decides about a connection
// on a port. Patches that only concern other ports, other protocols of chain or
// the far side of in-mesh traffic do not.
func touches(patch *networking.EnvoyFilter_EnvoyConfigObjectPatch, port int, ch *chain, l *listener) bool {
	m := patch.GetMatch()
	if lm := m.GetListener(); lm != nil {
		if n := int(lm.GetPortNumber()); n != 0 && n != port {
			return false
		}
		if name := lm.GetName(); name != "" && (l == nil || name != l.name()) && name != "virtualOutbound" {
			return false
		}
	}
	switch patch.GetApplyTo() {
	case networking.EnvoyFilter_BOOTSTRAP:
		return false
	case networking.EnvoyFilter_HTTP_FILTER, networking.EnvoyFilter_ROUTE_CONFIGURATION, networking.EnvoyFilter_VIRTUAL_HOST, networking.EnvoyFilter_HTTP_ROUTE:
		if rm := m.GetRouteConfiguration(); rm != nil && rm.GetPortNumber() != 0 && int(rm.GetPortNumber()) != port {
			return false
		}
		return ch.http()
	case networking.EnvoyFilter_CLUSTER:
		cm := m.GetCluster()
		if cm.GetName() == "" && cm.GetService() == "" && cm.GetPortNumber() == 0 && cm.GetSubset() == "" {
			return true
		}
		return clusterMatches(cm, ch)
	default:
		return true
	}
}

// clusterMatches reports whether a patch names one of the clusters of a chain;
// the clusters of routes are not known yet, so any may be meant.
func clusterMatches(m *networking.EnvoyFilter_ClusterMatch, ch *chain) bool {
	if ch.http() {
		return true
	}
	for _, t := range ch.targets {
		if m.GetName() == t.cluster || m.GetName() == "" {
			return true
		}
	}
	return false
}
