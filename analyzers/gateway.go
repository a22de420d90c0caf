package analyzers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// egressGateway is a gateway's workload to which routes of the mesh send
// requests for hosts that are no Services of the cluster. A gateway that only
// takes calls from outside is none.
type egressGateway struct {
	*model.Workload
	// Steers are the routes that lead here, in the order of the registry's
	// VirtualServices.
	Steers []steer
	// Policies are in force here, dry runs included.
	Policies model.AuthorizationPolicies

	push    *model.PushContext
	servers []*model.GatewayServer
	// byObject are the servers by the Gateway that they are of, see serversOf.
	byObject map[*manifest.Object][]*model.GatewayServer
	// cited are the servers by the decisions that cite them, see citedBy.
	cited map[citedKey][]*model.GatewayServer
	// destinations are those of the universe that are sent here.
	destinations []reach.Destination
	// places are those of their hosts in destinations, see named.
	places map[string][]int
	// index is that of the policies in force, see policyHosts.
	index *policyIndex
	// come are the classes of clients of which some request may come to a
	// gateway, by destination and by their place; see comers.
	come    map[reach.Destination][]int
	classes map[*model.Workload]int
	// shared are the servers with more than one server name, see sharedServers.
	shared []*model.GatewayServer
	// sent, where it is set, notes what is sent, see witnessAlike.
	sent *[]flow.Flow
}

// steer is a route of the mesh that sends requests for a host to a gateway.
type steer struct {
	Host host.Name
	// Object and Field are the destination in the route.
	Object *manifest.Object
	Field  string
}

// egressGateways returns the egress gateways of the mesh, sorted by namespace
// and name. Sidecars' egressProxy does not count.
func egressGateways(p *Pass) []*egressGateway {
	if p.shared == nil {
		return findEgressGateways(p)
	}
	if !p.shared.found {
		p.shared.gateways, p.shared.found = findEgressGateways(p), true
	}
	return p.shared.gateways
}

func findEgressGateways(p *Pass) []*egressGateway {
	push := p.Reach.Sim.Push()
	behind := map[host.Name][]*model.Workload{} // gateways behind a Service
	routers := func(h host.Name) []*model.Workload {
		list, known := behind[h]
		if known {
			return list
		}
		for _, s := range push.ServicesOf(h) {
			if !s.Kubernetes() {
				continue
			}
			for _, e := range push.Endpoints(s, nil) {
				if e.Workload != nil && p.Reach.Sim.Capture(e.Workload).Mode == capture.Router && !slices.Contains(list, e.Workload) {
					list = append(list, e.Workload)
				}
			}
		}
		behind[h] = list
		return list
	}
	var out []*egressGateway
	type steered struct {
		*model.Workload
		steer
	}
	seen := map[steered]bool{}
	add := func(w *model.Workload, s steer) {
		i := slices.IndexFunc(out, func(g *egressGateway) bool { return g.Workload == w })
		if i < 0 {
			i = len(out)
			out = append(out, &egressGateway{Workload: w, push: push, Policies: push.AuthorizationPoliciesFor(w), servers: serversOf(push, w)})
		}
		if !seen[steered{w, s}] {
			seen[steered{w, s}] = true
			out[i].Steers = append(out[i].Steers, s)
		}
	}
	for _, vs := range push.VirtualServices() {
		for _, m := range meshRoutes(vs) {
			for _, w := range routers(m.to) {
				for _, h := range m.hosts {
					if !inCluster(push, h) {
						add(w, steer{h, m.object, m.field})
					}
				}
			}
		}
	}
	for _, g := range out {
		g.destinations = g.steeredOf(p.Reach.Universe())
	}
	slices.SortFunc(out, func(a, b *egressGateway) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
	})
	return out
}

// serversOf returns the servers of all Gateways that select a pod.
func serversOf(push *model.PushContext, w *model.Workload) []*model.GatewayServer {
	merged := push.MergeGateways(w)
	if merged == nil {
		return nil
	}
	var out []*model.GatewayServer
	for _, port := range merged.Ports {
		out = append(out, port.Servers...)
	}
	return out
}

