package traffic

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// dynamicDNSTable routes the plaintext requests that no listener takes in the mode
// ALLOW_ANY_DYNAMIC_DNS (istio pilot/pkg/networking/core/listener_builder.go
// buildAllowAnyDynamicDNSHTTPFilterChain).
const dynamicDNSTable = "allow_any_dynamic_dns"

// table returns a route table by its name, compiled once.
func (p *proxy) table(name string) *routeTable {
	if t := p.tables[name]; t != nil {
		return t
	}
	var t *routeTable
	switch {
	case name == dynamicDNSTable:
		t = newRouteTable(name, []*virtualHost{p.catchAllHost()})
	case p.role == gatewayRole:
		t = p.gatewayTable(name)
	case p.role == waypointRole:
		t = p.waypointTable(name)
	default:
		t = p.sidecarTable(name)
	}
	p.tables[name] = t
	return t
}

// sidecarTable compiles the virtual hosts of a port ("80"), or of one sniffed
// service ("host:8080") (istio httproute.go
// buildSidecarOutboundHTTPRouteConfig).
func (p *proxy) sidecarTable(name string) *routeTable {
	text, sniffed := name, false
	if i := strings.IndexByte(name, ':'); i >= 0 {
		text, sniffed = name[i+1:], true
	}
	port, _ := strconv.Atoi(text)
	hosts := p.virtualHosts(port)
	if sniffed {
		hosts = slices.DeleteFunc(hosts, func(vh *virtualHost) bool {
			bare, _, err := net.SplitHostPort(name)
			return err != nil || !contains(vh.domains, name) && !contains(vh.domains, bare)
		})
		if len(hosts) == 1 {
			only := *hosts[0] // others may share it
			only.domains = []string{"*"}
			hosts[0] = &only
		}
	} else {
		hosts = append(hosts, p.catchAllHost())
	}
	return newRouteTable(name, hosts)
}

// catchAllHost takes requests for unknown hosts (istio httproute.go
// buildCatchAllVirtualHost).
func (p *proxy) catchAllHost() *virtualHost {
	from := p.policyBecause()
	vh := &virtualHost{name: "block_all", domains: []string{"*"}, what: p.policyText(), because: from}
	switch {
	case p.dynamicDNS():
		vh.name, vh.routes = "allow_any_dynamic_dns", []*route{defaultRoute(dynamicDNSCluster, from)}
	case p.allowAny():
		c := p.catchAll()
		vh.name, vh.routes = "allow_any", []*route{{name: "allow_any", targets: c.targets, because: from}}
	default:
		vh.routes = []*route{{name: "block_all", respond: 502, because: from}}
	}
	return vh
}

// hostGroup is a set of virtual hosts that share routes (istio route.go
// VirtualHostWrapper).
type hostGroup struct {
	port     int
	services []*model.Service
	// names are hosts of a VirtualService that no service of the port has.
	names []string
	// routes are those of vs; without one the service's own is implied.
	routes []*route
	vs     *model.MergedVirtualService
}

// virtualHosts compiles the virtual hosts of a port (istio httproute.go
// BuildSidecarOutboundVirtualHosts).
func (p *proxy) virtualHosts(port int) []*virtualHost {
	egress := p.scope.Listener(port)
	if egress == nil {
		return nil
	}
	// Ports that a Sidecar declares as HTTP_PROXY take every service port.
	if declared := egress.Spec.GetPort(); declared != nil && protocol.Parse(declared.GetProtocol()) == protocol.HTTP_PROXY {
		return nil
	}
	registry := map[host.Name]*model.Service{}
	var order []host.Name
	for _, s := range egress.Services {
		sp := s.PortByNumber(port)
		if sp == nil {
			continue
		}
		h := host.Name(strings.ToLower(string(s.Hostname)))
		if registry[h] == nil {
			order = append(order, h)
		}
		// A later service of the same host replaces the earlier one.
		registry[h] = p.sim.ported(s, sp, h)
	}
	wild := slices.DeleteFunc(slices.Clone(order), func(h host.Name) bool { return !h.IsWildCarded() })
	var groups []hostGroup
	for _, vs := range egress.VirtualServices {
		if port != 80 && !coversAny(vs, registry, order, wild) {
			continue // only on port 80 do unregistered hosts get routes
		}
		if g, ok := p.hostGroup(vs, registry, order, egress, port); ok {
			groups = append(groups, g)
		}
	}
	done := map[host.Name]bool{}
	for _, g := range groups {
		for _, s := range g.services {
			done[s.Hostname] = true
		}
	}
	for _, h := range order {
		s := registry[h]
		if done[h] || s.Resolution == model.Alias || !s.Ports[0].Protocol.IsHTTPOrSniffed() {
			continue
		}
		groups = append(groups, hostGroup{port: port, services: []*model.Service{s}})
	}
	return p.buildHosts(groups, port)
}

