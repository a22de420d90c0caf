package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"
	"istio.io/istio/pkg/config/visibility"
)

// Bearing is what of the registry and of the routes can have a say in what a
// sidecar does with connections to one address and port that ask for some names:
// what covers the names or the address, the routes of that, and where these lead.
// Where no Sidecar says what a namespace needs, each of its sidecars knows the whole
// mesh, and what all of that comes down to for a connection is decided by a few
// objects.
type Bearing struct {
	port int
	// dnsCapture: automatic addresses count.
	dnsCapture bool
	// services are in the order of the registry, routes by age.
	services   []*Service
	routes     []*MergedVirtualService
	everything bool
}

// Everything reports whether anything may have a say.
func (b *Bearing) Everything() bool { return b == nil || b.everything }

// Bearing returns what bears on connections to an address and port that ask for
// some names, by server name or Host header, in lower case and without port, to
// proxies with DNS capture or without. It holds whoever connects, but for one thing:
// see [PushContext.Plain].
func (p *PushContext) Bearing(names []string, address netip.Addr, port int, dnsCapture bool) *Bearing {
	x := p.bearings()
	b := &Bearing{port: port, dnsCapture: dnsCapture, everything: x.subnets || x.contested[port] || x.contested[0] || slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "*") })}
	if b.everything {
		return b
	}
	c := &bearing{PushContext: p, index: x, port: port, services: map[*Service]bool{}, routes: map[*MergedVirtualService]bool{}}
	c.at(address)
	for _, name := range names {
		c.named(name)
	}
	c.follow()
	for s := range c.services {
		b.services = append(b.services, s)
	}
	for vs := range c.routes {
		b.routes = append(b.routes, vs)
	}
	slices.SortFunc(b.services, func(s, t *Service) int { return cmp.Compare(x.rank[s], x.rank[t]) })
	slices.SortFunc(b.routes, func(s, t *MergedVirtualService) int { return cmp.Compare(x.age[s], x.age[t]) })
	return b
}

// bearingIndex finds what may bear on a connection.
type bearingIndex struct {
	rank map[*Service]int
	// publicOf are the services that everybody sees, by namespace.
	publicOf map[string][]*Service
	age      map[*MergedVirtualService]int
	// hosts has the services by host name and by alias, in lower case, short has
	// Kubernetes Services by their bare name.
	hosts, short map[string][]*Service
	// wild are the services with a wildcard: by what follows "*" where that begins
	// with a dot, else in others.
	wild   map[string][]*Service
	others []*Service
	// addresses has the services by address, blocks those of a CIDR.
	addresses map[netip.Addr][]*Service
	blocks    []*Service
	// endpoints are the services by the addresses of their endpoints where their
	// listeners are.
	endpoints map[netip.Addr][]*Service
	routes    routesByHost
	// subnets: a route asks for destination subnets, which makes listeners choose
	// by address first.
	subnets bool
	// contested are ports on which two TLS routes may name one server in different
	// company, because of which Envoy may refuse the listener; 0 stands for all.
	contested map[int]bool
	uses      map[usedPort]*portUse
	// covered and covering are what was found for hosts with a wildcard.
	covered  map[*MergedVirtualService][]*Service
	covering map[host.Name][]*MergedVirtualService
	// ruling are the namespaces that DestinationRules for some hosts are about.
	ruling *HostTable[[]string]
}

// routesByHost finds the routes of sidecars by host, in lower case.
type routesByHost struct {
	all         []*MergedVirtualService
	exact, wild map[string][]*MergedVirtualService
	others      []*MergedVirtualService
}

