package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pkg/config/protocol"
	"istio.io/istio/pkg/config/visibility"

	"github.com/egresslint/egresslint/model/kube/discoveryv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// Endpoint is one address behind a port of a service.
type Endpoint struct {
	// Address is an IP address, a name to be resolved, or a unix socket.
	Address string
	Port    int
	// Labels are those of the pod or of the entry; subsets select by them.
	Labels map[string]string
	// Workload is the pod behind the address, nil if it is not a pod.
	Workload *Workload
	// TLSMode is the label security.istio.io/tlsMode where the manifests give
	// it; an injected sidecar sets it too.
	TLSMode string
	// ServiceAccount is the identity of an entry that names one, Network the
	// network in which it is.
	ServiceAccount string
	Network        string

	Object *manifest.Object
	Field  string
}

// TLSModeLabel marks endpoints that take mesh mTLS.
const TLSModeLabel = "security.istio.io/tlsMode"

// SelectsNothing reports whether a service, or another of its host and
// namespace, selects pods and the input has none that it selects: whether there
// are any is not known then.
func (p *PushContext) SelectsNothing(s *Service) bool {
	return slices.ContainsFunc(p.siblings(s), func(o *Service) bool {
		return len(o.Selector) > 0 && len(p.OwnEndpoints(o, nil)) == 0 && len(p.workloadEntries(o, nil)) == 0 &&
			len(p.index.pods.selected(o.Namespace, o.Selector)) == 0
	})
}

// Endpoints returns what a proxy finds behind a port of a service, in a fixed
// order. A nil port asks for the addresses of the service's own object only.
//
// istiod unites the endpoints of all that define one host in one namespace
// (istio pilot/pkg/serviceregistry/serviceentry/conversion.go
// mergeServicesInstancesByNamespaceHost, pilot/pkg/model/endpointshards.go) and
// then takes those of the port's name, for EDS, where each address counts once;
// or for names to be resolved those of its number, and as often as there are
// services, one for each address of a ServiceEntry.
func (p *PushContext) Endpoints(s *Service, port *Port) []Endpoint {
	all := p.ListedEndpoints(s, port)
	if port == nil || s.Resolution.ByDNS() {
		return all
	}
	return DistinctEndpoints(all)
}

// ListedEndpoints are those of [PushContext.Endpoints] before a proxy that gets
// them by EDS drops all but the first of an address.
func (p *PushContext) ListedEndpoints(s *Service, port *Port) []Endpoint {
	if port == nil {
		return p.OwnEndpoints(s, nil)
	}
	if s.Resolution.ByDNS() {
		return p.NumberedEndpoints(s, port)
	}
	var out []Endpoint
	for _, o := range p.siblings(s) {
		for _, q := range o.Ports {
			if q.Name == port.Name {
				out = append(out, p.OwnEndpoints(o, q)...)
			}
		}
	}
	return out
}

// DistinctEndpoints keeps the first of endpoints that have the same address and
// port; it changes the list.
func DistinctEndpoints(endpoints []Endpoint) []Endpoint {
	if len(endpoints) < 2 {
		return endpoints
	}
	type at struct {
		address string
		port    int
	}
	seen := make(map[at]bool, len(endpoints))
	return slices.DeleteFunc(endpoints, func(e Endpoint) bool {
		known := seen[at{e.Address, e.Port}]
		seen[at{e.Address, e.Port}] = true
		return known
	})
}

