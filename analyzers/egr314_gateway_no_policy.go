package analyzers

import (
	"fmt"
	"slices"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR314", Name: "gateway-has-no-policy", Severity: Error, SecuritySeverity: 7.5,
	Run: gatewayHasNoPolicy,
	Doc: Doc{
		Title: "An egress gateway forwards every request, because no ALLOW policy is in force there",
		What: "Routes of the mesh send hosts to an egress gateway, and no AuthorizationPolicy of action ALLOW or CUSTOM applies to it, or one has a rule without any condition (`rules: [{}]`). " +
			"It is a warning where other policies about egress show that somebody means to control it, else a note; an error where such a rule voids other ALLOW policies.",
		Why: "Without an ALLOW policy a gateway denies only what a DENY policy names: each new workload, and each new route to the gateway, is open to everybody from its first day. " +
			"With one, whatever no rule names is denied. `spec: {}` is a policy without rules, which allows nothing; `rules: [{}]` has one that allows everything, " +
			"and ALLOW policies add up.",
		Bad:  egressDoc(""),
		Good: egressDoc(allowOrders("istio-egress", "istio-egress")),
		Fix:  "Put an ALLOW policy with an empty `spec` into the gateway's namespace, and policies that name who may reach what.",
		Silent: "Gateways with a DENY policy that excepts somebody or something (`notPrincipals`, `notHosts` and the like): it denies by default as well; " +
			"gateways for which an ALLOW policy is meant that does not apply (EGR402, EGR403, EGR404) or is a dry run (EGR424); gateways through which no request of a client in the input gets.",
		Sources: []string{
			"https://istio.io/latest/docs/ops/best-practices/security/#use-default-deny-patterns",
			"istio pilot/pkg/security/authz/builder/builder.go",
		},
	},
})

func gatewayHasNoPolicy(p *Pass) {
	gateways := egressGateways(p)
	controlled := len(governing(p)) > 0
	for _, g := range gateways {
		if g.reportOpenRule(p) || g.deniesByDefault() || slices.ContainsFunc(p.Mesh.AuthorizationPolicies, func(a *model.AuthorizationPolicy) bool { return g.shouldAllow(gateways, a) }) {
			continue
		}
		first, through := g.through(p)
		if first == nil {
			continue
		}
		at := serverPlace(first.Servers[0], "")
		f := Finding{
			Severity: Note, SecuritySeverity: 3.0, Object: at.Object, Field: at.Field, Label: "open to every client",
			Help:      fmt.Sprintf("add an AuthorizationPolicy with an empty spec in namespace %q, and ALLOW policies that name the clients and the hosts", g.Namespace),
			Workloads: workloadIDs(through), Flow: &first.Flow, Trace: first.Trace,
			Related: []Related{{g.Object, "metadata.name", "the gateway's pods"}},
		}
		if controlled {
			f.Severity, f.SecuritySeverity = Warning, 5.0
		}
		var hosts []string
		for _, s := range g.Steers {
			if !slices.Contains(hosts, string(s.Host)) {
				hosts = append(hosts, string(s.Host))
			}
		}
		f.Message = fmt.Sprintf("egress gateway %s denies nobody by default: no ALLOW AuthorizationPolicy is in force there, and it forwards requests of %s for %s (%s); allow only what is meant",
			g.ID(), upTo3(f.Workloads), counted(len(hosts), "host"), upTo3(hosts))
		p.Report(f)
	}
}

