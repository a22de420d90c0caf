package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

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
	// ServiceAccount is the identity of an entry that names one.
	ServiceAccount string

	Object *manifest.Object
	Field  string
}

// TLSModeLabel marks endpoints that take mesh mTLS.
const TLSModeLabel = "security.istio.io/tlsMode"

// SelectsNothing reports whether a service selects pods and the input has none
// that it selects: whether there are any is not known then.
func (p *PushContext) SelectsNothing(s *Service) bool {
	return len(s.Selector) > 0 && len(p.Endpoints(s, nil)) == 0
}

// Endpoints returns what is behind a port of a service, in a fixed order. A nil
// port asks for the addresses only.
func (p *PushContext) Endpoints(s *Service, port *Port) []Endpoint {
	if s.Kubernetes() {
		return p.kubeEndpoints(s, port)
	}
	spec := s.Entry.Spec
	var out []Endpoint
	switch {
	case spec.GetWorkloadSelector() != nil:
		for _, w := range p.Mesh.Workloads {
			if w.Namespace == s.Namespace && subset(s.Selector, w.Labels) {
				out = append(out, p.podEndpoint(w, entryTargetPort(port, nil)))
			}
		}
		out = append(out, p.workloadEntries(s, port)...)
	case len(spec.GetEndpoints()) > 0:
		for i, e := range spec.GetEndpoints() {
			out = append(out, entryEndpoint(e, entryTargetPort(port, e), s.Object, fmt.Sprintf("spec.endpoints[%d]", i)))
		}
	case s.Resolution == DNSLB || s.Resolution == DNSRoundRobinLB || s.Resolution == DynamicDNS:
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
		ServiceAccount: e.GetServiceAccount(), Object: object, Field: field + ".address",
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
		endpoint := entryEndpoint(e.Spec, entryTargetPort(port, e.Spec), e.Object, "spec")
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
	mesh := p.Mesh
	if slices.Contains(p.hidden, s) {
		mesh = p.cluster
	}
	if len(s.Selector) > 0 {
		for _, w := range mesh.Workloads {
			if w.Namespace != s.Namespace || !subset(s.Selector, w.Labels) {
				continue
			}
			n := 0
			if port != nil {
				if n = containerPort(w, port); n == 0 {
					continue // not an endpoint of this port
				}
			}
			out = append(out, p.podEndpoint(w, n))
		}
		if len(mesh.WorkloadEntries) > 0 {
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
				for j, a := range set.Addresses {
					out = append(out, Endpoint{Address: a.IP, Port: endpointPort(set.Ports, port), Object: e.Object,
						Field: fmt.Sprintf("subsets[%d].addresses[%d].ip", i, j)})
				}
			}
		}
	}
	for _, slice := range mesh.EndpointSlices {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Kube.Name {
			continue
		}
		for i, e := range slice.Spec.Endpoints {
			for j, a := range e.Addresses {
				out = append(out, Endpoint{Address: a, Port: slicePort(slice.Spec.Ports, port), Object: slice.Object,
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
		if q.Name == port.Name || len(ports) == 1 && q.Name == "" {
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
		if q.Port != nil && (q.Name == nil || *q.Name == port.Name || *q.Name == "") {
			return int(*q.Port)
		}
	}
	return 0
}

// IsUnixSocket reports whether an endpoint is a unix domain socket.
func (e *Endpoint) IsUnixSocket() bool { return strings.HasPrefix(e.Address, "unix://") }
