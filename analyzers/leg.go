package analyzers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
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

// failing returns one attempt for each class of clients and destination of which
// every request that a route sends to the gateway is stopped, and all for the
// same reason.
func (in *intent) failing() []*attempt {
	type tuple struct {
		client *model.Workload
		to     reach.Destination
	}
	var order []tuple
	taken := map[tuple][]*attempt{}
	for _, a := range in.steered() {
		if a.By == nil {
			continue
		}
		k := tuple{a.Class[0], a.To}
		if taken[k] == nil {
			order = append(order, k)
		}
		taken[k] = append(taken[k], a)
	}
	var out []*attempt
	for _, k := range order {
		first := taken[k][0]
		if !slices.ContainsFunc(taken[k], func(a *attempt) bool {
			return a.Trace.Outcome != flow.Blocked || a.Trace.Reason != first.Trace.Reason
		}) {
			out = append(out, first)
		}
	}
	return out
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
	merged := in.push.MergeGateways(l.pod)
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

// server returns the server that took the connection, as the gateway's decisions
// cite it; the one for the host where they cite several, nil if they cite none.
func (in *intent) server(l *leg, t *flow.Trace, h string) *model.GatewayServer {
	cited := func(s *model.GatewayServer) bool {
		return slices.ContainsFunc(t.Hops, func(hop flow.Hop) bool {
			return hop.At == flow.AtGateway && slices.ContainsFunc(hop.Because, func(b flow.Because) bool {
				return b.Object == s.Gateway.Object && strings.HasPrefix(b.Field, s.Field+".")
			})
		})
	}
	servers, _ := in.serversAt(l)
	servers = slices.DeleteFunc(servers, func(s *model.GatewayServer) bool { return !cited(s) })
	if i := slices.IndexFunc(servers, func(s *model.GatewayServer) bool { return serves(s, host.Name(h)) }); i >= 0 {
		return servers[i]
	}
	if len(servers) > 0 {
		return servers[0]
	}
	return nil
}

// serves reports whether a server has a host, whatever the namespace of the
// VirtualServices that it takes.
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
		return "spec.exportTo", fmt.Sprintf("is exported only to %s", quoted(exported)), fmt.Sprintf("export it to %q", namespace)
	default:
		return "", "", ""
	}
}
