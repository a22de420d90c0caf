package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// reportNobody reports hosts that routes send to an egress gateway whose ALLOW policies
// let nobody through to them, where none of the policies is empty and each of their rules
// names other hosts: why a rule for any host matches nobody is told elsewhere.
func (in *intent) reportNobody(closed []*attempt, empty map[*model.Workload][]*model.AuthorizationPolicy) {
	var found byKey[closing]
	at := map[*model.Workload]*egressGateway{}
	for _, a := range closed {
		l := in.legOf(a.Trace)
		if l == nil || l.pod == nil || len(empty[l.pod]) > 0 {
			continue
		}
		i := slices.IndexFunc(in.gateways, func(g *egressGateway) bool { return g.Workload == l.pod })
		if i < 0 {
			continue
		}
		allow := allowingAt(in.gateways[i])
		if len(allow) == 0 || slices.ContainsFunc(allow, func(policy *model.AuthorizationPolicy) bool {
			return slices.ContainsFunc(rulesOf(policy), func(r authzRule) bool { return len(r.hosts()) == 0 })
		}) {
			continue
		}
		for own := range in.each(a, nil) {
			if !in.opened(in.gateways[i], own) {
				at[l.pod] = in.gateways[i]
				found.add(closing{allow[0], l.pod}, own)
			}
		}
	}
	for _, k := range found.keys {
		c, g := found.of[k], at[k.pod]
		allow := allowingAt(g)
		f := Finding{
			Object: allow[0].Object, Field: "spec", Severity: Warning, Label: "in force there, and does not allow it",
			Help:    fmt.Sprintf("add an ALLOW rule for it in namespace %q, or remove the route", g.Namespace),
			Related: []Related{c.first.By.related()},
		}
		var names []string
		for _, policy := range allow {
			names = append(names, policy.ID())
		}
		for _, policy := range slices.Concat(g.Policies.Deny, allow) {
			if action, meant := contradicts(policy); meant != "" && f.Field == "spec" && enforced(policy) {
				f.Object, f.Field, f.Label = policy.Object, "spec.action", "is "+action
				f.Help = fmt.Sprintf("is action %s meant for AuthorizationPolicy %s, which is %s?", meant, policy.ID(), action)
			}
		}
		f.Message = fmt.Sprintf("no ALLOW rule lets anybody through egress gateway %s to %s, though routes lead there (ALLOW policies in force: %s): %s; %s",
			g.ID(), upTo3(c.hosts), upTo3(names), whatClientsSee(c), f.Help)
		in.pass.Report(c.finding(f))
	}
}

// contradicts returns the action of a policy and the one that its name speaks of, ""
// where it speaks of none or of this one.
func contradicts(policy *model.AuthorizationPolicy) (action, meant string) {
	name := strings.ToLower(policy.Name)
	switch allow, deny := strings.Contains(name, "allow"), strings.Contains(name, "deny"); {
	case allow && !deny && denies(policy):
		return "DENY", "ALLOW"
	case deny && !allow && !denies(policy):
		return "ALLOW", "DENY"
	}
	return "", ""
}

// allowingAt returns the ALLOW policies with rules that a gateway enforces.
func allowingAt(g *egressGateway) []*model.AuthorizationPolicy {
	var out []*model.AuthorizationPolicy
	for _, policy := range g.Policies.Allow {
		if enforced(policy) && len(policy.Spec.GetRules()) > 0 {
			out = append(out, policy)
		}
	}
	return out
}
