package analyzers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// control is a request that the manifests mean a workload's sidecar to control:
// to send through a gateway or its ztunnel to send to a waypoint (I1), or to stop
// because nothing registers its host (I3). It is what somebody loses whose requests
// no proxy sees.
type control struct {
	Request flow.Flow
	// To is the destination; To.Stands is reach.AnyName for hosts that nothing
	// registers.
	To reach.Destination
	// Steering is the route that sends it to a gateway, Waypoint what says that a
	// waypoint takes it; both are nil for hosts that nothing registers.
	Steering *steering
	Waypoint *waypointHost
	// Because shows the control.
	Because Related
}

// maxSteered bounds the steered hosts that are tried for one class of workloads:
// one is enough to prove a finding, and a mesh may steer thousands.
const maxSteered = 64

// controls knows what the manifests control, for any workload.
type controls struct {
	*intent
	steered []steeredDestination
	// unregistered stands for hosts that nothing registers; ports are those of
	// the universe.
	unregistered reach.Destination
	ports        []int
}

type steeredDestination struct {
	to reach.Destination
	by []*steering
}

func newControls(in *intent) *controls {
	common := in.pass.shared
	if common == nil {
		return readControls(in)
	}
	if common.controls == nil {
		common.controls = readControls(in)
	}
	c := *common.controls
	c.intent = in
	return &c
}

func readControls(in *intent) *controls {
	c := &controls{intent: in}
	for _, d := range in.pass.Reach.Universe() {
		switch d.Stands {
		case reach.AnyAddress:
		case reach.AnyName:
			c.unregistered = d
			c.ports = append(c.ports, d.Port)
		default:
			if by := in.covering(d.Host); len(by) > 0 {
				c.steered = append(c.steered, steeredDestination{d, by})
			}
		}
	}
	return c
}

// of returns what is controlled of a workload's requests to ports that want
// accepts: hosts that routes which its namespace sees send to a gateway, in the
// order of the universe; then any other host, on the ports of the universe and
// the given ones. more says that there are more steered hosts than returned.
func (c *controls) of(w *model.Workload, want func(port int) bool, ports ...int) (out []control, more bool) {
	from := reach.From(w)
	routes := c.push.VirtualServicesForGateway(w.Namespace, model.MeshGateway)
	for _, d := range c.steered {
		i := slices.IndexFunc(d.by, func(s *steering) bool {
			return want(d.to.Port) && s.takes(d.to.Port, s.Scheme) && s.meant(w) && slices.Contains(routes, s.Route)
		})
		if i < 0 {
			continue
		}
		if len(out) == maxSteered {
			more = true
			break
		}
		s := d.by[i]
		out = append(out, control{flow.Flow{From: from, Host: d.to.Host, Port: d.to.Port, Scheme: s.Scheme}, d.to, s, nil, s.related()})
	}
	if c.leavesAmbient(w) {
		hosts := served(c.waypointHosts())
		more = more || len(hosts) > maxSteered
		for _, h := range hosts[:min(len(hosts), maxSteered)] {
			because := Related{h.Service.Object, h.Service.HostField, fmt.Sprintf("%s is to be reached through waypoint %s", h.name(), h.Binding.Waypoint.ID())}
			for _, f := range h.requests(c.pass, w) {
				if want(f.Port) {
					out = append(out, control{f, reach.Destination{Host: f.Host, Port: f.Port}, nil, &h, because})
				}
			}
		}
	}
	closed, ok := c.closes(w)
	if !ok {
		return out, more
	}
	all := slices.Concat(c.ports, ports)
	slices.Sort(all)
	for _, port := range slices.Compact(all) {
		if want(port) {
			d := c.anyName(port)
			out = append(out, control{flow.Flow{From: from, Host: d.Host, Port: port, Scheme: flow.TCP}, d, nil, nil, closed})
		}
	}
	return out, more
}

// leavesAmbient reports whether a workload has no proxy although its namespace is in
// ambient mode.
func (c *controls) leavesAmbient(w *model.Workload) bool {
	ns := c.pass.Mesh.Namespaces[w.Namespace]
	return ns != nil && ns.Labels[model.DataplaneModeLabel] == "ambient" && c.pass.Reach.Sim.Capture(w).Mode == capture.None
}

// through names the gateway or waypoint that the request is to go through, "" for
// hosts that nothing registers.
func (c control) through() string {
	switch {
	case c.Steering != nil:
		return c.Steering.gateway()
	case c.Waypoint != nil:
		return "waypoint " + c.Waypoint.Binding.Waypoint.ID()
	}
	return ""
}

