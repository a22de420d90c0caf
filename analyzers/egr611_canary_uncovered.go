package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR611", Name: "canary-waypoint-uncovered", Severity: Error, SecuritySeverity: 7.4,
	Run: runCanaryUncovered,
	Doc: Doc{
		Title: "Policies of a waypoint do not apply to its canary",
		What: "A part of the connections to an external host goes to a second waypoint (`istio.io/use-waypoint-canary`), and AuthorizationPolicies of the first one do not apply there, " +
			"so that requests get out by the second.",
		Why: "A policy whose `targetRefs` name a Gateway is enforced by that Gateway alone. The share of the canary goes unfiltered: who is denied tries again.",
		Bad: ambientDoc(canaryEdits, strings.Replace(waypointGateway, "name: waypoint", "name: next", 1), callersPolicy("istio-egress", "waypoint", []string{"billing"})),
		Good: ambientDoc(canaryEdits, strings.Replace(waypointGateway, "name: waypoint", "name: next", 1), callersPolicy("istio-egress", "waypoint", []string{"billing"}),
			callersPolicy("istio-egress", "next", []string{"billing"})),
		Fix:    "Let the policies name both Gateways in `targetRefs`, or the ServiceEntry, which both waypoints know.",
		Silent: "The policies hold for both waypoints; no client's request fares better by the canary; the binding is unknown.",
		Sources: []string{
			"istio pilot/pkg/serviceregistry/ambient/waypoints.go (buildWeightedWaypoints)",
			"istio pilot/pkg/model/policyattachment.go (ShouldAttachPolicy)",
		},
	},
})

// canaryEdits give the waypoint of the documentation a canary.
var canaryEdits = []string{"  name: api\n  namespace: istio-egress\n", `  name: api
  namespace: istio-egress
  labels:
    istio.io/use-waypoint: waypoint
    istio.io/use-waypoint-canary: next
  annotations:
    istio.io/use-waypoint-canary-weight: "10"
`}

func runCanaryUncovered(p *Pass) {
	push := p.Reach.Sim.Push()
	var clients *ambientClients
	for _, h := range served(waypointHosts(p)) {
		b := h.Binding
		if b.Canary == nil {
			continue
		}
		all := func(g *model.KubeGateway) []*model.AuthorizationPolicy {
			list := push.AuthorizationPoliciesForWaypoint(g, h.Service)
			return slices.DeleteFunc(slices.Concat(list.Custom, list.Deny, list.Allow), func(a *model.AuthorizationPolicy) bool { return !enforced(a) })
		}
		there := all(b.Canary)
		missing := slices.DeleteFunc(all(b.Waypoint), func(a *model.AuthorizationPolicy) bool { return slices.Contains(there, a) })
		if len(missing) == 0 {
			continue
		}
		if clients == nil {
			clients = ambientClientsOf(p)
		}
		first, affected := clients.eachClass(func(*model.Workload) bool { return true }).faring(h, func(t *flow.Trace) bool {
			return t.Outcome == flow.Mixed && slices.ContainsFunc(t.Branches, func(br flow.Branch) bool {
				return br.Outcome == flow.Blocked && br.Reason == flow.RBACDenied && br.Via == flow.ViaWaypoint
			}) && slices.ContainsFunc(t.Branches, func(br flow.Branch) bool { return br.Outcome == flow.Allowed && br.Weight == b.CanaryWeight })
		})
		if first == nil {
			continue
		}
		var names []string
		f := Finding{Object: b.Object, Field: b.Field, Label: "the second waypoint has fewer policies", Workloads: workloadIDs(affected), Flow: &first.Flow, Trace: first.Trace,
			Help: "a policy with the ServiceEntry as target holds for both waypoints"}
		if _, ok := h.Service.Object.Labels[useWaypoint+"-canary"]; ok {
			f.Object, f.Field = h.Service.Object, labelField(useWaypoint+"-canary")
		}
		for _, a := range missing {
			names = append(names, a.ID())
			f.Related = append(f.Related, Related{a.Object, "spec.targetRefs", fmt.Sprintf("AuthorizationPolicy %s holds for waypoint %s alone", a.ID(), b.Waypoint.ID())})
		}
		f.Message = fmt.Sprintf("canary waypoint %s takes %d%% of the connections to %s without AuthorizationPolicy %s: %s, denied by waypoint %s, %s out by it; let targetRefs name both",
			b.Canary.ID(), b.CanaryWeight, h.name(), upTo3(names), upTo3(f.Workloads), b.Waypoint.ID(), plural(len(f.Workloads), "gets", "get"))
		p.Report(f)
	}
}
