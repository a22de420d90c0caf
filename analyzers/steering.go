package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// steering is one way in which a route of the mesh sends external hosts to a
// gateway: one condition of the route, and one of its destinations.
type steering struct {
	// Hosts are the hosts that the condition is about, wildcards among them.
	Hosts []host.Name
	// Scheme is what a client has to speak for the route to see it: HTTP or
	// TLS; TCP takes anything.
	Scheme flow.Scheme
	// Port is the port that the condition asks for, 0 for any.
	Port  int
	Route *model.MergedVirtualService
	// Object holds the route: the VirtualService, its delegate, or the route of
	// the Gateway API. Match is the field of the condition (of the route where
	// it has none), To that of the destination.
	Object    *manifest.Object
	Match, To string
	// Labels and Namespace restrict the clients; Match holds both.
	Labels    map[string]string
	Namespace string
	// Destination is where the route leads, a Service of the cluster. Pods are
	// the gateways behind it, empty where the input does not hold them.
	Destination *networking.Destination
	Pods        []*model.Workload
}

func (in *intent) addHTTP(vs *model.MergedVirtualService) {
	hosts := in.external(vs.Hosts)
	for _, r := range vs.HTTP {
		for i, d := range r.GetRoute() {
			to := r.Destination(i)
			base := steering{Hosts: hosts, Scheme: flow.HTTP, Route: vs, Object: to.Object, Match: r.Field, To: to.Field, Destination: d.GetDestination()}
			if len(r.GetMatch()) == 0 {
				in.add(base)
			}
			for j, m := range r.GetMatch() {
				if !meansMesh(m.GetGateways()) {
					continue
				}
				s := base
				s.Port, s.Match = int(m.GetPort()), r.Matches[j].Field
				// With gateways given, the source does not count (istio
				// pilot/pkg/networking/core/route/route.go sourceMatchHTTP).
				if len(m.GetGateways()) == 0 {
					s.Labels, s.Namespace = m.GetSourceLabels(), m.GetSourceNamespace()
				}
				in.add(s)
			}
		}
	}
}

func (in *intent) addTLS(vs *model.MergedVirtualService) {
	for i, r := range vs.TLS {
		for j, m := range r.GetMatch() {
			if !meansMesh(m.GetGateways()) {
				continue
			}
			var names []host.Name
			for _, h := range m.GetSniHosts() {
				names = append(names, host.Name(h))
			}
			for k, d := range r.GetRoute() {
				in.add(steering{Hosts: in.external(names), Scheme: flow.TLS, Port: int(m.GetPort()), Route: vs, Object: vs.Object,
					Match: fmt.Sprintf("spec.tls[%d].match[%d]", i, j), To: fmt.Sprintf("spec.tls[%d].route[%d].destination", i, k),
					Labels: m.GetSourceLabels(), Namespace: m.GetSourceNamespace(), Destination: d.GetDestination()})
			}
		}
	}
}

func (in *intent) addTCP(vs *model.MergedVirtualService) {
	hosts := in.external(vs.Hosts)
	for i, r := range vs.TCP {
		for k, d := range r.GetRoute() {
			base := steering{Hosts: hosts, Scheme: flow.TCP, Route: vs, Object: vs.Object, Match: fmt.Sprintf("spec.tcp[%d]", i),
				To: fmt.Sprintf("spec.tcp[%d].route[%d].destination", i, k), Destination: d.GetDestination()}
			if len(r.GetMatch()) == 0 {
				in.add(base)
			}
			for j, m := range r.GetMatch() {
				if !meansMesh(m.GetGateways()) {
					continue
				}
				s := base
				s.Port, s.Match = int(m.GetPort()), fmt.Sprintf("spec.tcp[%d].match[%d]", i, j)
				s.Labels, s.Namespace = m.GetSourceLabels(), m.GetSourceNamespace()
				in.add(s)
			}
		}
	}
}

// external leaves out the Services of the cluster, by full names and by those
// that the domain search of a pod completes.
func (in *intent) external(hosts []host.Name) []host.Name {
	var out []host.Name
	for _, h := range hosts {
		if h = host.Name(strings.ToLower(string(h))); h != "" && !inCluster(in.push, h) && in.service(completed(h)) == nil {
			out = append(out, h)
		}
	}
	return out
}

// completed is the full name of the Service that a host names as
// "name.namespace" or "name.namespace.svc", which a sidecar takes for it (istio
// pilot/pkg/networking/core/httproute.go GenerateAltVirtualHosts); "" if it
// can not.
func completed(h host.Name) host.Name {
	switch parts := strings.Split(string(h), "."); {
	case len(parts) == 2, len(parts) == 3 && parts[2] == "svc":
		return model.ServiceHost(parts[0], parts[1])
	}
	return ""
}

// add keeps a way that leads to a gateway. A Service is no gateway for its own
// name.
func (in *intent) add(s steering) {
	to := host.Name(strings.ToLower(s.Destination.GetHost()))
	s.Hosts = slices.DeleteFunc(slices.Clone(s.Hosts), func(h host.Name) bool { return to != "" && completed(h) == to })
	if len(s.Hosts) == 0 {
		return
	}
	if s.Route.OfGatewayAPI != "" && s.Scheme != flow.HTTP {
		// Traces name no single rule of these: istiod may join several.
		s.Object, s.Match, s.To = s.Route.Cause, "spec.rules", "spec.rules"
	}
	s.Pods = in.routers(host.Name(s.Destination.GetHost()))
	if len(s.Pods) > 0 || in.unseen(host.Name(s.Destination.GetHost())) && in.leavesGateway(s.Hosts) {
		in.steerings = append(in.steerings, &s)
	}
}

