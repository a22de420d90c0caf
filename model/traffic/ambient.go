package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

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
		t := after([]flow.Hop{hop}, w.network(nil, conn))
		if t.Outcome == flow.Allowed && t.Via == flow.ViaDirect && t.Reason == flow.OK {
			t.Via = flow.ViaPassthrough
		}
		return t
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
	var alternatives []*flow.Trace
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
		alternatives = append(alternatives, after([]flow.Hop{h}, w.network(nil, to)))
		if len(alternatives) == 8 {
			break // more alike tell nothing more
		}
	}
	for _, a := range alternatives[1:] {
		if !sameVerdict(a, alternatives[0]) {
			return merge(byVerdict(alternatives))
		}
	}
	return alternatives[0]
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

// newWaypoint compiles a waypoint. It has no listener for an address; chains are
// found by service and port.
func newWaypoint(sim *Simulation, push *model.PushContext, g *model.KubeGateway, w *model.Workload) *proxy {
	return &proxy{
		sim: sim, push: push, namespace: w.Namespace, labels: w.Labels, workload: w, role: waypointRole,
		scope: push.NewGatewayScope(w.Namespace), waypoint: g, services: push.WaypointServices(g),
		tables: map[string]*routeTable{}, clusters: map[string]*cluster{}, servicePolicies: map[*model.Service]*policySet{},
	}
}

// serves returns the service of the waypoint that has a host, nil if it does not
// serve it.
func (p *proxy) serves(h string) *model.Service {
	for _, s := range p.services {
		if string(s.Hostname) == h {
			return s
		}
	}
	return nil
}

// servedAt returns the service that a waypoint finds at an address: the most
// specific (istio listener_waypoint.go buildWaypointInternal).
func (p *proxy) servedAt(address netip.Addr) *model.Service {
	var best *model.Service
	bits := -1
	for _, s := range p.services {
		for _, prefix := range p.push.AmbientAddresses(s) {
			if prefix.Contains(address) && prefix.Bits() > bits {
				best, bits = s, prefix.Bits()
			}
		}
	}
	return best
}

// waypointChain compiles what a waypoint does on a port of a service; sniffed
// says that the connection turned out to be plaintext HTTP.
func (p *proxy) waypointChain(s *model.Service, port *model.Port, plaintextHTTP bool) *chain {
	ch := &chain{because: []flow.Because{{Object: s.Object, Field: port.Field}}}
	kind := "tcp"
	if port.Protocol.IsHTTP() || port.Protocol == protocol.Unsupported && plaintextHTTP {
		kind = "http"
	}
	ch.name = inboundVIP(port.Number, kind, string(s.Hostname))
	ch.what = fmt.Sprintf("port %d of %s is %s", port.Number, s.Object, strings.ToUpper(kind))
	if kind == "http" {
		ch.table = ch.name
		return ch
	}
	ch.targets = p.waypointTargets(s, port)
	if rule := p.destinationRule(s); rule != nil && rule.Policy.GetTunnel() != nil {
		ch.tunnel = &flow.Because{Object: rule.From[0].Object, Field: "spec.trafficPolicy.tunnel"}
	}
	return ch
}

func inboundVIP(port int, subset, hostname string) string {
	return "inbound-vip|" + strconv.Itoa(port) + "|" + subset + "|" + hostname
}

// waypointVirtualServices are the VirtualServices that a waypoint applies to a
// service: those of the service's namespace or its own (istio
// listener_waypoint.go getVirtualServiceForWaypoint).
func (p *proxy) waypointVirtualServices(s *model.Service) []*model.MergedVirtualService {
	var out []*model.MergedVirtualService
	for _, vs := range p.push.VirtualServicesForGateway(p.namespace, model.MeshGateway) {
		if vs.Namespace != p.namespace && vs.Namespace != s.Namespace {
			continue
		}
		for _, h := range vs.Hosts {
			if h.Matches(s.Hostname) {
				out = append(out, vs)
				break
			}
		}
	}
	return out
}

