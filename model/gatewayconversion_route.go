package model

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// routeOf is for whom the rules of a route are converted.
type routeOf struct {
	*gatewayConversion
	object *manifest.Object
	kind   groupKind
	// forMesh: for sidecars and waypoints, where references into other
	// namespaces need no grant.
	forMesh bool
}

func (c *gatewayConversion) routeOf(o *manifest.Object, mesh bool) *routeOf {
	return &routeOf{c, o, groupKind{gatewayv1.GroupName, o.Kind}, mesh}
}

// both converts the rules of a route for its parents: those of the mesh and
// Gateways, as far as it has such (istio route_collections.go computeRoute). A
// rule that istiod refuses costs the whole route: ok is false in convert.
func both[T any](parents []*attachment, convert func(mesh bool) ([]T, bool)) func(a *attachment) []T {
	results := map[bool][]T{}
	for _, a := range parents {
		if _, done := results[a.mesh()]; done {
			continue
		}
		results[a.mesh()] = nil
		if routes, ok := convert(a.mesh()); ok {
			results[a.mesh()] = routes
		}
	}
	return func(a *attachment) []T { return results[a.mesh()] }
}

// convertHTTPRoute converts an HTTPRoute (istio route_collections.go
// HTTPRouteCollection).
func (c *gatewayConversion) convertHTTPRoute(r *KubeHTTPRoute) []*baseRoutes {
	spec := withHTTPDefaults(r.Spec.Spec)
	parents := c.attachments(r.Object, "HTTPRoute", spec.ParentRefs, spec.Hostnames)
	return c.httpRoutes(r.Object, parents, spec.Hostnames, func(mesh bool) ([]*HTTPRoute, bool) {
		var out []*HTTPRoute
		of := c.routeOf(r.Object, mesh)
		for i := range spec.Rules {
			// Each match becomes a route of its own, so that they can be sorted.
			for j := range max(1, len(spec.Rules[i].Matches)) {
				route, ok := of.httpRule(&spec.Rules[i], i, j)
				if !ok {
					return nil, false
				}
				out = append(out, route)
			}
		}
		return out, true
	})
}

// convertGRPCRoute converts a GRPCRoute (istio route_collections.go
// GRPCRouteCollection).
func (c *gatewayConversion) convertGRPCRoute(r *KubeGRPCRoute) []*baseRoutes {
	spec := &r.Spec.Spec
	parents := c.attachments(r.Object, "GRPCRoute", spec.ParentRefs, spec.Hostnames)
	return c.httpRoutes(r.Object, parents, spec.Hostnames, func(mesh bool) ([]*HTTPRoute, bool) {
		var out []*HTTPRoute
		of := c.routeOf(r.Object, mesh)
		for i := range spec.Rules {
			for j := range max(1, len(spec.Rules[i].Matches)) {
				route, ok := of.grpcRule(&spec.Rules[i], i, j)
				if !ok {
					return nil, false
				}
				out = append(out, route)
			}
		}
		return out, true
	})
}

// httpRoutes gives the routes of an HTTPRoute or GRPCRoute for each parent and
// host.
func (c *gatewayConversion) httpRoutes(o *manifest.Object, parents []*attachment, hostnames []gatewayv1.Hostname, convert func(mesh bool) ([]*HTTPRoute, bool)) []*baseRoutes {
	var out []*baseRoutes
	converted := both(parents, convert)
	for _, a := range parents {
		routes, key, hosts := converted(a), a.internalName, hostTexts(hostnames)
		if a.mesh() {
			hosts, key = c.meshHosts(a), o.Namespace
			if a.ref.Port != nil {
				routes = withPort(routes, uint32(*a.ref.Port)) //nolint:gosec // a port
				key += "/" + strconv.Itoa(int(*a.ref.Port))
			}
		}
		if len(routes) == 0 {
			continue
		}
		for _, h := range hosts {
			if !a.isolated(h) {
				continue
			}
			sorted := slices.Clone(routes)
			sortHTTPRoutes(sorted)
			out = append(out, &baseRoutes{
				name: o.Name + "~" + strconv.Itoa(len(out)) + "~" + generatedName, namespace: o.Namespace,
				key: key + "/" + h, gateway: a.internalName, host: h, object: o, routes: sorted,
			})
		}
	}
	return out
}

func hostTexts(hostnames []gatewayv1.Hostname) []string {
	if len(hostnames) == 0 {
		return []string{"*"}
	}
	out := make([]string, len(hostnames))
	for i, h := range hostnames {
		out[i] = string(h)
	}
	return out
}

// withPort narrows routes to a port (istio route_collections.go
// augmentPortMatch).
func withPort(routes []*HTTPRoute, port uint32) []*HTTPRoute {
	var out []*HTTPRoute
	for _, r := range routes {
		c := *r
		c.HTTPRoute = proto.CloneOf(r.HTTPRoute)
		for _, m := range c.Match {
			m.Port = port
		}
		if len(c.Match) == 0 {
			c.Match = []*networking.HTTPMatchRequest{{Port: port}}
			c.Matches = []Place{{c.Object, c.Field}}
		}
		out = append(out, &c)
	}
	return out
}