func (p *PushContext) bearings() *bearingIndex {
	if p.index.bearings != nil {
		return p.index.bearings
	}
	x := &bearingIndex{
		rank: make(map[*Service]int, len(p.services)), age: map[*MergedVirtualService]int{}, publicOf: map[string][]*Service{},
		hosts: make(map[string][]*Service, len(p.services)), short: map[string][]*Service{}, wild: map[string][]*Service{},
		addresses: map[netip.Addr][]*Service{}, endpoints: map[netip.Addr][]*Service{}, contested: map[int]bool{},
		routes:  routesByHost{exact: map[string][]*MergedVirtualService{}, wild: map[string][]*MergedVirtualService{}},
		covered: map[*MergedVirtualService][]*Service{}, covering: map[host.Name][]*MergedVirtualService{},
	}
	for i, s := range p.services {
		x.rank[s] = i
		x.addService(p, s)
	}
	for _, s := range p.public {
		x.publicOf[s.Namespace] = append(x.publicOf[s.Namespace], s)
	}
	for i, vs := range p.virtualServices.all {
		if x.age[vs] = i; slices.Contains(vs.Gateways, MeshGateway) {
			x.addRoute(vs)
		}
	}
	x.contest(p)
	x.use(p)
	p.index.bearings = x
	return x
}

func (x *bearingIndex) addService(p *PushContext, s *Service) {
	for _, h := range append([]host.Name{s.Hostname}, s.Aliases...) {
		name := strings.ToLower(string(h))
		switch {
		case !h.IsWildCarded():
			x.hosts[name] = append(x.hosts[name], s)
		case strings.HasPrefix(name, "*."):
			x.wild[name[1:]] = append(x.wild[name[1:]], s)
		default:
			x.others = append(x.others, s)
		}
		if bare, rest, _ := strings.Cut(name, "."); strings.HasSuffix(rest, ".svc."+DomainSuffix) {
			x.short[bare] = append(x.short[bare], s)
		}
	}
	for _, text := range append([]string{s.Address, s.AutoAddress}, s.ExtraAddresses...) {
		if strings.Contains(text, "/") {
			x.blocks = append(x.blocks, s)
		} else if a, err := netip.ParseAddr(text); err == nil && text != UnspecifiedIP {
			x.addresses[a.Unmap()] = append(x.addresses[a.Unmap()], s)
		}
	}
	if s.Resolution == Passthrough {
		for _, port := range s.Ports {
			for _, e := range p.NumberedEndpoints(s, port) {
				if a, err := netip.ParseAddr(e.Address); err == nil {
					x.endpoints[a.Unmap()] = append(x.endpoints[a.Unmap()], s)
				}
			}
		}
	}
}

func (x *bearingIndex) addRoute(vs *MergedVirtualService) {
	file := func(h string) {
		name := strings.ToLower(h)
		switch {
		case !strings.HasPrefix(name, "*"):
			x.routes.exact[name] = append(x.routes.exact[name], vs)
		case strings.HasPrefix(name, "*."):
			x.routes.wild[name[1:]] = append(x.routes.wild[name[1:]], vs)
		default:
			x.routes.others = append(x.routes.others, vs)
		}
	}
	x.routes.all = append(x.routes.all, vs)
	for _, h := range vs.Hosts {
		file(string(h))
	}
	for _, r := range vs.TLS {
		for _, m := range r.GetMatch() {
			x.subnets = x.subnets || len(m.GetDestinationSubnets()) > 0
			for _, h := range m.GetSniHosts() {
				file(h)
			}
		}
	}
	for _, r := range vs.TCP {
		for _, m := range r.GetMatch() {
			x.subnets = x.subnets || len(m.GetDestinationSubnets()) > 0
		}
	}
}

// bearing is what was found so far.
type bearing struct {
	*PushContext
	index    *bearingIndex
	port     int
	services map[*Service]bool
	routes   map[*MergedVirtualService]bool
}

func (b *bearing) add(list []*Service) {
	for _, s := range list {
		b.services[s] = true
	}
}

func (b *bearing) addRoutes(list []*MergedVirtualService) {
	for _, vs := range list {
		b.routes[vs] = true
	}
}

// at adds the services that have an address, or an endpoint there that has a
// listener.
func (b *bearing) at(a netip.Addr) {
	b.add(b.index.addresses[a])
	for _, s := range b.index.blocks {
		if covers(s.Address, a) {
			b.services[s] = true
		}
	}
	b.add(b.index.endpoints[a])
}

