package judge

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	envoycore "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"istio.io/api/annotation"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/xds/endpoints"
	"istio.io/istio/pkg/config"

	"github.com/egresslint/egresslint/conformance/envoy"
)

func objectMeta(meta config.Meta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: meta.Name, Namespace: meta.Namespace, Labels: meta.Labels, Annotations: meta.Annotations}
}

// proxy is a workload's Envoy as it stands before istiod once connected
// (pilot/pkg/xds/ads.go initProxyMetadata, computeProxyState).
func (i *istiod) proxy(w *Workload) (*model.Proxy, error) {
	pod := w.Pod
	node := &model.Proxy{
		Type:            model.SidecarProxy,
		IPAddresses:     []string{pod.Status.PodIP},
		ID:              pod.Name + "." + pod.Namespace,
		DNSDomain:       pod.Namespace + ".svc.cluster.local",
		ConfigNamespace: pod.Namespace,
		XdsNode:         &envoycore.Node{},
		Metadata: &model.NodeMetadata{
			Namespace:        pod.Namespace,
			Labels:           maps.Clone(pod.Labels),
			Annotations:      maps.Clone(pod.Annotations),
			ServiceAccount:   pod.Spec.ServiceAccountName,
			WorkloadName:     pod.Name,
			IstioVersion:     "1.31.0",
			ClusterID:        clusterID,
			InstanceIPs:      []string{pod.Status.PodIP},
			InterceptionMode: model.InterceptionRedirect,
			UnprivilegedPod:  w.environment("ISTIO_META_UNPRIVILEGED_POD"),
		},
	}
	metadata := i.proxyMetadata(w)
	node.Metadata.DNSCapture = metadata["ISTIO_META_DNS_CAPTURE"] == "true"
	node.Metadata.DNSAutoAllocate = metadata["ISTIO_META_DNS_AUTO_ALLOCATE"] == "true"
	node.Metadata.TLSClientCertChain = metadata["ISTIO_META_TLS_CLIENT_CERT_CHAIN"]
	node.Metadata.TLSClientKey = metadata["ISTIO_META_TLS_CLIENT_KEY"]
	node.Metadata.TLSClientRootCert = metadata["ISTIO_META_TLS_CLIENT_ROOT_CERT"]
	switch w.Role {
	case GatewayProxy:
		node.Type = model.Router
	case WaypointProxy:
		node.Type = model.Waypoint
	case NoProxy, SidecarProxy, ZtunnelProxy:
	}
	node.IstioVersion = model.ParseIstioVersion(node.Metadata.IstioVersion)
	node.SetWorkloadLabels(i.env)
	if len(node.Labels) == 0 && len(pod.Labels) > 0 {
		return nil, fmt.Errorf("istiod does not know the pod %s", w.ID())
	}
	node.SetServiceTargets(i.env.ServiceDiscovery)
	switch node.Type {
	case model.Router:
		node.SidecarScope = i.gatewayScope(node)
		node.SetGatewaysForProxy(i.push)
	case model.Waypoint:
		node.SidecarScope = i.gatewayScope(node)
	default:
		i.scoped(node)
	}
	node.DiscoverIPMode()
	return node, nil
}

// proxyMetadata is the environment that a pod's proxy has from the mesh
// configuration and from its own annotation.
func (i *istiod) proxyMetadata(w *Workload) map[string]string {
	var own struct {
		ProxyMetadata map[string]string `json:"proxyMetadata"`
	}
	if err := yaml.Unmarshal([]byte(w.Pod.Annotations[annotation.ProxyConfig.Name]), &own); err != nil || own.ProxyMetadata == nil {
		return i.metadata
	}
	out := maps.Clone(i.metadata)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, own.ProxyMetadata)
	return out
}

