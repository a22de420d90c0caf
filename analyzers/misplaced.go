package analyzers

import (
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// about reports whether the value and a host of a route, either of which may be a
// wildcard, have a host in common.
func (n namedHost) about(h host.Name) bool {
	v := strings.ToLower(bareHost(n.Value))
	if v == "" || v == "*" {
		return false
	}
	if prefix, ok := strings.CutSuffix(v, "*"); ok {
		return strings.HasPrefix(string(h), prefix)
	}
	if !strings.HasPrefix(v, "*.") && strings.HasPrefix(v, "*") {
		return strings.HasSuffix(string(h), v[1:])
	}
	return host.Name(v).Matches(host.Name(strings.ToLower(string(h))))
}

// misplaced returns the egress gateways that a policy is evidently meant for but
// in whose namespaces it does not lie: those that its hosts are sent to, or
// whose labels it selects. None where it applies to any gateway, or where it
// picks clients by their labels (EGR401), or where its hosts are sent to a gateway whose
// namespace it lies in: its selector is at fault (EGR403).
func misplaced(p *Pass, gateways []*egressGateway, policy *model.AuthorizationPolicy) []*egressGateway {
	elsewhere := slices.ContainsFunc(gateways, func(g *egressGateway) bool { return !g.governs(policy.Namespace) })
	if !elsewhere || len(model.TargetRefs(policy.Spec)) > 0 {
		return nil
	}
	selector := policy.Spec.GetSelector().GetMatchLabels()
	selected := attachedTo(p, policy)
	if slices.ContainsFunc(selected, func(w *model.Workload) bool { return p.Reach.Sim.Capture(w).Mode == capture.Router }) ||
		len(selector) > 0 && (len(selected) > 0 || slices.ContainsFunc(gateways, func(g *egressGateway) bool { return g.governs(policy.Namespace) && g.meant(policy) })) {
		return nil
	}
	hosts := hostsOf(policy)
	var out []*egressGateway
	for _, g := range gateways {
		if g.governs(policy.Namespace) {
			continue
		}
		bySelector := len(selector) > 0 && p.Mesh.HoldsWorkloadsOf(policy.Namespace) && hasLabels(g.Labels, selector)
		byHost := slices.ContainsFunc(hosts, func(n namedHost) bool {
			return slices.ContainsFunc(g.Steers, func(s steer) bool { return n.about(s.Host) && !servedInside(p, g.push, s.Host) })
		})
		if bySelector || byHost {
			out = append(out, g)
		}
	}
	return out
}

// servedInside reports whether a gateway of the mesh serves a host from a Service
// of the cluster, so that a policy may name it for calls that come in.
func servedInside(p *Pass, push *model.PushContext, h host.Name) bool {
	for _, vs := range push.VirtualServices() {
		if !slices.ContainsFunc(vs.Gateways, func(g string) bool { return g != model.MeshGateway }) ||
			!slices.ContainsFunc(vs.Hosts, func(v host.Name) bool { return v.Matches(h) }) {
			continue
		}
		for _, d := range vs.Destinations(vs.Namespace) {
			if inCluster(push, d.Host) && !leadsToGateway(p, push, d.Host) {
				return true
			}
		}
	}
	return false
}

// leadsToGateway reports whether a gateway is behind a Service of the cluster.
func leadsToGateway(p *Pass, push *model.PushContext, h host.Name) bool {
	for _, s := range push.Services() {
		if s.Hostname != h || !s.Kubernetes() {
			continue
		}
		if push.SelectsNothing(s) {
			return true // perhaps
		}
		for _, e := range push.Endpoints(s, nil) {
			if e.Workload != nil && p.Reach.Sim.Capture(e.Workload).Mode == capture.Router {
				return true
			}
		}
	}
	return false
}

// when returns the request if ok, else nil.
//
//go:noinline
func (c *crossing) when(ok bool) *crossing {
	if ok {
		return c
	}
	return nil
}

// prove adds the witness to a finding; it may be nil.
//
//go:noinline
func (f *Finding) prove(w *witness) {
	if w != nil {
		request := w.Flow
		f.Flow, f.Trace, f.Workloads = &request, w.Trace, w.Workloads
	}
}

// showAllowed adds, as the witness of a finding, a request of a workload that a
// rule speaks of and that gets out; false if there is none.
func (f *Finding) showAllowed(p *Pass, r authzRule, w *model.Workload, d reach.Destination) bool {
	for _, request := range r.requests(reach.From(w), d) {
		if t := p.Reach.Trace(request); t.Outcome == flow.Allowed {
			f.Flow, f.Trace = &request, t
			return true
		}
	}
	return false
}