// NumberedEndpoints returns the endpoints of a port as istiod indexes them when
// it makes clusters and listeners: by the port's number where a ServiceEntry
// gives them, whatever the port is called there; those of a Kubernetes Service
// by name, in the ports of the youngest service of the host and namespace for
// which there is any endpoint (istio pilot/pkg/model/endpointshards.go
// CopyEndpoints, "LegacyClusterPortKey"; push_context.go initServiceRegistry).
func (p *PushContext) NumberedEndpoints(s *Service, port *Port) []Endpoint {
	entries, named := p.numberedEntries(s, port.Number), p.kubeEndpointsByName(s)
	for _, indexed := range slices.Backward(p.byAge(s)) {
		out := slices.Clone(entries)
		number := map[string]int{}
		for _, q := range indexed.Ports {
			number[q.Name] = q.Number
		}
		for _, q := range named {
			if n, ok := number[q.name]; ok && n == port.Number {
				out = append(out, q.endpoints...)
			}
		}
		found := indexed.PortByNumber(port.Number)
		if port.Protocol == protocol.UDP { // ztunnel does not care
			found = indexed.AnyPort(port.Number)
		}
		if len(out) > 0 && found != nil {
			return out
		}
	}
	return nil
}

// numberedEntries returns the endpoints that ServiceEntries give to a port of a
// service's host and namespace.
func (p *PushContext) numberedEntries(s *Service, port int) []Endpoint {
	var out []Endpoint
	taken := map[int]bool{}
	for _, o := range p.siblings(s) {
		if o.Kubernetes() {
			continue
		}
		for _, q := range o.Ports {
			own := p.OwnEndpoints(o, q)
			// Of those that are resolved to one address at a time only the
			// first of a port is kept.
			if o.Resolution == DNSRoundRobinLB && len(own) > 0 {
				if taken[q.Number] {
					continue
				}
				own = own[:1]
			}
			taken[q.Number] = taken[q.Number] || len(own) > 0
			if q.Number == port {
				out = append(out, own...)
			}
		}
	}
	return out
}

// namedEndpoints are what a Kubernetes Service has behind a port of a name.
type namedEndpoints struct {
	name      string
	endpoints []Endpoint
}

// kubeEndpointsByName returns the endpoints of the Kubernetes Service of a
// service's host and namespace, by the names of its ports.
func (p *PushContext) kubeEndpointsByName(s *Service) []namedEndpoints {
	var out []namedEndpoints
	for _, o := range p.siblings(s) {
		// What is exported to nobody has no endpoints for istiod (istio
		// kube/controller/endpointslice.go).
		if !o.Kubernetes() || contains(o.ExportTo, string(visibility.None)) {
			continue
		}
		for _, q := range o.Ports {
			if own := p.OwnEndpoints(o, q); len(own) > 0 {
				out = append(out, namedEndpoints{q.Name, own})
			}
		}
	}
	return out
}

// byAge returns all services of a service's host and namespace, itself among
// them, in the order of the registry.
func (p *PushContext) byAge(s *Service) []*Service {
	if all := p.aged[serviceKey{s.Hostname, s.Namespace}]; len(all) > 0 && !slices.Contains(p.hidden, s) {
		return all
	}
	return []*Service{s}
}

// siblings returns all services of a service's host and namespace, itself among
// them, in the order in which istiod unites their endpoints.
func (p *PushContext) siblings(s *Service) []*Service {
	if all := p.byKey[serviceKey{s.Hostname, s.Namespace}]; len(all) > 0 && !slices.Contains(p.hidden, s) {
		return all
	}
	return []*Service{s}
}

// ServiceIdentities returns the SPIFFE identities that mesh TLS to a service
// expects of the server, none for any: those of its endpoints, and the
// subjectAltNames of the youngest that defines the host in the namespace (istio
// pilot/pkg/model/push_context.go addServiceAccounts).
func (p *PushContext) ServiceIdentities(s *Service) []string {
	var out []string
	add := func(identity string) {
		if !contains(out, identity) {
			out = append(out, identity)
		}
	}
	last := s
	for _, o := range p.siblings(s) {
		last = o
		for _, e := range p.OwnEndpoints(o, nil) {
			if e.ServiceAccount != "" {
				add(p.identity(s.Namespace, e.ServiceAccount))
			}
		}
	}
	for _, name := range last.SubjectAltNames {
		add(name)
	}
	return out
}

