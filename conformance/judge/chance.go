package judge

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"istio.io/istio/pilot/pkg/model"
)

// orderedServices hands istiod its services in a chosen order. Of ServiceEntries
// it makes one service a host and address and takes them out of a Go map; what
// it sorts them by then (age, host, namespace: pilot/pkg/model/push_context.go
// SortServicesByCreationTime) leaves those of one host, namespace and age as
// the map had them. Every push may see another order.
type orderedServices struct {
	model.ServiceDiscovery
	// order is the number of the order; 0 is by name of the object.
	order int
}

func (o orderedServices) Services() []*model.Service {
	services := slices.Clone(o.ServiceDiscovery.Services())
	slices.SortStableFunc(services, func(a, b *model.Service) int {
		return cmp.Or(compareTied(a, b), cmp.Compare(a.Attributes.ObjectName, b.Attributes.ObjectName), cmp.Compare(a.DefaultAddress, b.DefaultAddress))
	})
	// The first orders put each of the tied in front once; later ones mix.
	random := rand.New(rand.NewPCG(uint64(o.order), 0)) //nolint:gosec // an order, not a secret
	for start := 0; start < len(services); {
		end := start + 1
		for end < len(services) && compareTied(services[start], services[end]) == 0 {
			end++
		}
		group := services[start:end]
		if o.order < len(group) {
			rotated := slices.Concat(group[o.order:], group[:o.order])
			copy(group, rotated)
		} else {
			random.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		}
		start = end
	}
	return services
}

func compareTied(a, b *model.Service) int {
	return cmp.Or(a.CreationTime.Compare(b.CreationTime), cmp.Compare(a.Attributes.Name, b.Attributes.Name), cmp.Compare(a.Attributes.Namespace, b.Attributes.Namespace),
		cmp.Compare(a.Attributes.ServiceRegistry, b.Attributes.ServiceRegistry))
}

// mixedOrders are tried beyond those that put each of a group in front once:
// an answer may need two groups to fall in a certain way.
const mixedOrders = 8

// orders is the number of orders worth trying: 1 where nothing ties.
func orders(discovery model.ServiceDiscovery) int {
	services := orderedServices{ServiceDiscovery: discovery}.Services()
	largest, size := 1, 1
	for i := 1; i < len(services); i++ {
		if compareTied(services[i-1], services[i]) == 0 {
			size++
		} else {
			size = 1
		}
		largest = max(largest, size)
	}
	if largest == 1 {
		return 1
	}
	return largest + mixedOrders
}

// gatewayScope is what a gateway sees of the mesh's services. Where sidecars
// without a Sidecar resource live in its namespace, that depends on who came
// first after a push: once such a sidecar has asked, the gateway gets the
// sidecars' scope, which knows more services and prefers others
// (pilot/pkg/model/push_context.go doGetSidecarScope).
func (i *istiod) gatewayScope(gateway *model.Proxy) *model.SidecarScope {
	if i.shared {
		if scope := i.sharedScope(gateway); scope != nil {
			return scope
		}
	}
	return model.DefaultSidecarScopeForGateway(i.push, gateway.ConfigNamespace)
}

// sharedScope is the sidecars' scope of a gateway's namespace, nil if there is
// no sidecar or if the gateway does not get its scope.
func (i *istiod) sharedScope(gateway *model.Proxy) *model.SidecarScope {
	if !i.sidecars[gateway.ConfigNamespace] {
		return nil
	}
	sidecar := &model.Proxy{Type: model.SidecarProxy, ConfigNamespace: gateway.ConfigNamespace, Metadata: &model.NodeMetadata{}}
	sidecar.SetSidecarScope(i.push)
	asked := &model.Proxy{Type: model.Router, ConfigNamespace: gateway.ConfigNamespace, Metadata: &model.NodeMetadata{}}
	asked.SetSidecarScope(i.push)
	if asked.SidecarScope != sidecar.SidecarScope {
		return nil
	}
	return asked.SidecarScope
}

// scopesDiffer tells whether any gateway sees different services after
// different pushes.
func (i *istiod) scopesDiffer(workloads []*Workload) bool {
	for _, w := range workloads {
		if w.Role != GatewayProxy {
			continue
		}
		node := &model.Proxy{Type: model.Router, ConfigNamespace: w.Pod.Namespace}
		shared := i.sharedScope(node)
		if shared == nil {
			continue
		}
		own := model.DefaultSidecarScopeForGateway(i.push, w.Pod.Namespace)
		if !slices.EqualFunc(own.Services(), shared.Services(), func(a, b *model.Service) bool {
			return a.Hostname == b.Hostname && a.Attributes.Namespace == b.Attributes.Namespace &&
				a.Attributes.ObjectName == b.Attributes.ObjectName && a.DefaultAddress == b.DefaultAddress && a.Ports.Equals(b.Ports)
		}) {
			return true
		}
	}
	return false
}
