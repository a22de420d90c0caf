package netpol

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// Sources: projectcalico/calico api/pkg/apis/projectcalico/v3
// (networkpolicy.go, globalnetworkpolicy.go, policy_common.go, tier.go),
// felix/calc/policy_sorter.go, and libcalico-go/lib/backend/syncersv1/updateprocessors.

// calicoPolicies are the objects of Calico in the input.
type calicoPolicies struct {
	policies []*manifest.Object
	tiers    map[string]*manifest.Object
	// sets: there are network sets, which selectors may match outside addresses by.
	sets bool
}

func (c *calicoPolicies) add(o *manifest.Object) {
	switch o.Kind {
	case "NetworkPolicy", "GlobalNetworkPolicy":
		c.policies = append(c.policies, o)
	case "Tier":
		if c.tiers == nil {
			c.tiers = map[string]*manifest.Object{}
		}
		c.tiers[o.Name] = o
	case "NetworkSet", "GlobalNetworkSet":
		c.sets = true
	}
}

// calicoTier is a tier with the policies in it that may hold for a pod.
type calicoTier struct {
	name     string
	order    float64
	passes   bool // what no policy decides goes on to the next tier
	policies []calicoPolicy
}

type calicoPolicy struct {
	rankedPolicy
	object *manifest.Object
	order  float64
	// kubernetes: it stands for NetworkPolicies.
	kubernetes bool
}

// Orders of tiers and policies that Calico gives to those of Kubernetes
// (tier.go; libcalico-go/lib/backend/k8s/conversion/constants.go).
const (
	kubeAdminOrder     = 1_000
	defaultTierOrder   = 1_000_000
	kubeBaselineOrder  = 10_000_000
	networkPolicyOrder = 1000
	calicoDefaultTier  = "default"
	calicoAdminTier    = "kube-admin"
	calicoBaselineTier = "kube-baseline"
)

// calicoTiers are Calico's own policies that may hold for the pod, by tier.
func (q *question) calicoTiers() []calicoTier {
	byName := map[string]*calicoTier{}
	for _, o := range q.policies.calico.policies {
		if o.Kind == "NetworkPolicy" && o.Namespace != q.pod.Namespace {
			continue
		}
		p, ok := q.calicoPolicy(o)
		if !ok {
			continue
		}
		name := cmp.Or(text(mapOf(mapOf(o.Value)["spec"])["tier"]), calicoDefaultTier)
		if byName[name] == nil {
			byName[name] = q.calicoTier(name)
		}
		byName[name].policies = append(byName[name].policies, p)
	}
	var out []calicoTier
	for _, name := range sortedKeys(byName) {
		out = append(out, *byName[name])
	}
	return out
}

func (q *question) calicoTier(name string) *calicoTier {
	t := &calicoTier{name: name, order: math.NaN()}
	switch name {
	case calicoDefaultTier:
		t.order = defaultTierOrder
	case calicoAdminTier:
		t.order, t.passes = kubeAdminOrder, true
	case calicoBaselineTier:
		t.order, t.passes = kubeBaselineOrder, true
	default:
		if o := q.policies.calico.tiers[name]; o != nil {
			spec := mapOf(mapOf(o.Value)["spec"])
			t.order = calicoOrder(spec["order"])
			t.passes = text(spec["defaultAction"]) == "Pass"
		}
	}
	return t
}

// calicoOrder reads an order; none is the last.
func calicoOrder(v any) float64 {
	if v == nil {
		return math.Inf(1)
	}
	f, err := strconv.ParseFloat(text(v), 64)
	if err != nil {
		return math.NaN()
	}
	return f
}

// calicoPolicy reads a policy; not ok where it does not hold for the pod.
func (q *question) calicoPolicy(o *manifest.Object) (calicoPolicy, bool) {
	field := "spec." + strings.ToLower(string(q.direction))
	out := calicoPolicy{object: o, order: math.NaN()}
	out.reason = reason{kind: "Calico " + o.Kind, policies: []string{o.ID()}, because: []flow.Because{{Object: o, Field: field}}}
	spec, ok := mapOf(o.Value)["spec"].(map[string]any)
	unknown := foreignKey(spec, "tier", "order", "ingress", "egress", "selector", "types", "doNotTrack", "preDNAT", "applyOnForward",
		"serviceAccountSelector", "namespaceSelector", "performanceHints")
	if _, list := spec["types"].([]any); !list && spec["types"] != nil {
		unknown = "types"
	}
	if !ok || unknown != "" {
		out.anything(q, strange(o, strings.TrimSuffix("spec."+unknown, ".")))
		return out, true
	}
	if spec["doNotTrack"] == true || spec["preDNAT"] == true || !calicoRestricts(spec, q.direction) {
		return out, false // the former two are for hosts alone
	}
	out.order = calicoOrder(spec["order"])
	out.applies = q.calicoSelects(o, "spec", spec, q.pod)
	if o.Kind == "NetworkPolicy" {
		out.applies = out.applies.and(sure(o.Namespace == q.pod.Namespace))
	}
	if out.applies.truth == no {
		return out, false
	}
	rules, ok := spec[strings.ToLower(string(q.direction))].([]any)
	if !ok && spec[strings.ToLower(string(q.direction))] != nil {
		out.anything(q, strange(o, field))
		return out, true
	}
	for i, v := range rules {
		out.rules = append(out.rules, q.calicoRule(o, fmt.Sprintf("%s[%d]", field, i), v)...)
	}
	return out, true
}