// OwnEndpoints returns what the object of a service puts behind one of its
// ports, in a fixed order. A nil port asks for the addresses only.
func (p *PushContext) OwnEndpoints(s *Service, port *Port) []Endpoint {
	if s.Kubernetes() {
		return p.kubeEndpoints(s, port)
	}
	spec := s.Entry.Spec
	var out []Endpoint
	switch {
	case spec.GetWorkloadSelector() != nil:
		if p.Config.Enabled("PILOT_ENABLE_SERVICEENTRY_SELECT_PODS") {
			for _, w := range p.index.pods.selected(s.Namespace, s.Selector) {
				out = append(out, p.podEndpoint(w, entryTargetPort(port, nil)))
			}
		}
		dns := s.Resolution.ByDNS()
		for _, e := range p.workloadEntries(s, port) {
			// Names and sockets are for entries that are resolved only (istio
			// serviceentry/conversion.go, "DNSServiceEntryOnly").
			if _, err := netip.ParseAddr(e.Address); err == nil || dns {
				out = append(out, e)
			}
		}
	case len(spec.GetEndpoints()) > 0:
		for i, e := range spec.GetEndpoints() {
			out = append(out, entryEndpoint(e, entryTargetPort(port, e), s.Object, fmt.Sprintf("spec.endpoints[%d]", i)))
		}
	case s.Resolution.ByDNS():
		out = append(out, Endpoint{Address: string(s.Hostname), Port: entryTargetPort(port, nil), Object: s.Object, Field: s.HostField})
	}
	return out
}

// entryTargetPort is the port that an endpoint of a ServiceEntry listens on:
// the endpoint's own, else targetPort, else the port itself (istio
// serviceentry/conversion.go convertWorkloadInstanceToServiceInstance).
func entryTargetPort(port *Port, e *networking.WorkloadEntry) int {
	if port == nil {
		return 0
	}
	if n := e.GetPorts()[port.Name]; n > 0 {
		return int(n)
	}
	if port.TargetPort > 0 {
		return port.TargetPort
	}
	return port.Number
}

func entryEndpoint(e *networking.WorkloadEntry, port int, object *manifest.Object, field string) Endpoint {
	mode := e.GetLabels()[TLSModeLabel]
	if mode == "" && e.GetServiceAccount() != "" {
		mode = "istio"
	}
	return Endpoint{
		Address: e.GetAddress(), Port: port, Labels: e.GetLabels(), TLSMode: mode,
		ServiceAccount: e.GetServiceAccount(), Network: e.GetNetwork(), Object: object, Field: field + ".address",
	}
}

func (p *PushContext) podEndpoint(w *Workload, port int) Endpoint {
	return Endpoint{
		Address: p.PodAddress(w).String(), Port: port, Labels: w.Labels, Workload: w, TLSMode: w.Labels[TLSModeLabel],
		ServiceAccount: w.ServiceAccount, Object: w.Object, Field: w.Field("metadata.labels"),
	}
}

// workloadEntries returns the WorkloadEntries that a service selects.
func (p *PushContext) workloadEntries(s *Service, port *Port) []Endpoint {
	var out []Endpoint
	for _, e := range p.Mesh.WorkloadEntries {
		labels := map[string]string{}
		for k, v := range e.Labels {
			labels[k] = v
		}
		for k, v := range e.Spec.GetLabels() {
			if _, ok := labels[k]; !ok {
				labels[k] = v
			}
		}
		if e.Namespace != s.Namespace || !subset(s.Selector, labels) {
			continue
		}
		number := entryTargetPort(port, e.Spec)
		if s.Kubernetes() && port != nil && port.TargetName != "" {
			// What does not have the port that a Service asks for by name is left out (istio
			// pilot/pkg/serviceregistry/kube/controller/controller.go
			// serviceInstanceFromWorkloadInstance).
			if number = int(e.Spec.GetPorts()[port.TargetName]); number == 0 {
				continue
			}
		}
		endpoint := entryEndpoint(e.Spec, number, e.Object, "spec")
		endpoint.Labels = labels
		if mode := labels[TLSModeLabel]; mode != "" {
			endpoint.TLSMode = mode
		}
		out = append(out, endpoint)
	}
	return out
}

