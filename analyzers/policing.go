package analyzers

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

// policyIndex finds the policies in force at a gateway by the hosts that they
// name. A gateway may have a policy for each of thousands of hosts, and rules ask
// for each host and client.
type policyIndex struct {
	policies []*model.AuthorizationPolicy
	// exact finds names that policies write out, patterns are the other ones.
	exact    map[string][]mention
	patterns []mention
	// allow are the places that deny whatever no ALLOW policy names.
	allow []policing
}

// mention is the place of a policy and of one of the hosts that it names.
type mention struct {
	policy, host int
	named        namedHost
}

// policyHosts is the index of the gateway's policies, made once.
func (g *egressGateway) policyHosts() *policyIndex {
	if g.index != nil {
		return g.index
	}
	g.index = &policyIndex{policies: slices.Concat(g.Policies.Custom, g.Policies.Deny, g.Policies.Allow), exact: map[string][]mention{}}
	for i, policy := range g.index.policies {
		if !enforced(policy) {
			continue
		}
		for j, n := range hostsOf(policy) {
			m := mention{i, j, n}
			if name := strings.ToLower(bareHost(n.Value)); strings.HasPrefix(name, "*") || strings.HasSuffix(name, "*") {
				g.index.patterns = append(g.index.patterns, m)
			} else {
				g.index.exact[name] = append(g.index.exact[name], m)
			}
		}
		if policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW {
			g.index.allow = append(g.index.allow, policing{policy, "spec", false})
		}
	}
	return g.index
}

// naming returns for each enforced policy of the gateway that names a host the
// first place that does, in the order of the policies.
func (g *egressGateway) naming(h string) []policing {
	x := g.policyHosts()
	found := slices.Clone(x.exact[strings.ToLower(h)])
	for _, m := range x.patterns {
		if m.named.covers(h) {
			found = append(found, m)
		}
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		return cmp.Or(a.policy-b.policy, a.host-b.host) < 0
	})
	var out []policing
	for i, m := range found {
		if i == 0 || found[i-1].policy != m.policy {
			out = append(out, policing{x.policies[m.policy], m.named.Field, true})
		}
	}
	return out
}

// allowing returns the places that show that the gateway denies by default: its
// enforced ALLOW policies. Callers do not write to it.
func (g *egressGateway) allowing() []policing { return g.policyHosts().allow }
