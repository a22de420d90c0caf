package netpol

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// clusterPolicy is a policy of policy.networking.k8s.io that may hold for a pod.
type clusterPolicy struct {
	*model.ClusterNetworkPolicy
	applies answer
	rules   []model.ClusterPolicyRule
	field   string // "spec.egress", "spec.ingress"
}

// clusterPolicies are those that may hold for the pod and have rules for the
// direction; a policy without rules for a direction does not touch it.
func (q *question) clusterPolicies() []clusterPolicy {
	var out []clusterPolicy
	for _, policy := range q.policies.mesh.ClusterNetworkPolicies {
		p := clusterPolicy{policy, answer{}, policy.Spec.Egress, "spec.egress"}
		if q.direction == networkingv1.PolicyTypeIngress {
			p.rules, p.field = policy.Spec.Ingress, "spec.ingress"
		}
		if len(p.rules) == 0 {
			continue
		}
		if p.applies = q.policies.podsMatch(&policy.Spec.Subject, q.pod); p.applies.truth != no {
			out = append(out, p)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Spec.Priority < out[j].Spec.Priority })
	return out
}

// clusterTier lays the policies of a tier, in the order of their priorities,
// over what is asked after the tier.
func (q *question) clusterTier(all []clusterPolicy, tier model.PolicyTier, next []piece) []piece {
	var policies []clusterPolicy
	for _, p := range all {
		if p.Spec.Tier == tier {
			policies = append(policies, p)
		}
	}
	out := next
	for end := len(policies); end > 0; {
		start := end - 1
		for start > 0 && policies[start-1].Spec.Priority == policies[start].Spec.Priority {
			start--
		}
		out = q.clusterGroup(policies[start:end], out, next)
		end = start
	}
	return out
}

// maxEqual is the number of policies of one priority up to which all of them
// are tried as the first.
const maxEqual = 16

// maxRules is the number of ordered rules up to which an address space is cut
// into pieces, those of equal priority counted once for each order: the work
// grows with its square, and input is hostile.
const maxRules = 250

// clusterGroup lays policies of the same priority over what is asked after
// them. Which of those that match comes first is the plugin's choice
// (apis/v1alpha2 ClusterNetworkPolicySpec.Priority), so that each is tried: only
// the first counts, and what all orders agree on is certain.
func (q *question) clusterGroup(group []clusterPolicy, rest, next []piece) []piece {
	var ranked []rankedPolicy
	for i := range group {
		if r := q.clusterRules(&group[i]); len(r.rules) > 0 {
			ranked = append(ranked, r)
		}
	}
	return q.equals(ranked, rest, next)
}

// rankedPolicy is an ordered list of rules that a pod may have.
type rankedPolicy struct {
	applies answer
	rules   []rule
	reason  reason
}

// over lays the policy over what is asked after it; next is what is asked after
// its tier.
func (p *rankedPolicy) over(rest, next []piece) []piece {
	out := rest
	for i := len(p.rules) - 1; i >= 0; i-- {
		out = p.rules[i].over(out, next)
	}
	if p.applies.truth == perhaps {
		why := p.reason
		why.doubt = p.applies.doubt
		out = join(out, rest, why)
	}
	return out
}

// equals lays policies of the same rank over what is asked after them.
func (q *question) equals(group []rankedPolicy, rest, next []piece) []piece {
	if len(group) == 0 {
		return rest
	}
	var reasons []reason
	for _, p := range group {
		reasons = append(reasons, p.reason)
		q.laid += len(p.rules) * len(group)
	}
	why := merge(reasons)
	why.doubt = doubt{text: "which of these the network plugin asks first: they have the same priority"}
	if q.many() && q.laid > maxRules {
		why.doubt = doubt{text: fmt.Sprintf("more than %d rules about addresses in their order, which are not worked out", maxRules)}
		return []piece{{q.domain, Undecided, why}}
	}
	if len(group) > maxEqual {
		return []piece{{q.domain, Undecided, why}}
	}
	var out []piece
	for first := range group {
		turn := rest
		for i := len(group) - 1; i >= 0; i-- {
			turn = group[(first+i)%len(group)].over(turn, next)
		}
		if first == 0 {
			out = turn
		} else {
			out = join(turn, out, why)
		}
	}
	return out
}

