package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
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

// servicesBearing are those of [PushContext.servicesExportedTo] that bear on a
// connection, in the same order, with one that opens its port for each protocol: one
// that everybody sees, if there is one.
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
		for _, s := range x.openers(ns, b) {
			if s != nil && !slices.Contains(out[from:], s) {
				out = append(out, s)
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