// coversAny reports whether a VirtualService has a host that overlaps a service
// of the registry, whose hosts are order, wild those with a wildcard.
func coversAny(vs *model.MergedVirtualService, registry map[host.Name]*model.Service, order, wild []host.Name) bool {
	for _, h := range vs.Hosts {
		h = host.Name(strings.ToLower(string(h)))
		if registry[h] != nil {
			return true
		}
		candidates := wild
		if h.IsWildCarded() {
			candidates = order
		}
		if slices.ContainsFunc(candidates, h.Matches) {
			return true
		}
	}
	return false
}

// hostGroup compiles the part of a VirtualService for a port; false where none
// of its rules is meant for this sidecar and port (istio route.go
// buildSidecarVirtualHostsForVirtualService).
func (p *proxy) hostGroup(vs *model.MergedVirtualService, registry map[host.Name]*model.Service, order []host.Name, egress *model.EgressListener, port int) (hostGroup, bool) {
	scope := &routeScope{proxy: p, gateway: model.MeshGateway, port: port, lookup: func(h string) *model.Service { return registry[host.Name(h)] }}
	routes := scope.routes(vs)
	if len(routes) == 0 {
		return hostGroup{}, false
	}
	g := hostGroup{port: port, routes: routes, vs: vs}
	var wildcards []host.Name
	for _, h := range vs.Hosts {
		lower := host.Name(strings.ToLower(string(h)))
		switch {
		case lower.IsWildCarded():
			wildcards = append(wildcards, lower)
		case registry[lower] != nil:
			g.services = append(g.services, registry[lower])
		default:
			g.names = append(g.names, string(h))
		}
	}
	for _, h := range wildcards {
		if vs.OfGatewayAPI != "" {
			g.names = append(g.names, string(h))
			continue
		}
		found := false
		for _, name := range order {
			if !name.Matches(h) {
				continue
			}
			found = true
			// Each service belongs to the VirtualService that covers it most
			// specifically.
			if egress.BestVirtualService(name) == vs {
				g.services = append(g.services, registry[name])
			}
		}
		if !found {
			g.names = append(g.names, string(h))
		}
	}
	// Routes of the Gateway API hold for clients of their own namespace, and for
	// those of other namespaces where they are in that of the service.
	if vs.OfGatewayAPI != "" && p.namespace != vs.Namespace &&
		!slices.ContainsFunc(g.services, func(s *model.Service) bool { return s.Namespace == vs.Namespace }) {
		return hostGroup{}, false
	}
	if vs.OfGatewayAPI != "" && len(g.services) == 0 {
		return hostGroup{}, false
	}
	g.services = slices.DeleteFunc(g.services, func(s *model.Service) bool { return !s.Ports[0].Protocol.IsHTTPOrSniffed() })
	// Without any service the routes exist on port 80 only (istio route.go,
	// "This is a gross HACK").
	return g, len(g.services) > 0 || port == 80
}

// buildHosts turns groups into virtual hosts; the first to claim a domain keeps
// it. Among services that no VirtualService routes, the first is chance.
func (p *proxy) buildHosts(groups []hostGroup, port int) []*virtualHost {
	claims := p.claims(groups)
	names, taken, known := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, g := range groups {
		for _, s := range g.services {
			known[string(s.Hostname)] = true
			known[domainName(string(s.Hostname), g.port)] = true
		}
	}
	var out []*virtualHost
	build := func(hostname string, g hostGroup, s *model.Service) {
		name := domainName(hostname, g.port)
		if names[name] {
			return
		}
		names[name] = true
		domains, alternatives := []string{ipv6(hostname)}, []string(nil)
		var shared *commonHost
		switch {
		case s != nil && g.vs == nil:
			shared = p.sharedHost(g, s)
			domains, alternatives = shared.domains, shared.alternatives
		case s != nil:
			domains, alternatives = p.domains(s)
		}
		var own *virtualHost // where it differs from the shared one
		differs := func(domains []string) {
			if own == nil {
				own = &virtualHost{name: name, routes: g.routes, domains: slices.Clone(domains)}
			}
		}
		if shared == nil {
			differs(nil)
		}
		for i, d := range domains {
			lower := strings.ToLower(d)
			// An alternative spelling must not hide the real owner of a name.
			if taken[lower] || contains(alternatives, d) && known[d] {
				differs(domains[:i])
				continue
			}
			if rivals := claims[lower]; g.vs == nil && len(rivals) > 1 {
				differs(domains[:i])
				if rivals[p.sim.chance.turn%len(rivals)] != s {
					continue
				}
				own.contest(lower, rivals)
			}
			taken[lower] = true
			if own != nil {
				own.domains = append(own.domains, d)
			}
		}
		switch {
		case own == nil:
			out = append(out, &shared.virtualHost)
		case len(own.domains) == 0:
		case shared != nil:
			own.routes, own.what, own.because = shared.routes, shared.what, shared.because
			out = append(out, own)
		default:
			own.what, own.because = groupText(g, s, hostname)
			out = append(out, own)
		}
	}
	for _, g := range groups {
		for _, name := range g.names {
			build(strings.ToLower(name), g, nil)
		}
		for _, s := range g.services {
			build(string(s.Hostname), g, s)
		}
	}
	_ = port
	return out
}

