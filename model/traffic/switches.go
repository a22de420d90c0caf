package traffic

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// unsimulated answers unknown because of one of istiod's switches.
func unsimulated(u *model.Unmodelled, at flow.Place, proxy string, via flow.Via) *flow.Trace {
	hop := flow.Hop{At: at, Proxy: proxy, Decision: u.Why, Because: unmodelledBecause(u)}
	return after([]flow.Hop{hop}, unknown(via, flow.OpaqueFilter, u.Why))
}

// switched returns what is not known because a control plane has a switch otherwise
// than by default, nil where it has it as by default. what is a clause.
func (p *proxy) switched(name, what string) *model.Unmodelled {
	s := p.push.Config.Switch(name)
	if s == nil {
		return nil
	}
	return s.Unmodelled(what)
}

// clusterSet says why it is not known what a host of the form
// service.namespace.svc.clusterset.local leads to, nil for other hosts: with
// ENABLE_MCS_HOST istiod registers those for which the cluster has a ServiceImport
// (istio pilot/pkg/serviceregistry/kube/controller/serviceimportcache.go), which is
// made by others.
func clusterSet(config *model.MeshConfig, name string) *model.Unmodelled {
	name = strings.ToLower(strings.TrimSuffix(stripPort(name), "."))
	if !strings.HasSuffix(name, clusterSetSuffix) || !hasClusterSet(config) {
		return nil
	}
	return config.Switch("ENABLE_MCS_HOST").Unmodelled(fmt.Sprintf("whether %s is registered depends on ServiceImports, which are not simulated", name))
}

// clusterSetSuffix ends the names of Services in a set of clusters.
const clusterSetSuffix = ".svc.clusterset.local"

func hasClusterSet(config *model.MeshConfig) bool {
	return config.Enabled("ENABLE_MCS_HOST") && config.Enabled("ENABLE_MCS_SERVICE_DISCOVERY")
}

// draining reports whether EDS leaves an endpoint out because its label says that it
// goes down; services with sessions keep it (istio
// pilot/pkg/xds/endpoints/endpoint_builder.go filterIstioEndpoint).
func (p *proxy) draining(s *model.Service, e *model.Endpoint) bool {
	label := p.push.Config.Setting("PILOT_DRAINING_LABEL")
	return label != "" && e.Labels[label] != "" && s.Labels[p.push.Config.Setting("PILOT_PERSISTENT_SESSION_LABEL")] == ""
}

// filteredOut reports whether a gateway does not get a cluster: with
// PILOT_FILTER_GATEWAY_CLUSTER_CONFIG it gets those of the hosts that routes of its
// Gateways name, and those are not the hosts to which other names lead; of
// AUTO_PASSTHROUGH it gets all (istio pilot/pkg/model/push_context.go GatewayServices,
// pilot/pkg/networking/core/cluster.go buildOutboundSniDnatClusters).
func (p *proxy) filteredOut(c *cluster) bool {
	if p.role != gatewayRole || p.gateway == nil || c.forwards || !p.enabled("PILOT_FILTER_GATEWAY_CLUSTER_CONFIG") {
		return false
	}
	var bound []string
	for _, port := range p.gateway.Ports {
		for _, s := range port.Servers {
			bound = append(bound, s.Name())
		}
	}
	h := string(c.service.Hostname)
	return !slices.ContainsFunc(p.push.VirtualServices(), func(vs *model.MergedVirtualService) bool {
		return slices.ContainsFunc(vs.Gateways, func(g string) bool { return contains(bound, g) }) && vs.LeadsTo(h)
	})
}

// readsRedis says that a proxy reads the Redis protocol on a port, nil where it
// forwards bytes (istio pilot/pkg/networking/core/networkfilter.go
// buildNetworkFiltersStack).
func (p *proxy) readsRedis(port protocol.Instance) *model.Unmodelled {
	if port != protocol.Redis {
		return nil
	}
	return p.switched("PILOT_ENABLE_REDIS_FILTER", "proxies read the Redis protocol on ports of that name, which is not simulated")
}

// ownCertificates says that a proxy presents a certificate from files, in the place
// of the mesh's, where rules ask for mesh TLS or a certificate
// (ISTIO_META_TLS_CLIENT_CERT_CHAIN). Towards hosts outside the mesh, rules are
// followed as they are written, unless
// PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES is off (istio
// pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings).
func (p *proxy) ownCertificates(s *model.Service, fromRule bool) bool {
	if p.workload == nil || !p.sim.capture(p.workload).OwnCertificates {
		return false
	}
	return !fromRule || !s.MeshExternal || !p.enabled("PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES")
}

