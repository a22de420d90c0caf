package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// unmeshed is a namespace without any proxy of which a policy of a waypoint speaks,
// or which asks for ambient mode in words that nobody understands: its clients are
// meant to use the waypoint and go around it.
type unmeshed struct {
	namespace *model.Namespace
	clients   []*model.Workload
	host      waypointHost
	proof     *proof
	// named is the place in a policy of the waypoint that speaks of the namespace.
	named Related
	// asks is the value of the label for ambient mode that it has instead of the
	// right one.
	asks string
}

// unmeshedClients returns such namespaces, sorted by name.
func unmeshedClients(p *Pass) []*unmeshed {
	hosts := served(intentOf(p).waypointHosts())
	if len(hosts) == 0 {
		return nil
	}
	of, tried := map[string]*unmeshed{}, map[string]int{}
	var names []string
	for _, class := range p.classesIn(capture.None) {
		w := class[0]
		ns := p.Mesh.Namespaces[w.Namespace]
		if ns == nil || ns.Object == nil || !ns.Declared || w.Labels[model.DataplaneModeLabel] != "" || declines(ns.Labels[model.InjectionLabel]) {
			continue
		}
		if x := of[ns.Name]; x != nil {
			x.clients = append(x.clients, class...)
			continue
		}
		x := &unmeshed{namespace: ns, clients: class}
		x.asks = ns.Labels[model.DataplaneModeLabel]
		if x.asks == "none" {
			continue
		}
		for _, h := range hosts {
			if tried[ns.Name]++; tried[ns.Name] > maxSteered {
				break
			}
			named, ok := namedAt(p, h, ns.Name)
			if !ok && x.asks == "" {
				continue
			}
			x.proof = h.attempt(p, w, func(t *flow.Trace) bool {
				return t.Outcome == flow.Allowed && t.Via == flow.ViaUncaptured || stoppedByNetwork(t) && p.reaches(w, h.Binding.Waypoint)
			})
			if x.proof != nil {
				x.host, x.named = h, named
				break
			}
		}
		if x.proof != nil {
			of[ns.Name] = x
			names = append(names, ns.Name)
		}
	}
	slices.Sort(names)
	out := make([]*unmeshed, 0, len(names))
	for _, n := range names {
		out = append(out, of[n])
	}
	return out
}

// namedAt returns the place in an ALLOW policy of a host's waypoint that names an
// identity of a namespace.
func namedAt(p *Pass, h waypointHost, namespace string) (Related, bool) {
	policies := p.Reach.Sim.Push().AuthorizationPoliciesForWaypoint(h.Binding.Waypoint, h.Service)
	for _, policy := range policies.Allow {
		if !enforced(policy) {
			continue
		}
		for _, r := range rulesOf(policy) {
			for _, v := range r.identityValues() {
				if !v.not && speaksOf(v, policy.Namespace, namespace) {
					return Related{policy.Object, v.field, fmt.Sprintf("%s of the waypoint is about clients of namespace %q", r, namespace)}, true
				}
			}
		}
	}
	return Related{}, false
}

// report reports the namespace, at the label that is wrong or at its name.
func (x *unmeshed) report(p *Pass) {
	f := Finding{
		Severity: Warning, SecuritySeverity: 5.5, Object: x.namespace.Object, Field: "metadata.name", Label: "no ztunnel takes what these pods send",
		Workloads: workloadIDs(x.clients), Flow: &x.proof.Flow, Trace: x.proof.Trace,
		Help:    fmt.Sprintf("label the namespace %s=ambient", model.DataplaneModeLabel),
		Related: []Related{{x.host.Binding.Waypoint.Object, "metadata.name", fmt.Sprintf("waypoint %s forwards %s", x.host.Binding.Waypoint.ID(), x.host.name())}},
	}
	if x.named.Object != nil {
		f.Related = append(f.Related, x.named)
	}
	effect := fmt.Sprintf("requests of %s to %s go around waypoint %s", upTo3(f.Workloads), x.host.name(), x.host.Binding.Waypoint.ID())
	if x.proof.Trace.Outcome != flow.Allowed {
		f.SecuritySeverity = 0
		effect = fmt.Sprintf("requests of %s to %s do not go to waypoint %s but straight out, where a network policy stops them", upTo3(f.Workloads), x.host.name(), x.host.Binding.Waypoint.ID())
	}
	if x.asks != "" {
		f.Severity, f.Field, f.Label = Error, labelField(model.DataplaneModeLabel), "asks for nothing"
		f.Edits = []Edit{{f.Object, f.Field, "ambient"}}
		f.Message = fmt.Sprintf("%s sets %s=%q, which never puts pods into ambient mode: only the value \"ambient\" does; %s; write \"ambient\"",
			x.namespace.Object, model.DataplaneModeLabel, x.asks, effect)
		if f.SecuritySeverity > 0 {
			f.SecuritySeverity = 7.4
		}
		p.Report(f)
		return
	}
	f.Message = fmt.Sprintf("namespace %s is in no mesh mode (it has no label %s), so that %s; label the namespace %s=ambient",
		x.namespace.Name, model.DataplaneModeLabel, effect, model.DataplaneModeLabel)
	p.Report(f)
}