// config generates what istiod sends to a workload's proxy.
func (i *istiod) config(w *Workload) (*envoy.Config, error) {
	node, err := i.proxy(w)
	if err != nil {
		return nil, err
	}
	out := &envoy.Config{
		Listeners: i.generator.BuildListeners(node, i.push),
		Routes:    map[string]*route.RouteConfiguration{},
		Clusters:  map[string]*cluster.Cluster{},
		Endpoints: map[string]*endpoint.ClusterLoadAssignment{},
	}
	request := &model.PushRequest{Push: i.push, Forced: true}
	clusters, _ := i.generator.BuildClusters(node, request)
	for _, resource := range clusters {
		c := &cluster.Cluster{}
		if err := resource.Resource.UnmarshalTo(c); err != nil {
			return nil, err
		}
		out.Clusters[c.Name] = c
		if c.GetType() == cluster.Cluster_EDS {
			name := c.Name
			if c.GetEdsClusterConfig().GetServiceName() != "" {
				name = c.GetEdsClusterConfig().GetServiceName()
			}
			builder := endpoints.NewEndpointBuilder(name, node, i.push)
			out.Endpoints[c.Name] = builder.BuildClusterLoadAssignment(i.env.EndpointIndex)
			i.settleEndpoints(out.Endpoints[c.Name])
		}
	}
	routes, _ := i.generator.BuildHTTPRoutes(node, request, routeNames(out.Listeners))
	for _, resource := range routes {
		r := &route.RouteConfiguration{}
		if err := resource.Resource.UnmarshalTo(r); err != nil {
			return nil, err
		}
		if node.Type == model.SidecarProxy {
			i.settle(node, r)
		}
		out.Routes[r.Name] = r
	}
	return out, nil
}

// routeNames are the route configurations that listeners ask for, those of default filter
// chains among them, which Istio's helper leaves out.
func routeNames(listeners []*listener.Listener) []string {
	all := slices.Clone(listeners)
	for _, l := range listeners {
		if chain := l.GetDefaultFilterChain(); chain != nil {
			all = append(all, &listener.Listener{FilterChains: []*listener.FilterChain{chain}})
		}
	}
	names := core.ExtractRoutesFromListeners(all)
	slices.Sort(names)
	return slices.Compact(names)
}

// allowPolicies are the names of the ALLOW policies in force at a workload,
// sorted. On a TCP chain rules that need HTTP leave no trace in the proxy's
// configuration, though their policy denies; so istiod's selection is asked.
// A sidecar that finds out by the server name where a connection goes obeys
// those of the service of the given cluster, too
// (pilot/pkg/networking/core/networkfilter.go buildOutboundNetworkFilters).
func (i *istiod) allowPolicies(w *Workload, cluster string) []string {
	node, err := i.proxy(w)
	if err != nil {
		return nil
	}
	policies := i.push.AuthzPolicies
	matcher := model.PolicyMatcherForProxy(node).WithRootNamespace(policies.RootNamespace)
	if direction, _, name, _ := model.ParseSubsetKey(cluster); direction == model.TrafficDirectionOutbound && node.Type == model.SidecarProxy {
		if service := i.push.ServiceForHostname(node, name); service != nil && name.IsWildCarded() && service.Resolution == model.DynamicDNS {
			matcher = matcher.WithService(service)
		}
	}
	if direction, _, name, _ := model.ParseSubsetKey(cluster); direction == model.TrafficDirectionInboundVIP && node.Type == model.Waypoint {
		matcher = matcher.WithService(i.push.ServiceForHostname(node, name))
	}
	var names []string
	for _, policy := range policies.ListAuthorizationPolicies(matcher).Allow {
		if dry, err := strconv.ParseBool(policy.Annotations[annotation.IoIstioDryRun.Name]); err == nil && dry {
			continue
		}
		names = append(names, policy.Namespace+"/"+policy.Name)
	}
	sort.Strings(names)
	return names
}

// captured is the address that the agent beside a proxy answers for a name
// when it captures DNS; an invalid one if it forwards the question. Of several
// addresses a client may take any; it is taken to choose as it would without.
func (i *istiod) captured(w *Workload, name string, upstream netip.Addr) (netip.Addr, error) {
	node, err := i.proxy(w)
	if err != nil {
		return netip.Addr{}, err
	}
	table := i.generator.BuildNameTable(node, i.push).GetTable()
	var first netip.Addr
	for _, ip := range table[strings.ToLower(strings.TrimSuffix(name, "."))].GetIps() {
		address, err := netip.ParseAddr(ip)
		if err == nil && address == upstream {
			return address, nil
		}
		if err == nil && !first.IsValid() {
			first = address
		}
	}
	return first, nil
}