// waypointTargets are where a TCP chain leads: TLS routes before TCP routes, else
// the service itself (istio listener_waypoint.go getWaypointTCPRoutes).
func (p *proxy) waypointTargets(s *model.Service, port *model.Port) []target {
	list := p.waypointVirtualServices(s)
	for _, vs := range list {
		for i, r := range vs.TLS {
			if len(r.GetMatch()) == 0 || slices.ContainsFunc(r.GetMatch(), func(m *networking.TLSMatchAttributes) bool {
				return len(m.GetSniHosts()) == 1 && m.GetSniHosts()[0] == string(s.Hostname) &&
					meshMatch(m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace(), int(m.GetPort()), port.Number)
			}) {
				return p.waypointDestinations(vs, fmt.Sprintf("spec.tls[%d]", i), r.GetRoute(), port)
			}
		}
	}
	for _, vs := range list {
		for i, r := range vs.TCP {
			if len(r.GetMatch()) == 0 || slices.ContainsFunc(r.GetMatch(), func(m *networking.L4MatchAttributes) bool {
				return meshMatch(m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace(), int(m.GetPort()), port.Number)
			}) {
				return p.waypointDestinations(vs, fmt.Sprintf("spec.tcp[%d]", i), r.GetRoute(), port)
			}
		}
	}
	return []target{{cluster: inboundVIP(port.Number, "tcp", string(s.Hostname))}}
}

// meshMatch evaluates the part of a match that does not depend on the
// connection; waypoints know no source labels and namespace.
func meshMatch(gateways []string, sourceLabels map[string]string, sourceNamespace string, port, want int) bool {
	return (len(gateways) == 0 || slices.Contains(gateways, model.MeshGateway)) && len(sourceLabels) == 0 && sourceNamespace == "" &&
		(port == 0 || port == want)
}

func (p *proxy) waypointDestinations(vs *model.MergedVirtualService, field string, routes []*networking.RouteDestination, port *model.Port) []target {
	var out []target
	for i, r := range routes {
		if len(routes) > 1 && r.GetWeight() == 0 {
			continue
		}
		out = append(out, target{cluster: p.waypointCluster(r.GetDestination(), port.Number), weight: int(r.GetWeight()),
			because: []flow.Because{{Object: vs.Object, Field: fmt.Sprintf("%s.route[%d].destination", field, i)}}})
	}
	return out
}

// waypointCluster names the cluster of a route's destination (istio
// listener_waypoint.go getWaypointDestinationCluster).
func (p *proxy) waypointCluster(d *networking.Destination, listenerPort int) string {
	if d.GetHost() == "" {
		return "UnknownService"
	}
	service := p.scope.Service(hostName(d.GetHost()))
	number := listenerPort
	if d.GetPort() != nil {
		number = int(d.GetPort().GetNumber())
	} else if service != nil && len(service.Ports) == 1 {
		number = service.Ports[0].Number
	}
	if service != nil && p.serves(d.GetHost()) == nil {
		return clusterName(number, d.GetSubset(), d.GetHost())
	}
	subset := "http"
	if service != nil {
		if port := service.PortByNumber(number); port != nil && !port.Protocol.IsHTTP() && port.Protocol != protocol.Unsupported {
			subset = "tcp"
		}
	}
	if d.GetSubset() != "" {
		subset += "/" + d.GetSubset()
	}
	return inboundVIP(number, subset, d.GetHost())
}

// waypointTable compiles the routes of an HTTP port of a service: those of all
// VirtualServices one after the other; without any, everything goes to the
// service (istio listener_waypoint.go buildWaypointInboundHTTPRouteConfig).
func (p *proxy) waypointTable(name string) *routeTable {
	parts := strings.SplitN(name, "|", 4)
	number, _ := strconv.Atoi(parts[1])
	s := p.serves(parts[3])
	vh := &virtualHost{name: "inbound|http|" + parts[1], domains: []string{"*"}, what: fmt.Sprintf("it is a request for %s", s.Object),
		because: []flow.Because{{Object: s.Object, Field: s.HostField}}}
	if s.Resolution == model.DynamicDNS {
		vh.domains = []string{string(s.Hostname)}
	}
	for _, vs := range p.waypointVirtualServices(s) {
		scope := &routeScope{proxy: p, gateway: model.MeshGateway, port: number,
			lookup: func(h string) *model.Service { return p.scope.Service(hostName(h)) }}
		vh.routes = append(vh.routes, scope.routes(vs)...)
	}
	if len(vh.routes) == 0 {
		vh.routes = []*route{defaultRoute(name, vh.because)}
	}
	return newRouteTable(name, []*virtualHost{vh})
}