// reportOpenRule reports a rule of an ALLOW policy in force at the gateway that has
// no condition, if a request gets out; true if there is such a rule.
func (g *egressGateway) reportOpenRule(p *Pass) bool {
	var open *authzRule
	var voided *model.AuthorizationPolicy
	for _, policy := range g.Policies.Allow {
		if !enforced(policy) {
			continue
		}
		own := unconditional(policy)
		if open == nil {
			open = own
		}
		if own == nil && voided == nil {
			voided = policy
		}
	}
	if open == nil {
		return false
	}
	first, through := g.through(p)
	if first == nil {
		return true
	}
	f := Finding{
		Severity: Warning, SecuritySeverity: 5.0, Object: open.Policy.Object, Field: fmt.Sprintf("spec.rules[%d]", open.Index), Label: "allows every request",
		Workloads: workloadIDs(through), Flow: &first.Flow, Trace: first.Trace,
		Related: []Related{{g.Object, "metadata.name", "the gateway's pods"}},
		Help:    "a policy without rules (an empty spec) allows nothing; name in rules who may reach what",
	}
	effect := "so that it denies nobody by default"
	if voided != nil {
		f.Severity, f.SecuritySeverity = Error, 7.5
		effect = fmt.Sprintf("so that AuthorizationPolicy %s restricts nobody", voided.ID())
		f.Related = append(f.Related, Related{voided.Object, "spec", "ALLOW policies add up: what one allows no other one closes"})
	}
	f.Message = fmt.Sprintf("%s has no condition and allows every request at egress gateway %s, %s: requests of %s get out; remove the rule, or say whom it allows what",
		open, g.ID(), effect, upTo3(f.Workloads))
	p.Report(f)
	return true
}

// unconditional returns the first rule of a policy that has no condition at all, nil if
// there is none.
func unconditional(policy *model.AuthorizationPolicy) *authzRule {
	for _, r := range rulesOf(policy) {
		if len(r.GetFrom())+len(r.GetTo())+len(r.GetWhen()) == 0 {
			return &r
		}
	}
	return nil
}

// deniesByDefault reports whether some policy in force denies what it does not name.
func (g *egressGateway) deniesByDefault() bool {
	for _, policy := range g.enforcedPolicies() {
		if !denies(policy) {
			return true // ALLOW, or somebody outside decides
		}
		for _, r := range rulesOf(policy) {
			if len(r.exceptFields()) > 0 || slices.ContainsFunc(r.GetTo(), func(to *security.Rule_To) bool {
				o := to.GetOperation()
				return len(o.GetNotHosts())+len(o.GetNotPaths())+len(o.GetNotMethods())+len(o.GetNotPorts()) > 0
			}) || slices.ContainsFunc(r.GetWhen(), func(c *security.Condition) bool { return len(c.GetNotValues()) > 0 }) {
				return true
			}
		}
	}
	return false
}

// shouldAllow reports whether an ALLOW or CUSTOM policy that is not enforced at the
// gateway is meant for it.
func (g *egressGateway) shouldAllow(gateways []*egressGateway, policy *model.AuthorizationPolicy) bool {
	if action := policy.Spec.GetAction(); action != security.AuthorizationPolicy_ALLOW && action != security.AuthorizationPolicy_CUSTOM {
		return false
	}
	if g.governs(policy.Namespace) && (len(model.TargetRefs(policy.Spec)) > 0 || len(policy.Spec.GetSelector().GetMatchLabels()) > 0 || model.DryRun(policy)) {
		// Another gateway beside this one may be meant.
		return !slices.ContainsFunc(gateways, func(other *egressGateway) bool {
			return other != g && model.Attached(policy.Namespace, policy.Spec, other.Workload)
		})
	}
	return g.meant(policy)
}

// through returns a request that gets out through the gateway, and the clients of
// which one does.
func (g *egressGateway) through(p *Pass) (first *crossing, clients []*model.Workload) {
	var requests []flow.Flow
	for _, d := range g.destinations {
		if len(requests) >= maxAtDoor {
			break
		}
		for _, scheme := range []flow.Scheme{flow.HTTP, flow.TLS} {
			if d.Port == 443 && scheme == flow.HTTP || d.Port == 80 && scheme == flow.TLS || host.Name(d.Host).IsWildCarded() {
				continue
			}
			requests = append(requests, flow.Flow{Host: d.Host, Port: d.Port, Scheme: scheme})
		}
	}
	for _, class := range p.Reach.Classes() {
		if p.Reach.Sim.Capture(class[0]).Mode != capture.Sidecar {
			continue
		}
		for i, f := range requests {
			f.From = reach.From(class[0])
			t := p.Reach.Sim.Verdict(f)
			if t.Outcome != flow.Allowed || t.Via != flow.ViaGateway || len(g.takenBy(t)) == 0 {
				continue
			}
			if first == nil {
				first = g.send(p, class, f)
			}
			clients = append(clients, class...)
			requests[0], requests[i] = requests[i], requests[0] // the next class fares alike
			break
		}
	}
	return first, clients
}