func groupText(g hostGroup, s *model.Service, hostname string) (string, []flow.Because) {
	switch {
	case g.vs != nil && s != nil:
		return fmt.Sprintf("%s routes %s", g.vs.Title(), hostname),
			[]flow.Because{hostBecause(g.vs, hostname), {Object: s.Object, Field: s.HostField}}
	case g.vs != nil:
		return fmt.Sprintf("%s routes %s", g.vs.Title(), hostname), []flow.Because{hostBecause(g.vs, hostname)}
	default:
		return fmt.Sprintf("%s registers %s", s.Object, hostname), []flow.Because{{Object: s.Object, Field: s.HostField}}
	}
}

// hostBecause is the field because of which a VirtualService covers a host.
func hostBecause(vs *model.MergedVirtualService, hostname string) flow.Because {
	switch {
	case vs.OfGatewayAPI != "" && contains(vs.Gateways, model.MeshGateway):
		return flow.Because{Object: vs.Cause, Field: "spec.parentRefs"}
	case vs.OfGatewayAPI != "":
		return flow.Because{Object: vs.Cause, Field: "spec.hostnames"}
	}
	for i, h := range vs.Hosts {
		if host.Name(hostname).SubsetOf(host.Name(strings.ToLower(string(h)))) {
			return flow.Because{Object: vs.Object, Field: fmt.Sprintf("spec.hosts[%d]", i)}
		}
	}
	return flow.Because{Object: vs.Object, Field: "spec.hosts"}
}

// ruleBecause is the field of a TCP or TLS rule. istiod keeps the order of a
// route's rules, but not of which it made each.
func ruleBecause(vs *model.MergedVirtualService, field string) flow.Because {
	if vs.OfGatewayAPI != "" {
		return flow.Because{Object: vs.Cause, Field: "spec.rules"}
	}
	return flow.Because{Object: vs.Object, Field: field}
}

func domainName(hostname string, port int) string {
	return net.JoinHostPort(hostname, strconv.Itoa(port))
}

// ipv6 brackets an IPv6 address, as Host headers have it.
func ipv6(s string) string {
	if strings.Contains(s, ":") {
		return "[" + s + "]"
	}
	return s
}

// domains returns the Host headers that mean a service, and those among them
// that are alternative spellings (istio httproute.go
// generateVirtualHostDomains).
func (p *proxy) domains(s *model.Service) (domains, alternatives []string) {
	for _, name := range append([]host.Name{s.Hostname}, s.Aliases...) {
		alt := p.altHosts(string(name))
		domains = append(append(domains, ipv6(string(name))), alt...)
		alternatives = append(alternatives, alt...)
	}
	if s.Resolution == model.Passthrough && s.Kubernetes() {
		for _, d := range slices.Clone(domains) {
			domains = append(domains, "*."+d)
		}
	}
	addresses := append([]string{s.Address}, s.ExtraAddresses...)
	if s.Address == model.UnspecifiedIP && p.dnsCapture && s.AutoAddress != "" {
		addresses = []string{s.AutoAddress}
	}
	for _, a := range addresses {
		if a != "" && a != model.UnspecifiedIP {
			domains = append(domains, ipv6(a))
		}
	}
	return domains, alternatives
}

// altHosts returns other spellings of a host for the proxy: with a trailing dot,
// unless PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN is off, and the short names of a
// Kubernetes Service (istio httproute.go GenerateAltVirtualHosts).
func (p *proxy) altHosts(hostname string) []string {
	var out []string
	if net.ParseIP(hostname) == nil && p.enabled("PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN") {
		out = append(out, hostname+".")
	}
	if !strings.HasSuffix(hostname, ".svc."+model.DomainSuffix) {
		return out
	}
	i := strings.Index(hostname, ".svc.")
	dot := strings.Index(hostname, ".")
	if i <= 0 || dot+1 > i {
		return nil
	}
	if hostname[dot+1:i] == p.namespace {
		return append(out, hostname[:dot], hostname[:i]+".svc", hostname[:i])
	}
	return append(out, hostname[:i], hostname[:i]+".svc")
}
