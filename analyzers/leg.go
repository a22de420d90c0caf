package analyzers

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// leg is the way from a client's sidecar to a gateway, as a trace has it.
type leg struct {
	// client is the hop that leaves the sidecar, gateway the one at which the
	// gateway takes the connection or does not; nil where it did not get there.
	client, gateway *flow.Hop
	// host, port and subset are where the sidecar sends to; service is nil
	// where the input has no such Service.
	host    host.Name
	service *model.Service
	port    int
	subset  string
	// pod is the gateway that was reached, nil if none was.
	pod *model.Workload
}

// cluster splits the name that istiod gives a cluster: "outbound|port|subset|host".
func cluster(name string) (port int, subset string, h host.Name, ok bool) {
	parts := strings.SplitN(name, "|", 4)
	if len(parts) != 4 {
		return 0, "", "", false
	}
	port, err := strconv.Atoi(parts[1])
	return port, parts[2], host.Name(parts[3]), err == nil
}

// failing yields one attempt for each class of clients and destination of which
// every request that a route sends to the gateway is stopped, and all for the
// same of the given reasons; requests that a policy denies before they come to that
// do not count, unless denial is what is asked for.
//
//go:noinline
func (in *intent) failing(reasons ...flow.Reason) iter.Seq[*attempt] {
	return func(yield func(*attempt) bool) {
		var first *attempt // of the classes and destination at hand
		stopped := false
		each := func() bool {
			if stopped {
				for a := range in.each(first, nil) {
					if !yield(a) {
						return false
					}
				}
			}
			return true
		}
		for a := range in.steered(reasons...) {
			if a.By == nil {
				continue
			}
			if first == nil || a.Class[0] != first.Class[0] || a.To != first.To {
				if !each() {
					return
				}
				first, stopped = a, slices.Contains(reasons, a.Trace.Reason)
			}
			switch denied := !slices.Contains(reasons, flow.RBACDenied); {
			case denied && a.Trace.Reason == flow.RBACDenied && a.Trace.Outcome == flow.Blocked:
				continue
			case denied && first.Trace.Reason == flow.RBACDenied && first.Trace.Outcome == flow.Blocked:
				first, stopped = a, slices.Contains(reasons, a.Trace.Reason)
			}
			stopped = stopped && a.Trace.Outcome == flow.Blocked && a.Trace.Reason == first.Trace.Reason
		}
		each()
	}
}

// legOf finds the way to the gateway in a trace without branches, nil if it has
// none.
func (in *intent) legOf(t *flow.Trace) *leg {
	l := &leg{}
	for i := range t.Hops {
		h := &t.Hops[i]
		if h.At == flow.AtSidecar && h.Cluster != "" {
			l.client = h
		}
		if h.At == flow.AtGateway {
			l.gateway = h
			break
		}
	}
	if l.client == nil || len(t.Branches) > 0 {
		return nil
	}
	var ok bool
	if l.port, l.subset, l.host, ok = cluster(l.client.Cluster); !ok {
		return nil
	}
	l.service = in.service(l.host)
	if l.gateway != nil {
		i := slices.IndexFunc(in.gateways, func(g *egressGateway) bool { return g.ID() == l.gateway.Proxy })
		if i >= 0 {
			l.pod = in.gateways[i].Workload
		}
	}
	return l
}

// podPort is the port of the gateway's pod to which the sidecar sends, 0 if it is
// not known.
func (in *intent) podPort(l *leg) int {
	if l.service == nil || l.pod == nil {
		return 0
	}
	port := l.service.PortByNumber(l.port)
	if port == nil {
		return 0
	}
	for _, e := range in.push.Endpoints(l.service, port) {
		if e.Workload == l.pod {
			return e.Port
		}
	}
	return 0
}

