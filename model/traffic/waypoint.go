package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// newWaypoint compiles a waypoint. It has no listener for an address; chains are
// found by service and port.
func newWaypoint(sim *Simulation, push *model.PushContext, g *model.KubeGateway, w *model.Workload) *proxy {
	return &proxy{
		sim: sim, push: push, namespace: w.Namespace, labels: w.Labels, workload: w, role: waypointRole,
		scope: sim.gatewayScope(push, w.Namespace), waypoint: g, services: push.WaypointServices(g),
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

// servedAt returns the service and port that a waypoint finds at an address: the
// most specific that has a chain for the port, of equal ones the oldest, because
// Envoy goes on to the next range where the port matches nothing (istio
// listener_waypoint.go buildWaypointInternal). Without one nearest is the most
// specific service at all, nil if there is none.
func (p *proxy) servedAt(dst netip.AddrPort) (s *model.Service, port *model.Port, nearest *model.Service) {
	best, any := -1, -1
	for _, o := range p.services {
		for _, prefix := range p.push.AmbientAddresses(o) {
			if !prefix.Contains(dst.Addr()) {
				continue
			}
			if prefix.Bits() > any {
				any, nearest = prefix.Bits(), o
			}
			if q := p.servedPort(o, int(dst.Port())); q != nil && prefix.Bits() > best {
				best, s, port = prefix.Bits(), o, q
			}
		}
	}
	return s, port, nearest
}

// servedPort returns the port of a service for which a waypoint has a chain, nil
// if there is none.
func (p *proxy) servedPort(s *model.Service, number int) *model.Port {
	for _, port := range s.Ports {
		skipped := port.Protocol == protocol.UDP ||
			port.Protocol.IsTLS() && p.dynamicForward(s) && !p.enabled("ENABLE_WILDCARD_HOST_SERVICE_ENTRIES_FOR_TLS")
		if port.Number == number && !skipped {
			return port
		}
	}
	return nil
}

// unsureService says why it is left to chance whether a waypoint serves a
// service, "" if it is not: of services with one host it serves one (istio
// waypoint.go findWaypointResources puts them into a map), and of several
// addresses of a ServiceEntry, each of which is a service in istiod's registry,
// it knows one (istio pilot/pkg/model/push_context.go initServiceRegistry,
// service.go getAllAddressesForProxy).
func (p *proxy) unsureService(s *model.Service) string {
	for _, o := range p.services {
		if o != s && o.Hostname == s.Hostname {
			return fmt.Sprintf("%s and %s define %s and both use waypoint %s, which serves one of them only: which is left to chance", s.Object, o.Object, s.Hostname, p.waypoint.ID())
		}
	}
	if n := len(p.push.AmbientAddresses(s)); !s.Kubernetes() && n > 1 {
		return fmt.Sprintf("%s lists %d addresses, of which a waypoint serves one only: which is left to chance; an entry for each address would settle it", s.Object, n)
	}
	return ""
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
	tunnel := p.waypointTunnel(s, port)
	for i := range ch.targets {
		ch.targets[i].tunnel = tunnel
	}
	return ch
}

// waypointTunnel points to the DestinationRule that wraps connections into HTTP
// CONNECT, nil if there is none: the rule of the first destination counts for
// all, with its subset if it is the only one (istio listener_waypoint.go
// buildWaypointNetworkFilters, tunnelingconfig).
func (p *proxy) waypointTunnel(s *model.Service, port *model.Port) *flow.Because {
	_, _, routes := p.waypointTCPRoutes(s, port)
	h := s.Hostname
	if len(routes) > 0 {
		h = hostName(routes[0].GetDestination().GetHost())
	}
	if s = p.scope.Service(h); s == nil {
		return nil
	}
	rule := p.push.DestinationRule(p.namespace, p.labels, s)
	if rule == nil {
		return nil
	}
	if len(routes) == 1 && routes[0].GetDestination().GetSubset() != "" {
		if subset := rule.SubsetByName(routes[0].GetDestination().GetSubset()); subset.GetTrafficPolicy().GetTunnel() != nil {
			return &flow.Because{Object: subset.From.Object, Field: subset.Field + ".trafficPolicy.tunnel"}
		}
	}
	if rule.Policy.GetTunnel() != nil {
		return &flow.Because{Object: rule.From[0].Object, Field: "spec.trafficPolicy.tunnel"}
	}
	return nil
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

// waypointTargets are where a TCP chain leads: where its routes say, else to the
// service itself.
func (p *proxy) waypointTargets(s *model.Service, port *model.Port) []target {
	vs, field, routes := p.waypointTCPRoutes(s, port)
	if len(routes) == 0 {
		return []target{{cluster: inboundVIP(port.Number, "tcp", string(s.Hostname))}}
	}
	return p.waypointDestinations(vs, field, routes, port)
}

// waypointTCPRoutes are the destinations of a TCP chain: TLS routes before TCP
// routes, each of the first rule that matches (istio listener_waypoint.go
// getWaypointTCPRoutes).
func (p *proxy) waypointTCPRoutes(s *model.Service, port *model.Port) (*model.MergedVirtualService, string, []*networking.RouteDestination) {
	list := p.waypointVirtualServices(s)
	for _, vs := range list {
		i := slices.IndexFunc(vs.TLS, func(r *networking.TLSRoute) bool {
			return len(r.GetMatch()) == 0 || slices.ContainsFunc(r.GetMatch(), func(m *networking.TLSMatchAttributes) bool {
				return len(m.GetSniHosts()) == 1 && m.GetSniHosts()[0] == string(s.Hostname) &&
					meshMatch(m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace(), int(m.GetPort()), port.Number)
			})
		})
		if i >= 0 && len(vs.TLS[i].GetRoute()) > 0 {
			return vs, fmt.Sprintf("spec.tls[%d]", i), vs.TLS[i].GetRoute()
		}
	}
	for _, vs := range list {
		i := slices.IndexFunc(vs.TCP, func(r *networking.TCPRoute) bool {
			return len(r.GetMatch()) == 0 || slices.ContainsFunc(r.GetMatch(), func(m *networking.L4MatchAttributes) bool {
				return meshMatch(m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace(), int(m.GetPort()), port.Number)
			})
		})
		if i >= 0 && len(vs.TCP[i].GetRoute()) > 0 {
			return vs, fmt.Sprintf("spec.tcp[%d]", i), vs.TCP[i].GetRoute()
		}
	}
	return nil, "", nil
}

// meshMatch evaluates the part of a match that does not depend on the
// connection; waypoints know no source labels and namespace.
func meshMatch(gateways []string, sourceLabels map[string]string, sourceNamespace string, port, want int) bool {
	return (len(gateways) == 0 || contains(gateways, model.MeshGateway)) && len(sourceLabels) == 0 && sourceNamespace == "" &&
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
	t := newRouteTable(name, []*virtualHost{vh})
	// Unlike those of sidecars and gateways, route configurations of waypoints do not
	// set IgnorePortInHostMatching.
	t.ports = true
	return t
}

// HostsWithoutPort are the hosts, wildcards among them, of which waypoints take requests
// only if their Host header names no port.
func (s *Simulation) HostsWithoutPort() []host.Name {
	push := s.Push()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.Name
	for _, svc := range push.Services() {
		if svc.Resolution == model.DynamicDNS && push.WaypointOf(svc).Waypoint != nil {
			out = append(out, svc.Hostname)
		}
	}
	return out
}

// destinationRule is the one that a waypoint applies to a service of its own:
// that of the service which the waypoint's namespace sees under the host, and
// none with a workload selector, because the direction is inbound (istio
// pilot/pkg/model/sidecar.go DestinationRule).
func (p *proxy) destinationRule(s *model.Service) *model.MergedDestinationRule {
	seen := p.scope.Service(s.Hostname)
	if seen == nil {
		return nil
	}
	if rule := p.push.DestinationRule(p.namespace, nil, seen); rule != nil && !rule.HasSelector {
		return rule
	}
	return nil
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
	case c.port == nil:
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
	c.because = append(c.because, flow.Because{Object: c.port.Object, Field: c.port.Field})
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

// enabled reports whether one of istiod's switches is on.
//
//go:noinline
func (p *proxy) enabled(name string) bool { return p.push.Config.Enabled(name) }
