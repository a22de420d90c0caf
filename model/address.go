package model

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"

	"go4.org/netipx"
	"istio.io/istio/pkg/config/host"
)

// addressBook holds the addresses of a mesh: those that manifests give, and
// those that a cluster would have given to Services and pods without one. The
// latter are made up from ranges that no manifest mentions; they stand for
// "its own address" and decide nothing but who is who.
type addressBook struct {
	// listed are all addresses and prefixes in Services and ServiceEntries.
	listed []netip.Prefix
	// taken is the union of listed, sorted, once all are there.
	taken    []netipx.IPRange
	clusterI map[*KubeService][]string
	pods     map[*Workload]netip.Addr
	owner    map[netip.Addr]*Workload
	autos    map[string]string // "namespace/entry/host"
}

func newAddressBook(mesh *Mesh, config *MeshConfig) *addressBook {
	b := &addressBook{clusterI: map[*KubeService][]string{}, pods: map[*Workload]netip.Addr{}, owner: map[netip.Addr]*Workload{}, autos: map[string]string{}}
	for _, entry := range mesh.ServiceEntries {
		b.list(entry.Spec.GetAddresses()...)
		for _, e := range entry.Spec.GetEndpoints() {
			b.list(e.GetAddress())
		}
	}
	for _, entry := range mesh.WorkloadEntries {
		b.list(entry.Spec.GetAddress())
	}
	for _, svc := range mesh.KubeServices {
		b.list(svc.Spec.Spec.ClusterIPs...)
		b.list(svc.Spec.Spec.ClusterIP)
		b.list(svc.Spec.Spec.ExternalIPs...)
	}
	b.taken = addressSet(b.listed).Ranges()
	services := slices.Clone(mesh.KubeServices)
	slices.SortStableFunc(services, func(x, y *KubeService) int {
		return cmp.Or(strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name))
	})
	next := netip.MustParseAddr("10.96.0.1")
	for _, svc := range services {
		spec := &svc.Spec.Spec
		switch {
		case spec.Type == corev1.ServiceTypeExternalName || spec.ClusterIP == corev1.ClusterIPNone:
		case spec.ClusterIP != "":
			if len(spec.ClusterIPs) > 1 {
				b.clusterI[svc] = spec.ClusterIPs
			} else {
				b.clusterI[svc] = []string{spec.ClusterIP}
			}
		default:
			next = b.unlisted(next)
			b.clusterI[svc] = []string{next.String()}
			next = next.Next()
		}
	}
	next = netip.MustParseAddr("10.244.0.1")
	for _, w := range mesh.Workloads {
		next = b.unlisted(next)
		b.pods[w], b.owner[next] = next, w
		next = next.Next()
	}
	next = netip.MustParseAddr("240.240.0.1")
	allocates := config.Enabled("PILOT_ENABLE_IP_AUTOALLOCATE")
	if prefix, err := netip.ParsePrefix(config.Setting("PILOT_IP_AUTOALLOCATE_IPV4_PREFIX")); err == nil && prefix.Addr().Is4() && allocates {
		next = firstHost(prefix)
	}
	given := map[string]bool{}
	for _, addresses := range b.clusterI {
		for _, a := range addresses {
			given[a] = true
		}
	}
	for _, entry := range mesh.ServiceEntries {
		if !autoAllocates(entry, allocates) {
			continue
		}
		for _, h := range entry.Spec.GetHosts() {
			if host.Name(h).IsWildCarded() && (!allocates || entry.Spec.GetResolution() != networking.ServiceEntry_DYNAMIC_DNS) {
				continue
			}
			for next = b.unlisted(next); b.owner[next] != nil || given[next.String()]; next = b.unlisted(next.Next()) {
			}
			if !next.IsValid() {
				break // the range is used up
			}
			b.autos[entry.ID()+"/"+h] = next.String()
			next = next.Next()
		}
	}
	return b
}

