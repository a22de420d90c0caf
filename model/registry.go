package model

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/kube"
	"istio.io/istio/pkg/config/protocol"
	"istio.io/istio/pkg/config/visibility"
)

// DomainSuffix is the cluster's DNS domain. Manifests do not tell it; every
// default installation has this one.
const DomainSuffix = "cluster.local"

// ServiceHost returns the full name of a Kubernetes Service.
func ServiceHost(name, namespace string) host.Name {
	return host.Name(name + "." + namespace + ".svc." + DomainSuffix)
}

// Services returns all services of the registry, oldest first.
func (p *PushContext) Services() []*Service { return p.services }

// ServiceIn returns the service of a host that counts in a namespace: the
// oldest, but a Kubernetes Service before any ServiceEntry.
func (p *PushContext) ServiceIn(h host.Name, namespace string) *Service {
	return p.byHost[h][namespace]
}

// ServicesOf returns all services of a host, oldest first.
func (p *PushContext) ServicesOf(h host.Name) []*Service { return p.index.services[h] }

// Registered returns the services of a host by namespace, empty if there is none.
func (p *PushContext) Registered(h host.Name) map[string]*Service { return p.byHost[h] }

// Visible reports whether proxies in namespace see a service.
func (p *PushContext) Visible(s *Service, namespace string) bool {
	return s != nil && p.serviceExportTo(s).VisibleTo(s.Namespace, namespace)
}

// listClusterIPs makes a Kubernetes Service known by its addresses.
func (p *PushContext) listClusterIPs(s *Service) {
	if !s.Kubernetes() || s.Address == UnspecifiedIP {
		return
	}
	for _, a := range append([]string{s.Address}, s.ExtraAddresses...) {
		if addr, err := netip.ParseAddr(a); err == nil && p.byClusterIP[addr] == nil {
			p.byClusterIP[addr] = s
		}
	}
}

// initServices fills the registry (istio pilot/pkg/model/push_context.go
// initServiceRegistry).
func (p *PushContext) initServices(tie int) {
	for _, svc := range p.Mesh.KubeServices {
		p.services = append(p.services, p.kubeService(svc))
	}
	if p.cluster != p.Mesh {
		for _, svc := range p.cluster.KubeServices {
			if !slices.Contains(p.Mesh.KubeServices, svc) {
				p.hidden = append(p.hidden, p.kubeService(svc))
			}
		}
	}
	for _, entry := range p.Mesh.ServiceEntries {
		p.services = append(p.services, p.entryServices(entry)...)
	}
	slices.SortStableFunc(p.services, compareServices)
	p.untie(tie)
	p.resolveAliases()

	p.initKeys()
	p.index.services = map[host.Name][]*Service{}
	for _, s := range p.services {
		p.index.services[s.Hostname] = append(p.index.services[s.Hostname], s)
	}
	p.byHost = map[host.Name]map[string]*Service{}
	p.exported = map[string][]*Service{}
	p.byClusterIP = map[netip.Addr]*Service{}
	for _, s := range p.hidden {
		p.listClusterIPs(s)
	}
	for _, s := range p.services {
		byNamespace := p.byHost[s.Hostname]
		if byNamespace == nil {
			byNamespace = map[string]*Service{}
			p.byHost[s.Hostname] = byNamespace
		}
		if existing := byNamespace[s.Namespace]; existing == nil || !existing.Kubernetes() && s.Kubernetes() {
			byNamespace[s.Namespace] = s
		}
		p.listClusterIPs(s)
		exported := p.serviceExportTo(s)
		switch {
		case exported.Public():
			p.public = append(p.public, s)
		case exported.has(visibility.None):
		default:
			var done []string
			for _, ns := range exported {
				if ns == string(visibility.Private) {
					ns = s.Namespace
				}
				if !contains(done, ns) {
					done = append(done, ns)
					p.exported[ns] = append(p.exported[ns], s)
				}
			}
		}
	}
}

// initKeys groups services by host and namespace: of equal age by the name of
// their object (istio pilot/pkg/serviceregistry/serviceentry/controller.go
// sortServicesByCreationTime), whatever else istiod leaves to chance.
func (p *PushContext) initKeys() {
	p.byKey, p.aged = map[serviceKey][]*Service{}, map[serviceKey][]*Service{}
	for _, s := range p.services {
		k := serviceKey{s.Hostname, s.Namespace}
		p.byKey[k] = append(p.byKey[k], s)
	}
	for k, all := range p.byKey {
		p.aged[k] = slices.Clone(all)
		slices.SortStableFunc(all, func(a, b *Service) int {
			return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Object.Name, b.Object.Name), strings.Compare(a.Address, b.Address))
		})
	}
}

// servicesExportedTo returns the services that proxies in namespace see: those
// exported to it by name first, then the public ones.
func (p *PushContext) servicesExportedTo(namespace string) []*Service {
	return append(slices.Clone(p.exported[namespace]), p.public...)
}

