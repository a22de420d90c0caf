package model

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// ambientServices is the registry that istiod sends to ztunnel: for each host
// and namespace one service (istio pilot/pkg/serviceregistry/ambient/services.go
// selectWorkloadServices).
type ambientServices struct {
	// hosts gives the services of a host, oldest first.
	hosts map[host.Name][]*Service
	// order is every service, in a stable order.
	order     []*Service
	addresses map[*Service][]netip.Prefix
	// entries are those of which there is a service.
	entries map[*ServiceEntry]bool
	// canonical are the services of a host between which istiod chooses the one
	// for clients of namespaces that define none themselves.
	canonical map[host.Name][]*Service
	waypoints map[*Service]*WaypointBinding
}

func (p *PushContext) ambient() *ambientServices {
	p.ambientOnce.Do(func() {
		a := &ambientServices{
			hosts: map[host.Name][]*Service{}, addresses: map[*Service][]netip.Prefix{}, entries: map[*ServiceEntry]bool{},
			canonical: map[host.Name][]*Service{}, waypoints: map[*Service]*WaypointBinding{},
		}
		p.ambientServices = a
		for _, s := range p.services {
			if s.Resolution == Alias || p.ambientVisibility(s) == meshconfig.ServiceEntryVisibility_NONE ||
				p.byHost[s.Hostname][s.Namespace] != s {
				continue
			}
			a.order = append(a.order, s)
			if s.Entry != nil {
				a.entries[s.Entry] = true
			}
			a.addresses[s] = p.ambientAddresses(s)
			a.hosts[s.Hostname] = append(a.hosts[s.Hostname], s)
		}
		for h, list := range a.hosts {
			a.canonical[h] = p.canonical(list)
		}
	})
	return p.ambientServices
}

// canonical returns those of a host's services, oldest first, that istiod may
// mark as the mesh-wide one: a Kubernetes Service, else the oldest that is not
// restricted to its namespace; between several of the same age chance decides,
// because istiod keeps them in a map (istio ambient/services.go
// selectWorkloadServices).
func (p *PushContext) canonical(list []*Service) []*Service {
	var out []*Service
	for _, s := range list {
		switch {
		case s.Kubernetes():
			return []*Service{s}
		case p.restricted(s):
		case len(out) == 0 || out[0].Created.Equal(s.Created):
			out = append(out, s)
		}
	}
	return out
}

func (p *PushContext) ambientVisibility(s *Service) meshconfig.ServiceEntryVisibility_Visibility {
	rules := p.Config.GetServiceEntryVisibility()
	if s.Entry == nil || rules == nil {
		return meshconfig.ServiceEntryVisibility_PUBLIC
	}
	return p.entryVisibility(rules, s.Namespace)
}

// restricted reports whether ztunnel knows a service only for clients of its own
// namespace. exportTo plays no part in ambient mode (istio/istio#55163).
func (p *PushContext) restricted(s *Service) bool {
	return p.ambientVisibility(s) == meshconfig.ServiceEntryVisibility_NAMESPACE
}

func (p *PushContext) knownTo(s *Service, namespace string) bool {
	return s.Namespace == namespace || !p.restricted(s)
}