// destinationRule is the one that a waypoint applies to a service of its own.
func (p *proxy) destinationRule(s *model.Service) *model.MergedDestinationRule {
	if p.scope.Service(s.Hostname) == nil {
		return nil
	}
	return p.push.DestinationRule(p.namespace, p.labels, s)
}

// compileVIP compiles a cluster that leads to a service of the waypoint itself
// (istio cluster_waypoint.go buildWaypointInboundVIPCluster).
func (p *proxy) compileVIP(c *cluster, number int, subset, hostname string) {
	c.service = p.serves(hostname)
	if c.service == nil {
		c.missing, c.unsure = p.whyUnknown(hostName(hostname))
		return
	}
	c.because = append(c.because, flow.Because{Object: c.service.Object, Field: c.service.HostField})
	c.port = c.service.PortByNumber(number)
	kind, name, _ := strings.Cut(subset, "/")
	switch {
	case c.port == nil || c.port.Protocol == protocol.UDP:
		c.missing = fmt.Sprintf("%s has no port %d", c.service.Object, number)
		c.because[0].Field = "spec.ports"
		return
	case kind == "http" && !c.port.Protocol.IsHTTP() && c.port.Protocol != protocol.Unsupported,
		kind == "tcp" && c.port.Protocol.IsHTTP():
		c.missing = fmt.Sprintf("port %d of %s is no %s port", number, c.service.Object, strings.ToUpper(kind))
		return
	case c.service.Resolution == model.DynamicDNS && c.port.Protocol != protocol.HTTP && (c.port.Protocol != protocol.TLS || !p.enabled("ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS")):
		c.missing = fmt.Sprintf("waypoints do not serve port %d of %s: resolution DYNAMIC_DNS is for HTTP", number, c.service.Object)
		return
	}
	c.because = append(c.because, flow.Because{Object: c.service.Object, Field: c.port.Field})
	rule := p.destinationRule(c.service)
	var chosen *model.Subset
	if name != "" {
		if rule != nil {
			chosen = rule.SubsetByName(name)
		}
		if chosen == nil {
			p.missingSubset(c, rule, name)
			return
		}
		c.labels = chosen.GetLabels()
		c.because = append(c.because, flow.Because{Object: chosen.From.Object, Field: chosen.Field})
	}
	if p.discover(c, rule, chosen); c.missing != "" {
		return
	}
	settings := p.policyOf(c, rule, chosen).GetTls()
	from := tlsSource(rule, chosen, c.port.Number)
	switch settings.GetMode() {
	case networking.ClientTLSSettings_SIMPLE, networking.ClientTLSSettings_MUTUAL:
		if settings.GetMode() == networking.ClientTLSSettings_MUTUAL && settings.GetCredentialName() == "" &&
			(settings.GetClientCertificate() == "" || settings.GetPrivateKey() == "") {
			break
		}
		c.tls = &upstreamTLS{mode: settings.GetMode(), sni: settings.GetSni(), autoSNI: settings.GetSni() == "", sans: settings.GetSubjectAltNames(), because: from}
		return
	}
	// ISTIO_MUTUAL and DISABLE mean no TLS here (buildWaypointTLSContext).
	c.because = append(c.because, from...)
}

// enabled reports whether one of istiod's environment variables that is off by
// default is switched on.
func (p *proxy) enabled(name string) bool {
	on, err := strconv.ParseBool(p.push.Config.Environment[name])
	return err == nil && on
}

// waypointInbound decides what a waypoint does with a connection.
func (w *walker) waypointInbound(to *model.Workload, conn connection) *flow.Trace {
	p := w.sim.waypoint(to)
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
		place += fmt.Sprint(conn.request.method, conn.request.authority, conn.request.path)
	}
	if slices.Contains(w.seen, place) {
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
	return nil
}
