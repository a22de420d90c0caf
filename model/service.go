package model

import (
	"net/netip"
	"slices"
	"time"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"
	"istio.io/istio/pkg/config/visibility"

	"github.com/egresslint/egresslint/model/manifest"
)

// Resolution says how a proxy finds the endpoints of a service
// (istio pilot/pkg/model/service.go).
type Resolution int

const (
	// ClientSideLB picks among known endpoints: Kubernetes Services and
	// ServiceEntries with resolution STATIC.
	ClientSideLB Resolution = iota
	// DNSLB resolves the host or the endpoints' names.
	DNSLB
	// DNSRoundRobinLB resolves as DNSLB and uses one address at a time.
	DNSRoundRobinLB
	// Passthrough goes to the address that the application dialled.
	Passthrough
	// Alias is an ExternalName Service: another name for a service.
	Alias
	// DynamicDNS resolves the host that the request names.
	DynamicDNS
)

// ByDNS reports whether a proxy asks DNS for the endpoints of a service (istio
// pilot/pkg/networking/core/cluster_builder.go convertResolution).
func (r Resolution) ByDNS() bool {
	return r == DNSLB || r == DNSRoundRobinLB
}

// HiddenEndpoints reports whether a Service says of itself that nobody sees it. A
// route of its own namespace may lead there all the same, but istiod does not
// pass on changes of its endpoints (istio
// pilot/pkg/serviceregistry/kube/controller/endpointslice.go serviceNeedsPush).
func (s *Service) HiddenEndpoints() bool {
	return s.Kubernetes() && s.ExportTo.has(visibility.None) && s.Resolution == ClientSideLB
}

// TunnelLabel marks pods that take tunnels (HBONE) themselves, with the value "http"
// (istio pilot/pkg/model/service.go SupportsTunnel).
const TunnelLabel = "networking.istio.io/tunnel"

// UnspecifiedIP is the address of a service that has none.
const UnspecifiedIP = "0.0.0.0"

// Service is a host with ports in istiod's registry: a Kubernetes Service, or
// one host and one address of a ServiceEntry.
type Service struct {
	Hostname  host.Name
	Namespace string
	// Name orders services of the same age: the Service's name, or the host of
	// a ServiceEntry (istio pilot/pkg/model/push_context.go
	// SortServicesByCreationTime).
	Name    string
	Created time.Time

	// Object is the Service or ServiceEntry; HostField and AddressField are
	// the fields that give Hostname and Address.
	Object       *manifest.Object
	HostField    string
	AddressField string
	// Entry is nil for a Kubernetes Service, Kube for a ServiceEntry.
	Entry *ServiceEntry
	Kube  *KubeService

	// Address is an IP address, a CIDR, or UnspecifiedIP.
	Address string
	// ExtraAddresses are the further cluster IPs of a dual-stack Service.
	ExtraAddresses []string
	// AutoAddress is the address that istiod allocates for a ServiceEntry
	// without addresses; proxies with DNS capture use it.
	AutoAddress string

	Ports        []*Port
	Resolution   Resolution
	MeshExternal bool
	ExportTo     ExportTo
	Labels       map[string]string
	// Selector selects the pods behind the service, nil if it has none.
	Selector map[string]string
	// Aliases are the ExternalName Services that stand for this host.
	Aliases []host.Name
	// ExternalName is the target of an Alias.
	ExternalName string
	// SubjectAltNames are the identities that a ServiceEntry gives.
	SubjectAltNames []string
}

// Port is a port of a service.
type Port struct {
	Number   int
	Name     string
	Protocol protocol.Instance
	// TargetPort is the number that endpoints listen on; 0 where TargetName
	// names it or where it is the same as Number.
	TargetPort int
	TargetName string
	// Object is what declares the port, and Field the path there: the services
	// of one host may have been merged from several objects.
	Object *manifest.Object
	Field  string
}

// Kubernetes reports whether the service is a Kubernetes Service.
func (s *Service) Kubernetes() bool { return s.Kube != nil }

// Reachable reports whether listeners take a connection to an address for one to the
// service: they match none where it has no address of its own.
func (s *Service) Reachable(a netip.Addr) bool {
	if s.Address == UnspecifiedIP {
		return true
	}
	listed := append([]string{s.Address}, s.ExtraAddresses...)
	if s.Entry != nil {
		listed = append(listed, s.Entry.Spec.GetAddresses()...)
	}
	return slices.ContainsFunc(listed, func(one string) bool { return covers(one, a) })
}

// PortByNumber returns the port of a number that is no UDP port, nil if there is none
// (istio pilot/pkg/model/service.go GetByPort).
//
//go:noinline
func (s *Service) PortByNumber(number int) *Port {
	for _, p := range s.Ports {
		if p.Number == number && p.Protocol != protocol.UDP {
			return p
		}
	}
	return nil
}

// AnyPort returns the first port of a number, UDP ports among them, nil if there is
// none.
func (s *Service) AnyPort(number int) *Port {
	if i := slices.IndexFunc(s.Ports, func(p *Port) bool { return p.Number == number }); i >= 0 {
		return s.Ports[i]
	}
	return nil
}

// withPorts returns a copy of the service with other ports.
func (s *Service) withPorts(ports []*Port) *Service {
	c := *s
	c.Ports = ports
	return &c
}

// samePorts reports whether both services have the same ports in the same order.
func (s *Service) samePorts(other *Service) bool {
	if len(s.Ports) != len(other.Ports) {
		return false
	}
	for i, p := range s.Ports {
		q := other.Ports[i]
		if p.Number != q.Number || p.Name != q.Name || p.Protocol != q.Protocol {
			return false
		}
	}
	return true
}
