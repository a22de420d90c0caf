package judge

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	networkingclient "istio.io/client-go/pkg/apis/networking/v1"
	securityclient "istio.io/client-go/pkg/apis/security/v1"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/serviceregistry/ambient"
	"istio.io/istio/pkg/activenotifier"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/workloadapi"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/egresslint/egresslint/conformance/envoy"
	"github.com/egresslint/egresslint/model/flow"
)

// Ambient reports whether the control planes of this process run ambient mode: istiod
// reads PILOT_ENABLE_AMBIENT once, when a process starts.
func Ambient() bool { return features.EnableAmbient }

// Labels and names of ambient mode.
const (
	dataplaneMode = "istio.io/dataplane-mode"
	gatewayName   = "gateway.networking.k8s.io/gateway-name"
	managedBy     = "gateway.istio.io/managed"
	waypointClass = "istio-waypoint"
)

// enrol finds the pods whose connections ztunnel takes, as Istio's CNI agent does (istio
// cni/pkg/util/podutil.go PodRedirectionEnabled), and notes on them that it has done so:
// that is what istiod goes by.
func (m *Manifests) enrol() {
	namespaces := map[string]*corev1.Namespace{}
	for _, ns := range m.Namespaces {
		namespaces[ns.Name] = ns
	}
	for _, w := range m.Workloads {
		mode := w.Pod.Labels[dataplaneMode]
		if ns := namespaces[w.Pod.Namespace]; mode == "" && ns != nil {
			mode = ns.Labels[dataplaneMode]
		}
		if w.Role != NoProxy || mode != "ambient" || w.Pod.Spec.HostNetwork {
			continue
		}
		w.Role = ZtunnelProxy
		w.Pod.Annotations = maps.Clone(w.Pod.Annotations)
		if w.Pod.Annotations == nil {
			w.Pod.Annotations = map[string]string{}
		}
		w.Pod.Annotations["ambient.istio.io/redirection"] = "enabled"
	}
}

// deployWaypoint adds the Service and the pod that istiod deploys for a Gateway of the
// waypoints' class, where the manifests do not hold them, and says in its status that
// they are there (istio manifests/charts/istio-control/istio-discovery/files/waypoint.yaml).
func (m *Manifests) deployWaypoint(g *gatewayv1.Gateway) {
	name := cmp.Or(g.Annotations["gateway.istio.io/name-override"], g.Name)
	hostname := gatewayv1.HostnameAddressType
	g.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Type: &hostname, Value: name + "." + g.Namespace + ".svc.cluster.local"}}
	m.deploy(g, "waypoint", name, g.Name, map[string]string{managedBy: constants.ManagedGatewayMeshControllerLabel})
}

// ambientObjects are what istiod's index for ambient mode reads beside what other parts
// of it do.
func ambientObjects(m *Manifests, allocated func(config.Config) config.Config) []runtime.Object {
	var objects []runtime.Object
	for _, cfg := range m.Configs {
		cfg = allocated(cfg.DeepCopy())
		switch spec := cfg.Spec.(type) {
		case *networking.ServiceEntry:
			entry := &networkingclient.ServiceEntry{ObjectMeta: createdMeta(cfg.Meta)}
			spec.DeepCopyInto(&entry.Spec)
			if status, ok := cfg.Status.(*networking.ServiceEntryStatus); ok {
				status.DeepCopyInto(&entry.Status)
			}
			objects = append(objects, entry)
		case *networking.WorkloadEntry:
			entry := &networkingclient.WorkloadEntry{ObjectMeta: createdMeta(cfg.Meta)}
			spec.DeepCopyInto(&entry.Spec)
			objects = append(objects, entry)
		case *security.AuthorizationPolicy:
			policy := &securityclient.AuthorizationPolicy{ObjectMeta: createdMeta(cfg.Meta)}
			spec.DeepCopyInto(&policy.Spec)
			objects = append(objects, policy)
		case *security.PeerAuthentication:
			policy := &securityclient.PeerAuthentication{ObjectMeta: createdMeta(cfg.Meta)}
			spec.DeepCopyInto(&policy.Spec)
			objects = append(objects, policy)
		}
	}
	for _, object := range m.GatewayAPI {
		objects = append(objects, object.DeepCopyObject())
	}
	return objects
}

