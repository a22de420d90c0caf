package judge

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/schema/gvk"
)

// network is the cluster below the proxies: who has which address, and what
// names resolve to.
type network struct {
	pods     map[netip.Addr]*Workload
	services map[netip.Addr]*corev1.Service
	byName   map[string]*corev1.Service // "name.namespace"
	manifest *Manifests
}

func newNetwork(m *Manifests) *network {
	n := &network{
		pods:     map[netip.Addr]*Workload{},
		services: map[netip.Addr]*corev1.Service{},
		byName:   map[string]*corev1.Service{},
		manifest: m,
	}
	for _, w := range m.Workloads {
		n.pods[netip.MustParseAddr(w.Pod.Status.PodIP)] = w
	}
	for _, service := range m.Services {
		n.byName[service.Name+"."+service.Namespace] = service
		for _, ip := range append([]string{service.Spec.ClusterIP}, service.Spec.ClusterIPs...) {
			if address, err := netip.ParseAddr(ip); err == nil {
				n.services[address] = service
			}
		}
	}
	return n
}

// target is where a packet arrives: a pod of the mesh, or outside of it.
type target struct {
	workload *Workload // nil is the outside
	address  netip.AddrPort
}

// route says where packets to an address arrive, any of several for the
// address of a Service. None means that nobody answers.
func (n *network) route(to netip.AddrPort, protocol corev1.Protocol) []target {
	if w := n.pods[to.Addr()]; w != nil {
		return []target{{workload: w, address: to}}
	}
	service := n.services[to.Addr()]
	if service == nil {
		return []target{{address: to}}
	}
	var targets []target
	for _, slice := range n.manifest.EndpointSlices {
		if slice.Namespace != service.Namespace || slice.Labels["kubernetes.io/service-name"] != service.Name {
			continue
		}
		for _, servicePort := range service.Spec.Ports {
			if servicePort.Port != int32(to.Port()) || cmp.Or(servicePort.Protocol, corev1.ProtocolTCP) != protocol {
				continue
			}
			for _, port := range slice.Ports {
				if port.Port == nil || port.Name != nil && *port.Name != servicePort.Name {
					continue
				}
				for _, endpoint := range slice.Endpoints {
					for _, address := range endpoint.Addresses {
						if ip, err := netip.ParseAddr(address); err == nil {
							at := netip.AddrPortFrom(ip, uint16(*port.Port))
							targets = append(targets, target{workload: n.pods[ip], address: at})
						}
					}
				}
			}
		}
	}
	return targets
}

// service finds the Service of a name as the resolver of a pod in the given
// namespace does.
func (n *network) service(name, namespace string) *corev1.Service {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for _, suffix := range []string{".svc.cluster.local", ".svc"} {
		if before, found := strings.CutSuffix(name, suffix); found {
			if strings.Count(before, ".") != 1 {
				return nil
			}
			return n.byName[before]
		}
	}
	switch strings.Count(name, ".") {
	case 0:
		return n.byName[name+"."+namespace]
	case 1:
		return n.byName[name]
	default:
		return nil
	}
}

// resolve gives the address that a client in a namespace finds for a name. A
// name outside of the cluster has some public address of its own.
func (n *network) resolve(name, namespace string) netip.Addr {
	return n.resolveFrom(name, namespace, netip.Addr{})
}

// resolveFrom is resolve for a client with an address of its own: of several pods behind
// a name it finds another.
func (n *network) resolveFrom(name, namespace string, own netip.Addr) netip.Addr {
	for hops := 0; hops < 8; hops++ {
		service := n.service(name, namespace)
		if service == nil {
			break
		}
		if service.Spec.Type == corev1.ServiceTypeExternalName {
			name = service.Spec.ExternalName
			if address, err := netip.ParseAddr(name); err == nil {
				return address
			}
			continue
		}
		if address, err := netip.ParseAddr(service.Spec.ClusterIP); err == nil {
			return address
		}
		itself := false
		for _, slice := range n.manifest.EndpointSlices {
			if slice.Namespace == service.Namespace && slice.Labels["kubernetes.io/service-name"] == service.Name && len(slice.Endpoints) > 0 {
				address, err := netip.ParseAddr(slice.Endpoints[0].Addresses[0])
				if itself = itself || err == nil && address == own; err == nil && address != own {
					return address
				}
			}
		}
		if itself {
			return own
		}
		break
	}
	if address, found := n.listed(name, namespace); found {
		return address
	}
	return public(name)
}

// fullName is the name that a client's resolver ends up asking for: of a Service
// its name in the cluster's domain, else the name as it stands.
func (n *network) fullName(name, namespace string) string {
	if service := n.service(name, namespace); service != nil {
		return service.Name + "." + service.Namespace + ".svc.cluster.local"
	}
	return name
}

// listed is the first address of the ServiceEntry of a host: of one in the
// client's own namespace, else of the oldest; of equal age by namespace,
// then name. Whatever istiod leaves to chance, the client's resolver is one.
func (n *network) listed(name, namespace string) (netip.Addr, bool) {
	type entry struct {
		own       bool
		key       string
		addresses []string
	}
	var entries []entry
	for _, cfg := range n.manifest.Configs {
		if cfg.GroupVersionKind != gvk.ServiceEntry {
			continue
		}
		spec := cfg.Spec.(*networking.ServiceEntry)
		for _, host := range spec.Hosts {
			if strings.EqualFold(host, name) && len(spec.Addresses) > 0 {
				entries = append(entries, entry{
					own:       cfg.Namespace == namespace,
					key:       cfg.CreationTimestamp.UTC().Format("20060102150405") + "/" + cfg.Namespace + "/" + cfg.Name,
					addresses: spec.Addresses,
				})
			}
		}
	}
	sort.SliceStable(entries, func(i, j int) bool {
		if entries[i].own != entries[j].own {
			return entries[i].own
		}
		return entries[i].key < entries[j].key
	})
	for _, e := range entries {
		for _, text := range e.addresses {
			if address, err := netip.ParseAddr(text); err == nil {
				return address, true
			}
			if prefix, err := netip.ParsePrefix(text); err == nil {
				first := prefix.Masked().Addr()
				if prefix.Bits() < first.BitLen() {
					first = first.Next()
				}
				return first, true
			}
		}
	}
	return netip.Addr{}, false
}

// public is an address in the range that RFC 2544 keeps for tests, so that it
// is nobody's.
func public(name string) netip.Addr {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.ToLower(name)))
	sum := h.Sum32()
	return netip.AddrFrom4([4]byte{198, 18 + byte(sum>>16)&1, byte(sum >> 8), byte(sum) | 1})
}
