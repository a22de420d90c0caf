package model

import (
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// bearingIndex finds what may bear on a connection.
type bearingIndex struct {
	rank map[*Service]int
	// publicOf are the services that everybody sees, by namespace.
	publicOf map[string][]*Service
	age      map[*MergedVirtualService]int
	// services are found by host name and by alias, in lower case, Kubernetes Services
	// by their bare name, too; routes of sidecars by host and server name.
	services HostTable[*Service]
	short    map[string][]*Service
	routes   HostTable[*MergedVirtualService]
	// addresses has the services by address, blocks those of a CIDR.
	addresses map[netip.Addr][]*Service
	blocks    []*Service
	// endpoints are the services by the addresses of their endpoints where their
	// listeners are.
	endpoints map[netip.Addr][]*Service
	// subnets: a route asks for destination subnets, which makes listeners choose
	// by address first.
	subnets bool
	// contested are ports on which two TLS routes may name one server in different
	// company, because of which Envoy may refuse the listener; 0 stands for all.
	contested map[int]bool
	uses      map[usedPort]*portUse
	// ruling are the namespaces that DestinationRules for some hosts are about, rules
	// numbers rules.
	ruling *HostTable[[]string]
	rules  map[*MergedDestinationRule]int
	merged map[string]int
	ports  map[*Port]int
	// local are the services with endpoints whose names mean something else in each
	// namespace.
	local map[*Service]bool
}

func (p *PushContext) bearings() *bearingIndex {
	if p.index.bearings != nil {
		return p.index.bearings
	}
	x := &bearingIndex{
		rank: make(map[*Service]int, len(p.services)), age: map[*MergedVirtualService]int{}, publicOf: map[string][]*Service{},
		short: map[string][]*Service{}, addresses: map[netip.Addr][]*Service{}, endpoints: map[netip.Addr][]*Service{}, contested: map[int]bool{},
	}
	for i, s := range p.services {
		x.rank[s] = i
		x.addService(p, s)
	}
	for _, s := range p.public {
		x.publicOf[s.Namespace] = append(x.publicOf[s.Namespace], s)
	}
	for i, vs := range p.virtualServices.all {
		if x.age[vs] = i; contains(vs.Gateways, MeshGateway) {
			x.addRoute(vs)
		}
	}
	x.contest(p)
	x.use(p)
	x.localize(p)
	p.index.bearings = x
	return x
}

// localize finds the services whose endpoints have names of a single label: whose
// proxy looks them up decides what they mean.
func (x *bearingIndex) localize(p *PushContext) {
	x.local = map[*Service]bool{}
	short := func(address string) bool { return address != "" && !strings.ContainsAny(address, ".:/") }
	workloads := slices.ContainsFunc(p.Mesh.WorkloadEntries, func(e *WorkloadEntry) bool { return short(e.Spec.GetAddress()) })
	objects := map[*manifest.Object]bool{}
	for _, e := range p.Mesh.ServiceEntries {
		objects[e.Object] = workloads && e.Spec.GetWorkloadSelector() != nil ||
			slices.ContainsFunc(e.Spec.GetEndpoints(), func(e *networking.WorkloadEntry) bool { return short(e.GetAddress()) })
	}
	for _, s := range p.services {
		if objects[s.Object] || !s.Kubernetes() && short(string(s.Hostname)) {
			for _, sibling := range p.byHost[s.Hostname] {
				x.local[sibling] = true
			}
			x.local[s] = true
		}
	}
}

func (x *bearingIndex) addService(p *PushContext, s *Service) {
	names := LowerHosts(append([]host.Name{s.Hostname}, s.Aliases...))
	x.services.Add(s, names)
	for _, h := range names {
		if bare, rest, _ := strings.Cut(string(h), "."); strings.HasSuffix(rest, ".svc."+DomainSuffix) {
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
	hosts := vs.Hosts
	for _, r := range vs.TLS {
		for _, m := range r.GetMatch() {
			x.subnets = x.subnets || len(m.GetDestinationSubnets()) > 0
			for _, h := range m.GetSniHosts() {
				hosts = append(slices.Clip(hosts), host.Name(h))
			}
		}
	}
	for _, r := range vs.TCP {
		for _, m := range r.GetMatch() {
			x.subnets = x.subnets || len(m.GetDestinationSubnets()) > 0
		}
	}
	x.routes.Add(vs, LowerHosts(hosts))
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
		if !contains(vs.Gateways, MeshGateway) {
			continue
		}
		for _, r := range vs.TLS {
			for _, m := range r.GetMatch() {
				sni := slices.Clone(m.GetSniHosts())
				slices.Sort(sni)
				names := serverNames{int(m.GetPort()), strings.Join(slices.Compact(sni), ","), vs}
				if len(sni) == 0 {
					// So are TLSRoutes none of whose names is their parent's: they
					// take any name.
					x.contested[names.port] = true
				}
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
		!slices.ContainsFunc(a.exportTo, func(ns string) bool { return contains(b.exportTo, ns) })
}
