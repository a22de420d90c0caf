package traffic

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// Names returns the host names, and with "*" at one end patterns of them, that
// the configuration of a client's proxy tells from other names, in any order and
// some of them more than once; of names without "*" those that about accepts. All
// other names that resolve to nothing in the mesh fare alike in that proxy, as
// far as it sends them no further than to the address that was dialled: see
// [Known]. any is true where any two names may be told apart.
func (s *Simulation) Names(w *model.Workload, about func(name string) bool) (names []string, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mesh.Unmodelled)+len(s.mesh.PluginPolicies)+len(s.mesh.ClusterNetworkPolicies)+len(s.suppositions) > 0 {
		return nil, true // rules of the network may be about names, and labels may be other ones
	}
	if Aliases(w) != "" {
		return nil, true // its own names lead anywhere
	}
	switch s.capture(w).Mode {
	case capture.Sidecar:
		if _, plain := s.openTo(w); !plain {
			return nil, true
		}
		names, any = s.sidecar(w, false).names(about)
		if hasClusterSet(s.mesh.ConfigFor(w)) {
			names = append(names, "*"+clusterSetSuffix)
		}
		return names, any
	case capture.None, capture.Undecided:
		return nil, false
	default:
		return nil, true
	}
}

// GatewayNames is [Simulation.Names] for what the gateways of the mesh do with
// connections, whoever makes them.
func (s *Simulation) GatewayNames() (names []string, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{}
	for _, w := range s.mesh.Workloads {
		switch s.capture(w).Mode {
		case capture.Router:
			list, any := s.gateway(w, false).names(func(string) bool { return true })
			if any {
				return nil, true
			}
			for _, name := range list {
				all[name] = true
			}
			for _, x := range s.gateway(w, false).listeners {
				for _, h := range s.gateway(w, false).unaskedOf(x).all {
					all[strings.ToLower(string(h))] = true
				}
			}
		case capture.Waypoint, capture.Ambient:
			return nil, true
		}
	}
	return slices.Sorted(maps.Keys(all)), false
}

// names collects the names of chains and virtual hosts: see Names. Listeners of
// single addresses only take what is dialled there.
func (p *proxy) names(about func(string) bool) (names []string, any bool) {
	add := func(name string) {
		if name = strings.ToLower(name); strings.Contains(name, "*") || about(name) {
			names = append(names, name)
		}
	}
	for _, l := range p.listeners {
		if l.bind != model.UnspecifiedIP {
			continue
		}
		for _, c := range append(slices.Clone(l.chains), l.fallback) {
			if c == nil {
				continue
			}
			any = any || len(c.prefixes) > 0 || c.opaque != ""
			for _, name := range c.sni {
				if name != "*" {
					add(name)
				}
			}
			if !c.http() {
				continue
			}
			for _, vh := range p.table(c.table).hosts {
				for _, d := range vh.domains {
					switch {
					case d != "*":
						add(d)
					case len(vh.routes) != 1 || !contains(catchAllRoutes, vh.routes[0].name):
						any = true
					}
				}
			}
		}
	}
	return names, any
}

// catchAllRoutes are those of [proxy.catchAllHost].
var catchAllRoutes = []string{"block_all", "allow_any", "default"}

// Known reports whether what became of a request says anything about its host
// name: whether it went on to somewhere that names decide about, or was told
// apart by its name. Of names for which that is not so, and that
// [Simulation.Names] does not list, one stands for all.
func Known(t *flow.Trace) bool {
	for i := range t.Hops {
		h := &t.Hops[i]
		switch {
		case h.At != flow.AtSidecar && h.At != flow.AtNetwork:
			return true
		case !contains([]string{"", passthroughCluster, blackHoleCluster}, h.Cluster):
			return true
		case !contains([]string{"", "block_all", "allow_any"}, h.VirtualHost):
			return true
		}
	}
	return len(t.Branches) > 0
}

// Resolves reports whether a client finds an address in the mesh for a name, or
// one that the manifests list.
func (s *Simulation) Resolves(w *model.Workload, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.push(s.mesh.ConfigFor(w)).Resolve(w.Namespace, name, s.capture(w).AutoAddresses)
	return r.Service != nil || r.Listed != nil
}

// Around is the guarantee of a flow that was stopped or steered, from what holds
// back a process that goes around its proxy.
func (s *Simulation) Around(f flow.Flow, blocked bool) string {
	client, _ := s.find(f.From)
	if client == nil {
		return ""
	}
	return s.around(client, f, blocked)
}

