package analyzers

import (
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// externalWaypoint is a waypoint that serves hosts outside of the cluster.
type externalWaypoint struct {
	*model.KubeGateway
	// hosts are those hosts, namespaces those of their ServiceEntries; both in
	// the order of the registry.
	hosts, namespaces []string
	services          []*model.Service
	// policies are in force here for any of the hosts.
	policies model.AuthorizationPolicies
}

// externalWaypoints returns the waypoints that serve external hosts, in the order
// of the input.
func externalWaypoints(p *Pass) []*externalWaypoint {
	push := p.Reach.Sim.Push()
	var out []*externalWaypoint
	for _, g := range p.Mesh.KubeGateways {
		if !p.Mesh.IsWaypoint(g) {
			continue
		}
		w := &externalWaypoint{KubeGateway: g}
		for _, s := range push.WaypointServices(g) {
			if s.Kubernetes() || inCluster(push, s.Hostname) {
				continue
			}
			w.services = append(w.services, s)
			if h := strings.ToLower(string(s.Hostname)); !contains(w.hosts, h) {
				w.hosts = append(w.hosts, h)
			}
			if !contains(w.namespaces, s.Namespace) {
				w.namespaces = append(w.namespaces, s.Namespace)
			}
			a := push.AuthorizationPoliciesForWaypoint(g, s)
			for _, x := range []struct{ to, from *[]*model.AuthorizationPolicy }{
				{&w.policies.Custom, &a.Custom}, {&w.policies.Deny, &a.Deny}, {&w.policies.Allow, &a.Allow}, {&w.policies.Audit, &a.Audit},
			} {
				for _, policy := range *x.from {
					if !slices.Contains(*x.to, policy) {
						*x.to = append(*x.to, policy)
					}
				}
			}
		}
		if len(w.services) > 0 {
			out = append(out, w)
		}
	}
	return out
}

// show adds, as the witness of a finding, a request of an ambient client that the
// waypoint lets through to a host which the policy names, or to any if it names
// none.
func (w *externalWaypoint) show(p *Pass, f *Finding, policy *model.AuthorizationPolicy) {
	hosts := hostsOf(policy)
	for _, s := range w.services {
		if s.Hostname.IsWildCarded() || len(hosts) > 0 && !slices.ContainsFunc(hosts, func(n namedHost) bool { return n.covers(string(s.Hostname)) }) {
			continue
		}
		for _, class := range p.Reach.Classes() {
			if p.Reach.Sim.Capture(class[0]).Mode != capture.Ambient {
				continue
			}
			for _, port := range s.Ports {
				scheme := flow.HTTP
				if !port.Protocol.IsHTTP() {
					scheme = flow.TLS
				}
				request := flow.Flow{From: reach.From(class[0]), Host: string(s.Hostname), Port: port.Number, Scheme: scheme}
				if t := p.Reach.Sim.Verdict(request); t.Outcome == flow.Allowed && t.Via == flow.ViaWaypoint {
					f.Flow, f.Trace, f.Workloads = &request, p.Reach.Trace(request), workloadIDs(class)
					return
				}
			}
		}
	}
}
