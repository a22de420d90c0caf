package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

var _ = register(&Analyzer{
	ID: "EGR610", Name: "open-egress-waypoint", Severity: Warning, SecuritySeverity: 5.5,
	Run: runOpenWaypoint,
	Doc: Doc{
		Title: "A waypoint forwards external hosts for clients of every namespace",
		What:  "External hosts are bound to a waypoint, clients in ambient mode of other namespaces get out through it, and no AuthorizationPolicy and no network policy of the waypoint restricts who may call, or an ALLOW policy has a rule without any condition (`rules: [{}]`).",
		Why: "`allowedRoutes` of a waypoint says which objects may name it, not who may use it. Every workload of the mesh can use the hosts that it forwards, " +
			"with whatever the waypoint adds: client certificates, an address that is admitted outside.",
		Bad:  ambientDoc(nil),
		Good: ambientDoc(nil, callersPolicy("istio-egress", "waypoint", []string{"shop"})),
		Fix:  "Write an AuthorizationPolicy whose `targetRefs` name the Gateway of the waypoint or the ServiceEntry, with the namespaces or principals that may call.",
		Silent: "Some policy that is enforced at the waypoint is about the host, whatever its conditions; the only clients of the input are those of the waypoint's own namespace; " +
			"a network policy restricts who reaches the waypoint's pods.",
		Sources: []string{
			"https://github.com/istio/istio/issues/57661",
			"istio pilot/pkg/model/policyattachment.go (ShouldAttachPolicy)",
		},
	},
})

// callersPolicy lets clients of namespaces use a waypoint.
func callersPolicy(namespace, waypoint string, callers []string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: ` + waypoint + `-callers
  namespace: ` + namespace + `
spec:
  targetRefs:
  - group: gateway.networking.k8s.io
    kind: Gateway
    name: ` + waypoint + `
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["` + strings.Join(callers, `", "`) + `"]
`
}

// unconditionalOf returns the first rule without any condition of policies in force, nil
// if there is none.
func unconditionalOf(policies []*model.AuthorizationPolicy) *authzRule {
	for _, policy := range policies {
		if enforced(policy) {
			if r := unconditional(policy); r != nil {
				return r
			}
		}
	}
	return nil
}

func runOpenWaypoint(p *Pass) {
	push := p.Reach.Sim.Push()
	var order []*model.KubeGateway
	of := map[*model.KubeGateway][]waypointHost{}
	rules := map[*model.KubeGateway]*authzRule{} // that allow everything for the first host
	for _, h := range served(waypointHosts(p)) {
		g := h.Binding.Waypoint
		policies := push.AuthorizationPoliciesForWaypoint(g, h.Service)
		if r := unconditionalOf(policies.Allow); r != nil {
			if of[g] == nil {
				rules[g] = r
			}
		} else if slices.ContainsFunc(slices.Concat(policies.Custom, policies.Deny, policies.Allow), enforced) {
			continue
		}
		if of[g] == nil {
			order = append(order, g)
		}
		of[g] = append(of[g], h)
	}
	if len(order) == 0 {
		return
	}
	all := ambientClientsOf(p)
	for _, g := range order {
		if w := push.WaypointWorkload(g); w != nil && len(p.network.policies.Isolating(w, networkingv1.PolicyTypeIngress)) > 0 {
			continue
		}
		clients := &ambientClients{pass: p}
		for _, ns := range all.namespaces {
			if ns.first().Namespace != g.Namespace {
				clients.namespaces = append(clients.namespaces, ns)
			}
		}
		h := of[g][0]
		first, affected := clients.faring(h, func(t *flow.Trace) bool { return waypointTakes(t, h.Service) })
		if first == nil {
			continue
		}
		var names []string
		for _, h := range of[g] {
			names = append(names, h.name())
		}
		slices.Sort(names)
		namespaces, _ := byNamespace(affected)
		slices.Sort(namespaces)
		f := Finding{Object: g.Object, Field: "metadata.name", Label: "whoever is in the mesh may use it", Workloads: workloadIDs(affected), Flow: &first.Flow, Trace: first.Trace,
			Fix: callersPolicy(g.Namespace, g.Name, namespaces), Help: "the policy of the fix names the namespaces of the clients that the input holds; take out those that need not reach the hosts",
			Related: []Related{{h.Service.Object, h.Service.HostField, fmt.Sprintf("%s goes through it", h.name())}}}
		f.Message = fmt.Sprintf("waypoint %s forwards %s for clients of every namespace, here %s: no policy says who may call; write an AuthorizationPolicy with the waypoint as target",
			g.ID(), upTo3(slices.Compact(names)), upTo3(namespaces))
		if r := rules[g]; r != nil {
			f.Object, f.Field, f.Label, f.Fix = r.Policy.Object, fmt.Sprintf("spec.rules[%d]", r.Index), "allows every request", ""
			f.Help = "a policy without rules (an empty spec) allows nothing; name in rules who may reach what"
			f.Message = fmt.Sprintf("%s has no condition and allows every request at waypoint %s, so that other rules restrict nobody: clients of %s reach %s; remove the rule, or say whom it allows what",
				r, g.ID(), upTo3(namespaces), upTo3(slices.Compact(names)))
		}
		p.Report(f)
	}
}