// inCluster reports whether a host is the full name of a Service of the cluster.
//
//go:noinline
func inCluster(_ *model.PushContext, h host.Name) bool {
	return strings.HasSuffix(string(h), ".svc."+model.DomainSuffix)
}

// meshRoute is a destination that sidecars use for some hosts.
type meshRoute struct {
	hosts  []host.Name
	to     host.Name
	object *manifest.Object
	field  string
}

// meshRoutes returns the destinations of a VirtualService that some rule for
// sidecars leads to.
func meshRoutes(vs *model.MergedVirtualService) []meshRoute {
	if !contains(vs.Gateways, model.MeshGateway) {
		return nil
	}
	var out []meshRoute
	for _, r := range vs.HTTP {
		forMesh := len(r.GetMatch()) == 0
		for _, m := range r.GetMatch() {
			forMesh = forMesh || meansMesh(m.GetGateways())
		}
		if !forMesh {
			continue
		}
		for i, d := range r.GetRoute() {
			out = append(out, meshRoute{vs.Hosts, host.Name(d.GetDestination().GetHost()), r.Object, fmt.Sprintf("%s.route[%d].destination", r.Field, i)})
		}
	}
	for i, r := range vs.TLS {
		var hosts []host.Name
		for _, m := range r.GetMatch() {
			if meansMesh(m.GetGateways()) {
				for _, h := range m.GetSniHosts() {
					hosts = append(hosts, host.Name(h))
				}
			}
		}
		for j, d := range r.GetRoute() {
			out = append(out, meshRoute{hosts, host.Name(d.GetDestination().GetHost()), vs.Object, fmt.Sprintf("spec.tls[%d].route[%d].destination", i, j)})
		}
	}
	for i, r := range vs.TCP {
		forMesh := len(r.GetMatch()) == 0
		for _, m := range r.GetMatch() {
			forMesh = forMesh || meansMesh(m.GetGateways())
		}
		for j, d := range r.GetRoute() {
			if forMesh {
				out = append(out, meshRoute{vs.Hosts, host.Name(d.GetDestination().GetHost()), vs.Object, fmt.Sprintf("spec.tcp[%d].route[%d].destination", i, j)})
			}
		}
	}
	return out
}

// meansMesh reports whether a condition on gateways holds at sidecars.
//
//go:noinline
func meansMesh(gateways []string) bool {
	return len(gateways) == 0 || contains(gateways, model.MeshGateway)
}

// steeredOf returns the destinations that routes of the mesh send to the gateway.
func (g *egressGateway) steeredOf(universe []reach.Destination) []reach.Destination {
	exact := map[string]bool{}
	var wildcards []host.Name
	for _, s := range g.Steers {
		h := host.Name(strings.ToLower(string(s.Host)))
		if exact[string(h)] = true; h.IsWildCarded() && !slices.Contains(wildcards, h) {
			wildcards = append(wildcards, h)
		}
	}
	var out []reach.Destination
	for _, d := range universe {
		h := strings.ToLower(d.Host)
		if exact[h] || slices.ContainsFunc(wildcards, host.Name(h).SubsetOf) {
			out = append(out, d)
		}
	}
	return out
}

// governs reports whether the gateway takes AuthorizationPolicies of a namespace
// (istio pilot/pkg/model/authorization.go ListAuthorizationPolicies).
func (g *egressGateway) governs(namespace string) bool {
	return namespace == g.Namespace || namespace == g.push.RootNamespace()
}

// identity says whether a server learns who the peer is.
type identity int

const (
	// identityNone: whoever calls has no identity there, so that conditions on
	// principals, namespaces and service accounts have nothing to look at.
	identityNone identity = iota
	// identityKnown: the server opens mesh TLS.
	identityKnown
	// identityUnsure: it depends on certificates that no manifest holds.
	identityUnsure
)

// identityAt says whether a gateway's server learns who the peer is: only one
// that opens mesh TLS itself does (istio pilot/pkg/networking/core/gateway.go
// buildGatewayListenerTLSContext).
func identityAt(s *model.GatewayServer) identity {
	switch s.GetTls().GetMode() {
	case networking.ServerTLSSettings_ISTIO_MUTUAL:
		return identityKnown
	case networking.ServerTLSSettings_MUTUAL, networking.ServerTLSSettings_OPTIONAL_MUTUAL:
		return identityUnsure
	default:
		return identityNone
	}
}