func anyPort(int) bool { return true }

// anyName is the destination that stands for hosts that nothing registers.
func (c *controls) anyName(port int) reach.Destination {
	d := c.unregistered
	d.Port = port
	return d
}

// proof is a request that proves a finding, and its fate.
type proof struct {
	Flow  flow.Flow
	Trace *flow.Trace
}

// proveUnregistered returns a request of a workload for a host that nothing registers
// that fares as wanted: on 443 if possible, else on the lowest port. It is nil if
// there is none.
func (c *controls) proveUnregistered(w *model.Workload, want func(*flow.Trace) bool) *proof {
	for _, port := range slices.Concat([]int{443}, c.ports) {
		f := flow.Flow{From: reach.From(w), Host: c.unregistered.Host, Port: port, Scheme: flow.TLS}
		if t := c.pass.Reach.Trace(f); want(t) {
			return &proof{f, t}
		}
	}
	return nil
}

// captured reports whether a workload's requests go through a sidecar.
//
//go:noinline
func (in *intent) captured(w *model.Workload) bool {
	return in.pass.Reach.Sim.Capture(w).Mode == capture.Sidecar
}

// missesAny reports whether there is a public address and port that a workload's
// sidecar does not see: else nothing turns the redirect off as a whole.
func (c *controls) missesAny(w *model.Workload) bool {
	address := c.push.PublicAddress("any address")
	return slices.ContainsFunc(c.ports, func(port int) bool {
		return !c.pass.Reach.Sim.Capture(w).Outbound(netip.AddrPortFrom(address, uint16(port))).Captured //nolint:gosec // a port
	})
}

// meant reports whether the conditions on clients hold for a workload.
func (s *steering) meant(w *model.Workload) bool {
	return hasLabels(w.Labels, s.Labels) && (s.Namespace == "" || s.Namespace == w.Namespace)
}

// closes returns the place that closes a workload's sidecar to hosts that nothing
// registers, and whether there is one.
func (in *intent) closes(w *model.Workload) (Related, bool) {
	s := in.push.SidecarFor(w.Namespace, w.Labels)
	if s == nil || s.Spec.GetOutboundTrafficPolicy() == nil {
		return closedMeshOf(in.pass.Mesh.ConfigFor(w))
	}
	return closedBy(s)
}

// closedBy says whether a Sidecar's own outbound policy is REGISTRY_ONLY.
func closedBy(s *model.Sidecar) (Related, bool) {
	if s.Spec.GetOutboundTrafficPolicy().GetMode() != networking.OutboundTrafficPolicy_REGISTRY_ONLY {
		return Related{}, false
	}
	return Related{s.Object, "spec.outboundTrafficPolicy", fmt.Sprintf("%s is REGISTRY_ONLY", s.Object)}, true
}

// closedMeshOf says whether a mesh configuration is REGISTRY_ONLY.
func closedMeshOf(config *model.MeshConfig) (Related, bool) {
	if int32(config.GetOutboundTrafficPolicy().GetMode()) != int32(networking.OutboundTrafficPolicy_REGISTRY_ONLY) {
		return Related{}, false
	}
	object, field := config.Because("outboundTrafficPolicy.mode")
	return Related{object, field, "the mesh is REGISTRY_ONLY"}, true
}

// leak is what gets around the controls of some workloads, gathered for one
// finding: controlled requests that no sidecar sees.
type leak struct {
	// open are requests that get out; stopped are those that a NetworkPolicy
	// stops.
	open, stopped []control
	// more: there are more steered hosts than these.
	more      bool
	workloads []*model.Workload
	// known are the requests that were added, see add.
	known map[leaked]bool
	// sorted is what requests returns, nil before it is asked.
	sorted []control
}

// leakOf tries what is controlled of a workload's requests and keeps what no
// sidecar sees, as far as want accepts the trace. What is undecided is not kept.
func leakOf(p *Pass, list []control, more bool, want func(*flow.Trace) bool) leak {
	l := leak{more: more}
	for _, c := range list {
		t := p.Reach.Sim.Verdict(c.Request)
		switch {
		case t.Outcome == flow.Allowed && t.Via == flow.ViaUncaptured && want(t):
			l.open = append(l.open, c)
		case stoppedByNetwork(t) && want(t):
			l.stopped = append(l.stopped, c)
		}
	}
	return l
}

