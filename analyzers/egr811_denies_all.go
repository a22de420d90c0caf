package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// reportDeniesAll reports DENY rules without condition that stop what routes send to an
// egress gateway.
func (in *intent) reportDeniesAll() {
	all := map[*model.Workload]*authzRule{} // by gateway, the first
	for _, g := range in.gateways {
		for _, policy := range g.Policies.Deny {
			if r := unconditional(policy); all[g.Workload] == nil && r != nil && enforced(policy) {
				all[g.Workload] = r
			}
		}
	}
	if len(all) == 0 {
		return
	}
	type denied struct {
		r   *authzRule
		pod *model.Workload
	}
	var found byKey[denied]
	for a := range in.steered() {
		if a.By == nil || a.Trace.Reason != flow.RBACDenied || a.Trace.Via != flow.ViaGateway {
			continue
		}
		l := in.legOf(a.Trace)
		if l == nil || l.pod == nil || all[l.pod] == nil || !slices.ContainsFunc(a.Trace.Hops, func(h flow.Hop) bool {
			return slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object == all[l.pod].Policy.Object })
		}) {
			continue
		}
		found.add(denied{all[l.pod], l.pod}, a)
	}
	for _, k := range found.keys {
		c := found.of[k]
		in.pass.Report(c.finding(Finding{
			Object: k.r.Policy.Object, Field: fmt.Sprintf("spec.rules[%d]", k.r.Index), Severity: Warning,
			Message: fmt.Sprintf("%s has no condition and denies every request on %s: %s %s unreachable through egress gateway %s, though routes lead there, and no ALLOW rule overrides it; give the rule the conditions that are meant",
				k.r, in.scopeText(k.r.Policy), upTo3(c.hosts), c.are(), k.pod.ID()),
			Label:   "matches every request",
			Help:    "give the rule the conditions that are meant; to deny by default, write an ALLOW policy without rules (spec: {}), to which other policies add",
			Related: []Related{c.first.By.related()},
		}))
	}
}