// kubeEndpoints returns the pods that a Service selects, or the addresses of
// its Endpoints or EndpointSlices where it selects none.
func (p *PushContext) kubeEndpoints(s *Service, port *Port) []Endpoint {
	var out []Endpoint
	mesh, pods := p.Mesh, p.index.pods
	if slices.Contains(p.hidden, s) {
		mesh, pods = p.cluster, p.index.clusterPods
	}
	if len(s.Selector) > 0 {
		for _, w := range pods.selected(s.Namespace, s.Selector) {
			n := 0
			if port != nil {
				if n = containerPort(w, port); n == 0 {
					continue // Kubernetes leaves the pod out of that port
				}
			}
			out = append(out, p.podEndpoint(w, n))
		}
		// Headless Services take pods only (istio
		// pilot/pkg/serviceregistry/kube/controller/controller.go
		// collectWorkloadInstanceEndpoints).
		if len(mesh.WorkloadEntries) > 0 && s.Resolution == ClientSideLB && p.Config.Enabled("PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES") {
			for _, e := range p.workloadEntries(s, port) {
				// Kubernetes Services take WorkloadEntries by address only.
				if _, err := netip.ParseAddr(e.Address); err == nil {
					out = append(out, e)
				}
			}
		}
		return out
	}
	for _, e := range mesh.KubeEndpoints {
		if e.Namespace == s.Namespace && e.Name == s.Kube.Name {
			for i, set := range e.Spec.Subsets {
				n := endpointPort(set.Ports, port)
				if port != nil && n == 0 {
					continue
				}
				for j, a := range set.Addresses {
					out = append(out, Endpoint{Address: a.IP, Port: n, Object: e.Object,
						Field: fmt.Sprintf("subsets[%d].addresses[%d].ip", i, j)})
				}
			}
		}
	}
	for _, slice := range mesh.EndpointSlices {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Kube.Name {
			continue
		}
		n := slicePort(slice.Spec.Ports, port)
		if port != nil && n == 0 {
			continue
		}
		for i, e := range slice.Spec.Endpoints {
			for j, a := range e.Addresses {
				out = append(out, Endpoint{Address: a, Port: n, Object: slice.Object,
					Field: fmt.Sprintf("endpoints[%d].addresses[%d]", i, j)})
			}
		}
	}
	return out
}

// containerPort is the port of a pod that a Service port leads to; 0 where it
// names a container port that the pod does not have.
func containerPort(w *Workload, port *Port) int {
	switch {
	case port.TargetName != "" && w.Pod != nil:
		for _, containers := range [][]corev1.Container{w.Pod.Containers, w.Pod.InitContainers} {
			for _, c := range containers {
				for _, cp := range c.Ports {
					if cp.Name == port.TargetName {
						return int(cp.ContainerPort)
					}
				}
			}
		}
		return 0
	case port.TargetPort > 0:
		return port.TargetPort
	default:
		return port.Number
	}
}

func endpointPort(ports []corev1.EndpointPort, port *Port) int {
	if port == nil {
		return 0
	}
	for _, q := range ports {
		if q.Name == port.Name {
			return int(q.Port)
		}
	}
	return 0
}

func slicePort(ports []discoveryv1.EndpointPort, port *Port) int {
	if port == nil {
		return 0
	}
	for _, q := range ports {
		if q.Port != nil && (q.Name != nil && *q.Name == port.Name || q.Name == nil && port.Name == "") {
			return int(*q.Port)
		}
	}
	return 0
}

// IsUnixSocket reports whether an endpoint is a unix domain socket.
func (e *Endpoint) IsUnixSocket() bool { return strings.HasPrefix(e.Address, "unix://") }
