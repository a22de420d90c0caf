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
	// named and namedRoutes are those of them that cover the names or the address, in
	// any order.
	named       []*Service
	namedRoutes []*MergedVirtualService
}

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
	for s := range c.services {
		b.named = append(b.named, s)
	}
	for vs := range c.routes {
		b.namedRoutes = append(b.namedRoutes, vs)
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

// Named returns what covers the names or the address, in any order. Proxies that see
// none of it do as they do with names that nothing registers.
func (b *Bearing) Named() ([]*Service, []*MergedVirtualService) { return b.named, b.namedRoutes }

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
			h := host.Name(rest + suffix)
			if rest == name {
				b.add(x.services.Covering(h))
				b.addRoutes(x.routes.Covering(h))
			} else {
				b.add(x.services.Exactly(h))
				b.addRoutes(x.routes.Exactly(h))
			}
		}
	}
}

// follow adds the routes of the services, the services that share these routes,
// their routes, and where they all lead.
func (b *bearing) follow() {
	x := b.index
	cover := func() {
		for s := range b.services {
			b.addRoutes(x.routes.Overlapping(LowerHost(s.Hostname)))
		}
	}
	cover()
	for vs := range b.routes {
		for _, h := range vs.Hosts {
			for _, s := range x.services.Overlapping(LowerHost(h)) {
				if s.PortByNumber(b.port) != nil {
					b.services[s] = true
				}
			}
		}
	}
	cover()
	for vs := range b.routes {
		for d := range vs.eachDestination(everyRoute) {
			b.add(x.services.Exactly(LowerHost(host.Name(d.GetHost()))))
		}
	}
	for s := range b.services { // one of several of a host is chosen
		b.add(x.services.Exactly(LowerHost(s.Hostname)))
	}
}

// servicesBearing are those of [PushContext.servicesExportedTo] that bear on a
// connection, in the same order, with one that opens its port for each protocol: one
// that everybody sees, if there is one.
func (p *PushContext) servicesBearing(namespace string, b *Bearing) []*Service {
	services, all := slices.Clip(b.services), p.openings(namespace, b.port, b.dnsCapture)
	for _, s := range []*Service{all.http.first, all.tls.first} {
		if s != nil && !slices.Contains(services, s) {
			services = append(services, s)
		}
	}
	rank := p.bearings().rank
	if len(services) > len(b.services) {
		slices.SortFunc(services, func(s, t *Service) int { return cmp.Compare(rank[s], rank[t]) })
	}
	var own, public []*Service
	for _, s := range services {
		switch exported := p.serviceExportTo(s); {
		case exported.Public():
			public = append(public, s)
		case exported.has(visibility.None):
		case exported.VisibleTo(s.Namespace, namespace):
			own = append(own, s)
		}
	}
	return append(own, public...)
}

// routesBearing are those of [PushContext.VirtualServicesForGateway] for sidecars
// that bear on a connection, in the same order.
func (p *PushContext) routesBearing(namespace string, b *Bearing) []*MergedVirtualService {
	var private, exported, public []*MergedVirtualService
	for _, vs := range b.routes {
		switch {
		case vs.exportTo.Public():
			public = append(public, vs)
		case vs.exportTo.has(visibility.None) || !contains(vs.exportTo, namespace):
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
