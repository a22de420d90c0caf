package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR811", Name: "conflicting-default-deny", Severity: Warning,
	Run: runDefaultDeny,
	Doc: Doc{
		Title: "Policies of the egress gateway let nobody through to a host that routes send there",
		What: "ALLOW AuthorizationPolicies are in force at an egress gateway (one with an empty `spec`, which allows nothing, or some of which no rule is for the host), routes of the mesh send the host to the gateway, and no ALLOW rule lets any client through to it. " +
			"Or a DENY rule without any condition is in force there.",
		Why: "`spec: {}` is an ALLOW policy without rules: with it, whatever no other ALLOW rule matches is denied. It is not a DENY policy, so an ALLOW rule for the host is all that is missing; " +
			"it does not have to come before or after it. A policy without `action` is an ALLOW policy. A DENY rule without `from`, `to` and `when` matches every request, and no ALLOW rule overrides it.",
		Bad:    egressDoc("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: allow-nothing\n  namespace: istio-egress\nspec: {}\n"),
		Good:   egressDoc(allowOrders("istio-egress", "istio-egress")),
		Fix:    "Add an ALLOW policy in the gateway's namespace for the clients and hosts that may pass, or remove the routes of those that may not. Give a DENY rule the conditions that are meant.",
		Silent: "Hosts that some client reaches, hosts that an ALLOW rule anywhere names (why that does not help is EGR809 or a rule about the policy), hosts with an unknown verdict.",
		Sources: []string{
			"istio pilot/pkg/security/authz/builder/builder.go",
			"https://istio.io/latest/docs/concepts/security/#allow-nothing-deny-all-and-allow-all-policy",
		},
	},
})

// closing is what a finding of EGR811 is about.
type closing struct {
	policy *model.AuthorizationPolicy
	pod    *model.Workload
}

func runDefaultDeny(p *Pass) {
	in := intentOf(p)
	empty := map[*model.Workload][]*model.AuthorizationPolicy{} // by gateway
	for _, g := range in.gateways {
		for _, policy := range g.Policies.Allow {
			if enforced(policy) && len(policy.Spec.GetRules()) == 0 {
				empty[g.Workload] = append(empty[g.Workload], policy)
			}
		}
	}
	in.reportDeniesAll()
	in.reportClosedWaypoints()
	if !slices.ContainsFunc(in.gateways, func(g *egressGateway) bool { return len(g.Policies.Allow) > 0 }) {
		return
	}
	closed := in.closed()
	in.reportNobody(closed, empty)
	if len(empty) == 0 {
		return
	}
	var found byKey[closing]
	for _, alike := range closed {
		l := in.legOf(alike.Trace)
		if l == nil || l.pod == nil {
			continue
		}
		denying := strings.Split(alike.Trace.Policy, ",")
		i := slices.IndexFunc(empty[l.pod], func(policy *model.AuthorizationPolicy) bool { return slices.Contains(denying, policy.ID()) })
		if i < 0 {
			continue
		}
		for a := range in.each(alike, nil) {
			if !slices.ContainsFunc(in.gateways, func(g *egressGateway) bool { return g.Workload == l.pod && in.opened(g, a) }) {
				found.add(closing{empty[l.pod][i], l.pod}, a)
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		p.Report(c.finding(Finding{
			Object: k.policy.Object, Field: "spec", Severity: Warning,
			Message: fmt.Sprintf("AuthorizationPolicy %s allows nothing on %s: %s %s unreachable through egress gateway %s, though routes lead there; add an ALLOW rule for what may pass, which this policy does not override (it is no DENY)",
				k.policy.ID(), in.scopeText(k.policy), upTo3(c.hosts), c.are(), k.pod.ID()),
			Label:   "an ALLOW policy without rules",
			Help:    fmt.Sprintf("add an AuthorizationPolicy with action ALLOW in namespace %q that names the clients and the hosts", k.pod.Namespace),
			Related: []Related{c.first.By.related()},
		}))
	}
}

// closed returns the attempts for hosts to which the gateway lets nobody through
// because no ALLOW rule matches, and which no ALLOW rule names. Nil if there is
// none.
func (in *intent) closed() []*attempt {
	exact, patterns := map[string]bool{}, []namedHost(nil) // what policies name
	for _, policy := range in.push.Mesh.AuthorizationPolicies {
		if denies(policy) {
			continue
		}
		for _, n := range hostsOf(policy) {
			if strings.Contains(n.Value, "*") {
				patterns = append(patterns, n)
			} else {
				exact[strings.ToLower(bareHost(n.Value))] = true
			}
		}
	}
	open := map[string]bool{}
	var denied []*attempt
	for a := range in.steered() {
		switch {
		case a.By == nil:
		case a.Trace.Reason == flow.RBACDenied && a.Trace.Via == flow.ViaGateway:
			// What a DENY rule denies opens nothing either.
			if a.Trace.Rule == nil && !exact[strings.ToLower(a.To.Host)] && !slices.ContainsFunc(patterns, func(n namedHost) bool { return n.covers(a.To.Host) }) {
				denied = append(denied, a)
			}
		default:
			open[a.name()] = true // or fails for another reason, or is unknown
		}
	}
	return slices.DeleteFunc(denied, func(a *attempt) bool { return open[a.name()] })
}

// opened reports whether some ALLOW rule in force at a gateway lets some request
// through.
func (in *intent) opened(g *egressGateway, a *attempt) bool {
	return slices.ContainsFunc(g.Policies.Allow, func(policy *model.AuthorizationPolicy) bool {
		return enforced(policy) && slices.ContainsFunc(rulesOf(policy), func(r authzRule) bool { return in.admits(r, a) })
	})
}

// scopeText says what a policy is in force on.
func (in *intent) scopeText(policy *model.AuthorizationPolicy) string {
	switch {
	case len(policy.Spec.GetSelector().GetMatchLabels()) > 0:
		return "the workloads that its selector selects"
	case policy.Namespace == in.push.RootNamespace():
		return "every workload of the mesh"
	default:
		return fmt.Sprintf("every workload of namespace %q", policy.Namespace)
	}
}