// anything makes the policy one that may allow and deny anything.
func (p *calicoPolicy) anything(q *question, a answer) {
	p.applies, p.order = a, math.Inf(-1)
	p.rules = []rule{{q.where(a), accept, p.reason}, {q.where(a), deny, p.reason}}
}

// calicoRestricts: the types that are given, or those that have rules, or
// ingress alone.
func calicoRestricts(spec map[string]any, direction networkingv1.PolicyType) bool {
	if types := listOf(spec["types"]); len(types) > 0 {
		return slices.ContainsFunc(types, func(t any) bool { return text(t) == string(direction) })
	}
	egress, ingress := spec["egress"] != nil, spec["ingress"] != nil
	if l, ok := spec["egress"].([]any); ok {
		egress = len(l) > 0
	}
	if l, ok := spec["ingress"].([]any); ok {
		ingress = len(l) > 0
	}
	if direction == networkingv1.PolicyTypeEgress {
		return egress
	}
	return ingress || !egress
}

// calicoPieces asks all tiers in their order: Calico puts the policies of
// Kubernetes into tiers of its own.
func (q *question) calicoPieces(tiers []calicoTier, cluster []clusterPolicy, open []piece) []piece {
	for _, name := range []string{calicoAdminTier, calicoDefaultTier, calicoBaselineTier} {
		if !slices.ContainsFunc(tiers, func(t calicoTier) bool { return t.name == name }) {
			tiers = append(tiers, *q.calicoTier(name))
		}
	}
	var lost []*manifest.Object
	for _, t := range tiers {
		for _, p := range t.policies {
			if math.IsNaN(t.order) || math.IsNaN(p.order) {
				lost = append(lost, p.object)
			}
		}
	}
	if len(lost) > 0 {
		return []piece{{q.domain, Undecided, objectsReason(lost, doubt{text: "the order of its tier or its own, which the input does not tell", foreign: true})}}
	}
	sort.SliceStable(tiers, func(i, j int) bool {
		a, b := &tiers[i], &tiers[j]
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.name, b.name)) < 0
	})
	out := open
	for i := len(tiers) - 1; i >= 0; i-- {
		t := &tiers[i]
		next := out
		switch t.name {
		case calicoAdminTier:
			out = q.clusterTier(cluster, model.AdminTier, out)
		case calicoBaselineTier:
			out = q.clusterTier(cluster, model.BaselineTier, out)
		case calicoDefaultTier:
			if np, ok := q.calicoNetworkPolicies(); ok {
				t.policies = append(t.policies, np)
			}
		}
		if len(t.policies) > 0 {
			out = q.calicoTierOver(t, out, next)
		}
	}
	return out
}

// calicoNetworkPolicies are the pod's NetworkPolicies as Calico sees them: they
// allow, and the tier's end denies.
func (q *question) calicoNetworkPolicies() (calicoPolicy, bool) {
	members := q.networkPolicyMembers()
	if len(members) == 0 {
		return calicoPolicy{}, false
	}
	out := calicoPolicy{order: networkPolicyOrder, object: members[0].object, kubernetes: true}
	out.applies = sure(false)
	var reasons []reason
	for i := range members {
		m := &members[i]
		out.applies = out.applies.or(m.applies)
		reasons = append(reasons, reason{kind: m.object.Kind, policies: []string{m.object.ID()}, because: m.because(m.field)})
	}
	out.reason = merge(reasons)
	certain, doubtful := q.sum(members, accept)
	out.rules = []rule{certain, doubtful}
	return out, true
}

// calicoTierOver lays a tier over what is asked after it. Policies are asked by
// order, and those of one order by name, where Kubernetes' own have names that
// differ between versions.
func (q *question) calicoTierOver(t *calicoTier, rest, next []piece) []piece {
	sort.SliceStable(t.policies, func(i, j int) bool {
		a, b := &t.policies[i], &t.policies[j]
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.object.Name, b.object.Name),
			cmp.Compare(a.object.Namespace, b.object.Namespace), cmp.Compare(a.object.Kind, b.object.Kind)) < 0
	})
	out := rest
	if !t.passes {
		var certain, doubtful []reason
		for _, p := range t.policies {
			if p.applies.truth == yes {
				certain = append(certain, p.reason)
			} else {
				p.reason.doubt = p.applies.doubt
				doubtful = append(doubtful, p.reason)
			}
		}
		out = q.isolated(certain, doubtful, rest)
	}
	for end := len(t.policies); end > 0; {
		start := end - 1
		if order := t.policies[start].order; slices.ContainsFunc(t.policies, func(p calicoPolicy) bool { return p.kubernetes && p.order == order }) {
			for start > 0 && t.policies[start-1].order == order {
				start--
			}
		}
		var group []rankedPolicy
		for _, p := range t.policies[start:end] {
			group = append(group, p.rankedPolicy)
		}
		out = q.equals(group, out, next)
		end = start
	}
	return out
}