// named adds what may be meant by a name: its owner, whatever the spelling, and
// those of whom it is a part.
func (b *bearing) named(name string) {
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if a, err := netip.ParseAddr(name); err == nil {
		b.at(a.Unmap())
	}
	x := b.index
	for rest, more := name, true; more; _, rest, more = strings.Cut(rest, ".") {
		b.add(x.short[rest])
		for _, suffix := range []string{"", "." + DomainSuffix, ".svc." + DomainSuffix} {
			full := rest + suffix
			b.add(x.hosts[full])
			b.add(x.wild["."+full])
			b.addRoutes(x.routes.exact[full])
			b.addRoutes(x.routes.wild["."+full])
		}
	}
	b.add(x.others)
	b.addRoutes(x.routes.others)
}

// follow adds the routes of the services, the services that share these routes,
// their routes, and where they all lead.
func (b *bearing) follow() {
	cover := func() {
		for s := range b.services {
			b.addRoutes(b.index.routesOf(s.Hostname))
		}
	}
	cover()
	for vs := range b.routes {
		for _, s := range b.index.coveredBy(b.PushContext, vs) {
			if s.PortByNumber(b.port) != nil {
				b.services[s] = true
			}
		}
	}
	cover()
	for vs := range b.routes {
		for _, h := range vs.everyDestination() {
			b.add(b.index.hosts[strings.ToLower(string(h))])
		}
	}
	for s := range b.services { // one of several of a host is chosen
		b.add(b.PushContext.index.services[s.Hostname])
		b.add(b.index.hosts[strings.ToLower(string(s.Hostname))])
	}
}

// routesOf returns the routes that have a host in common with a service; there may
// be others among them.
func (x *bearingIndex) routesOf(h host.Name) []*MergedVirtualService {
	if out, ok := x.covering[h]; ok {
		return out
	}
	name := strings.ToLower(string(h))
	var out []*MergedVirtualService
	if h.IsWildCarded() {
		for _, vs := range x.routes.all {
			if slices.ContainsFunc(vs.Hosts, func(o host.Name) bool { return host.Name(strings.ToLower(string(o))).Matches(host.Name(name)) }) {
				out = append(out, vs)
			}
		}
		x.covering[h] = out
		return out
	}
	out = slices.Concat(x.routes.exact[name], x.routes.others)
	for rest := name; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return out
		}
		out = append(out, x.routes.wild[rest[i:]]...)
		rest = rest[i+1:]
	}
}

// coveredBy returns the services that have a host in common with a route.
func (x *bearingIndex) coveredBy(p *PushContext, vs *MergedVirtualService) []*Service {
	if out, ok := x.covered[vs]; ok {
		return out
	}
	var out []*Service
	for _, h := range vs.Hosts {
		name := host.Name(strings.ToLower(string(h)))
		if !name.IsWildCarded() {
			out = append(out, x.hosts[string(name)]...)
			for rest := string(name); ; {
				i := strings.IndexByte(rest, '.')
				if i < 0 {
					break
				}
				out = append(out, x.wild[rest[i:]]...)
				rest = rest[i+1:]
			}
			out = append(out, x.others...)
			continue
		}
		for _, s := range p.services {
			if name.Matches(host.Name(strings.ToLower(string(s.Hostname)))) {
				out = append(out, s)
			}
		}
	}
	x.covered[vs] = out
	return out
}

// everyDestination returns the hosts to which routes lead, whoever asks.
func (m *MergedVirtualService) everyDestination() []host.Name {
	var out []host.Name
	for _, r := range m.HTTP {
		for _, w := range r.GetRoute() {
			out = append(out, host.Name(w.GetDestination().GetHost()))
		}
		for _, mirror := range r.GetMirrors() {
			out = append(out, host.Name(mirror.GetDestination().GetHost()))
		}
		out = append(out, host.Name(r.GetMirror().GetHost()))
	}
	for _, r := range m.TCP {
		for _, w := range r.GetRoute() {
			out = append(out, host.Name(w.GetDestination().GetHost()))
		}
	}
	for _, r := range m.TLS {
		for _, w := range r.GetRoute() {
			out = append(out, host.Name(w.GetDestination().GetHost()))
		}
	}
	return out
}

