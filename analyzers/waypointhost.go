package analyzers

import (
	"slices"

	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// waypointHost is a host outside that a ServiceEntry registers, and what is said
// about the waypoint that it is to be reached through.
type waypointHost struct {
	Service *model.Service
	Binding *model.WaypointBinding
}

// waypointHosts returns the hosts outside for which some label asks for a
// waypoint, or declines one, in the order of the registry.
func waypointHosts(p *Pass) []waypointHost {
	push := p.Reach.Sim.Push()
	var out []waypointHost
	for _, s := range push.Services() {
		if s.Entry == nil || len(s.Selector) > 0 || inCluster(push, s.Hostname) || push.ServiceIn(s.Hostname, s.Namespace) != s {
			continue
		}
		if b := push.WaypointOf(s); b.Object != nil || b.Waypoint != nil || b.Failed {
			out = append(out, waypointHost{s, b})
		}
	}
	return out
}

// served are the hosts that a waypoint takes.
func served(hosts []waypointHost) []waypointHost {
	return slices.DeleteFunc(slices.Clone(hosts), func(h waypointHost) bool { return h.Binding.Waypoint == nil || h.Binding.Unknown != "" })
}

// rules are those of DENY and ALLOW policies in force at the host's waypoint that name
// no host, or this one.
func (h waypointHost) rules(push *model.PushContext) []authzRule {
	var out []authzRule
	policies := push.AuthorizationPoliciesForWaypoint(h.Binding.Waypoint, h.Service)
	for _, policy := range slices.Concat(policies.Deny, policies.Allow) {
		if !enforced(policy) {
			continue
		}
		for _, r := range rulesOf(policy) {
			if len(r.hosts()) == 0 || r.names(h.name()) {
				out = append(out, r)
			}
		}
	}
	return out
}

// name is the host, for messages.
//
//go:noinline
func (h waypointHost) name() string { return string(h.Service.Hostname) }

// requests are those that a client may make for the host: one for each port that
// takes TCP, as its protocol has it.
func (h waypointHost) requests(p *Pass, w *model.Workload) []flow.Flow {
	name := witnessHost(p, h.Service.Hostname)
	var out []flow.Flow
	for _, port := range h.Service.Ports {
		f := flow.Flow{From: reach.From(w), Host: name, Port: port.Number, Scheme: flow.TCP}
		switch {
		case port.Protocol == protocol.UDP:
			continue
		case port.Protocol.IsHTTP():
			f.Scheme = flow.HTTP
		case port.Protocol.IsTLS():
			f.Scheme = flow.TLS
		}
		out = append(out, f)
	}
	return out
}

// attempt returns a request of a client for the host that fares as wanted, nil if
// there is none.
func (h waypointHost) attempt(p *Pass, w *model.Workload, want func(*flow.Trace) bool) *proof {
	for _, f := range h.requests(p, w) {
		// The guarantee of a trace takes longer than the rest.
		if want(p.Reach.Sim.Verdict(f)) {
			return &proof{f, p.Reach.Trace(f)}
		}
	}
	return nil
}

// classesIn returns the classes of clients of applications with a kind of proxy.
func (p *Pass) classesIn(mode capture.Mode) [][]*model.Workload {
	var out [][]*model.Workload
	for _, class := range p.Reach.Classes() {
		if p.Reach.Sim.Capture(class[0]).Mode == mode && p.isApplication(class[0]) {
			out = append(out, class)
		}
	}
	return out
}

// refersTo reports whether some hop decided because of an object.
func refersTo(t *flow.Trace, at flow.Place, object *manifest.Object) bool {
	for _, h := range t.Hops {
		if h.At == at && slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object == object }) {
			return true
		}
	}
	return slices.ContainsFunc(t.Branches, func(b flow.Branch) bool { return refersTo(&b.Trace, at, object) })
}

// leavesDirectly reports whether a request leaves the cluster without any gateway or
// waypoint on its way.
func leavesDirectly(t *flow.Trace) bool {
	return t.Outcome == flow.Allowed && (t.Via == flow.ViaDirect || t.Via == flow.ViaPassthrough || t.Via == flow.ViaUncaptured)
}

// waypointAttempts are requests of clients in ambient mode, of each namespace the
// first, for the hosts that waypoints serve: one for each port. Several rules look at
// them: do not change them.
func (in *intent) waypointAttempts() []*attempt {
	if in.tried == nil {
		list := in.tryWaypoints()
		in.tried = &list
	}
	return *in.tried
}

func (in *intent) tryWaypoints() []*attempt {
	hosts := served(in.waypointHosts())
	if len(hosts) == 0 {
		return nil
	}
	var out []*attempt
	for _, ns := range ambientClientsOf(in.pass).namespaces {
		class := slices.Concat(slices.Concat(ns.free...), slices.Concat(ns.others...))
		for i, h := range hosts {
			if i == maxSteered {
				break
			}
			for _, f := range h.requests(in.pass, ns.first()) {
				if t := in.pass.Reach.Sim.Verdict(f); t.Via == flow.ViaWaypoint {
					out = append(out, &attempt{Class: class, To: reach.Destination{Host: f.Host, Port: f.Port}, Flow: f, Trace: t})
				}
			}
		}
	}
	return out
}
