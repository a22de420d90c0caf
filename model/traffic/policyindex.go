package traffic

import (
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// ruleIndex finds the rules that may match a subject. A gateway enforces the
// policies of all teams, of which each names its own hosts or callers: to try
// every rule on every request takes time that grows with the square of the mesh.
type ruleIndex struct {
	// byName are places of rules by the one thing of which they need a value: see
	// names. general are those of all other rules.
	byName  map[nameKey][]int
	general []int
}

// nameKey is a value of an attribute.
type nameKey struct{ attribute, value string }

// The attributes by which rules are found.
const (
	hostsAttribute     = "hosts"
	sniAttribute       = "connection.sni"
	principalAttribute = "principals"
)

// exactValues returns the values of an attribute, one of which a subject must have
// for a condition to hold; none where a condition is not like that. Values are as
// the matchers of the attribute compare them.
func (c *ruleCompiler) exactValues(attribute string, values []string) []nameKey {
	var out []nameKey
	for _, v := range values {
		if strings.HasPrefix(v, "*") || strings.HasSuffix(v, "*") {
			return nil
		}
		switch attribute {
		case hostsAttribute:
			out = append(out, nameKey{attribute, strings.ToLower(v)})
		case sniAttribute:
			out = append(out, nameKey{attribute, v})
		case principalAttribute, "source.principal":
			for _, id := range c.expandTrustDomains(v) {
				if strings.HasPrefix(id, "*") || strings.HasSuffix(id, "*") {
					return nil
				}
				out = append(out, nameKey{principalAttribute, "spiffe://" + id})
			}
		default:
			return nil
		}
	}
	return out
}

// needs returns values of which a subject must have one for a rule to match, nil
// where no list of values is known.
func (r *policyRule) needs() []nameKey {
	for _, clauses := range [][]clause{r.to, r.from} {
		var out []nameKey
		for _, c := range clauses {
			i := slices.IndexFunc(c, func(cond condition) bool { return len(cond.exact) > 0 })
			if i < 0 {
				out = nil
				break
			}
			out = append(out, c[i].exact...)
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

func indexRules(rules []policyRule) *ruleIndex {
	x := &ruleIndex{byName: map[nameKey][]int{}}
	for i := range rules {
		keys := rules[i].needs()
		if len(keys) == 0 {
			x.general = append(x.general, i)
		}
		for _, k := range keys {
			if list := x.byName[k]; len(list) == 0 || list[len(list)-1] != i {
				x.byName[k] = append(list, i)
			}
		}
	}
	return x
}

// first returns the first of the rules that matches, nil if none does.
func (x *ruleIndex) first(rules []policyRule, s *subject) *policyRule {
	best := len(rules)
	try := func(places []int) {
		for _, i := range places {
			if i >= best {
				return
			}
			if rules[i].matches(s) {
				best = i
				return
			}
		}
	}
	if len(x.byName) > 0 {
		if s.request != nil {
			try(x.byName[nameKey{hostsAttribute, strings.ToLower(s.request.authority)}])
		}
		try(x.byName[nameKey{sniAttribute, s.sni}])
		if s.identity != "" {
			if s.identityOfClient && s.walker != nil {
				s.walker.ask(Question{kind: principalAsked, index: x})
			}
			try(x.byName[nameKey{principalAttribute, s.identity}])
		}
	}
	try(x.general)
	if best == len(rules) {
		return nil
	}
	return &rules[best]
}

// refused is the decision where no rule of the ALLOW policies in force matches.
func (t *policyTables) refused() decision {
	if t.refusal != nil {
		return *t.refusal
	}
	d := decision{rule: -1, policies: t.allowing}
	var names []string
	for _, policy := range t.allowing {
		names = append(names, policy.ID())
		field := "spec.rules"
		if len(policy.Spec.GetRules()) == 0 {
			field = "spec"
		}
		d.because = append(d.because, flow.Because{Object: policy.Object, Field: field})
	}
	d.because = slices.Clip(d.because)
	d.text = "no rule of the ALLOW AuthorizationPolicies in force (" + strings.Join(names, ", ") + ") matches"
	d.joined = joinedIDs(t.allowing)
	d.denials = [2]string{d.denial(false), d.denial(true)}
	t.refusal = &d
	return d
}

// joinedIDs names policies as the contract has them.
func joinedIDs(policies []*model.AuthorizationPolicy) string {
	var out []string
	for _, policy := range policies {
		out = append(out, policy.ID())
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}