// clusterRules are the rules of a policy that match somewhere in the domain.
func (q *question) clusterRules(p *clusterPolicy) rankedPolicy {
	out := rankedPolicy{applies: p.applies, reason: reason{kind: p.Kind, policies: []string{p.ID()},
		because: []flow.Because{{Object: p.Object, Field: p.field}}}}
	for i := range p.rules {
		r := &p.rules[i]
		on := sure(len(r.Ports) == 0)
		for _, port := range r.Ports {
			on = on.or(q.clusterPort(port))
		}
		if on.truth == no {
			continue
		}
		field := fmt.Sprintf("%s[%d]", p.field, i)
		why := reason{kind: p.Kind, policies: []string{p.ID()}, because: []flow.Because{{Object: p.Object, Field: field}}}
		var to []region
		strange := ""
		for j := range r.Peers {
			if strange = r.Peers[j].Unknown; strange != "" {
				break
			}
			to = append(to, q.clusterPeer(&r.Peers[j]))
		}
		act := map[model.PolicyAction]action{model.PolicyAccept: accept, model.PolicyDeny: deny, model.PolicyPass: pass}[r.Action]
		where := anyOf(to).and(q.where(on))
		if strange != "" {
			// Whoever does not know the field either is told to fail closed: to
			// accept nothing, and to deny everything instead of denying or
			// passing some (apis/v1alpha2 ClusterNetworkPolicyEgressPeer).
			where = q.where(on.and(uninterpreted(fmt.Sprintf("%q in %s of %s, which the API does not have", strange, field, p.String()))))
			if act != accept {
				out.rules = append(out.rules, rule{where, deny, why})
			}
		}
		if !where.empty() {
			out.rules = append(out.rules, rule{where, act, why})
		}
	}
	return out
}

func (q *question) clusterPort(p model.ClusterPolicyPort) answer {
	if p.Name != "" {
		return q.hasNamedPort(p.Name)
	}
	return sure(p.Protocol == q.protocol && q.port >= p.Start && q.port <= p.End)
}

func (q *question) clusterPeer(p *model.ClusterPolicyPeer) region {
	switch {
	case p.Pods != nil:
		// "Host-networked pods are not included in this type of peer."
		if q.peer == nil || onHostNetwork(q.peer) {
			return nowhere
		}
		return q.where(q.policies.podsMatch(p.Pods, q.peer))
	case p.Networks != nil:
		return q.within(q.policies.networks[p])
	case p.Nodes != nil:
		return q.nodes(everything(p.Nodes))
	default:
		return q.domains(p.Domains)
	}
}

// nodes is where nodes are: pods on the host's network have their node's
// address, and an address that is not public may be a node's. all: of any node.
func (q *question) nodes(all bool) region {
	switch {
	case q.peer == nil:
		r := nowhere
		r.maybe = minus(q.domain, public)
		r.doubt = doubt{text: "which addresses the nodes have"}
		return r
	case !onHostNetwork(q.peer):
		return nowhere
	case all:
		return q.where(sure(true))
	default:
		return q.where(unsure("the labels of the node that runs " + q.peer.ID()))
	}
}

// domains is where names lead that a plugin sees in answers to the pod's DNS
// queries: to the host that the pod looks up, if that is asked about.
func (q *question) domains(names []string) region {
	switch {
	case q.peer != nil:
		return nowhere
	case q.host == "":
		return q.where(unsure("the addresses of " + strings.Join(names, ", ")))
	default:
		return q.where(sure(slices.ContainsFunc(names, func(name string) bool { return domainMatches(name, q.host) })))
	}
}

// domainMatches: "*." stands for one or more labels, and only as a prefix
// (apis/v1alpha2 DomainName).
func domainMatches(pattern, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(host, suffix) && len(host) > len(suffix)
	}
	return host == pattern
}
