package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// reportIdle reports waypoints that no label names, in namespaces that hold
// nothing else but entries for hosts outside: what `istioctl waypoint apply` leaves
// where nobody enrols the namespace. Nothing goes through them.
func reportIdle(p *Pass, hosts []waypointHost, clients *ambientClients) {
	push := p.Reach.Sim.Push()
	for _, g := range p.Mesh.KubeGateways {
		ns := p.Mesh.Namespaces[g.Namespace]
		if !p.Mesh.IsWaypoint(g) || ns == nil || !ns.Declared || len(push.WaypointServices(g)) > 0 ||
			slices.ContainsFunc(hosts, func(h waypointHost) bool { return h.Service.Namespace == g.Namespace }) ||
			len(clients.in(g.Namespace).namespaces) > 0 {
			continue
		}
		var entries []waypointHost
		var names []string
		others := false
		for _, s := range push.Services() {
			switch {
			case s.Namespace != g.Namespace:
			case s.Entry == nil || inCluster(push, s.Hostname) || push.ServiceIn(s.Hostname, s.Namespace) != s:
				others = others || s.Kubernetes() && !strings.HasPrefix(string(s.Hostname), g.Name+".")
			default:
				entries = append(entries, waypointHost{s, push.WaypointOf(s)})
				names = append(names, string(s.Hostname))
			}
		}
		if others || len(entries) == 0 || namedElsewhere(p, g) {
			continue
		}
		first, affected := clients.faring(entries[0], func(t *flow.Trace) bool { return leavesDirectly(t) || stoppedByNetwork(t) })
		if first == nil {
			continue
		}
		slices.Sort(names)
		f := Finding{
			Severity: Error, SecuritySeverity: 8.2, Object: g.Object, Field: "metadata.name", Label: "nothing goes through it",
			Workloads: workloadIDs(affected), Flow: &first.Flow, Trace: first.Trace,
			Help:    fmt.Sprintf("label namespace %s %s=%s, or each ServiceEntry that it is meant for", g.Namespace, useWaypoint, g.Name),
			Related: []Related{{entries[0].Service.Object, entries[0].Service.HostField, "is bound to no waypoint"}},
		}
		if ns.Object != nil {
			f.Related = append(f.Related, Related{ns.Object, "metadata.name", fmt.Sprintf("has no label %s", useWaypoint)})
		}
		effect := fmt.Sprintf("%s %s", upTo3(f.Workloads), plural(len(f.Workloads), "reaches", "reach")) + " " + upTo3(names) + " directly"
		if first.Trace.Outcome != flow.Allowed {
			f.SecuritySeverity = 0
			effect = fmt.Sprintf("requests of %s to %s go straight out, where a network policy stops them", upTo3(f.Workloads), upTo3(names))
		}
		f.Message = fmt.Sprintf("waypoint %s takes nothing: neither its namespace nor any ServiceEntry there has the label %s, so that %s; label the namespace %s=%s",
			g.ID(), useWaypoint, effect, useWaypoint, g.Name)
		p.Report(f)
	}
}

// namedElsewhere reports whether some namespace or policy that is in force speaks of a
// waypoint.
func namedElsewhere(p *Pass, g *model.KubeGateway) bool {
	for _, policy := range p.Mesh.AuthorizationPolicies {
		for _, ref := range model.TargetRefs(policy.Spec) {
			if ref.GetKind() == "ServiceEntry" && policy.Namespace == g.Namespace {
				return true // EGR404 tells it
			}
		}
	}
	return false
}