// steered reports whether the guarantee of a trace rests on what a process may
// do that goes around its proxy.
func steered(t *flow.Trace) bool {
	return t.Outcome != flow.Unknown && (t.Outcome == flow.Blocked || t.Via == flow.ViaGateway || t.Via == flow.ViaWaypoint || t.Via == flow.ViaMixed)
}

// Outside is the same for workloads for which [Simulation.Around] is the same,
// as far as policies do not look at who sends: whatever the flow, for one of the
// given ports and for a name that neither's proxy tells from others.
func (s *Simulation) Outside(w *model.Workload, ports []int) string {
	var b strings.Builder
	for _, way := range s.asides(w, ports) {
		b.WriteString(asideText(s.Verdict(way)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	push := s.push(s.mesh.ConfigFor(w))
	escapes, known := leavesItsNetwork(w)
	fmt.Fprint(&b, push.Config.Revision, w.PodUnknown, s.capture(w).Mode, escapes, known)
	for _, port := range ports {
		for _, protocol := range protocols {
			open := s.network.Internet(w, port, protocol)
			fmt.Fprint(&b, " ", open.Unknown != nil, open.Isolated, open.Closed(), s.network.Named(w, "name.invalid", port, protocol).Decision)
		}
	}
	s.entrances()
	s.findRouters()
	for _, g := range s.ways.alone {
		for _, port := range s.podPorts(push, g) {
			fmt.Fprint(&b, " ", s.admits(w, door{g, port}))
		}
	}
	return b.String()
}

// asides are the flows to all doors of gateways by way of a client's proxy.
func (s *Simulation) asides(w *model.Workload, ports []int) []flow.Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []flow.Flow
	for _, to := range s.entrances() {
		for _, port := range ports {
			for _, scheme := range []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP} {
				out = append(out, flow.Flow{From: From(w), Host: noName, Port: port, Scheme: scheme, ConnectTo: to})
			}
		}
	}
	return out
}

// noName is a name that nothing registers.
const noName = "aside.egresslint.invalid"

// asideText says what a client's own proxy did with a request, and nothing of
// what comes after it.
func asideText(t *flow.Trace) string {
	var b strings.Builder
	left := false
	for i := range t.Hops {
		h := &t.Hops[i]
		if left = h.At == flow.AtGateway || h.At == flow.AtWaypoint; left {
			break
		}
		fmt.Fprintf(&b, "%s %q %q %q %q %q %q %q", h.At, h.Listener, h.FilterChain, h.VirtualHost, h.Route, h.Cluster, h.TLS, h.SNI)
		if h.Cluster != "" {
			fmt.Fprintf(&b, " %q", h.Decision)
		}
	}
	if !left {
		fmt.Fprint(&b, t.Outcome, t.Reason, t.Policy)
	}
	for _, branch := range t.Branches {
		fmt.Fprint(&b, " ", branch.Weight, asideText(&branch.Trace))
	}
	return b.String()
}

// Escapes is the same for workloads whose processes may leave the network of
// their pod alike.
func Escapes(w *model.Workload) string { return fmt.Sprint(leavesItsNetwork(w)) }

// podPorts are the ports of a gateway's pod to which connections may come.
func (s *Simulation) podPorts(push *model.PushContext, g *model.Workload) []int {
	if ports, known := s.ways.ports[g]; known {
		return ports
	}
	var out []int
	for _, svc := range push.Services() {
		if !svc.Kubernetes() || svc.Namespace != g.Namespace {
			continue
		}
		for _, port := range svc.Ports {
			for _, e := range push.OwnEndpoints(svc, port) {
				if e.Workload == g {
					out = append(out, e.Port)
				}
			}
		}
	}
	if s.capture(g).Mode == capture.Router {
		for key := range s.gateway(g, false).listeners {
			out = append(out, key.port)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	s.ways.ports[g] = out
	return out
}

// SourceBlocks returns those of some address blocks that hold a workload's pod.
func (s *Simulation) SourceBlocks(w *model.Workload, blocks []netip.Prefix) []netip.Prefix {
	addr := s.Push().PodAddress(w)
	return slices.DeleteFunc(slices.Clone(blocks), func(p netip.Prefix) bool { return !p.Contains(addr) })
}
