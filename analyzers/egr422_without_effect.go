package analyzers

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// reportIdleConditions reports conditions of routes at an egress gateway that restrict
// nothing, as what they refuse takes the same way: by another condition of the rule, by
// the next rule, or by that of another VirtualService for the host.
func (in *intent) reportIdleConditions(g *egressGateway) {
	serversOf := map[string][]*model.GatewayServer{} // by Gateway
	for _, s := range g.servers {
		serversOf[s.Name()] = append(serversOf[s.Name()], s)
	}
	for _, vs := range g.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.ContainsFunc(vs.Hosts, in.outside) {
			continue
		}
		for _, name := range vs.Gateways {
			servers := serversOf[name]
			if len(servers) == 0 {
				continue
			}
			if i, j, by := idleCondition(vs, func() [][]*model.HTTPRoute { return besides(g, vs, name) }, name, servers); by.Object != nil {
				at := vs.HTTP[i].Matches[j]
				other := by.Field
				if by.Object != at.Object {
					other = fmt.Sprintf("%s of %s", by.Field, by.Object)
				}
				todo := "take that one out, or restrict paths and methods with an AuthorizationPolicy at the gateway"
				in.pass.Report(Finding{
					Severity: Warning, SecuritySeverity: 5.5, Object: at.Object, Field: at.Field, Label: "restricts nothing",
					Help: todo, Related: []Related{{by.Object, by.Field, "takes every other request the same way"}},
					Message: fmt.Sprintf("%s asks for %s at egress gateway %s, which restricts nothing, as %s takes every other request the same way; %s",
						vs.Title(), conditionText(vs.HTTP[i].GetMatch()[j]), g.ID(), other, todo),
				})
				break
			}
		}
	}
}

// besides returns the rules of the other VirtualServices of a Gateway that have a host of
// one: which of them comes first depends on their age, and all take part (istio
// pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig).
func besides(g *egressGateway, vs *model.MergedVirtualService, gateway string) [][]*model.HTTPRoute {
	var out [][]*model.HTTPRoute
	for _, other := range g.push.VirtualServices() {
		if other.Object != vs.Object && other.OfGatewayAPI == "" && slices.Contains(other.Gateways, gateway) && other.ExportTo().VisibleTo(other.Namespace, g.Namespace) &&
			slices.ContainsFunc(other.Hosts, func(h host.Name) bool { return slices.Contains(vs.Hosts, h) }) {
			out = append(out, other.HTTP)
		}
	}
	return out
}

// idleCondition returns the first condition for a Gateway beside which, or after which,
// another one of the same effect asks for nothing; by is the place of that one.
func idleCondition(vs *model.MergedVirtualService, besides func() [][]*model.HTTPRoute, gateway string, servers []*model.GatewayServer) (rule, match int, by model.Place) {
	meant := func(m *networking.HTTPMatchRequest) bool {
		return len(m.GetGateways()) == 0 || slices.Contains(m.GetGateways(), gateway)
	}
	// takes reports whether a condition takes whatever comes to another one's port.
	takes := func(all, m *networking.HTTPMatchRequest) bool {
		port := all.GetPort()
		return meant(all) && !asksForRequest(all) && all.GetScheme() == nil && all.GetAuthority() == nil && len(all.GetSourceLabels()) == 0 && all.GetSourceNamespace() == "" &&
			(port == 0 || port == m.GetPort() || m.GetPort() == 0 && !slices.ContainsFunc(servers, func(s *model.GatewayServer) bool { return s.GetPort().GetNumber() != port }))
	}
	// after looks for it in the rules that follow; others is false if one of another
	// effect comes first.
	after := func(rules []*model.HTTPRoute, r *model.HTTPRoute, m *networking.HTTPMatchRequest) (by model.Place, others bool) {
		for _, next := range rules {
			if len(next.GetMatch()) > 0 && !slices.ContainsFunc(next.GetMatch(), meant) {
				continue // for others
			}
			if !proto.Equal(effectOf(r), effectOf(next)) {
				return model.Place{}, false
			}
			if len(next.GetMatch()) == 0 {
				return model.Place{Object: next.Object, Field: next.Field}, false
			}
			if k := slices.IndexFunc(next.GetMatch(), func(x *networking.HTTPMatchRequest) bool { return takes(x, m) }); k >= 0 {
				return next.Matches[k], false
			}
		}
		return model.Place{}, true
	}
	for i, r := range vs.HTTP {
		for j, m := range r.GetMatch() {
			if !meant(m) || !asksForRequest(m) {
				continue
			}
			for k, other := range r.GetMatch() {
				if takes(other, m) {
					return i, j, r.Matches[k]
				}
			}
			by, others := after(vs.HTTP[i+1:], r, m)
			if others {
				for _, rules := range besides() {
					if by, _ = after(rules, r, m); by.Object != nil {
						break
					}
				}
			}
			if by.Object != nil {
				return i, j, by
			}
		}
	}
	return 0, 0, model.Place{}
}