// serversAt returns the servers on the pod port that the sidecar sends to, and
// those that istiod leaves out there.
func (in *intent) serversAt(l *leg) (servers []*model.GatewayServer, skipped []model.SkippedServer) {
	port := in.podPort(l)
	if port == 0 {
		return nil, nil
	}
	merged := in.gatewayOf(l.pod)
	if merged == nil {
		return nil, nil
	}
	for _, p := range merged.Ports {
		if p.Port == port {
			servers = append(servers, p.Servers...)
		}
	}
	for _, s := range merged.Skipped {
		if s.Port == port {
			skipped = append(skipped, s)
		}
	}
	return servers, skipped
}

// gatewayOf returns the Gateways of a pod merged, nil if none selects it.
func (in *intent) gatewayOf(pod *model.Workload) *model.MergedGateway {
	merged, known := in.merged[pod]
	if !known {
		merged = in.push.MergeGateways(pod)
		in.merged[pod] = merged
	}
	return merged
}

// server returns the server that took the connection, as the gateway's decisions
// cite it; the one for the host where they cite several, nil if they cite none.
func (in *intent) server(l *leg, t *flow.Trace, h string) *model.GatewayServer {
	var all []map[model.Place]bool
	for _, hop := range t.Hops {
		if hop.At == flow.AtGateway {
			if places := in.citedServers(hop.Because); len(places) > 0 {
				all = append(all, places)
			}
		}
	}
	x := in.podServers(l)
	if x == nil || len(all) == 0 {
		return nil
	}
	cited := func(s *model.GatewayServer) bool {
		return slices.ContainsFunc(all, func(places map[model.Place]bool) bool { return places[serverPlace(s, "")] })
	}
	for _, s := range x.byHost.Covering(host.Name(h)) {
		if cited(s) && serves(s, host.Name(h)) {
			return s
		}
	}
	for _, s := range x.all {
		if cited(s) {
			return s
		}
	}
	return nil
}

// citedServers returns the servers of Gateways that a decision cites; many share a
// port, and each decision about it cites them in the same list.
func (in *intent) citedServers(because []flow.Because) map[model.Place]bool {
	if len(because) == 0 {
		return nil
	}
	key := citedKey{&because[0], len(because)}
	out, known := in.citations[key]
	if known {
		return out
	}
	for _, b := range because {
		if server, _, ok := strings.Cut(b.Field, "]."); ok && b.Object.Kind == "Gateway" {
			if out == nil {
				out = map[model.Place]bool{}
			}
			out[model.Place{Object: b.Object, Field: server + "]"}] = true
		}
	}
	if len(because) >= longList {
		in.citations[key] = out
	}
	return out
}

// podServers are the servers on a port of a gateway's pod.
type podServers struct {
	all []*model.GatewayServer
	// byHost finds them by the hosts that they serve.
	byHost model.HostTable[*model.GatewayServer]
}

// podServers returns the servers on the pod port of a leg, nil if it has none.
func (in *intent) podServers(l *leg) *podServers {
	port := in.podPort(l)
	if port == 0 {
		return nil
	}
	key := podPort{l.pod, port}
	x := in.servers[key]
	if x == nil {
		x = &podServers{}
		x.all, _ = in.serversAt(l)
		for _, s := range x.all {
			var hosts []host.Name
			for _, h := range s.Hosts {
				_, name, found := strings.Cut(h, "/")
				if !found {
					name = h
				}
				hosts = append(hosts, host.Name(strings.ToLower(name)))
			}
			x.byHost.Add(s, hosts)
		}
		in.servers[key] = x
	}
	return x
}

// podPort is a port of a gateway's pod.
type podPort struct {
	pod  *model.Workload
	port int
}

// serverPlace is a field of a server ("tls.mode", "" for the server itself), or
// what says the same in the listener of the Gateway API that it is made of.
func serverPlace(s *model.GatewayServer, field string) model.Place {
	object, at := s.Gateway.Object, s.Field
	if s.Origin != nil {
		object, at = s.Origin.Parent.Object, fmt.Sprintf("spec.listeners[%d]", s.Origin.Listener)
		field = strings.TrimPrefix(strings.Replace(field, "hosts", "hostname", 1), "port.")
	}
	if field != "" {
		at += "." + field
	}
	return model.Place{Object: object, Field: at}
}