// autoAllocates reports whether istiod allocates addresses for an entry (istio
// pilot/pkg/networking/serviceentry ShouldV2AutoAllocateIP). With
// PILOT_ENABLE_IP_AUTOALLOCATE off it does as it used to, whatever the label says
// (pilot/pkg/serviceregistry/serviceentry/auto_allocation.go).
func autoAllocates(entry *ServiceEntry, controller bool) bool {
	return entry.Spec.GetResolution() != networking.ServiceEntry_NONE && len(entry.Spec.GetAddresses()) == 0 &&
		(!controller || !strings.EqualFold(entry.Labels["networking.istio.io/enable-autoallocate-ip"], "false"))
}

func (b *addressBook) list(addresses ...string) {
	for _, s := range addresses {
		if addr, err := netip.ParseAddr(s); err == nil {
			b.listed = append(b.listed, netip.PrefixFrom(addr, addr.BitLen()))
		} else if prefix, err := netip.ParsePrefix(s); err == nil && prefix.Bits() > 0 {
			b.listed = append(b.listed, prefix.Masked())
		}
	}
}

// unlisted returns the first address from a on that no manifest lists; a itself where
// they list all.
func (b *addressBook) unlisted(a netip.Addr) netip.Addr {
	from, _ := slices.BinarySearchFunc(b.taken, a, func(r netipx.IPRange, a netip.Addr) int { return r.To().Compare(a) })
	next := a
	for _, r := range b.taken[from:] {
		if !r.Contains(next) {
			break
		}
		if next = r.To().Next(); !next.IsValid() || next.Is4() != a.Is4() {
			return a
		}
	}
	return next
}

func (b *addressBook) clusterIPs(svc *KubeService) []string { return b.clusterI[svc] }

func (b *addressBook) auto(entry *ServiceEntry, hostname string) string {
	return b.autos[entry.ID()+"/"+hostname]
}

// PodAddress returns the address of a workload's pod.
func (p *PushContext) PodAddress(w *Workload) netip.Addr { return p.addresses.pods[w] }

// WorkloadAt returns the workload whose pod has an address, nil if none.
func (p *PushContext) WorkloadAt(a netip.Addr) *Workload {
	return p.addresses.owner[a]
}

// ServiceAt returns the Kubernetes Service that has an address as its cluster
// IP, nil if none.
func (p *PushContext) ServiceAt(a netip.Addr) *Service {
	return p.byClusterIP[a]
}

// PublicAddress returns a public address for a name or anything else: always the
// same, and one that no manifest lists.
func (p *PushContext) PublicAddress(name string) netip.Addr {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	sum := h.Sum32()
	// 142.250.0.0/15 is public; nothing depends on whose it is.
	a := netip.AddrFrom4([4]byte{142, 250 + byte(sum>>16&1), byte(sum >> 8), byte(sum)})
	return p.addresses.unlisted(a)
}

// Resolved is what a client finds when it looks a name up.
type Resolved struct {
	Addr netip.Addr
	// Service is the Kubernetes Service whose address it is, nil if none.
	Service *Service
	// Listed is the service of a ServiceEntry that lists the address, nil if
	// the address is made up.
	Listed *Service
	// Pod is set where the name is that of a headless Service.
	Pod *Workload
}