func createdMeta(meta config.Meta) metav1.ObjectMeta {
	out := objectMeta(meta)
	out.CreationTimestamp = metav1.NewTime(meta.CreationTimestamp)
	return out
}

// newAmbient makes istiod's index for ambient mode (pilot/pkg/bootstrap/servicecontroller.go).
func newAmbient(updater model.XDSUpdater, watcher meshwatcher.WatcherCollection, clusters *multicluster.Controller, debugger *krt.DebugHandler) ambient.Index {
	return ambient.New(ambient.Options{
		SystemNamespace: constants.IstioSystemNamespace, DomainSuffix: constants.DefaultClusterLocalDomain, ClusterID: clusterID,
		XDSUpdater: updater, MeshConfig: watcher, StatusNotifier: activenotifier.New(false), Debugger: debugger, MultiClusterController: clusters,
		Flags: ambient.FeatureFlags{
			DefaultAllowFromWaypoint:              features.DefaultAllowFromWaypoint,
			EnableK8SServiceSelectWorkloadEntries: features.EnableK8SServiceSelectWorkloadEntries,
		},
	})
}

// contended are the hosts that several ServiceEntries of one age define: which of them
// istiod tells ztunnel of, or prefers, is left to chance (istio
// pilot/pkg/serviceregistry/ambient/services.go selectWorkloadServices).
func contended(m *Manifests) map[string]bool {
	seen, out := map[string]bool{}, map[string]bool{}
	for _, cfg := range m.Configs {
		entry, ok := cfg.Spec.(*networking.ServiceEntry)
		if !ok {
			continue
		}
		for _, host := range entry.GetHosts() {
			key := fmt.Sprintf("%s %d", strings.ToLower(host), cfg.CreationTimestamp.Unix())
			out[strings.ToLower(host)] = out[strings.ToLower(host)] || seen[key]
			seen[key] = true
		}
	}
	return out
}

// visible reports whether ztunnel shows a service to a client (istio/ztunnel
// src/state/service.rs visible_to).
func visible(s *workloadapi.Service, namespace string) bool {
	return s.GetVisibility() != workloadapi.Service_NAMESPACE || s.GetNamespace() == namespace
}

// known are the services of istiod's index that a client in a namespace is shown.
func (i *istiod) known(namespace string) []*workloadapi.Service {
	var out []*workloadapi.Service
	for _, a := range i.ambient.All() {
		if s := a.GetService(); s != nil && visible(s, namespace) {
			out = append(out, s)
		}
	}
	return out
}

// best is the service that ztunnel prefers for a client (istio/ztunnel
// src/state/service.rs find_best_match); problem says why that is left to chance.
func (i *istiod) best(list []*workloadapi.Service, namespace string) (best *workloadapi.Service, problem string) {
	for _, s := range list {
		if i.contended[strings.ToLower(s.GetHostname())] {
			return nil, fmt.Sprintf("several ServiceEntries of one age define %s", s.GetHostname())
		}
	}
	for _, preferred := range []func(*workloadapi.Service) bool{
		func(s *workloadapi.Service) bool { return s.GetNamespace() == namespace },
		(*workloadapi.Service).GetCanonical,
		func(*workloadapi.Service) bool { return true },
	} {
		switch some := slices.DeleteFunc(slices.Clone(list), func(s *workloadapi.Service) bool { return !preferred(s) }); len(some) {
		case 0:
		case 1:
			return some[0], ""
		default:
			return nil, fmt.Sprintf("%d services are equally good", len(some))
		}
	}
	return nil, ""
}

// prefixes are the addresses of a service.
func prefixes(s *workloadapi.Service) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range s.GetAddresses() {
		at, ok := netip.AddrFromSlice(a.GetAddress())
		if !ok {
			continue
		}
		length := at.BitLen()
		if a.Length != nil {
			length = int(a.GetLength())
		}
		if prefix, err := at.Prefix(length); err == nil {
			out = append(out, prefix)
		}
	}
	return out
}