// serverNames are those that one TLS chain asks for.
type serverNames struct {
	port      int
	condition string
	from      *MergedVirtualService
}

// contest finds the ports on which two chains may ask for one server name, each
// with other names beside it, and names that Envoy takes nowhere: it then refuses
// the listener, for everybody.
func (x *bearingIndex) contest(p *PushContext) {
	asked := map[string][]serverNames{}
	for _, vs := range p.virtualServices.all {
		if !slices.Contains(vs.Gateways, MeshGateway) {
			continue
		}
		for _, r := range vs.TLS {
			for _, m := range r.GetMatch() {
				sni := slices.Clone(m.GetSniHosts())
				slices.Sort(sni)
				names := serverNames{int(m.GetPort()), strings.Join(slices.Compact(sni), ","), vs}
				for _, name := range sni {
					name = strings.ToLower(name)
					if strings.Contains(strings.TrimPrefix(name, "*."), "*") {
						x.contested[names.port] = true
					}
					for _, other := range asked[name] {
						if other.condition != names.condition && (other.port == names.port || other.port == 0 || names.port == 0) && !apart(other.from, vs) {
							x.contested[names.port], x.contested[other.port] = true, true
						}
					}
					asked[name] = append(asked[name], names)
				}
			}
		}
	}
	for _, s := range p.services {
		for _, port := range s.Ports {
			// Other spellings of an alias may be another's name.
			odd := len(s.Aliases) > 0 || strings.Contains(strings.TrimPrefix(string(s.Hostname), "*."), "*") || strings.ToLower(string(s.Hostname)) != string(s.Hostname)
			if port.Protocol.IsTLS() && odd {
				x.contested[port.Number] = true
			}
		}
	}
}

// apart reports whether no proxy sees both of two routes.
func apart(a, b *MergedVirtualService) bool {
	return a != b && !a.exportTo.Public() && !b.exportTo.Public() &&
		!slices.ContainsFunc(a.exportTo, func(ns string) bool { return slices.Contains(b.exportTo, ns) })
}

// usedPort is a port of the sidecars that see what is exported to a namespace, ""
// for everybody.
type usedPort struct {
	namespace  string
	port       int
	dnsCapture bool
}

// portUse is what opens the listener of a port at any address.
type portUse struct {
	// http and tls are the services that open it for HTTP, and for TLS by their own
	// server names: no matter which, as far as others' names go.
	http, tls opener
	// odd: something takes connections of the port whatever their names.
	odd bool
}

// opener is the first of some services that counts for certain; perhaps says that
// there are others, which may.
type opener struct {
	first   *Service
	perhaps bool
}

func (o *opener) use(s *Service, rivals bool) {
	switch {
	case rivals:
		o.perhaps = true
	case o.first == nil:
		o.first = s
	}
}

// use notes which services open which ports.
func (x *bearingIndex) use(p *PushContext) {
	x.uses = map[usedPort]*portUse{}
	at := func(key usedPort) *portUse {
		if x.uses[key] == nil {
			x.uses[key] = &portUse{}
		}
		return x.uses[key]
	}
	file := func(namespace string, s *Service) {
		for _, port := range s.Ports {
			for _, dnsCapture := range []bool{false, true} {
				key := usedPort{namespace, port.Number, dnsCapture}
				// Of one host the services of one namespace count.
				rivals := len(p.byHost[s.Hostname]) > 1
				switch p.opens(s, port, dnsCapture) {
				case opensHTTP:
					at(key).http.use(s, rivals)
				case opensTLS:
					at(key).tls.use(s, rivals)
				case opensAny:
					at(key).odd = true
				}
			}
		}
	}
	for _, s := range p.public {
		file("", s)
	}
	for namespace, list := range p.exported {
		for _, s := range list {
			file(namespace, s)
		}
	}
}