// stoppedByNetwork reports whether a NetworkPolicy of the sender stops a request.
//
//go:noinline
func stoppedByNetwork(t *flow.Trace) bool {
	return t.Outcome == flow.Blocked && t.Reason == flow.NetworkPolicy && t.Via == flow.ViaNone
}

// found reports whether there is anything to report.
func (l *leak) found() bool { return len(l.open)+len(l.stopped) > 0 }

// add takes over what gets around the controls of a workload, which is of the
// class for which other was found: the requests that no workload before it sends.
func (l *leak) add(other leak, w *model.Workload) {
	if l.known == nil {
		l.known = map[leaked]bool{}
	}
	from := reach.From(w)
	take := func(into *[]control, list []control, stopped bool) {
		for _, c := range list {
			k := leaked{c.To, c.Request.Scheme, c.Steering, c.Waypoint, c.Because, stopped}
			if !l.known[k] {
				l.known[k] = true
				c.Request.From = from
				*into = append(*into, c)
			}
		}
	}
	take(&l.open, other.open, false)
	take(&l.stopped, other.stopped, true)
	l.more, l.sorted = l.more || other.more, nil
	l.workloads = append(l.workloads, w)
}

// leaked is what requests of several workloads have in common.
type leaked struct {
	to       reach.Destination
	scheme   flow.Scheme
	steering *steering
	waypoint *waypointHost
	because  Related
	stopped  bool
}

// requests are those that get out, or if there are none those that a
// NetworkPolicy stops; steered ones first.
func (l *leak) requests() []control {
	if l.sorted != nil {
		return l.sorted
	}
	list := l.open
	if len(list) == 0 {
		list = l.stopped
	}
	var steered, others []control
	for _, c := range list {
		if c.through() != "" {
			steered = append(steered, c)
		} else {
			others = append(others, c)
		}
	}
	l.sorted = slices.Concat(steered, others)
	return l.sorted
}

// ports are those of the requests, in order of appearance.
func (l *leak) ports() []int {
	var out []int
	for _, c := range l.requests() {
		if !slices.Contains(out, c.To.Port) {
			out = append(out, c.To.Port)
		}
	}
	return out
}

// what names the requests: "requests of shop/orders to api.example.com:443
// (steered to egress gateway ns/name) and to any host on ports 80, 443 (closed by
// REGISTRY_ONLY)". anything is what to call hosts that nothing registers.
func (l *leak) what(anything string) string {
	var hosts []string
	var ports []int
	gateway := ""
	for _, c := range l.requests() {
		if c.through() == "" {
			if !slices.Contains(ports, c.To.Port) {
				ports = append(ports, c.To.Port)
			}
			continue
		}
		name := c.To.Host
		if c.To.Stands != "" {
			name = c.To.Stands
		}
		if name = fmt.Sprintf("%s:%d", name, c.To.Port); !contains(hosts, name) {
			hosts = append(hosts, name)
		}
		if gateway == "" {
			gateway = c.through()
		}
	}
	var parts []string
	if len(hosts) > 0 {
		names := upTo3(hosts)
		if l.more && len(hosts) > maxNamed {
			names = strings.Join(hosts[:maxNamed], ", ") + " and more"
		}
		parts = append(parts, fmt.Sprintf("to %s (steered to %s)", names, gateway))
	}
	if len(ports) > 0 {
		parts = append(parts, fmt.Sprintf("to %s on %s (closed by REGISTRY_ONLY)", anything, portsText(ports)))
	}
	return fmt.Sprintf("requests of %s %s", upTo3(workloadIDs(l.workloads)), strings.Join(parts, " and "))
}

// finding fills in what the requests prove. Where a NetworkPolicy stops them all
// it is a note.
func (l *leak) finding(p *Pass, f Finding) Finding {
	f.Workloads = workloadIDs(l.workloads)
	list := l.requests()
	f.Flow = &list[0].Request
	f.Trace = p.Reach.Trace(*f.Flow)
	for _, c := range list {
		if len(f.Related) < maxNamed && !slices.Contains(f.Related, c.Because) {
			f.Related = append(f.Related, c.Because)
		}
	}
	if len(l.open) == 0 {
		f.onlyNetworkPolicy()
	}
	return f
}

// onlyNetworkPolicy makes a finding a note because a NetworkPolicy stops its
// witness.
func (f *Finding) onlyNetworkPolicy() {
	f.Severity, f.SecuritySeverity = Note, 0
	f.Message += fmt.Sprintf("; only NetworkPolicy %s stops them", f.Trace.Policy)
}