// modePlace is the field that says how a server takes connections.
func modePlace(s *model.GatewayServer) model.Place {
	return serverPlace(s, strings.TrimPrefix(modeField(s), s.Field+"."))
}

// serves reports whether a server has a host, whatever the namespace of the
// VirtualServices that it takes.
//
//go:noinline
func serves(s *model.GatewayServer, h host.Name) bool {
	return slices.ContainsFunc(s.Hosts, func(x string) bool {
		if _, name, ok := strings.Cut(x, "/"); ok {
			x = name
		}
		return h.SubsetOf(host.Name(strings.ToLower(x)))
	})
}

// clientRule returns the DestinationRule that a client uses for the gateway's
// Service, and the subset that the route picks there; nil where there is none.
func (in *intent) clientRule(l *leg, w *model.Workload) (*model.MergedDestinationRule, *model.Subset) {
	if l.service == nil {
		return nil, nil
	}
	rule := in.pushFor(w).DestinationRule(w.Namespace, w.Labels, l.service)
	if rule == nil || l.subset == "" {
		return rule, nil
	}
	return rule, rule.SubsetByName(l.subset)
}

// tlsPlace is the node of the client's DestinationRule that decides about TLS
// towards the gateway, and a clause about it. There is no place where no rule
// applies.
func (in *intent) tlsPlace(l *leg, w *model.Workload) (model.Place, string) {
	rule, subset := in.clientRule(l, w)
	if rule == nil {
		return model.Place{}, fmt.Sprintf("no DestinationRule for %s applies to these clients", l.host)
	}
	for _, b := range l.client.Because {
		if b.Object.Kind == "DestinationRule" && strings.HasSuffix(b.Field, ".tls.mode") {
			return model.Place{Object: b.Object, Field: b.Field}, fmt.Sprintf("as DestinationRule %s says", b.Object.ID())
		}
	}
	from, field, policy := rule.From[0], "spec", rule.Policy
	switch {
	case subset != nil:
		from, field, policy = subset.From, subset.Field, subset.GetTrafficPolicy()
	case rule.PolicyFrom != nil:
		from = rule.PolicyFrom
	}
	if policy != nil {
		field += ".trafficPolicy"
	}
	for i, p := range policy.GetPortLevelSettings() {
		if int(p.GetPort().GetNumber()) == l.port {
			field += fmt.Sprintf(".portLevelSettings[%d]", i)
		}
	}
	return model.Place{Object: from.Object, Field: field}, fmt.Sprintf("DestinationRule %s asks for no TLS on port %d", from.ID(), l.port)
}

// overlooked says why proxies in a namespace do not find a DestinationRule for a
// service of namespace home: the field that is the reason, a clause, and what to
// do; "" where none of these is (istio pilot/pkg/model/push_context.go
// destinationRule).
func (in *intent) overlooked(r *model.DestinationRule, namespace, home string) (field, text, todo string) {
	exported := r.Spec.GetExportTo()
	switch {
	case r.Spec.GetWorkloadSelector() != nil:
		return "spec.workloadSelector", "is only for the workloads of its own namespace that its workloadSelector selects", "drop the workloadSelector"
	case r.Namespace != namespace && r.Namespace != home && r.Namespace != in.push.RootNamespace():
		return "metadata.namespace", fmt.Sprintf("lies in namespace %q, where they do not look", r.Namespace), fmt.Sprintf("move it to namespace %q", home)
	case len(exported) > 0 && !model.ExportTo(exported).VisibleTo(r.Namespace, namespace):
		return "spec.exportTo", fmt.Sprintf("is exported only to %s", quoted(exported)), fmt.Sprintf("add %q to its exportTo", namespace)
	default:
		return "", "", ""
	}
}