// serviceAt is the service that ztunnel finds at an address, nil for none (istio/ztunnel
// src/state/service.rs get_best_by_vip): one that has it, else of those with a range
// around it one of the client's namespace, then that with the longest.
func (i *istiod) serviceAt(address netip.Addr, namespace string) (s *workloadapi.Service, problem string) {
	var exact, around []*workloadapi.Service
	own, longest := false, -1
	for _, s := range i.known(namespace) {
		bits := -1
		for _, prefix := range prefixes(s) {
			switch {
			case !prefix.Contains(address):
			case prefix.IsSingleIP():
				exact = append(exact, s)
			default:
				bits = max(bits, prefix.Bits())
			}
		}
		mine := s.GetNamespace() == namespace
		if bits < 0 || own && !mine || own == mine && bits < longest {
			continue
		}
		if mine != own || bits > longest {
			around = nil
		}
		own, longest, around = mine, bits, append(around, s)
	}
	if len(exact) > 0 {
		return i.best(exact, namespace)
	}
	return i.best(around, namespace)
}

// named is the address that ztunnel answers for a name, an invalid one where it forwards
// the question (istio/ztunnel src/dns/server.rs find_server); problem says why it cannot
// be told.
func (i *istiod) named(name, namespace string) (address netip.Addr, problem string) {
	for search, rest := strings.ToLower(name), strings.ToLower(name); ; {
		var found []*workloadapi.Service
		for _, s := range i.known(namespace) {
			single := slices.ContainsFunc(prefixes(s), netip.Prefix.IsSingleIP)
			if s.GetHostname() == search && (single || strings.HasSuffix(s.GetHostname(), ".svc.cluster.local")) {
				found = append(found, s)
			}
		}
		if len(found) > 0 {
			s, problem := i.best(found, namespace)
			if problem != "" {
				return netip.Addr{}, problem
			}
			for _, prefix := range prefixes(s) {
				if !prefix.IsSingleIP() || !prefix.Addr().Is4() {
					continue
				}
				if address.IsValid() {
					return netip.Addr{}, fmt.Sprintf("%s has several addresses", name)
				}
				address = prefix.Addr()
			}
			if !address.IsValid() {
				return netip.Addr{}, fmt.Sprintf("%s has no address", name)
			}
			return address, ""
		}
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return netip.Addr{}, ""
		}
		search, rest = "*."+after, after
	}
}

// outside is the answer to what is not judged here.
func outside(format string, args ...any) *flow.Trace {
	return &flow.Trace{Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.OpaqueFilter, Detail: fmt.Sprintf(format, args...)}
}

// ztunnel takes a connection of a client in ambient mode (istio/ztunnel
// src/proxy/outbound.rs build_request): what goes to a service with a waypoint it sends
// there, as istiod tells it. What it does with connections to pods is not judged.
func (w *walk) ztunnel(source *Workload, conn envoy.Connection) *flow.Trace {
	i := w.mesh.istiod
	at := conn.Destination.Addr()
	if w.mesh.network.pods[at] != nil {
		return outside("%s is a pod's", at)
	}
	service, problem := i.serviceAt(at, source.Pod.Namespace)
	if problem != "" {
		return outside("%s", problem)
	}
	workloads := i.workloadsAt(at)
	switch {
	case slices.ContainsFunc(workloads, func(w *workloadapi.Workload) bool { return w.GetWaypoint() != nil }):
		return outside("the workload at %s has a waypoint", at)
	case len(workloads) > 0 && service == nil:
		return accepted(conn.Message, flow.ViaDirect, flow.OK, flow.UpstreamNone)
	case len(workloads) > 0:
		answer := w.endpoints(service, conn)
		if answer.Reason == flow.NoEndpoints {
			// It was no service that was asked for: ztunnel passes the connection on.
			answer = accepted(conn.Message, flow.ViaDirect, flow.OK, flow.UpstreamNone)
		}
		return answer
	case service == nil && w.mesh.network.services[at] != nil:
		return outside("a Service that istiod does not know has the address %s", at)
	case service == nil:
		return accepted(conn.Message, flow.ViaPassthrough, flow.OK, flow.UpstreamNone)
	}
	waypoints := service.GetWeightedWaypoints()
	if len(waypoints) == 0 && service.GetWaypoint() != nil {
		waypoints = []*workloadapi.WeightedWaypoint{{Destination: service.GetWaypoint(), Weight: 1}}
	}
	if len(waypoints) == 0 {
		return w.endpoints(service, conn)
	}
	var branches []flow.Branch
	for _, waypoint := range waypoints {
		if waypoint.GetWeight() > 0 {
			branches = append(branches, flow.Branch{Weight: int(waypoint.GetWeight()), Trace: *w.waypoint(source, conn, waypoint.GetDestination())})
		}
	}
	if len(branches) == 0 {
		return outside("no waypoint of %s has a weight", service.GetHostname())
	}
	return combine(branches)
}