// ambientAddresses are the addresses by which ztunnel recognises a service: all
// those that a ServiceEntry lists, else the automatic one.
func (p *PushContext) ambientAddresses(s *Service) []netip.Prefix {
	var list []string
	switch {
	case s.Kubernetes():
		list = append([]string{s.Address}, s.ExtraAddresses...)
	case len(s.Entry.Spec.GetAddresses()) > 0:
		list = s.Entry.Spec.GetAddresses()
	case p.Config.Enabled("PILOT_ENABLE_IP_AUTOALLOCATE"):
		list = []string{s.AutoAddress}
	}
	var out []netip.Prefix
	for _, text := range list {
		if text == UnspecifiedIP || text == "" {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil {
			a = a.Unmap()
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			out = append(out, prefix.Masked())
		}
	}
	return out
}

// AmbientAddresses returns the addresses by which ztunnel recognises a service;
// none means that it never sees it.
func (p *PushContext) AmbientAddresses(s *Service) []netip.Prefix { return p.ambient().addresses[s] }

// AmbientServiceAt returns the service that ztunnel finds at an address for a
// client in a namespace, nil if it knows none: an exact address before a CIDR,
// the client's own namespace before others, then the longer prefix, then the
// mesh-wide choice (istio/ztunnel src/state/service.go get_best_by_vip).
//
// ties are further services between which ztunnel may choose as well.
func (p *PushContext) AmbientServiceAt(namespace string, address netip.Addr) (best *Service, ties []*Service) {
	a := p.ambient()
	type rank struct {
		exact, own bool
		bits       int
		canonical  bool
	}
	better := func(x, y rank) int {
		for _, d := range []int{truth(x.exact) - truth(y.exact), truth(x.own) - truth(y.own), x.bits - y.bits, truth(x.canonical) - truth(y.canonical)} {
			if d != 0 {
				return d
			}
		}
		return 0
	}
	var top rank
	for _, s := range a.order {
		if !p.knownTo(s, namespace) {
			continue
		}
		for _, prefix := range a.addresses[s] {
			if !prefix.Contains(address) {
				continue
			}
			r := rank{prefix.IsSingleIP(), s.Namespace == namespace, prefix.Bits(), slices.Contains(a.canonical[s.Hostname], s)}
			switch d := better(r, top); {
			case best == nil || d > 0:
				best, top, ties = s, r, nil
			case d == 0 && s != best && !slices.Contains(ties, s):
				ties = append(ties, s)
			}
		}
	}
	return best, ties
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// AmbientResolve looks a name up as a client of ztunnel's DNS does: a registered
// host, or a wildcard that covers it, gives the service's address in the
// client's view; anything else goes to the cluster's DNS (istio/ztunnel
// src/dns/server.go find_server).
func (p *PushContext) AmbientResolve(namespace, name string) Resolved {
	found := p.ambientLookup(namespace, name)
	if len(found) == 0 {
		// DNS outside knows the addresses that ServiceEntries list.
		return p.Resolve(namespace, name, false)
	}
	listed := *found[0]
	if len(listed.Entry.Spec.GetAddresses()) == 0 {
		listed.AddressField = ""
	}
	return Resolved{Addr: p.ambient().single(found[0]), Listed: &listed}
}

// AmbientRivals returns the addresses of further services with which ztunnel's
// DNS may answer a lookup as well as with the one that [PushContext.AmbientResolve]
// takes: istiod leaves to chance which of them it makes the mesh-wide choice.
func (p *PushContext) AmbientRivals(namespace, name string) []netip.Addr {
	var out []netip.Addr
	for i, s := range p.ambientLookup(namespace, name) {
		if i > 0 {
			out = append(out, p.ambient().single(s))
		}
	}
	return out
}

// ambientLookup returns the services of ServiceEntries with which ztunnel's DNS
// may answer a lookup, none for a Kubernetes Service or an unknown name.
func (p *PushContext) ambientLookup(namespace, name string) []*Service {
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if svc := p.clusterService(namespace, name); svc != nil {
		// Only a ServiceEntry of the client's own namespace comes before a
		// Kubernetes Service.
		if named := p.ambientNamed(namespace, svc.Hostname); svc.Resolution != Alias && len(named) == 1 && named[0].Namespace == namespace && svc.Namespace != namespace {
			return named
		}
		return nil
	}
	rest := name
	for search := name; ; {
		if found := p.ambientNamed(namespace, host.Name(search)); len(found) > 0 {
			return found
		}
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		search, rest = "*."+after, after
	}
}

// ambientNamed returns the services of ServiceEntries with which ztunnel's DNS
// may answer for a host: that of the client's namespace, else the mesh-wide
// ones. Ranges of addresses are no answer.
func (p *PushContext) ambientNamed(namespace string, h host.Name) []*Service {
	a := p.ambient()
	answers := func(s *Service) bool {
		return !s.Kubernetes() && a.single(s) != netip.Addr{} && p.knownTo(s, namespace)
	}
	var first []*Service
	for _, s := range a.hosts[h] {
		if !answers(s) {
			continue
		}
		if s.Namespace == namespace {
			return []*Service{s}
		}
		first = append(first, s)
	}
	var out []*Service
	for _, s := range a.canonical[h] {
		if answers(s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return first
	}
	return out
}

// single returns the first address of a service that is no range, the zero
// Addr if there is none.
func (a *ambientServices) single(s *Service) netip.Addr {
	for _, prefix := range a.addresses[s] {
		if prefix.IsSingleIP() {
			return prefix.Addr()
		}
	}
	return netip.Addr{}
}

// EndpointAt returns the ServiceEntry or WorkloadEntry that lists an address as
// that of an endpoint, the field that does, and the labels of the endpoint; nil
// if none does. ztunnel knows it as a workload (istio
// pilot/pkg/serviceregistry/ambient/workloads.go).
func (p *PushContext) EndpointAt(a netip.Addr) (object *manifest.Object, field string, labels map[string]string) {
	is := func(text string) bool {
		addr, err := netip.ParseAddr(text)
		return err == nil && addr.Unmap() == a
	}
	for _, entry := range p.Mesh.ServiceEntries {
		for i, e := range entry.Spec.GetEndpoints() {
			// Of an entry whose hosts are all another's in its namespace istiod sends
			// no workload (serviceEntryWorkloadBuilder).
			if is(e.GetAddress()) && p.ambient().entries[entry] {
				return entry.Object, "spec.endpoints[" + strconv.Itoa(i) + "].address", e.GetLabels()
			}
		}
	}
	for _, entry := range p.Mesh.WorkloadEntries {
		if is(entry.Spec.GetAddress()) {
			return entry.Object, "spec.address", entry.Labels
		}
	}
	return nil, "", nil
}
