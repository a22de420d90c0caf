package traffic

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// newGateway compiles the listeners of a gateway.
func newGateway(sim *Simulation, push *model.PushContext, w *model.Workload, v6 bool) *proxy {
	p := &proxy{
		sim: sim, push: push, namespace: w.Namespace, labels: w.Labels, workload: w, role: gatewayRole, wildcard: wildcardOf(v6),
		scope: sim.gatewayScope(push, w.Namespace), gateway: push.MergeGateways(w),
		tables: map[string]*routeTable{}, clusters: map[string]*cluster{},
	}
	p.listeners = p.gatewayListeners()
	return p
}

// gatewayListeners compiles one listener for each address and port (istio
// gateway.go buildGatewayListeners). A port whose servers have no usable route
// has none.
func (p *proxy) gatewayListeners() map[bindPort]*listener {
	out := map[bindPort]*listener{}
	if p.gateway == nil {
		return out
	}
	seenSNI := map[string]bool{}
	for _, port := range p.gateway.Ports {
		if port.Port < 1024 && unprivileged(p.workload) {
			continue
		}
		bind := port.Bind
		if bind == "" {
			bind = p.wildcard
		}
		key := bindPort{bind, port.Port}
		if out[key] == nil {
			out[key] = &listener{bind: bind, port: port.Port}
		}
		out[key].chains = append(out[key].chains, p.portChains(port, seenSNI)...)
	}
	for key, l := range out {
		if len(l.chains) == 0 {
			delete(out, key)
			continue
		}
		l.check()
	}
	return out
}

// unprivileged reports whether a gateway's container says that it cannot bind
// ports below 1024; istiod then sends no listener for them.
func unprivileged(w *model.Workload) bool {
	if w.Pod == nil {
		return false
	}
	for _, c := range w.Pod.Containers {
		for _, e := range c.Env {
			if e.Name == "ISTIO_META_UNPRIVILEGED_POD" && e.Value == "true" {
				return true
			}
		}
	}
	return false
}

func (p *proxy) portChains(port *model.GatewayPort, seenSNI map[string]bool) []*chain {
	first := port.Servers[0]
	if port.Protocol.IsHTTP() {
		c := &chain{
			name: "http", table: port.RouteName, server: first,
			what: first.Title() + " takes plaintext HTTP",
		}
		for _, s := range port.Servers {
			c.because = append(c.because, serverBecause(s, "port")...)
		}
		return []*chain{c}
	}
	var out []*chain
	for _, s := range port.Servers {
		switch {
		case s.GetTls() != nil && s.Protocol() == protocol.HTTPS && !s.Passthrough():
			out = append(out, &chain{
				name: "https", table: s.RouteName, server: s, opens: true, sni: s.SNIHosts,
				what:    fmt.Sprintf("%s opens TLS (%s) and speaks HTTP", s.Title(), s.GetTls().GetMode()),
				because: serverBecause(s, "tls.mode"),
			})
		case s.Passthrough():
			out = append(out, p.passthroughChains(s, seenSNI)...)
		default:
			if c := p.tcpChain(s); c != nil {
				out = append(out, c)
			}
		}
	}
	return out
}

func serverBecause(s *model.GatewayServer, field string) []flow.Because {
	if s.Origin != nil {
		if field == "hosts" {
			field = "hostname"
		}
		return []flow.Because{{Object: s.Origin.Parent.Object, Field: fmt.Sprintf("spec.listeners[%d].%s", s.Origin.Listener, field)}}
	}
	return []flow.Because{{Object: s.Gateway.Object, Field: s.Field + "." + field}}
}

// gatewayText is how messages name the Gateway of a server.
func gatewayText(s *model.GatewayServer) string {
	if s.Origin != nil {
		return s.Origin.Parent.String()
	}
	return "Gateway " + s.Gateway.ID()
}

// boundHosts returns the VirtualService's hosts that a server serves, for TCP
// and TLS routes (istio gateway.go pickMatchingGatewayHosts).
func boundHosts(s *model.GatewayServer, vs *model.MergedVirtualService) []host.Name {
	var out []host.Name
	for _, h := range vs.Hosts {
		for _, g := range s.Hosts {
			if ns, name, found := strings.Cut(g, "/"); found {
				if ns != vs.Namespace {
					continue
				}
				g = name
			}
			if host.Name(g).Matches(h) {
				out = append(out, h)
				break
			}
		}
	}
	return out
}

