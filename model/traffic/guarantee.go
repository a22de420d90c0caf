package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/netpol"
)

// The guarantees of a verdict.
const (
	// Enforced: whatever the process does, it stays so.
	Enforced = "enforced"
	// BestEffort: only the client's own proxy sees to it.
	BestEffort = "best_effort"
	// NoGuarantee: nothing steers.
	NoGuarantee = "none"
)

// protocols are those by which a process may go around its proxy.
var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}

// Bypasses returns the flows by which a process that ignores its own proxy would
// try the same: straight out, and straight to each port of a gateway or waypoint,
// in the order of their names.
func (s *Simulation) Bypasses(f flow.Flow) []flow.Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	straight := f
	straight.Bypass, straight.ConnectTo = true, ""
	out := []flow.Flow{straight}
	if f.Scheme == flow.UDP {
		return out
	}
	for _, to := range s.entrances() {
		around := straight
		around.ConnectTo = to
		out = append(out, around)
	}
	return out
}

// entrances are the ports of the Services of gateways and waypoints, as flows
// connect to them, in the order of their names.
func (s *Simulation) entrances() []string {
	if s.ways.known {
		return s.ways.entrances
	}
	s.ways.known = true
	push := s.push(s.mesh.Config)
	services := slices.Clone(push.Services())
	slices.SortStableFunc(services, func(a, b *model.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, svc := range services {
		if !svc.Kubernetes() || !s.fronts(push, svc) {
			continue
		}
		for _, port := range svc.Ports {
			s.ways.entrances = append(s.ways.entrances, fmt.Sprintf("%s/%s:%d", svc.Namespace, svc.Kube.Name, port.Number))
		}
	}
	return s.ways.entrances
}

// fronts reports whether a Service leads to a gateway or waypoint.
func (s *Simulation) fronts(push *model.PushContext, svc *model.Service) bool {
	for _, e := range push.Endpoints(svc, nil) {
		if e.Workload == nil {
			continue
		}
		if mode := s.capture(e.Workload).Mode; mode == capture.Router || mode == capture.Waypoint {
			return true
		}
	}
	return false
}

// EnforcedIf is what [Enforced] rests on beside the manifests.
const EnforcedIf = "the network enforces NetworkPolicies, nothing else that the client may connect to (other pods, private addresses) forwards for it, " +
	"and the host has no private address but those in the manifests"

// guarantee says what holds a verdict up: that network policies close the way
// straight out, by TCP and by UDP, that the process cannot leave the network in
// which they hold for it, and that no gateway or waypoint forwards to the host for
// a process that comes to it without a mesh identity, or, if the verdict is
// blocked, with it; or nothing but the client's own proxy. "" where that is not
// known.
func (s *Simulation) guarantee(f flow.Flow, t *flow.Trace) string {
	if f.Bypass || f.ConnectTo != "" || t.Outcome == flow.Unknown {
		return ""
	}
	client, _ := s.find(f.From)
	if client == nil {
		return ""
	}
	if !steered(t) {
		return NoGuarantee
	}
	return s.around(client, f, t.Outcome == flow.Blocked)
}

// around says what holds a process back that goes around its proxy: the
// guarantee of a flow that is stopped or steered.
func (s *Simulation) around(client *model.Workload, f flow.Flow, blocked bool) string {
	unsure := false
	if !s.internal(client, f) {
		var open bool
		if open, unsure = s.open(client, f.Host, f.Port); open {
			return BestEffort // nothing holds the process back
		}
	}
	if escapes, known := leavesItsNetwork(client); escapes {
		return BestEffort
	} else if !known {
		unsure = true
	}
	ways := append(s.Bypasses(f), s.addressed(client, f)...)
	if blocked {
		ways = append(ways, s.detours(f, ways)...)
	}
	for _, way := range ways {
		switch s.Verdict(way).Outcome {
		case flow.Allowed, flow.Mixed:
			return BestEffort
		case flow.Unknown:
			unsure = true
		}
	}
	if unsure || s.hides {
		return ""
	}
	return Enforced
}

// addressed are the flows by which a process that goes around its proxy would try
// the addresses that manifests give for the host: policies that close the
// internet may leave private ones open.
func (s *Simulation) addressed(client *model.Workload, f flow.Flow) []flow.Flow {
	if f.DstIP != "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []flow.Flow
	add := func(address string) {
		known := slices.ContainsFunc(out, func(o flow.Flow) bool { return o.DstIP == address })
		if !isAddress(address) || known || len(out) >= maxNextHops {
			return
		}
		to := f
		to.Bypass, to.ConnectTo, to.DstIP = true, "", address
		out = append(out, to)
	}
	push := s.push(s.mesh.ConfigFor(client))
	for _, svc := range push.ServicesOf(hostName(strings.ToLower(strings.TrimSuffix(f.Host, ".")))) {
		if svc.Kubernetes() {
			continue
		}
		for _, address := range svc.Entry.Spec.GetAddresses() {
			add(address)
		}
		port := svc.PortByNumber(f.Port)
		if port == nil {
			continue
		}
		for _, e := range push.Endpoints(svc, port) {
			if e.Workload == nil {
				add(e.Address)
			}
		}
	}
	return out
}

// open reports whether network policies leave a client a way to a host outside:
// straight, or through a gateway that forwards to it unasked. unsure says that it
// is not known whether they do.
func (s *Simulation) open(client *model.Workload, host string, port int) (open, unsure bool) {
	closed, known := s.closed(client, port)
	if !closed {
		return true, false
	}
	unsure = !known
	for _, o := range s.possible() {
		switch o.openGateway(client, host) {
		case netpol.Allowed:
			return true, false
		case netpol.Undecided:
			unsure = true
		}
	}
	return false, unsure
}

// detours are the flows by which a process whose proxy does not let it through
// would try the same with its proxy's help: to another address than the one that
// its name has, and straight to the gateways that around names, with whatever
// identity the proxy lends it.
func (s *Simulation) detours(f flow.Flow, around []flow.Flow) []flow.Flow {
	var out []flow.Flow
	if f.DstIP == "" {
		other := f
		other.DstIP = s.Push().PublicAddress(f.Host).String()
		out = append(out, other)
	}
	for _, way := range around {
		if way.ConnectTo != "" || way.DstIP != f.DstIP {
			way.Bypass = false
			out = append(out, way)
		}
	}
	return out
}

// possible are the simulations of all that istiod leaves to chance and that
// manifests do not tell of labels, this one among them.
func (s *Simulation) possible() []*Simulation {
	out := []*Simulation{s}
	if s.alternatives != nil {
		out = append(out, s.others...)
	}
	for _, o := range s.suppositions {
		if len(o.services) == 0 { // others do not change a gateway
			out = append(out, o.simulation())
		}
	}
	return out
}

// closed reports whether network policies close the way of a pod to the internet
// on a port, by TCP and by UDP; known is false where that is not certain.
func (s *Simulation) closed(client *model.Workload, port int) (closed, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := clientPort{client, port}
	if w, done := s.ways.closed[key]; done {
		return w.closed, w.known
	}
	w := way{closed: true, known: true}
	for _, protocol := range protocols {
		switch open := s.network.Internet(client, port, protocol); {
		case open.Unknown != nil:
			w.known = false
		case !open.Isolated || !open.Closed():
			w.closed = false
		}
		if !w.closed {
			break
		}
	}
	s.ways.closed[key] = w
	return w.closed, w.known
}

// openGateway asks whether a client may connect to a gateway's pod on a port
// whose servers ask nobody who he is and forward to a host, whatever name the
// request then has to carry.
func (s *Simulation) openGateway(client *model.Workload, host string) netpol.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	result := netpol.Denied
	for _, d := range s.forwarding(host) {
		for _, admits := range []func(*model.Workload, door) netpol.Decision{s.admits, s.admitsByNode} {
			switch admits(client, d) {
			case netpol.Denied:
			case netpol.Allowed:
				return netpol.Allowed
			default:
				result = netpol.Undecided
			}
		}
	}
	return result
}

// forwarding returns the ports of gateways' pods that lead to a host unasked.
func (s *Simulation) forwarding(h string) []door {
	if doors, known := s.ways.doors[h]; known {
		return doors
	}
	s.findRouters()
	var doors []door
	for _, g := range s.ways.routers {
		p := s.gateway(g, false)
		for key, l := range p.listeners {
			if d := (door{g, key.port}); !slices.Contains(doors, d) && p.forwardsUnasked(l, h) {
				doors = append(doors, d)
			}
		}
	}
	s.ways.doors[h] = doors
	return doors
}

func (s *Simulation) findRouters() {
	if s.ways.routers != nil {
		return
	}
	s.ways.routers = []*model.Workload{}
	for _, w := range s.mesh.Workloads {
		switch s.capture(w).Mode {
		case capture.Router:
			s.ways.routers = append(s.ways.routers, w)
			s.ways.alone = append(s.ways.alone, w)
		case capture.Waypoint:
			s.ways.alone = append(s.ways.alone, w)
		}
	}
}

// admits reports whether network policies let a pod connect to a gateway's.
func (s *Simulation) admits(client *model.Workload, d door) netpol.Decision {
	key := clientDoor{client, d}
	if decision, known := s.ways.admits[key]; known {
		return decision
	}
	push := s.push(s.mesh.ConfigFor(d.gateway))
	to := netpol.Peer{Workload: d.gateway, Addr: push.PodAddress(d.gateway), Port: d.port, Protocol: corev1.ProtocolTCP}
	from := netpol.Peer{Workload: client, Addr: push.PodAddress(client)}
	out, in := s.network.Egress(client, to).Decision, s.network.Ingress(d.gateway, d.port, corev1.ProtocolTCP, from).Decision
	decision := netpol.Undecided
	switch {
	case out == netpol.Denied || in == netpol.Denied:
		decision = netpol.Denied
	case out == netpol.Allowed && in == netpol.Allowed:
		decision = netpol.Allowed
	}
	s.ways.admits[key] = decision
	return decision
}

// forwardsUnasked reports whether a gateway's listener leads to a host for a
// connection that brings no mesh identity. Policies are not asked: without an
// identity only some of them can tell the process from another.
func (p *proxy) forwardsUnasked(l *listener, h string) bool {
	x, known := p.unasked[l]
	if !known {
		x = p.unaskedOf(l)
		if p.unasked == nil {
			p.unasked = map[*listener]*unasked{}
		}
		p.unasked[l] = x
	}
	name := hostName(h)
	if x.any || x.exact[name] {
		return true
	}
	if name.IsWildCarded() {
		return slices.ContainsFunc(x.all, name.Matches)
	}
	return slices.ContainsFunc(x.wild, name.Matches)
}

// unasked are the hosts to which a listener leads without asking for a mesh
// identity; wild are those with a wildcard.
type unasked struct {
	exact     map[host.Name]bool
	all, wild []host.Name
	any       bool
}

func (p *proxy) unaskedOf(l *listener) *unasked {
	x := &unasked{exact: map[host.Name]bool{}}
	add := func(targets []target) {
		for _, t := range targets {
			c := p.cluster(t.cluster)
			if c.service == nil || x.exact[c.service.Hostname] {
				continue
			}
			// A gateway behind the gateway may lead anywhere in its turn.
			x.any = x.any || c.service.Kubernetes() && p.sim.fronts(p.push, c.service)
			x.exact[c.service.Hostname] = true
			x.all = append(x.all, c.service.Hostname)
			if c.service.Hostname.IsWildCarded() {
				x.wild = append(x.wild, c.service.Hostname)
			}
		}
	}
	for _, c := range l.chains {
		if c.opens && c.server.GetTls().GetMode() == networking.ServerTLSSettings_ISTIO_MUTUAL {
			continue
		}
		if !c.http() {
			add(c.targets)
			continue
		}
		for _, vh := range p.table(c.table).hosts {
			for _, r := range vh.routes {
				add(r.targets)
			}
		}
	}
	return x
}

// internal reports whether a host is a Service of the cluster.
func (s *Simulation) internal(client *model.Workload, f flow.Flow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.push(s.mesh.ConfigFor(client)).Resolve(client.Namespace, f.Host, false).Service != nil
}