// blind reports whether the gateway has a server that does not learn who calls.
func (g *egressGateway) blind() bool {
	return slices.ContainsFunc(g.servers, func(s *model.GatewayServer) bool { return identityAt(s) == identityNone })
}

// modeText says how a server takes connections, for messages.
func modeText(s *model.GatewayServer) string {
	if s.GetTls() == nil || s.Protocol().IsHTTP() {
		return "plaintext " + s.GetPort().GetProtocol()
	}
	return "tls.mode " + s.GetTls().GetMode().String()
}

// modeField is the field that [modeText] is about.
func modeField(s *model.GatewayServer) string {
	if s.GetTls() == nil || s.Protocol().IsHTTP() {
		return s.Field + ".port.protocol"
	}
	return s.Field + ".tls.mode"
}

// serverText names a server in messages.
func serverText(s *model.GatewayServer) string {
	if s.Origin != nil {
		return s.Title()
	}
	return fmt.Sprintf("server %q of Gateway %s", cmp.Or(s.GetName(), s.GetPort().GetName(), fmt.Sprint(s.GetPort().GetNumber())), s.Gateway.ID())
}

// crossing is a request of a client that a server of an egress gateway took in.
type crossing struct {
	// Class are clients that fare alike; the flow is of the first.
	Class []*model.Workload
	Flow  flow.Flow
	Trace *flow.Trace
	// Servers are those that took it; servers of plaintext HTTP on one port
	// cannot be told apart.
	Servers []*model.GatewayServer
}

// allowed reports whether the request gets out, by way of the gateway and
// without anything unknown or different by chance.
//
//go:noinline
func (c *crossing) allowed() bool {
	return c.Trace.Outcome == flow.Allowed && c.Trace.Via == flow.ViaGateway
}

// deniedBy reports whether a policy is (one of) those that stop the request at a
// gateway.
//
//go:noinline
func (c *crossing) deniedBy(policy *model.AuthorizationPolicy) bool {
	return c.Trace.Via == flow.ViaGateway && deniedBy(c.Trace, policy)
}

// deniedBy reports whether a policy is (one of) those that stop a request.
func deniedBy(t *flow.Trace, policy *model.AuthorizationPolicy) bool {
	if t.Outcome != flow.Blocked || t.Reason != flow.RBACDenied {
		return false
	}
	own := policy.ID()
	for id := range strings.SplitSeq(t.Policy, ",") { // of thousands of policies
		if id == own {
			return true
		}
	}
	return false
}

// deniedByRule reports whether one rule of a DENY policy stops the request.
func (c *crossing) deniedByRule(policy *model.AuthorizationPolicy, rule int) bool {
	return c.deniedBy(policy) && c.Trace.Rule != nil && *c.Trace.Rule == rule
}

// admittedBy reports whether the request is allowed because one rule of an ALLOW
// policy matches.
func (c *crossing) admittedBy(policy *model.AuthorizationPolicy, rule int) bool {
	if !c.allowed() {
		return false
	}
	want := flow.Because{Object: policy.Object, Field: fmt.Sprintf("spec.rules[%d]", rule)}
	return slices.ContainsFunc(c.Trace.Hops, func(h flow.Hop) bool { return h.At == flow.AtGateway && slices.Contains(h.Because, want) })
}

// identity says whether the servers that took the request learned who sent it;
// identityUnsure where they differ.
func (c *crossing) identity() identity {
	if len(c.Servers) == 0 {
		return identityUnsure
	}
	first := identityAt(c.Servers[0])
	for _, s := range c.Servers[1:] {
		if identityAt(s) != first {
			return identityUnsure
		}
	}
	return first
}

// workloadIDs returns "namespace/name" of workloads, sorted, each once.
func workloadIDs(list []*model.Workload) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = w.ID()
	}
	slices.Sort(out)
	return slices.Compact(out)
}
