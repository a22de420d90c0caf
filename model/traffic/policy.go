package traffic

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// policySet is what a proxy enforces on what reaches it, compiled once for HTTP
// chains and once for TCP chains (istio pilot/pkg/security/authz/builder).
type policySet struct {
	http, tcp policyTables
}

// policyTables are the rules in force on one kind of chain.
type policyTables struct {
	custom []customRule
	deny   []policyRule
	allow  []policyRule
	// allowing are the enforced ALLOW policies: if there is one, something must
	// match one of their rules.
	allowing []*model.AuthorizationPolicy

	// What is found when the rules are first asked, under the lock of the
	// simulation.
	denyIndex, allowIndex *ruleIndex
	refusal               *decision
}

// policyRule is one rule of a policy: any of from, and any of to.
type policyRule struct {
	policy *model.AuthorizationPolicy
	index  int
	from   []clause
	to     []clause
}

// name orders rules as Envoy does, which keeps them in a sorted map.
func (r *policyRule) name() string {
	return fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", r.policy.Namespace, r.policy.Name, r.index)
}

// because points to the rule.
func (r *policyRule) because() flow.Because {
	return flow.Because{Object: r.policy.Object, Field: fmt.Sprintf("spec.rules[%d]", r.index)}
}

// customRule asks an external service, or denies where its provider is not
// usable.
type customRule struct {
	policyRule
	provider string
	denies   bool
	// dry: the policy is annotated as a dry run.
	dry bool
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// why says why a rule denies what it should ask about.
func (r *customRule) why() string {
	if r.dry {
		return "and although it is annotated as a dry run, Istio turns what its rules match into a refusal"
	}
	return "which the mesh configuration does not define for it, or whose service is in no registry: what its rules match is denied"
}

// clause is a conjunction of conditions.
type clause []condition

// condition is one field of a rule: any of values, and none of not.
type condition struct {
	attribute string // as in AuthorizationPolicy's when.key, or "hosts", …
	values    []attributeMatch
	not       []attributeMatch
	// exact are the values of which one is needed, where they say so: see
	// [ruleIndex].
	exact []nameKey
	// given is true where the manifest lists values although none could be
	// compiled; then the condition is as if absent (DENY with a field that the
	// chain cannot see).
}

// attributeMatch tests one value of a condition.
type attributeMatch func(*subject) bool

// subject is what authorization looks at.
type subject struct {
	connection *connection
	request    *request // nil on TCP chains
	identity   string
	sni        string
	// port is the one that the proxy listens on.
	port int
	// remote is the original client of a request; invalid where that is who
	// sent the connection.
	remote netip.Addr
	// service is the one that a waypoint serves, nil elsewhere.
	service *model.Service
	// identityOfClient: identity is that of the client of the flow.
	identityOfClient bool
	// walker is told what is asked about the client, nil for nobody.
	walker *walker
}

func (c clause) matches(s *subject) bool {
	for _, cond := range c {
		if len(cond.values) > 0 && !slices.ContainsFunc(cond.values, func(m attributeMatch) bool { return m(s) }) {
			return false
		}
		if slices.ContainsFunc(cond.not, func(m attributeMatch) bool { return m(s) }) {
			return false
		}
	}
	return true
}

func (r *policyRule) matches(s *subject) bool {
	if !slices.ContainsFunc(r.to, func(c clause) bool { return c.matches(s) }) {
		return false
	}
	s.askSource(r)
	return r.isFrom(s)
}

// policySet compiles the policies of the proxy's workload, once; for a service
// those that hold for it at a waypoint, or at a sidecar on the way there.
func (p *proxy) policySet(s *model.Service) *policySet {
	if p.role == waypointRole {
		set := p.servicePolicies[s]
		if set == nil {
			attached := p.push.AuthorizationPoliciesForWaypoint(p.waypoint, s)
			set = &policySet{http: p.compilePolicies(attached, false), tcp: p.compilePolicies(attached, true)}
			p.servicePolicies[s] = set
		}
		return set
	}
	if s != nil {
		set := p.servicePolicies[s]
		if set == nil {
			attached := p.push.AuthorizationPoliciesOnTheWayTo(p.workload, s)
			set = &policySet{tcp: p.compilePolicies(attached, true)}
			if p.servicePolicies == nil {
				p.servicePolicies = map[*model.Service]*policySet{}
			}
			p.servicePolicies[s] = set
		}
		return set
	}
	if p.policies == nil {
		attached := p.push.AuthorizationPoliciesFor(p.workload)
		p.policies = &policySet{http: p.compilePolicies(attached, false), tcp: p.compilePolicies(attached, true)}
	}
	return p.policies
}

func (p *proxy) compilePolicies(attached model.AuthorizationPolicies, tcp bool) policyTables {
	var t policyTables
	t.custom = p.compileCustom(attached.Custom, tcp)
	for _, policy := range attached.Deny {
		if !model.DryRun(policy) {
			t.deny = append(t.deny, p.compileRules(policy, tcp)...)
		}
	}
	for _, policy := range attached.Allow {
		if !model.DryRun(policy) {
			t.allowing = append(t.allowing, policy)
			t.allow = append(t.allow, p.compileRules(policy, tcp)...)
		}
	}
	for _, rules := range [][]policyRule{t.deny, t.allow} {
		sort.SliceStable(rules, func(i, j int) bool { return rules[i].name() < rules[j].name() })
	}
	return t
}

// compileRules compiles the rules of a policy; those that istiod skips are left
// out.
func (p *proxy) compileRules(policy *model.AuthorizationPolicy, tcp bool) []policyRule {
	allow := policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW
	var out []policyRule
	for i, rule := range policy.Spec.GetRules() {
		c := &ruleCompiler{proxy: p, policy: policy, tcp: tcp, strict: allow}
		if r, ok := c.compile(rule, i); ok {
			out = append(out, r)
		}
	}
	return out
}

// compileCustom compiles CUSTOM policies. A provider that the mesh configuration
// does not define denies whatever the rules match, and so do several providers
// for one workload; an HTTP provider is ignored on TCP chains (istio
// authz/builder/builder.go, extauthz.go).
func (p *proxy) compileCustom(policies []*model.AuthorizationPolicy, tcp bool) []customRule {
	var providers []string
	for _, policy := range policies {
		if name := policy.Spec.GetProvider().GetName(); !contains(providers, name) {
			providers = append(providers, name)
		}
	}
	several := len(providers) > 1 && !p.push.Config.Enabled("PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS")
	var out []customRule
	for _, policy := range policies {
		name := policy.Spec.GetProvider().GetName()
		usable, http := p.provider(name)
		if usable && http && tcp && !several {
			continue
		}
		dry := model.DryRun(policy)
		if dry && (several || !usable) {
			continue
		}
		for _, r := range p.compileRules(policy, tcp) {
			out = append(out, customRule{policyRule: r, provider: name, denies: several || !usable || dry, dry: dry})
		}
	}
	// A pair of filters for each provider, by name; the rules of a filter by
	// theirs. What a dry run matches its filter denies at once: istiod gives
	// it as rules to enforce, whose action is DENY (builder.go buildHTTP).
	sort.SliceStable(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		return cmp.Or(strings.Compare(a.provider, b.provider), cmp.Compare(truth(b.dry), truth(a.dry)), strings.Compare(a.name(), b.name())) < 0
	})
	return out
}