// endpoints takes a connection to a service without a waypoint to one of its endpoints
// (istio/ztunnel src/state.rs find_upstream, load_balance).
func (w *walk) endpoints(service *workloadapi.Service, conn envoy.Connection) *flow.Trace {
	direct := accepted(conn.Message, flow.ViaDirect, flow.OK, flow.UpstreamNone)
	if service.GetLoadBalancing().GetMode() == workloadapi.LoadBalancing_PASSTHROUGH {
		return direct
	}
	port := slices.IndexFunc(service.GetPorts(), func(p *workloadapi.Port) bool { return p.GetServicePort() == uint32(conn.Destination.Port()) })
	found := false
	key := service.GetNamespace() + "/" + service.GetHostname()
	for _, a := range w.mesh.istiod.ambient.All() {
		workload := a.GetWorkload()
		ports, member := workload.GetServices()[key]
		if !member || port < 0 || len(workload.GetAddresses()) == 0 && workload.GetHostname() == "" {
			continue
		}
		if service.GetPorts()[port].GetTargetPort() == 0 && !slices.ContainsFunc(ports.GetPorts(), func(p *workloadapi.Port) bool { return p.GetServicePort() == uint32(conn.Destination.Port()) }) {
			continue
		}
		for _, b := range workload.GetAddresses() {
			if at, ok := netip.AddrFromSlice(b); ok && (w.mesh.network.pods[at] != nil || w.mesh.network.services[at] != nil) {
				return outside("an endpoint of %s is a pod or Service", key)
			}
		}
		if name := workload.GetHostname(); w.mesh.network.service(name, service.GetNamespace()) != nil || strings.Contains(name, "*") {
			return outside("an endpoint of %s is %s", key, name)
		}
		if workload.GetTunnelProtocol() != workloadapi.TunnelProtocol_NONE {
			return outside("an endpoint of %s takes tunnels", key)
		}
		found = true
	}
	switch {
	case w.mesh.network.service(service.GetHostname(), "") != nil:
		return outside("%s is a Service of Kubernetes", key)
	case !found:
		return blocked(flow.NoEndpoints, flow.ViaNone, 0)
	}
	return direct
}

// workloadsAt are the workloads that istiod tells ztunnel of at an address.
func (i *istiod) workloadsAt(address netip.Addr) []*workloadapi.Workload {
	var out []*workloadapi.Workload
	for _, a := range i.ambient.All() {
		for _, b := range a.GetWorkload().GetAddresses() {
			if at, ok := netip.AddrFromSlice(b); ok && at == address {
				out = append(out, a.GetWorkload())
			}
		}
	}
	return out
}

// waypoint ends a tunnel at a waypoint.
func (w *walk) waypoint(source *Workload, conn envoy.Connection, to *workloadapi.GatewayAddress) *flow.Trace {
	hostname := to.GetHostname()
	var pod *Workload
	for _, service := range w.mesh.manifests.Services {
		if service.Namespace != hostname.GetNamespace() || service.Name+"."+service.Namespace+".svc.cluster.local" != hostname.GetHostname() {
			continue
		}
		for _, candidate := range w.mesh.manifests.Workloads {
			if candidate.Role == WaypointProxy && candidate.Pod.Namespace == service.Namespace && selects(service.Spec.Selector, candidate.Pod.Labels) {
				if pod != nil {
					return outside("several workloads are waypoint %s", hostname.GetHostname())
				}
				pod = candidate
			}
		}
	}
	if pod == nil {
		return outside("no workload is waypoint %s", hostname.GetHostname())
	}
	proxy, err := w.mesh.proxy(pod)
	if err != nil {
		return outside("%v", err)
	}
	conn.Peer = w.mesh.identity(source)
	verdict := proxy.Internal("main_internal", conn)
	w.mesh.seen(pod, conn, verdict)
	return w.pass(hop{workload: pod, proxy: proxy, verdict: verdict, conn: conn, via: flow.ViaWaypoint})
}