// What a port of a service opens at any address: see the listeners of sidecars in
// model/traffic.
const (
	opensNothing = iota
	opensHTTP
	opensTLS
	opensAny
)

func (p *PushContext) opens(s *Service, port *Port, dnsCapture bool) int {
	address := s.Address
	if address == UnspecifiedIP && dnsCapture && s.AutoAddress != "" {
		address = s.AutoAddress
	}
	headless := s.Resolution == Passthrough && address == UnspecifiedIP
	switch {
	case s.Resolution == Alias || port.Protocol == protocol.UDP:
		return opensNothing
	case port.Protocol == protocol.HTTP_PROXY:
		return opensAny
	case port.Protocol.IsHTTP():
		return opensHTTP
	case strings.Contains(address, "/"), !s.Kubernetes() && len(s.ExtraAddresses) > 0:
		return opensAny
	case address != UnspecifiedIP:
		return opensNothing // but at its address
	case s.Kubernetes() && headless:
		return opensNothing // but at those of its endpoints
	case s.Kubernetes(), !port.Protocol.IsTLS(), headless && (s.Selector != nil || len(p.NumberedEndpoints(s, port)) > 0):
		return opensAny
	default:
		return opensTLS
	}
}

// Plain reports whether what bears on connections to a port is all that proxies of
// a namespace without Sidecar ask about them: no service that they see takes
// connections of the port whatever their names, and what opens the port is certain.
func (p *PushContext) Plain(namespace string, b *Bearing) bool {
	if b.Everything() {
		return false
	}
	_, plain := p.Opened(namespace, b.port, b.dnsCapture)
	return plain
}

func (o *opener) join(other opener) {
	o.perhaps = o.perhaps || other.perhaps
	if o.first == nil {
		o.first = other.first
	}
}

// unsure reports whether all depends on services of which others may be chosen.
func (o *opener) unsure() bool { return o.perhaps && o.first == nil }

// servicesBearing are those of [PushContext.servicesExportedTo] that bear on a
// connection, in the same order, with one that opens its port for each protocol.
func (p *PushContext) servicesBearing(namespace string, b *Bearing) []*Service {
	x := p.bearings()
	var out []*Service
	for _, ns := range []string{namespace, ""} {
		from := len(out)
		for _, s := range b.services {
			exported := p.serviceExportTo(s)
			if public := exported.Public(); public && ns == "" || !public && ns != "" && !exported.has(visibility.None) && exported.VisibleTo(s.Namespace, ns) {
				out = append(out, s)
			}
		}
		if u := x.uses[usedPort{ns, b.port, b.dnsCapture}]; u != nil {
			for _, s := range []*Service{u.http.first, u.tls.first} {
				if s != nil && !slices.Contains(out[from:], s) {
					out = append(out, s)
				}
			}
		}
		slices.SortFunc(out[from:], func(s, t *Service) int { return cmp.Compare(x.rank[s], x.rank[t]) })
	}
	return out
}

// routesBearing are those of [PushContext.VirtualServicesForGateway] for sidecars
// that bear on a connection, in the same order.
func (p *PushContext) routesBearing(namespace string, b *Bearing) []*MergedVirtualService {
	var private, exported, public []*MergedVirtualService
	for _, vs := range b.routes {
		switch {
		case vs.exportTo.Public():
			public = append(public, vs)
		case vs.exportTo.has(visibility.None) || !slices.Contains(vs.exportTo, namespace):
		case vs.Namespace == namespace:
			private = append(private, vs)
		default:
			exported = append(exported, vs)
		}
	}
	if p.Config.Enabled("PILOT_UNIFIED_SIDECAR_SCOPE") {
		private, public = routesFirst(private, namespace), routesFirst(public, namespace)
	}
	return slices.Concat(private, exported, public)
}

// Concern says who is told what bears on a connection.
type Concern struct {
	// Everybody: all namespaces see something of it.
	Everybody bool
	// Namespaces see something of it that others do not, or see it otherwise, or
	// have rules of their own for it.
	Namespaces []string
	// Each: what is made of it may differ by any client's namespace or labels.
	Each bool
}