// Resolve looks a name up as a client in namespace does: a Service of the
// cluster gives its cluster IP (headless: a pod's), a host of a ServiceEntry
// the first address listed there (the client's own namespace first; of a prefix
// its first host address), with dnsCapture also an automatic one; anything else
// gives some public address. Names of Services may be short.
func (p *PushContext) Resolve(namespace, name string, dnsCapture bool) Resolved {
	if addr, err := netip.ParseAddr(name); err == nil {
		return Resolved{Addr: addr.Unmap()}
	}
	if strings.EqualFold(name, "localhost") {
		return Resolved{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for range 8 { // ExternalName chains; a loop resolves to nothing
		svc := p.clusterService(namespace, name)
		if svc == nil {
			break
		}
		if svc.Resolution == Alias {
			name = strings.ToLower(svc.ExternalName)
			continue
		}
		if addr, err := netip.ParseAddr(svc.Address); err == nil && svc.Address != UnspecifiedIP {
			return Resolved{Addr: addr, Service: svc}
		}
		for _, e := range p.Endpoints(svc, nil) {
			if addr, err := netip.ParseAddr(e.Address); err == nil {
				return Resolved{Addr: addr, Service: svc, Pod: e.Workload}
			}
		}
		return Resolved{Addr: p.PublicAddress(name), Service: svc}
	}
	if s := p.listing(namespace, host.Name(name)); s != nil {
		if addr, err := netip.ParseAddr(s.Address); err == nil {
			return Resolved{Addr: addr, Listed: s}
		}
		if prefix, err := netip.ParsePrefix(s.Address); err == nil {
			return Resolved{Addr: firstHost(prefix), Listed: s}
		}
	}
	if dnsCapture {
		if s := p.autoAddressed(namespace, host.Name(name)); s != nil {
			return Resolved{Addr: netip.MustParseAddr(s.AutoAddress), Listed: s}
		}
	}
	return Resolved{Addr: p.PublicAddress(name)}
}

// KubeServiceIn returns the Service of a name in a namespace of the cluster, nil
// if there is none; istiod may not know it.
func (p *PushContext) KubeServiceIn(name, namespace string) *Service {
	h := ServiceHost(name, namespace)
	if s := p.byHost[h][namespace]; s != nil && s.Kubernetes() {
		return s
	}
	for _, s := range p.hidden {
		if s.Hostname == h {
			return s
		}
	}
	return nil
}

// clusterService finds a Kubernetes Service by a name as the cluster's DNS and
// a pod's search domains would, nil if none.
func (p *PushContext) clusterService(namespace, name string) *Service {
	find := func(full string) *Service {
		for _, s := range p.byHost[host.Name(full)] {
			if s.Kubernetes() {
				return s
			}
		}
		for _, s := range p.hidden {
			if string(s.Hostname) == full {
				return s
			}
		}
		return nil
	}
	for _, suffix := range []string{"." + namespace + ".svc." + DomainSuffix, ".svc." + DomainSuffix, "." + DomainSuffix, ""} {
		if s := find(name + suffix); s != nil {
			return s
		}
	}
	return nil
}

// listing returns the service whose address a client in namespace finds for a
// host of a ServiceEntry with addresses: the first of the client's own
// namespace, else of the oldest entry. The choice is the client's own, istiod is
// not asked, so that what istiod leaves to chance plays no role.
func (p *PushContext) listing(namespace string, h host.Name) *Service {
	var found *Service
	for _, s := range p.listed[h] {
		if found == nil || s.Namespace == namespace && found.Namespace != namespace {
			found = s
		}
	}
	return found
}

// initListed collects the services that list an address, by age of their entry,
// namespace and name, and then as the entry lists them. DNS knows nothing of
// discoverySelectors.
func (p *PushContext) initListed() {
	p.listed = map[host.Name][]*Service{}
	entries := slices.Clone(p.cluster.ServiceEntries)
	slices.SortStableFunc(entries, func(a, b *ServiceEntry) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for _, entry := range entries {
		for _, s := range p.entryServices(entry) {
			if s.Address != UnspecifiedIP {
				h := host.Name(strings.ToLower(string(s.Hostname)))
				p.listed[h] = append(p.listed[h], s)
			}
		}
	}
}

func (p *PushContext) autoAddressed(namespace string, h host.Name) *Service {
	for _, s := range p.index.services[h] {
		if s.AutoAddress != "" && p.Visible(s, namespace) {
			return s
		}
	}
	return nil
}

// firstHost returns the first address of a prefix that is not its network
// address.
func firstHost(prefix netip.Prefix) netip.Addr {
	a := prefix.Masked().Addr()
	if prefix.IsSingleIP() {
		return a
	}
	return a.Next()
}
