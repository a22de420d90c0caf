package judge

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/util"
	"istio.io/istio/pkg/config/host"
)

// Services that no VirtualService routes get their virtual hosts in the order of a
// Go map, and of those that claim one domain, as hosts with the same address do,
// the first keeps it (pilot/pkg/networking/core/route/route.go
// BuildSidecarVirtualHostWrapper, httproute.go dedupeDomains).

// settle gives every such domain of a sidecar's routes to the one that the order
// of this control plane says.
func (i *istiod) settle(node *model.Proxy, table *route.RouteConfiguration) {
	port, err := strconv.Atoi(table.GetName())
	if err != nil {
		return // of one service alone
	}
	listener := node.SidecarScope.GetEgressListenerForRDS(port, table.GetName())
	if listener == nil {
		return
	}
	plain := map[string]*route.VirtualHost{}
	owner := map[string]*route.VirtualHost{}
	for _, vh := range table.GetVirtualHosts() {
		if routes := vh.GetRoutes(); len(routes) == 1 && routes[0].GetName() == "default" && routes[0].GetRoute().GetCluster() != "" {
			plain[vh.GetName()] = vh
		}
		for _, domain := range vh.GetDomains() {
			owner[strings.ToLower(domain)] = vh
		}
	}
	services := map[host.Name]*model.Service{}
	for _, service := range listener.Services() {
		if _, found := service.Ports.GetByPort(port); found {
			services[host.Name(strings.ToLower(string(service.Hostname)))] = service // the last counts
		}
	}
	claims := map[string][]*route.VirtualHost{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		vh := plain[util.DomainName(string(name), port)]
		if vh == nil {
			continue
		}
		for _, domain := range claimed(services[name], node) {
			claims[domain] = append(claims[domain], vh)
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(claims)) {
		rivals := claims[domain]
		if len(rivals) < 2 || !slices.Contains(rivals, owner[domain]) {
			continue
		}
		from, to := owner[domain], rivals[i.order%len(rivals)]
		from.Domains = slices.DeleteFunc(from.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
		to.Domains = append(to.Domains, domain)
	}
}

// settleEndpoints puts one of the endpoints of an address first where several
// WorkloadEntries list it: istiod keeps those in maps
// (pilot/pkg/serviceregistry/util/workloadinstances/index.go ForEach), and Envoy
// takes the first endpoint of an address.
func (i *istiod) settleEndpoints(load *endpoint.ClusterLoadAssignment) {
	for _, locality := range load.GetEndpoints() {
		variants := map[string][]int{}
		for at, e := range locality.GetLbEndpoints() {
			if address := e.GetEndpoint().GetAddress().GetSocketAddress(); i.machines[address.GetAddress()] > 1 {
				key := address.GetAddress() + " " + strconv.Itoa(int(address.GetPortValue()))
				variants[key] = append(variants[key], at)
			}
		}
		for _, places := range variants {
			// By what the endpoint says of itself, so that an order means the same
			// every time.
			sorted := slices.Clone(places)
			slices.SortStableFunc(sorted, func(a, b int) int {
				return cmp.Compare(tlsMode(locality.LbEndpoints[a]), tlsMode(locality.LbEndpoints[b]))
			})
			distinct := slices.CompactFunc(sorted, func(a, b int) bool { return tlsMode(locality.LbEndpoints[a]) == tlsMode(locality.LbEndpoints[b]) })
			first, chosen := places[0], distinct[i.order%len(distinct)]
			locality.LbEndpoints[first], locality.LbEndpoints[chosen] = locality.LbEndpoints[chosen], locality.LbEndpoints[first]
		}
	}
}

func tlsMode(e *endpoint.LbEndpoint) string {
	return e.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"].GetFields()["tlsMode"].GetStringValue()
}

// addressesOfMachines counts the WorkloadEntries of each address.
func addressesOfMachines(m *Manifests) map[string]int {
	out := map[string]int{}
	for _, cfg := range m.Configs {
		if entry, ok := cfg.Spec.(*networking.WorkloadEntry); ok {
			out[entry.GetAddress()]++
		}
	}
	return out
}

// claimed are domains of a service that others may claim, too.
func claimed(service *model.Service, node *model.Proxy) []string {
	domains := []string{util.IPv6Compliant(strings.ToLower(string(service.Hostname)))}
	for _, address := range service.GetAllAddressesForProxy(node) {
		if address != "" && address != "0.0.0.0" {
			domains = append(domains, util.IPv6Compliant(address))
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

// rivals is the largest number of hosts that list one address for a port that may
// carry HTTP, or of machines that have one.
func (i *istiod) rivals(services []*model.Service) int {
	type place struct {
		address string
		port    int
	}
	hosts := map[place]map[host.Name]bool{}
	for _, service := range services {
		addresses := service.ClusterVIPs.GetAddressesFor(clusterID)
		addresses = append(slices.Clone(addresses), service.DefaultAddress, service.AutoAllocatedIPv4Address, service.AutoAllocatedIPv6Address)
		if _, err := netip.ParseAddr(string(service.Hostname)); err == nil {
			addresses = append(addresses, string(service.Hostname))
		}
		for _, port := range service.Ports {
			if !port.Protocol.IsHTTPOrSniffed() {
				continue
			}
			for _, address := range addresses {
				if address == "" || address == "0.0.0.0" {
					continue
				}
				at := place{address, port.Port}
				if hosts[at] == nil {
					hosts[at] = map[host.Name]bool{}
				}
				hosts[at][service.Hostname] = true
			}
		}
	}
	most := 1
	for _, names := range hosts {
		most = max(most, len(names))
	}
	for _, machines := range i.machines {
		most = max(most, machines)
	}
	return most
}

// ordersOf is how many orders show all that ties of a size and rivals of a number
// can come to.
func ordersOf(largest, rivals int) int {
	if largest > 1 {
		largest += mixedOrders
	}
	return max(largest, rivals)
}
