package judge

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/networking/serviceentry"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/gvk"
)

// The first addresses of pods and of Services, by family.
var (
	podNetwork     = map[bool]netip.Addr{false: netip.MustParseAddr("10.244.0.1"), true: netip.MustParseAddr("fd00:10:244::1")}
	serviceNetwork = map[bool]netip.Addr{false: netip.MustParseAddr("10.96.0.10"), true: netip.MustParseAddr("fd00:10:96::10")}
)

// addresses gives every pod an address, every Service that wants one a cluster
// address, and makes the EndpointSlices that Kubernetes' controllers would.
func (m *Manifests) addresses(v6 bool) {
	workloads := append([]*Workload(nil), m.Workloads...)
	sort.SliceStable(workloads, func(i, j int) bool {
		a, b := workloads[i], workloads[j]
		return a.ID()+"/"+a.Kind < b.ID()+"/"+b.Kind
	})
	address := podNetwork[v6]
	for _, w := range workloads {
		w.Pod.Status.PodIP = address.String()
		w.Pod.Status.PodIPs = []corev1.PodIP{{IP: address.String()}}
		address = address.Next()
	}
	services := append([]*corev1.Service(nil), m.Services...)
	sort.SliceStable(services, func(i, j int) bool {
		return services[i].Namespace+"/"+services[i].Name < services[j].Namespace+"/"+services[j].Name
	})
	taken := map[string]bool{}
	for _, service := range services {
		taken[service.Spec.ClusterIP] = true
	}
	address = serviceNetwork[v6]
	for _, service := range services {
		if service.Spec.ClusterIP != "" || service.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		for taken[address.String()] {
			address = address.Next()
		}
		service.Spec.ClusterIP = address.String()
		service.Spec.ClusterIPs = []string{address.String()}
		address = address.Next()
	}
	for _, service := range services {
		m.EndpointSlices = append(m.EndpointSlices, m.endpointSlices(service)...)
	}
}

// endpointSlices are those of the pods that a Service selects, or of the
// Endpoints object of its name where it selects none.
func (m *Manifests) endpointSlices(service *corev1.Service) []*discoveryv1.EndpointSlice {
	var slices []*discoveryv1.EndpointSlice
	ready := true
	slice := func(n int, address string, target *corev1.ObjectReference, ports []discoveryv1.EndpointPort) {
		slices = append(slices, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Name:      fmt.Sprintf("%s-%d", service.Name, n),
				Namespace: service.Namespace,
				Labels:    map[string]string{discoveryv1.LabelServiceName: service.Name},
			},
			AddressType: addressType(address),
			Endpoints: []discoveryv1.Endpoint{{
				Addresses:  []string{address},
				Conditions: discoveryv1.EndpointConditions{Ready: &ready},
				TargetRef:  target,
			}},
			Ports: ports,
		})
	}
	if len(service.Spec.Selector) == 0 {
		for _, endpoints := range m.Endpoints {
			if endpoints.Namespace != service.Namespace || endpoints.Name != service.Name {
				continue
			}
			for _, subset := range endpoints.Subsets {
				var ports []discoveryv1.EndpointPort
				for _, port := range subset.Ports {
					ports = append(ports, discoveryv1.EndpointPort{Name: &port.Name, Port: &port.Port, Protocol: &port.Protocol})
				}
				for _, address := range subset.Addresses {
					slice(len(slices), address.IP, address.TargetRef, ports)
				}
			}
		}
		return slices
	}
	for _, w := range m.Workloads {
		if w.Pod.Namespace != service.Namespace || !selects(service.Spec.Selector, w.Pod.Labels) {
			continue
		}
		var ports []discoveryv1.EndpointPort
		for _, port := range service.Spec.Ports {
			if number, found := targetPort(w.Pod, port); found {
				ports = append(ports, discoveryv1.EndpointPort{Name: &port.Name, Port: &number, Protocol: &port.Protocol})
			}
		}
		slice(len(slices), w.Pod.Status.PodIP, &corev1.ObjectReference{Kind: "Pod", Namespace: w.Pod.Namespace, Name: w.Pod.Name}, ports)
	}
	return slices
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// targetPort resolves the port of a pod that a Service port leads to, as
// Kubernetes' FindPort does.
func targetPort(pod *corev1.Pod, port corev1.ServicePort) (int32, bool) {
	protocol := port.Protocol
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	switch {
	case port.TargetPort.Type == intstr.String && port.TargetPort.StrVal != "":
		for _, container := range pod.Spec.Containers {
			for _, p := range container.Ports {
				if p.Name == port.TargetPort.StrVal && (p.Protocol == protocol || p.Protocol == "" && protocol == corev1.ProtocolTCP) {
					return p.ContainerPort, true
				}
			}
		}
		return 0, false
	case port.TargetPort.IntVal != 0:
		return port.TargetPort.IntVal, true
	default:
		return port.Port, true
	}
}

func addressType(address string) discoveryv1.AddressType {
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return discoveryv1.AddressTypeFQDN
	case ip.Is6():
		return discoveryv1.AddressTypeIPv6
	default:
		return discoveryv1.AddressTypeIPv4
	}
}

// allocate gives ServiceEntries the automatic addresses that a controller of
// istiod would write into their status (pilot/pkg/controllers/ipallocate): one of
// each family for each host, whichever they are.
func allocate(configs []config.Config) func(config.Config) config.Config {
	next := map[string]netip.Addr{}
	v4, v6 := netip.MustParseAddr("240.240.0.1"), netip.MustParseAddr("2001:2::1")
	status := map[string]*networking.ServiceEntryStatus{}
	key := func(cfg config.Config, host string) string { return cfg.Namespace + "/" + cfg.Name + "/" + host }
	for _, cfg := range configs {
		entry, ok := cfg.Spec.(*networking.ServiceEntry)
		if !ok || !serviceentry.ShouldV2AutoAllocateIPFromConfig(cfg) {
			continue
		}
		addresses := &networking.ServiceEntryStatus{}
		for _, host := range entry.GetHosts() {
			if strings.HasPrefix(host, "*") && entry.GetResolution() != networking.ServiceEntry_DYNAMIC_DNS {
				continue
			}
			if !next[key(cfg, host)].IsValid() {
				next[key(cfg, host)] = v4
				addresses.Addresses = append(addresses.Addresses,
					&networking.ServiceEntryAddress{Value: v4.String(), Host: host}, &networking.ServiceEntryAddress{Value: v6.String(), Host: host})
				v4, v6 = v4.Next(), v6.Next()
			}
		}
		status[key(cfg, "")] = addresses
	}
	return func(cfg config.Config) config.Config {
		if addresses := status[key(cfg, "")]; addresses != nil && cfg.Status == nil && cfg.GroupVersionKind == gvk.ServiceEntry {
			cfg.Status = addresses
		}
		return cfg
	}
}
