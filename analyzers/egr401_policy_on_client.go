package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID: "EGR401", Name: "egress-policy-on-client", Severity: Error, SecuritySeverity: 7.8,
	Run: egressPolicyOnClient,
	Doc: Doc{
		Title: "An AuthorizationPolicy that names external hosts applies to the clients, whose outbound traffic no policy filters",
		What: "An AuthorizationPolicy names hosts outside of the mesh, and the workloads that it applies to are clients with a sidecar, " +
			"none of them a gateway.",
		Why: "Sidecars evaluate AuthorizationPolicies on what they receive, never on what they send. Such a policy stops no request to the external host; " +
			"a DENY never fires, and an ALLOW denies whatever else calls these workloads.",
		Bad:  egressDoc(policyOnClientDoc("shop", "app: orders")),
		Good: egressDoc(policyOnClientDoc("istio-egress", "istio: egressgateway")),
		Fix:  "Send the host through an egress gateway, and apply the policy there: in the gateway's namespace, with its labels as selector.",
		Silent: "Hosts that no ServiceEntry registers as external and no route sends to a gateway; hosts that a gateway of the mesh serves from a Service of the cluster; " +
			"policies with `targetRefs`; policies that only lie in the wrong namespace (EGR402) or apply to nothing (EGR403).",
		Sources: []string{
			"istio pilot/pkg/networking/plugin/authz/authorization.go (no filter for outbound listeners of sidecars)",
			"https://github.com/istio/istio/issues/53904",
		},
	},
})

func policyOnClientDoc(namespace, label string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api
  namespace: ` + namespace + `
spec:
  selector:
    matchLabels:
      ` + label + `
  action: DENY
  rules:
  - to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`
}

func egressPolicyOnClient(p *Pass) {
	gateways := egressGateways(p)
	push := p.Reach.Sim.Push()
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) || len(model.TargetRefs(policy.Spec)) > 0 || len(misplaced(p, gateways, policy)) > 0 {
			continue
		}
		clients, gateway, unsure := clientsUnder(p, policy)
		if len(clients) == 0 || gateway || unsure {
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
			// "host:*" is only another form of "host".
			if v := fmt.Sprintf("%q", bareHost(n.Value)); !slices.Contains(named, v) {
				named = append(named, v)
			}
		}
		if len(named) == 0 {
			continue
		}
		f := Finding{Severity: Error, SecuritySeverity: 7.8, Object: policy.Object, Field: field, Label: "an external host, in a policy on its clients",
			Workloads: workloadIDs(clients),
			Help:      "send the host through an egress gateway, and put the policy into the gateway's namespace with a selector for its pods",
		}
		f.Message = fmt.Sprintf("AuthorizationPolicy %s names external host %s but applies to %s: it filters what they receive, not what they send",
			policy.ID(), upTo3(named), upTo3(f.Workloads))
		todo := "; apply it to an egress gateway that the host is sent through"
		for _, g := range gateways {
			if slices.ContainsFunc(hostsOf(policy), func(n namedHost) bool { return g.namedSteer(n) != nil }) {
				todo = fmt.Sprintf("; apply it to egress gateway %s, which the host is sent through", g.ID())
				f.Related = append(f.Related, Related{Object: g.Object, Field: g.Field("metadata.labels"), Message: fmt.Sprintf("egress gateway %s", g.ID())})
				break
			}
		}
		f.Message += todo
		f.Related = append(f.Related, Related{Object: clients[0].Object, Field: clients[0].Field("metadata.labels"),
			Message: fmt.Sprintf("%s is one of the workloads that the policy applies to", clients[0].ID())})
		f.showOutbound(p, policy, clients)
		p.Report(f)
	}
}

// clientsUnder returns the workloads with a sidecar that a policy applies to,
// and whether a gateway, or something of which that is not known, is among the
// others.
func clientsUnder(p *Pass, policy *model.AuthorizationPolicy) (clients []*model.Workload, gateway, unsure bool) {
	for _, w := range attachedTo(p, policy) {
		switch p.Reach.Sim.Capture(w).Mode {
		case capture.Sidecar:
			clients = append(clients, w)
		case capture.Router:
			gateway = true
		case capture.Undecided:
			unsure = true
		}
	}
	return clients, gateway, unsure
}

// external reports whether a policy's value names a host outside of the mesh: one
// that a ServiceEntry registers as such, or that routes send to a gateway, and
// that nothing serves inside.
func external(p *Pass, push *model.PushContext, gateways []*egressGateway, n namedHost) bool {
	outside := func(h host.Name) bool { return n.about(h) && !inCluster(push, h) && !servedInside(p, push, h) }
	for _, s := range push.Services() {
		if s.Entry != nil && s.MeshExternal && outside(s.Hostname) {
			return true
		}
	}
	for _, g := range gateways {
		if s := g.namedSteer(n); s != nil && outside(s.Host) {
			return true
		}
	}
	return false
}

// namedSteer returns a route that sends a host that a policy names to the
// gateway, nil if there is none.
func (g *egressGateway) namedSteer(n namedHost) *steer {
	for i := range g.Steers {
		if n.about(g.Steers[i].Host) {
			return &g.Steers[i]
		}
	}
	return nil
}

// showOutbound adds a request that the policy is about and that gets out.
func (f *Finding) showOutbound(p *Pass, policy *model.AuthorizationPolicy, clients []*model.Workload) {
	for _, r := range rulesOf(policy) {
		hosts := r.hosts()
		for _, d := range p.Reach.Universe() {
			if !slices.ContainsFunc(hosts, func(n namedHost) bool { return n.covers(d.Host) }) {
				continue
			}
			for _, w := range clients {
				if f.showAllowed(p, r, w, d) {
					return
				}
			}
		}
	}
}