// provider reports whether the mesh configuration defines an external
// authorizer of a name, and whether it speaks HTTP only.
func (p *proxy) provider(name string) (usable, http bool) {
	for _, e := range p.push.Config.GetExtensionProviders() {
		if e.GetName() != name {
			continue
		}
		switch provider := e.GetProvider().(type) {
		case *meshconfig.MeshConfig_ExtensionProvider_EnvoyExtAuthzHttp:
			return p.push.FindsProvider(provider.EnvoyExtAuthzHttp.GetService()), true
		case *meshconfig.MeshConfig_ExtensionProvider_EnvoyExtAuthzGrpc:
			return p.push.FindsProvider(provider.EnvoyExtAuthzGrpc.GetService()), false
		}
	}
	return false, false
}

// decision is the outcome of authorization.
type decision struct {
	allowed bool
	// asks: an external service decides.
	asks string
	// policies deny; rule is the one that matched, -1 if none did.
	policies []*model.AuthorizationPolicy
	rule     int
	text     string
	because  []flow.Because
	// joined is what names returns, denials what denial does, where that is known.
	joined  string
	denials [2]string
}

// decide evaluates CUSTOM, then DENY, then ALLOW.
func (t *policyTables) decide(s *subject) decision {
	if d, decided := t.decideCustom(s); decided {
		return d
	}
	return t.decideLocal(s)
}

// decideCustom evaluates CUSTOM policies, and reports whether one matched.
func (t *policyTables) decideCustom(s *subject) (decision, bool) {
	for i := range t.custom {
		r := &t.custom[i]
		if !r.matches(s) {
			continue
		}
		if !r.denies {
			return decision{asks: r.provider, text: fmt.Sprintf("AuthorizationPolicy %s asks the external authorizer %q", r.policy.ID(), r.provider),
				because: []flow.Because{r.because()}}, true
		}
		return decision{policies: []*model.AuthorizationPolicy{r.policy}, rule: r.index, because: []flow.Because{r.because()},
			text: fmt.Sprintf("AuthorizationPolicy %s asks the external authorizer %q, %s", r.policy.ID(), r.provider, r.why())}, true
	}
	return decision{}, false
}

// decideLocal evaluates DENY, then ALLOW.
func (t *policyTables) decideLocal(s *subject) decision {
	if t.denyIndex == nil {
		t.denyIndex, t.allowIndex = indexRules(t.deny), indexRules(t.allow)
	}
	if r := t.denyIndex.first(t.deny, s); r != nil {
		return decision{policies: []*model.AuthorizationPolicy{r.policy}, rule: r.index, because: []flow.Because{r.because()},
			text: fmt.Sprintf("rule %d of DENY AuthorizationPolicy %s matches", r.index, r.policy.ID())}
	}
	if len(t.allowing) == 0 {
		return decision{allowed: true, rule: -1, text: "no AuthorizationPolicy denies it"}
	}
	if r := t.allowIndex.first(t.allow, s); r != nil {
		return decision{allowed: true, rule: r.index, because: []flow.Because{r.because()},
			text: fmt.Sprintf("rule %d of ALLOW AuthorizationPolicy %s matches", r.index, r.policy.ID())}
	}
	return t.refused()
}

// denial says that it denies a request, anonymous of somebody who is not known.
func (d *decision) denial(anonymous bool) string {
	switch {
	case d.denials[truth(anonymous)] != "":
		return d.denials[truth(anonymous)]
	case anonymous:
		return d.text + ": denied (the connection carries no mesh identity)"
	default:
		return d.text + ": denied"
	}
}

// names returns the denying policies as the contract has them.
func (d *decision) names() string {
	if d.joined != "" {
		return d.joined
	}
	return joinedIDs(d.policies)
}