// serverMatch evaluates what counts for TCP and TLS matches at gateways: port
// and gateway, nothing else (istio gateway.go l4SingleMatch).
func serverMatch(port uint32, gateways []string, s *model.GatewayServer) bool {
	return (port == 0 || port == s.GetPort().GetNumber()) && (len(gateways) == 0 || contains(gateways, s.Name()))
}

// tcpChain is the chain of a TCP server, or of a TLS server that opens TLS: the
// first TCP route that fits; nil if there is none.
func (p *proxy) tcpChain(s *model.GatewayServer) *chain {
	for _, vs := range p.push.VirtualServicesForGateway(p.namespace, s.Name()) {
		if len(boundHosts(s, vs)) == 0 {
			continue
		}
		if routes, field := connectionRoute(s, vs); len(routes) > 0 {
			c := &chain{
				name: "tcp", server: s, targets: p.routeTargets(routes, int(s.GetPort().GetNumber()), vs, field),
				what:    fmt.Sprintf("%s forwards TCP as %s says", s.Title(), vs.Title()),
				because: append(serverBecause(s, "port"), ruleBecause(vs, field)),
			}
			if s.GetTls() != nil {
				c.name, c.opens, c.sni = "tls", true, s.SNIHosts
				c.what = fmt.Sprintf("%s opens TLS (%s) and forwards what is inside as %s says", s.Title(), s.GetTls().GetMode(), vs.Title())
				c.because[0] = serverBecause(s, "tls.mode")[0]
			}
			if u := p.readsRedis(s.Protocol()); u != nil {
				c.opaque = u.Why
			}
			return c
		}
	}
	return nil
}

// connectionRoute finds the route of a VirtualService for connections that a
// server forwards as TCP, and its field. A TLSRoute gives them one too, after
// TLS is opened (istio gateway.go buildGatewayNetworkFiltersFromTCPRoutes).
func connectionRoute(s *model.GatewayServer, vs *model.MergedVirtualService) ([]*networking.RouteDestination, string) {
	for i, tcp := range vs.TCP {
		matched := len(tcp.GetMatch()) == 0
		for _, m := range tcp.GetMatch() {
			matched = matched || serverMatch(m.GetPort(), m.GetGateways(), s)
		}
		if matched && len(tcp.GetRoute()) > 0 {
			return tcp.GetRoute(), fmt.Sprintf("spec.tcp[%d]", i)
		}
	}
	if vs.OfGatewayAPI != "TLSRoute" || s.Passthrough() {
		return nil, ""
	}
	for i, tls := range vs.TLS {
		for _, m := range tls.GetMatch() {
			if serverMatch(m.GetPort(), m.GetGateways(), s) {
				return tls.GetRoute(), fmt.Sprintf("spec.tls[%d]", i)
			}
		}
	}
	return nil, ""
}

// passthroughChains are the chains of a server that forwards TLS by server name
// (istio gateway.go buildGatewayNetworkFiltersFromTLSRoutes).
func (p *proxy) passthroughChains(s *model.GatewayServer, seen map[string]bool) []*chain {
	if s.GetTls().GetMode() == networking.ServerTLSSettings_AUTO_PASSTHROUGH {
		return p.autoPassthroughChains(s)
	}
	var out []*chain
	for _, vs := range p.push.VirtualServicesForGateway(p.namespace, s.Name()) {
		if len(boundHosts(s, vs)) == 0 {
			continue
		}
		for i, tls := range vs.TLS {
			if len(tls.GetRoute()) == 0 {
				continue
			}
			for j, m := range tls.GetMatch() {
				if !serverMatch(m.GetPort(), m.GetGateways(), s) {
					continue
				}
				// A rule that repeats any server name of the port is skipped.
				if slices.ContainsFunc(m.GetSniHosts(), func(h string) bool { return seen[sniKey(s, h)] }) {
					continue
				}
				for _, h := range m.GetSniHosts() {
					seen[sniKey(s, h)] = true
				}
				field := fmt.Sprintf("spec.tls[%d]", i)
				out = append(out, &chain{
					name: "tls-passthrough", server: s, sni: m.GetSniHosts(),
					targets: p.routeTargets(tls.GetRoute(), int(s.GetPort().GetNumber()), vs, field),
					what:    fmt.Sprintf("%s forwards TLS unopened as %s says for server name %s", s.Title(), vs.Title(), strings.Join(m.GetSniHosts(), ", ")),
					because: append(serverBecause(s, "tls.mode"), ruleBecause(vs, fmt.Sprintf("%s.match[%d]", field, j))),
				})
			}
		}
	}
	return out
}