// Concerns returns whom what bears on a connection concerns, of the sidecars
// without Sidecar that are not of the root namespace.
func (p *PushContext) Concerns(b *Bearing) Concern {
	if b.Everything() {
		return Concern{Each: true}
	}
	var c Concern
	exported := func(own string, to ExportTo) {
		if c.Namespaces = append(c.Namespaces, own); to.Public() {
			c.Everybody = true
			return
		}
		for _, ns := range to {
			if ns != string(visibility.Private) && ns != string(visibility.None) {
				c.Namespaces = append(c.Namespaces, ns)
			}
		}
	}
	for _, s := range b.services {
		exported(s.Namespace, p.serviceExportTo(s))
		for _, alias := range s.Aliases {
			// A Service of an alias's namespace has shorter names there.
			if _, rest, ok := strings.Cut(string(alias), "."); ok {
				ns, _, _ := strings.Cut(rest, ".")
				c.Namespaces = append(c.Namespaces, ns)
			}
		}
		c.Namespaces = append(c.Namespaces, p.ruling(s.Hostname)...)
	}
	for _, vs := range b.routes {
		exported(vs.Namespace, vs.exportTo)
		c.Each = c.Each || vs.asksWho()
	}
	slices.Sort(c.Namespaces)
	c.Namespaces = slices.Compact(c.Namespaces)
	return c
}

// asksWho reports whether routes hold for some clients only, by namespace or labels.
func (m *MergedVirtualService) asksWho() bool {
	if m.OfGatewayAPI != "" {
		return true
	}
	for _, r := range m.HTTP {
		for _, match := range r.GetMatch() {
			if len(match.GetSourceLabels()) > 0 || match.GetSourceNamespace() != "" {
				return true
			}
		}
	}
	for _, r := range m.TLS {
		for _, match := range r.GetMatch() {
			if len(match.GetSourceLabels()) > 0 || match.GetSourceNamespace() != "" {
				return true
			}
		}
	}
	for _, r := range m.TCP {
		for _, match := range r.GetMatch() {
			if len(match.GetSourceLabels()) > 0 || match.GetSourceNamespace() != "" {
				return true
			}
		}
	}
	return false
}

// ruling returns the namespaces in which a DestinationRule that does not hold
// everywhere may hold for a host.
func (p *PushContext) ruling(h host.Name) []string {
	x := p.bearings()
	if x.ruling == nil {
		x.ruling = &HostTable[[]string]{}
		for _, rule := range p.Mesh.DestinationRules {
			namespaces := []string{rule.Namespace}
			for _, ns := range rule.Spec.GetExportTo() {
				if ns != string(visibility.Private) && ns != string(visibility.Public) {
					namespaces = append(namespaces, ns)
				}
			}
			x.ruling.Add(namespaces, []host.Name{ResolveHost(rule.Spec.GetHost(), rule.Namespace)})
		}
	}
	return slices.Concat(x.ruling.Covering(h)...)
}

// Opened says what opens a port of the sidecars of a namespace without Sidecar: the
// same text where the same does. plain is false where some service takes
// connections whatever their names: see [PushContext.Plain].
func (p *PushContext) Opened(namespace string, port int, dnsCapture bool) (text string, plain bool) {
	all := p.openings(namespace, port, dnsCapture)
	for _, o := range []opener{all.http, all.tls} {
		if o.first != nil {
			text += "1"
		} else {
			text += "0"
		}
	}
	return text, !all.odd && !all.http.unsure() && !all.tls.unsure()
}

func (p *PushContext) openings(namespace string, port int, dnsCapture bool) portUse {
	x := p.bearings()
	var all portUse
	for _, ns := range []string{"", namespace} {
		if u := x.uses[usedPort{ns, port, dnsCapture}]; u != nil {
			all.odd = all.odd || u.odd
			all.http.join(u.http)
			all.tls.join(u.tls)
		}
	}
	return all
}