// kubeService converts a Kubernetes Service (istio
// pilot/pkg/serviceregistry/kube/conversion.go ConvertService).
func (p *PushContext) kubeService(svc *KubeService) *Service {
	spec := &svc.Spec.Spec
	s := &Service{
		Hostname: ServiceHost(svc.Name, svc.Namespace), Namespace: svc.Namespace, Name: svc.Name, Created: svc.Created,
		Object: svc.Object, HostField: "metadata.name", AddressField: "spec.clusterIP", Kube: svc,
		Address: UnspecifiedIP, Resolution: ClientSideLB, Labels: svc.Labels, Selector: spec.Selector,
	}
	if spec.Type == corev1.ServiceTypeExternalName && spec.ExternalName != "" {
		s.ExternalName, s.Resolution, s.MeshExternal = spec.ExternalName, Alias, true
	} else if addresses := p.addresses.clusterIPs(svc); len(addresses) > 0 {
		s.Address, s.ExtraAddresses = addresses[0], addresses[1:]
	}
	if spec.ClusterIP == corev1.ClusterIPNone {
		s.Resolution = Passthrough
	}
	for i, port := range spec.Ports {
		s.Ports = append(s.Ports, &Port{
			Number: int(port.Port), Name: port.Name,
			Protocol:   kube.ConvertProtocol(port.Port, port.Name, port.Protocol, port.AppProtocol),
			TargetPort: int(port.TargetPort.IntVal), TargetName: port.TargetPort.StrVal,
			Object: svc.Object, Field: fmt.Sprintf("spec.ports[%d]", i),
		})
	}
	if exportTo := svc.Annotations["networking.istio.io/exportTo"]; exportTo != "" {
		for _, ns := range strings.Split(exportTo, ",") {
			s.ExportTo = append(s.ExportTo, strings.TrimSpace(ns))
		}
	}
	return s
}

// entryServices converts a ServiceEntry: one service for each host and address
// (istio pilot/pkg/serviceregistry/serviceentry/conversion.go convertServices).
func (p *PushContext) entryServices(entry *ServiceEntry) []*Service {
	spec := entry.Spec
	base := Service{
		Namespace: entry.Namespace, Created: entry.Created, Object: entry.Object, Entry: entry,
		MeshExternal: spec.GetLocation() == networking.ServiceEntry_MESH_EXTERNAL,
		ExportTo:     spec.GetExportTo(), Labels: entry.Labels, Selector: spec.GetWorkloadSelector().GetLabels(),
		SubjectAltNames: spec.GetSubjectAltNames(),
	}
	switch spec.GetResolution() {
	case networking.ServiceEntry_STATIC:
		base.Resolution = ClientSideLB
	case networking.ServiceEntry_DNS:
		base.Resolution = DNSLB
	case networking.ServiceEntry_DNS_ROUND_ROBIN:
		base.Resolution = DNSRoundRobinLB
	case networking.ServiceEntry_DYNAMIC_DNS:
		base.Resolution = DynamicDNS
	default:
		base.Resolution = Passthrough
	}
	for i, port := range spec.GetPorts() {
		base.Ports = append(base.Ports, &Port{
			Number: int(port.GetNumber()), Name: port.GetName(), Protocol: protocol.Parse(port.GetProtocol()),
			TargetPort: int(port.GetTargetPort()), Object: entry.Object, Field: fmt.Sprintf("spec.ports[%d]", i),
		})
	}
	var out []*Service
	add := func(i int, hostname, address, field, auto string) {
		s := base
		s.Hostname, s.Name, s.HostField = host.Name(hostname), hostname, fmt.Sprintf("spec.hosts[%d]", i)
		s.Address, s.AddressField, s.AutoAddress = address, field, auto
		out = append(out, &s)
	}
	for i, hostname := range spec.GetHosts() {
		if len(spec.GetAddresses()) == 0 {
			add(i, hostname, UnspecifiedIP, "", p.addresses.auto(entry, hostname))
			continue
		}
		for j, address := range spec.GetAddresses() {
			field := fmt.Sprintf("spec.addresses[%d]", j)
			if _, err := netip.ParseAddr(address); err == nil {
				add(i, hostname, address, field, "")
			} else if prefix, err := netip.ParsePrefix(address); err == nil {
				if prefix.IsSingleIP() {
					address = prefix.Addr().String()
				}
				add(i, hostname, address, field, "")
			}
		}
	}
	return out
}

// resolveAliases tells the services that ExternalName Services point to which
// names stand for them (istio pilot/pkg/model/push_context.go
// resolveServiceAliases).
func (p *PushContext) resolveAliases() {
	target := map[host.Name]host.Name{}
	var aliases []*Service
	for _, s := range p.services {
		if s.Resolution == Alias {
			target[s.Hostname] = host.Name(s.ExternalName)
			aliases = append(aliases, s)
		}
	}
	if len(aliases) == 0 {
		return
	}
	slices.SortStableFunc(aliases, func(a, b *Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(string(a.Hostname), string(b.Hostname)))
	})
	of := map[host.Name][]host.Name{}
	for _, alias := range aliases {
		concrete, seen := host.Name(alias.ExternalName), map[host.Name]bool{alias.Hostname: true}
		for {
			next, isAlias := target[concrete]
			if !isAlias {
				of[concrete] = append(of[concrete], alias.Hostname)
				break
			}
			if seen[concrete] {
				break // a loop resolves to nothing
			}
			seen[concrete] = true
			concrete = next
		}
	}
	for i, s := range p.services {
		if names := of[s.Hostname]; len(names) > 0 {
			c := *s
			c.Aliases = names
			p.services[i] = &c
		}
	}
}
