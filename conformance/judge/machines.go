package judge

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/config/host"
)

// machinesTimeout bounds the wait for machines; longer than the work takes on a
// busy computer, and short where what is waited for never comes.
const machinesTimeout = 3 * time.Second

// awaitMachines waits until Kubernetes' registry has taken over the WorkloadEntries
// that its Services select: it hears of them by a queue of its own, of which nothing
// tells when it is empty (pilot/pkg/serviceregistry/kube/controller/controller.go
// WorkloadInstanceHandler).
func awaitMachines(m *Manifests, registry model.ServiceDiscovery, index *model.EndpointIndex) {
	deadline := time.Now().Add(machinesTimeout)
	for _, service := range m.Services {
		name := host.Name(service.Name + "." + service.Namespace + ".svc.cluster.local")
		known := registry.GetService(name)
		if known == nil || known.Resolution != model.ClientSideLB || len(service.Spec.Selector) == 0 || len(service.Spec.Ports) == 0 {
			continue
		}
		for _, cfg := range m.Configs {
			entry, ok := cfg.Spec.(*networking.WorkloadEntry)
			if !ok || cfg.Namespace != service.Namespace {
				continue
			}
			if _, err := netip.ParseAddr(entry.GetAddress()); err != nil {
				continue // names are for ServiceEntries
			}
			labels := maps.Clone(cfg.Labels)
			if labels == nil {
				labels = map[string]string{}
			}
			maps.Copy(labels, entry.GetLabels())
			for selects(service.Spec.Selector, labels) && !indexed(index, string(name), service.Namespace, entry.GetAddress()) && time.Now().Before(deadline) {
				time.Sleep(200 * time.Microsecond)
			}
		}
	}
}

// indexed reports whether an address is among a service's endpoints.
func indexed(index *model.EndpointIndex, name, namespace, address string) bool {
	shards, found := index.ShardsForService(name, namespace)
	if !found {
		return false
	}
	shards.RLock()
	defer shards.RUnlock()
	for _, endpoints := range shards.Shards {
		if slices.ContainsFunc(endpoints, func(e *model.IstioEndpoint) bool { return slices.Contains(e.Addresses, address) }) {
			return true
		}
	}
	return false
}