// effectOf is a rule without its name and conditions, and without the weight of an only
// destination, which counts for nothing.
func effectOf(r *model.HTTPRoute) *networking.HTTPRoute {
	out := proto.CloneOf(r.HTTPRoute)
	out.Name, out.Match = "", nil
	if len(out.GetRoute()) == 1 {
		out.Route[0].Weight = 0
	}
	return out
}

// conditionText names what a condition asks of a request.
func conditionText(m *networking.HTTPMatchRequest) string {
	text := func(what string, s *networking.StringMatch) string {
		switch t := s.GetMatchType().(type) {
		case *networking.StringMatch_Exact:
			return fmt.Sprintf("%s %q", what, t.Exact)
		case *networking.StringMatch_Prefix:
			return fmt.Sprintf("%s prefix %q", what, t.Prefix)
		case *networking.StringMatch_Regex:
			return fmt.Sprintf("%s regex %q", what, t.Regex)
		}
		return what
	}
	switch {
	case m.GetUri() != nil:
		return text("uri", m.GetUri())
	case m.GetMethod() != nil:
		return text("method", m.GetMethod())
	case len(m.GetQueryParams()) > 0:
		return "query parameters"
	default:
		return "headers"
	}
}

// reportClientConditions reports routes of the mesh that restrict what clients send to an
// egress gateway, while the gateway's own rules take everything: who comes to the gateway
// by another route, or goes around the sidecar, is not restricted.
func (in *intent) reportClientConditions(g *egressGateway) {
	for _, vs := range g.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.Contains(vs.Gateways, model.MeshGateway) ||
			!slices.ContainsFunc(in.steerings, func(s *steering) bool { return s.Route == vs && slices.Contains(s.Pods, g.Workload) }) {
			continue
		}
		var first *networking.HTTPMatchRequest
		var at model.Place
		restricted, open := len(vs.HTTP) > 0, model.Place{}
		for _, r := range vs.HTTP {
			if len(r.GetMatch()) == 0 {
				restricted = false
			}
			for j, m := range r.GetMatch() {
				switch {
				case !meansMesh(m.GetGateways()):
					if !asksForRequest(m) && open.Object == nil && slices.ContainsFunc(g.servers, func(s *model.GatewayServer) bool { return slices.Contains(m.GetGateways(), s.Name()) }) {
						open = r.Matches[j]
					}
				case !asksForRequest(m):
					restricted = false
				case first == nil:
					first, at = m, r.Matches[j]
				}
			}
		}
		if !restricted || first == nil || open.Object == nil {
			continue
		}
		todo := "restrict paths and methods with an AuthorizationPolicy at the gateway"
		in.pass.Report(Finding{
			Severity: Warning, SecuritySeverity: 4.0, Object: at.Object, Field: at.Field, Label: "holds in the sidecars alone", Help: todo,
			Related: []Related{{open.Object, open.Field, "the gateway takes every request"}},
			Message: fmt.Sprintf("%s asks for %s in the sidecars alone, while egress gateway %s takes every request for %s: a client that comes to the gateway by another route is not restricted; %s",
				vs.Title(), conditionText(first), g.ID(), upTo3(hostNames(vs.Hosts)), todo),
		})
	}
}