// allowsFromWaypoint says why it is not known whether a pod's ztunnel lets a
// connection in, nil where that is certain: with PILOT_AUTO_ALLOW_WAYPOINT_POLICY
// pods behind waypoints have a policy that lets in what comes from those (istio
// pilot/pkg/serviceregistry/ambient/workloads.go implicitWaypointPolicies).
func (w *walker) allowsFromWaypoint(to *model.Workload) *model.Unmodelled {
	config := w.push.Config
	if !config.Enabled("PILOT_ENABLE_AMBIENT") || !config.Enabled("PILOT_AUTO_ALLOW_WAYPOINT_POLICY") {
		return nil
	}
	behind := w.push.WorkloadWaypoint(to.Labels, to.Object, to.Namespace).Waypoint != nil
	for _, s := range w.push.Services() {
		behind = behind || s.Namespace == to.Namespace && selects(s, to) && w.push.WaypointOf(s).Waypoint != nil
	}
	if !behind {
		return nil
	}
	return config.Switch("PILOT_AUTO_ALLOW_WAYPOINT_POLICY").Unmodelled(fmt.Sprintf("which connections the policy lets in that istiod makes for %s is not simulated", to.ID()))
}

// ingressTLS says why it is not known whether a sidecar takes a connection on a
// port, nil where that is certain: with ENABLE_TLS_ON_SIDECAR_INGRESS a Sidecar's
// own TLS settings count where a PeerAuthentication turns mesh TLS off (istio
// pilot/pkg/networking/core/listener_inbound.go buildInboundListeners).
func (w *walker) ingressTLS(in *networking.IstioIngressListener, mode model.MutualTLSMode) *model.Unmodelled {
	if in.GetTls() == nil || mode != model.MTLSDisable {
		return nil
	}
	s := w.push.Config.Switch("ENABLE_TLS_ON_SIDECAR_INGRESS")
	if s == nil {
		return nil
	}
	return s.Unmodelled(fmt.Sprintf("port %d takes TLS with certificates of its own, which the manifests do not hold", in.GetPort().GetNumber()))
}

// ingressOn returns what a Sidecar declares for a port of its pods, nil for nothing.
func ingressOn(s *model.Sidecar, port int) *networking.IstioIngressListener {
	for _, in := range sidecarIngress(s) {
		if int(in.GetPort().GetNumber()) == port {
			return in
		}
	}
	return nil
}

// mostSwitches bounds the switches that [Simulation.Explain] looks at for one flow,
// those of the client's own control plane first.
const mostSwitches = 24

// Explain is [Simulation.Trace] with a hop in front for each of istiod's switches that
// decides the flow: without which it would fare otherwise. Where any is set, it takes
// as much longer as there are. Where some of the input was not analysed, the answer
// names the assumption that this changes nothing.
func (s *Simulation) Explain(f flow.Flow) *flow.Trace {
	t := s.Trace(f)
	if s.leftOut != "" && t.Outcome != flow.Unknown {
		t.Assumptions = append(t.Assumptions, s.leftOut)
	}
	configs := s.mesh.Configs()
	if client, _ := s.find(f.From); client != nil {
		first := s.mesh.ConfigFor(client)
		configs = slices.Insert(slices.DeleteFunc(configs, func(c *model.MeshConfig) bool { return c == first }), 0, first)
	}
	var own *flow.Trace // t may stand for several choices of istiod
	tried := 0
	for _, config := range configs {
		for _, set := range config.Switched() {
			if tried++; tried > mostSwitches {
				return t
			}
			if own == nil {
				own, _ = s.trace(f)
			}
			o, _ := s.without(config, set.Name).trace(f)
			if sameVerdict(own, o) {
				continue
			}
			byDefault := set.Default()
			if byDefault == "" {
				byDefault = "nothing"
			}
			hop := flow.Hop{At: flow.AtNetwork, Decision: fmt.Sprintf("istiod is started with %s: by default (%s) the flow would be %s (%s)", set, byDefault, o.Outcome, o.Reason)}
			if set.Revision != "" {
				hop.Decision = fmt.Sprintf("istiod of revision %s%s", set.Revision, strings.TrimPrefix(hop.Decision, "istiod"))
			}
			if set.Object != nil {
				hop.Because = []flow.Because{{Object: set.Object, Field: set.Field}}
			}
			t.Hops = append([]flow.Hop{hop}, t.Hops...)
		}
	}
	return t
}

// without returns the simulation under another value of a switch: its default.
func (s *Simulation) without(config *model.MeshConfig, name string) *Simulation {
	s.turning.Lock()
	defer s.turning.Unlock()
	key := config.Revision + "|" + name
	o := s.unswitched[key]
	if o == nil {
		mesh := s.mesh.WithoutSwitch(config, name)
		capture.Complete(mesh)
		o = newSimulation(mesh, s.chance)
		o.alternatives = s.alternatives
		if s.unswitched == nil {
			s.unswitched = map[string]*Simulation{}
		}
		if len(s.unswitched) < 2*mostSwitches {
			s.unswitched[key] = o
		}
	}
	return o
}