func sniKey(s *model.GatewayServer, h string) string {
	return fmt.Sprint(s.Port, " ", s.GetBind(), " ", h)
}

// gatewayTable compiles the route table of HTTP servers (istio gateway.go
// buildGatewayHTTPRouteConfig): the routes of all VirtualServices of a host
// follow each other, those without condition come last.
func (p *proxy) gatewayTable(name string) *routeTable {
	var hosts []*virtualHost
	byHost := map[host.Name]*virtualHost{}
	cache := map[string][]*route{}
	for _, s := range p.gateway.ServersByRoute(name) {
		redirects := s.GetTls().GetHttpsRedirect()
		for _, vs := range p.push.VirtualServicesForGateway(p.namespace, s.Name()) {
			shared := s.HostsFor(vs.Namespace).Intersection(host.Names(vs.Hosts))
			if len(shared) == 0 {
				continue
			}
			key := s.Name() + " " + vs.ID()
			routes, ok := cache[key]
			if !ok {
				scope := &routeScope{proxy: p, gateway: s.Name(), port: int(s.GetPort().GetNumber()), lookup: p.destinationLookup(vs)}
				if routes = scope.routes(vs); len(routes) == 0 {
					continue
				}
				cache[key] = routes
			}
			for _, h := range shared {
				h = host.Name(strings.ToLower(string(h)))
				vh := byHost[h]
				if vh == nil {
					vh = &virtualHost{name: domainName(string(h), int(s.GetPort().GetNumber())), domains: []string{string(h)}}
					byHost[h] = vh
					hosts = append(hosts, vh)
				}
				vh.routes = append(vh.routes, routes...)
				vh.redirectsToHTTPS = vh.redirectsToHTTPS || redirects
				vh.because = append(append(vh.because, serverBecause(s, "hosts")...), hostBecause(vs, string(h)))
				vh.what = fmt.Sprintf("%s serves %s for %s", gatewayText(s), h, vs.Title())
			}
		}
		if !redirects {
			continue
		}
		for _, h := range s.Hosts {
			h = strings.ToLower(h)
			vh := byHost[host.Name(h)]
			if vh == nil {
				vh = &virtualHost{name: domainName(h, int(s.GetPort().GetNumber())), domains: []string{h},
					what: fmt.Sprintf("%s redirects %s to HTTPS", gatewayText(s), h)}
				byHost[host.Name(h)] = vh
				hosts = append(hosts, vh)
			}
			vh.redirectsToHTTPS = true
			vh.because = append(vh.because, serverBecause(s, "tls.httpsRedirect")...)
		}
	}
	for _, vh := range hosts {
		slices.SortStableFunc(vh.routes, func(a, b *route) int {
			rank := func(r *route) int {
				if r.match.catchAll() {
					return 1
				}
				return 0
			}
			return rank(a) - rank(b)
		})
	}
	return newRouteTable(name, hosts)
}

// destinationLookup finds the services of a VirtualService's destinations at a
// gateway: in the VirtualService's own namespace if the gateway sees it, else
// what the gateway sees (istio gateway.go buildNameToServiceMapForHTTPRoutes).
func (p *proxy) destinationLookup(vs *model.MergedVirtualService) func(string) *model.Service {
	return func(h string) *model.Service {
		if s := p.push.ServiceIn(host.Name(h), vs.Namespace); p.push.Visible(s, p.namespace) {
			return s
		}
		return p.scope.Service(host.Name(h))
	}
}
