package analyzers

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// routeControl is a route at a gateway by which some requests for a host get out
// while others find no route.
type routeControl struct {
	gateway *egressGateway
	host    string
	object  *manifest.Object
	field   string // of the condition
	match   *networking.HTTPMatchRequest
	through flow.Flow // gets out by this route
	refused flow.Flow // finds none

	clients []*model.Workload
	way     *way
}

// way is another way to the same host.
type way struct {
	flow  flow.Flow
	trace *flow.Trace
}

// restricted returns the destinations whose requests a VirtualService at the
// gateway tells apart: only there can a route refuse some.
func (g *egressGateway) restricted() []reach.Destination {
	var hosts []host.Name
	for _, vs := range g.push.VirtualServices() {
		if !slices.ContainsFunc(vs.Gateways, func(name string) bool { return name != model.MeshGateway }) {
			continue
		}
		if slices.ContainsFunc(vs.HTTP, func(r *model.HTTPRoute) bool { return slices.ContainsFunc(r.GetMatch(), asksForRequest) }) {
			hosts = append(hosts, vs.Hosts...)
		}
	}
	return slices.DeleteFunc(slices.Clone(g.destinations), func(d reach.Destination) bool {
		return !slices.ContainsFunc(hosts, func(h host.Name) bool {
			return host.Name(strings.ToLower(d.Host)).SubsetOf(host.Name(strings.ToLower(string(h))))
		})
	})
}

// routeControl returns the condition that decides which requests of a client to a
// destination get out through the gateway, nil if no route decides about that.
func (g *egressGateway) routeControl(p *Pass, w *model.Workload, d reach.Destination) *routeControl {
	a := p.Reach.Answer(w, d, flow.HTTP)
	if a.Outcome != reach.Depends {
		return nil
	}
	through := slices.IndexFunc(a.When, func(c reach.Condition) bool { return c.Outcome == flow.Allowed && c.Via == flow.ViaGateway })
	refused := slices.IndexFunc(a.When, func(c reach.Condition) bool {
		return c.Outcome == flow.Blocked && c.Via == flow.ViaGateway && c.Reason == flow.NoRoute
	})
	if through < 0 || refused < 0 {
		return nil
	}
	t := p.Reach.Trace(a.When[through].Flow)
	for _, h := range t.Hops {
		if h.At != flow.AtGateway || h.Proxy != g.ID() || h.Route == "" {
			continue
		}
		for _, b := range h.Because {
			if m := conditionAt(g.push, b); m != nil {
				return &routeControl{gateway: g, host: d.Host, object: b.Object, field: b.Field, match: m,
					through: a.When[through].Flow, refused: a.When[refused].Flow}
			}
		}
	}
	return nil
}

// conditionAt returns the condition of a route that a trace points to, nil where
// it asks for nothing of the request.
func conditionAt(push *model.PushContext, at flow.Because) *networking.HTTPMatchRequest {
	for _, vs := range push.VirtualServices() {
		for _, r := range vs.HTTP {
			for i, place := range r.Matches {
				if place.Object == at.Object && place.Field == at.Field && i < len(r.GetMatch()) && asksForRequest(r.GetMatch()[i]) {
					return r.GetMatch()[i]
				}
			}
		}
	}
	return nil
}

func asksForRequest(m *networking.HTTPMatchRequest) bool {
	return m.GetUri() != nil || m.GetMethod() != nil || len(m.GetHeaders())+len(m.GetWithoutHeaders())+len(m.GetQueryParams()) > 0
}

// otherWay looks for a way by which the refused request gets out to the same
// host nevertheless: on another port, or in TLS of the client's own.
func otherWay(p *Pass, c *routeControl) *way {
	for _, d := range p.Reach.Universe() {
		if !strings.EqualFold(d.Host, c.host) {
			continue
		}
		for _, scheme := range []flow.Scheme{flow.HTTP, flow.HTTPS} {
			// HTTP is not what servers speak on 443, nor TLS on 80.
			if d.Port == 443 && scheme == flow.HTTP || d.Port == 80 && scheme == flow.HTTPS {
				continue
			}
			f := c.refused
			f.Port, f.Scheme = d.Port, scheme
			if f.Headers["host"] != "" && d.Port != c.refused.Port {
				f.Headers = maps.Clone(f.Headers)
				delete(f.Headers, "host")
			}
			if t := p.Reach.Trace(f); t.Outcome == flow.Allowed {
				return &way{f, t}
			}
		}
	}
	return nil
}