// convertTCPRoute converts a TCPRoute (istio route_collections.go
// TCPRouteCollection).
func (c *gatewayConversion) convertTCPRoute(r *KubeTCPRoute) {
	parents := c.attachments(r.Object, "TCPRoute", r.Spec.Spec.ParentRefs, nil)
	converted := both(parents, func(mesh bool) ([]*networking.TCPRoute, bool) {
		var out []*networking.TCPRoute
		for _, rule := range r.Spec.Spec.Rules {
			destinations, ok := c.routeOf(r.Object, mesh).connections(rule.BackendRefs)
			if !ok {
				return nil, false
			}
			out = append(out, &networking.TCPRoute{Route: destinations})
		}
		return out, true
	})
	count := 0
	for _, a := range parents {
		routes, hosts := converted(a), []string{"*"}
		if a.mesh() {
			hosts = c.meshHosts(a)
			if a.ref.Port != nil {
				port := []*networking.L4MatchAttributes{{Port: uint32(*a.ref.Port)}} //nolint:gosec // a port
				routes = clones(routes)
				for _, route := range routes {
					route.Match = port
				}
			}
		}
		for _, h := range hosts {
			c.addLayerFour(r.Object, "tcp", count, a.internalName, h).TCP = routes
			count++
		}
	}
}

func clones[T proto.Message](in []T) []T {
	var out []T
	for _, m := range in {
		out = append(out, proto.CloneOf(m))
	}
	return out
}

// convertTLSRoute converts a TLSRoute (istio route_collections.go
// TLSRouteCollection).
func (c *gatewayConversion) convertTLSRoute(r *KubeTLSRoute) {
	spec := &r.Spec.Spec
	parents := c.attachments(r.Object, "TLSRoute", spec.ParentRefs, spec.Hostnames)
	converted := both(parents, func(mesh bool) ([]*networking.TLSRoute, bool) {
		var out []*networking.TLSRoute
		for _, rule := range spec.Rules {
			destinations, ok := c.routeOf(r.Object, mesh).connections(rule.BackendRefs)
			if !ok {
				return nil, false
			}
			route := &networking.TLSRoute{Route: destinations}
			if weightSum(rule.BackendRefs) != 0 {
				route.Match = []*networking.TLSMatchAttributes{{SniHosts: hostTexts(spec.Hostnames)}}
			}
			out = append(out, route)
		}
		return out, true
	})
	count := 0
	for _, a := range parents {
		routes, hosts := converted(a), hostTexts(spec.Hostnames)
		switch {
		case a.mesh():
			hosts = c.meshHosts(a)
			routes = meshTLSRoutes(routes, a.ref.Port, hosts)
		case a.hostname != "":
			listener := host.NewNames([]string{a.hostname})
			hosts = nameTexts(host.NewNames(hosts).Intersection(listener))
			routes = narrowTLSRoutes(routes, listener)
		}
		for _, h := range hosts {
			m := c.addLayerFour(r.Object, "tls", count, a.internalName, h)
			m.TLS = routes
			if a.mesh() {
				m.TLS = tlsRoutesFor(routes, h)
			}
			count++
		}
	}
}

func nameTexts(names host.Names) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// meshTLSRoutes narrows routes to a port; a route without host names is for
// those of its parent (istio conversion.go augmentTLSPortMatch).
func meshTLSRoutes(routes []*networking.TLSRoute, port *gatewayv1.PortNumber, hosts []string) []*networking.TLSRoute {
	routes = clones(routes)
	for _, r := range routes {
		if len(r.Match) == 1 && slices.Equal(r.Match[0].SniHosts, []string{"*"}) {
			r.Match[0].SniHosts = hosts
		}
		for _, m := range r.Match {
			if port != nil {
				m.Port = uint32(*port) //nolint:gosec // a port
			}
		}
	}
	return routes
}

// narrowTLSRoutes keeps of the host names of routes what the listener takes
// (istio conversion.go constrainTLSRoutesToListenerHost).
func narrowTLSRoutes(routes []*networking.TLSRoute, listener host.Names) []*networking.TLSRoute {
	var out []*networking.TLSRoute
	for _, r := range clones(routes) {
		found := len(r.Match) == 0
		for _, m := range r.Match {
			m.SniHosts = nameTexts(host.NewNames(m.SniHosts).Intersection(listener))
			found = found || len(m.SniHosts) > 0
		}
		if found {
			out = append(out, r)
		}
	}
	return out
}

// tlsRoutesFor keeps of several host names those that match one of the parent's
// (istio conversion.go compatibleRoutesForHost).
func tlsRoutesFor(routes []*networking.TLSRoute, parent string) []*networking.TLSRoute {
	routes = clones(routes)
	for _, r := range routes {
		if len(r.Match) == 1 && len(r.Match[0].SniHosts) > 1 {
			var names []string
			for _, h := range r.Match[0].SniHosts {
				if host.Name(parent).Matches(host.Name(h)) {
					names = append(names, h)
				}
			}
			r.Match[0].SniHosts = names
		}
	}
	return routes
}

// ruleField is the place of a rule.
func ruleField(rule int) string { return fmt.Sprintf("spec.rules[%d]", rule) }
