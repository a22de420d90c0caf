package judge

import (
	"cmp"
	"math/rand/v2"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/serviceregistry/provider"
	"istio.io/istio/pkg/config/protocol"
	"istio.io/istio/pkg/config/visibility"
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
	reorder(services, compareTied, o.order)
	return services
}

// GetProxyServiceTargets hands istiod the ports of ServiceEntries that a pod
// serves in a chosen order, too. They come out of a map; of those of one age
// and host that lead to one port of the pod the first decides on the protocol
// (pilot/pkg/model/context.go SetServiceTargets,
// pilot/pkg/networking/core/listener_inbound.go getFilterChainsByServicePort).
func (o orderedServices) GetProxyServiceTargets(node *model.Proxy) []model.ServiceTarget {
	var ordered, entries []model.ServiceTarget
	for _, t := range o.ServiceDiscovery.GetProxyServiceTargets(node) {
		if t.Service.Attributes.ServiceRegistry == provider.External {
			entries = append(entries, t)
		} else {
			ordered = append(ordered, t)
		}
	}
	slices.SortStableFunc(entries, func(a, b model.ServiceTarget) int {
		return cmp.Or(compareTargets(a, b), cmp.Compare(a.Port.Port, b.Port.Port), cmp.Compare(a.Service.Attributes.ObjectName, b.Service.Attributes.ObjectName))
	})
	reorder(entries, compareTargets, o.order)
	return append(entries, ordered...)
}

func compareTargets(a, b model.ServiceTarget) int {
	return cmp.Or(a.Service.CreationTime.Compare(b.Service.CreationTime), cmp.Compare(a.Service.Hostname, b.Service.Hostname))
}

// reorder puts each of those that tie in front once in the first orders; later
// ones mix them.
func reorder[T any](sorted []T, compare func(a, b T) int, order int) {
	random := rand.New(rand.NewPCG(uint64(order), 0)) //nolint:gosec // an order, not a secret
	for _, group := range groups(sorted, compare) {
		if order < len(group) {
			copy(group, slices.Concat(group[order:], group[:order]))
		} else {
			random.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		}
	}
}

// groups are the parts of a sorted list that tie.
func groups[T any](sorted []T, compare func(a, b T) int) [][]T {
	var out [][]T
	for start := 0; start < len(sorted); {
		end := start + 1
		for end < len(sorted) && compare(sorted[start], sorted[end]) == 0 {
			end++
		}
		out = append(out, sorted[start:end])
		start = end
	}
	return out
}

func compareTied(a, b *model.Service) int {
	return cmp.Or(a.CreationTime.Compare(b.CreationTime), cmp.Compare(a.Attributes.Name, b.Attributes.Name), cmp.Compare(a.Attributes.Namespace, b.Attributes.Namespace),
		cmp.Compare(a.Attributes.ServiceRegistry, b.Attributes.ServiceRegistry))
}

// mixedOrders are tried beyond those that put each of a group in front once:
// an answer may need two groups to fall in a certain way.
const mixedOrders = 8

// orders is the number of orders worth trying: 1 where nothing ties.
func (i *istiod) orders(workloads []*Workload) int {
	largest := 1
	for _, group := range groups(orderedServices{ServiceDiscovery: i.registries}.Services(), compareTied) {
		largest = max(largest, len(group))
	}
	for namespace := range i.sidecars {
		for _, c := range i.choices(namespace) {
			largest = max(largest, len(c.services))
		}
	}
	for _, w := range workloads {
		if w.Role != SidecarProxy {
			continue
		}
		node := &model.Proxy{IPAddresses: []string{w.Pod.Status.PodIP}, Metadata: &model.NodeMetadata{Namespace: w.Pod.Namespace}}
		targets := orderedServices{ServiceDiscovery: i.entries}.GetProxyServiceTargets(node)
		for _, group := range groups(targets, compareTargets) {
			protocols := map[uint32]protocol.Instance{}
			for _, t := range group {
				if other, found := protocols[t.Port.TargetPort]; found && other != t.Port.Protocol {
					largest = max(largest, len(group))
				}
				protocols[t.Port.TargetPort] = t.Port.Protocol
			}
		}
	}
	return ordersOf(largest, i.rivals(i.registries.Services()))
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

// sharedScope is the scope of a gateway's namespace that one of its sidecars has
// asked for before, nil if none of them has one that the gateway gets: Sidecars
// may select them all.
func (i *istiod) sharedScope(gateway *model.Proxy) *model.SidecarScope {
	for _, w := range i.sidecars[gateway.ConfigNamespace] {
		sidecar := &model.Proxy{Type: model.SidecarProxy, ConfigNamespace: gateway.ConfigNamespace, Labels: w.Pod.Labels, Metadata: &model.NodeMetadata{}}
		i.scoped(sidecar)
		asked := &model.Proxy{Type: model.Router, ConfigNamespace: gateway.ConfigNamespace, Metadata: &model.NodeMetadata{}}
		asked.SetSidecarScope(i.push)
		if asked.SidecarScope == sidecar.SidecarScope {
			return asked.SidecarScope
		}
	}
	return nil
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

// endpointsByChance reports whether a cluster is a Service that is exported to
// nobody and that a route of its own namespace leads to all the same. istiod
// takes over its endpoints when the Service changes, not when they do: whether
// it has them depends on which of the two it saw last
// (pilot/pkg/serviceregistry/kube/controller/endpointslice.go serviceNeedsPush,
// controller.go addOrUpdateService).
func (i *istiod) endpointsByChance(w *Workload, cluster string) bool {
	direction, _, name, _ := model.ParseSubsetKey(cluster)
	if direction != model.TrafficDirectionOutbound {
		return false
	}
	node, err := i.proxy(w)
	if err != nil {
		return false
	}
	service := i.push.ServiceForHostname(node, name)
	if service == nil || service.Attributes.ServiceRegistry != provider.Kubernetes ||
		!service.Attributes.ExportTo.Contains(visibility.None) || service.Resolution != model.ClientSideLB {
		return false
	}
	return slices.ContainsFunc(i.slices, func(s *discoveryv1.EndpointSlice) bool {
		return s.Namespace == service.Attributes.Namespace && s.Labels[discoveryv1.LabelServiceName] == service.Attributes.Name
	})
}
