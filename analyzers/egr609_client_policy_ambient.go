package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID: "EGR609", Name: "client-side-ambient-policy", Severity: Error, SecuritySeverity: 7.6,
	Run: runClientSideAmbientPolicy,
	Doc: Doc{
		Title: "An AuthorizationPolicy that names external hosts applies to clients in ambient mode, of whose outbound connections none is filtered",
		What:  "An AuthorizationPolicy without `targetRefs` names hosts outside of the mesh, and applies to workloads in ambient mode that reach them.",
		Why: "ztunnel evaluates policies at the receiving pod, and an external host has none. The policy stops nothing that its workloads send. " +
			"What it does do is about calls that they receive: an ALLOW rule with hosts counts for nothing there, so that everybody is denied, and a DENY with hosts denies everybody.",
		Bad: ambientDoc(nil, policyOnClientDoc("shop", "app: orders")),
		Good: ambientDoc(nil, `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api
  namespace: istio-egress
spec:
  targetRefs:
  - group: networking.istio.io
    kind: ServiceEntry
    name: api
  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
`),
		Fix:    "Bind the ServiceEntry of the host to a waypoint, and write the policy for that: `targetRefs` with the ServiceEntry, in its namespace, or with the Gateway of the waypoint.",
		Silent: "The host is none that a ServiceEntry registers as external, or something stops the requests; the policy also applies to a gateway. Clients with sidecars are EGR401.",
		Sources: []string{
			"istio pilot/pkg/serviceregistry/ambient/authorization.go (convertAuthorizationPolicy, handleRule)",
			"https://istio.io/latest/docs/ambient/usage/l4-policy/",
		},
	},
})

func runClientSideAmbientPolicy(p *Pass) {
	push := p.Reach.Sim.Push()
	var gateways []*egressGateway
	for i, policy := range p.Mesh.AuthorizationPolicies {
		if i == 0 {
			gateways = egressGateways(p)
		}
		if !enforced(policy) || len(model.TargetRefs(policy.Spec)) > 0 || len(hostsOf(policy)) == 0 {
			continue
		}
		var clients []*model.Workload
		gateway := false
		for _, w := range attachedTo(p, policy) {
			switch p.Reach.Sim.Capture(w).Mode {
			case capture.Ambient:
				clients = append(clients, w)
			case capture.Router, capture.Undecided:
				gateway = true
			}
		}
		if len(clients) == 0 || gateway {
			continue
		}
		var named []string
		field := ""
		for _, n := range hostsOf(policy) {
			if !external(p, push, gateways, n) {
				continue
			}
			if field == "" {
				field = n.Field
			}
			if v := fmt.Sprintf("%q", bareHost(n.Value)); !slices.Contains(named, v) {
				named = append(named, v)
			}
		}
		if len(named) == 0 {
			continue
		}
		f := Finding{Object: policy.Object, Field: field, Label: "an external host, in a policy on its clients", Workloads: workloadIDs(clients),
			Help: "bind the ServiceEntry of the host to a waypoint, and let targetRefs of the policy name it"}
		f.showOutbound(p, policy, clients[:min(len(clients), maxSkipped)])
		if f.Flow == nil {
			continue
		}
		f.Message = fmt.Sprintf("AuthorizationPolicy %s names external host %s but applies to %s in ambient mode: ztunnel filters what they receive, not what they send; "+
			"apply it to a waypoint that the host is bound to", policy.ID(), upTo3(named), upTo3(f.Workloads))
		for _, h := range served(waypointHosts(p)) {
			if slices.ContainsFunc(hostsOf(policy), func(n namedHost) bool { return n.covers(h.name()) }) {
				f.Related = append(f.Related, Related{h.Binding.Waypoint.Object, "metadata.name", fmt.Sprintf("%s goes through this waypoint", h.name())})
				break
			}
		}
		p.Report(f)
	}
}