// routers returns the gateways behind a Service of the cluster.
func (in *intent) routers(h host.Name) []*model.Workload {
	pods, known := in.pods[h]
	if known {
		return pods
	}
	if s := in.service(h); s != nil {
		for _, e := range in.push.Endpoints(s, nil) {
			if e.Workload != nil && in.pass.Reach.Sim.Capture(e.Workload).Mode == capture.Router && !slices.Contains(pods, e.Workload) {
				pods = append(pods, e.Workload)
			}
		}
	}
	in.pods[h] = pods
	return pods
}

// unseen reports whether a host is a Service of the cluster of which the input
// does not show the pods, so that it may be a gateway's.
func (in *intent) unseen(h host.Name) bool {
	if !strings.HasSuffix(string(h), ".svc."+model.DomainSuffix) {
		return false
	}
	s := in.service(h)
	return s == nil || in.push.SelectsNothing(s)
}

// leavesGateway reports whether some VirtualService, at a gateway, sends one of
// the hosts outside: whoever writes that, and sends the mesh's requests to a
// Service, means that Service to be an egress gateway.
func (in *intent) leavesGateway(hosts []host.Name) bool {
	outside := func(d *networking.Destination) bool { return !inCluster(in.push, host.Name(d.GetHost())) }
	for _, vs := range in.push.VirtualServices() {
		if !overlap(vs.Hosts, hosts) {
			continue
		}
		atGateway := func(gateways []string) bool {
			if len(gateways) == 0 {
				gateways = vs.Gateways
			}
			return slices.ContainsFunc(gateways, func(g string) bool { return g != model.MeshGateway })
		}
		for _, r := range vs.HTTP {
			here := len(r.GetMatch()) == 0 && atGateway(nil) ||
				slices.ContainsFunc(r.GetMatch(), func(m *networking.HTTPMatchRequest) bool { return atGateway(m.GetGateways()) })
			if here && slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool { return outside(d.GetDestination()) }) {
				return true
			}
		}
		leaves := func(routes []*networking.RouteDestination) bool {
			return slices.ContainsFunc(routes, func(d *networking.RouteDestination) bool { return outside(d.GetDestination()) })
		}
		for _, r := range vs.TLS {
			if slices.ContainsFunc(r.GetMatch(), func(m *networking.TLSMatchAttributes) bool { return atGateway(m.GetGateways()) }) && leaves(r.GetRoute()) {
				return true
			}
		}
		for _, r := range vs.TCP {
			here := len(r.GetMatch()) == 0 && atGateway(nil) ||
				slices.ContainsFunc(r.GetMatch(), func(m *networking.L4MatchAttributes) bool { return atGateway(m.GetGateways()) })
			if here && leaves(r.GetRoute()) {
				return true
			}
		}
	}
	return false
}

// overlap reports whether two lists of hosts, wildcards among them, have a host
// in common.
func overlap(a, b []host.Name) bool {
	return slices.ContainsFunc(a, func(h host.Name) bool {
		return slices.ContainsFunc(b, host.Name(strings.ToLower(string(h))).Matches)
	})
}

// key is the same for the steerings of one destination of a route.
func (s *steering) key() model.Place { return model.Place{Object: s.Object, Field: s.To} }

// covers reports whether the condition takes a host, or all of a wildcard.
func (s *steering) covers(h host.Name) bool {
	return slices.ContainsFunc(s.Hosts, host.Name(strings.ToLower(string(h))).SubsetOf)
}

// takes reports whether the condition takes what a client speaks on a port.
func (s *steering) takes(port int, scheme flow.Scheme) bool {
	return (s.Port == 0 || s.Port == port) && (s.Scheme == flow.TCP || s.Scheme == scheme)
}

// isFor reports whether the route is exported to a client and its conditions on
// the source hold for it.
func (s *steering) isFor(w *model.Workload) bool {
	text, _ := s.refuses(w)
	return text == "" && s.Route.ExportTo().VisibleTo(s.Route.Namespace, w.Namespace)
}

// restricted reports whether the steering is for some clients only.
func (s *steering) restricted() bool { return s.Namespace != "" || len(s.Labels) > 0 }

// gateway names the gateway in messages.
func (s *steering) gateway() string {
	if len(s.Pods) > 0 {
		return "egress gateway " + upTo3(workloadIDs(s.Pods))
	}
	name, rest, _ := strings.Cut(s.Destination.GetHost(), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	return "Service " + namespace + "/" + name
}

// related is the place that sends the hosts to the gateway.
func (s *steering) related() Related {
	return Related{s.Object, s.To, fmt.Sprintf("%s sends %s to %s", s.Route.Title(), upTo3(hostNames(s.Hosts)), s.gateway())}
}

func hostNames(hosts []host.Name) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = string(h)
	}
	return out
}
