package analyzers

import (
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

// governed is an AuthorizationPolicy that decides about egress: in force at egress
// gateways or at waypoints of external hosts, or meant for such a gateway although
// it lies elsewhere.
type governed struct {
	*model.AuthorizationPolicy
	at        []*egressGateway
	waypoints []*externalWaypoint
	meant     []*egressGateway
}

// governing returns the enforced policies that decide about egress, in the order
// of the input.
func governing(p *Pass) []governed {
	if p.shared == nil {
		return findGoverning(p)
	}
	if p.shared.governing == nil {
		p.shared.governing = findGoverning(p)
	}
	return p.shared.governing
}

func findGoverning(p *Pass) []governed {
	gateways, waypoints := egressGateways(p), externalWaypoints(p)
	out := []governed{}
	at := map[*model.AuthorizationPolicy][]*egressGateway{}
	for _, x := range gateways {
		for _, policy := range x.enforcedPolicies() {
			if !slices.Contains(at[policy], x) {
				at[policy] = append(at[policy], x)
			}
		}
	}
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) {
			continue
		}
		g := governed{AuthorizationPolicy: policy, at: at[policy]}
		for _, x := range waypoints {
			if slices.Contains(slices.Concat(x.policies.Custom, x.policies.Deny, x.policies.Allow), policy) {
				g.waypoints = append(g.waypoints, x)
			}
		}
		g.meant = misplaced(p, gateways, policy)
		if len(g.at)+len(g.waypoints)+len(g.meant) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// denies reports whether a policy is of action DENY.
//
//go:noinline
func denies(policy *model.AuthorizationPolicy) bool {
	return policy.Spec.GetAction() == security.AuthorizationPolicy_DENY
}

// identityValue is one value of a rule about who the caller is.
type identityValue struct {
	value, field string
	// attribute is "principal", "namespace" or "serviceAccount".
	attribute string
	// not: the value is one of those that are excluded.
	not bool
}

// identityValues returns the values of a rule about principals, namespaces and
// service accounts, in the order in which they are written.
func (r authzRule) identityValues() []identityValue {
	var out []identityValue
	add := func(attribute string, not bool, values []string, format string, args ...any) {
		for k, v := range values {
			out = append(out, identityValue{v, r.field(format+"[%d]", append(slices.Clone(args), k)...), attribute, not})
		}
	}
	for i, from := range r.GetFrom() {
		s := from.GetSource()
		add("principal", false, s.GetPrincipals(), "from[%d].source.principals", i)
		add("principal", true, s.GetNotPrincipals(), "from[%d].source.notPrincipals", i)
		add("namespace", false, s.GetNamespaces(), "from[%d].source.namespaces", i)
		add("namespace", true, s.GetNotNamespaces(), "from[%d].source.notNamespaces", i)
		add("serviceAccount", false, s.GetServiceAccounts(), "from[%d].source.serviceAccounts", i)
		add("serviceAccount", true, s.GetNotServiceAccounts(), "from[%d].source.notServiceAccounts", i)
	}
	for i, w := range r.GetWhen() {
		switch attribute := strings.TrimPrefix(w.GetKey(), "source."); attribute {
		case "principal", "namespace", "serviceAccount":
			add(attribute, false, w.GetValues(), "when[%d].values", i)
			add(attribute, true, w.GetNotValues(), "when[%d].notValues", i)
		}
	}
	return out
}
