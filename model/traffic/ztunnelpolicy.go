package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// ztunnelPeer is what a ztunnel knows of a connection to one of its pods.
type ztunnelPeer struct {
	source, destination netip.Addr
	port                int
	// identity is "" where the connection came without a tunnel.
	identity string
}

// fits is how a part of a policy matches: not, certainly, or as istiod and
// ztunnel do not agree about.
type fits int

const (
	fitsNot fits = iota
	disputed
	fitsFor
)

// ztunnelAuthorize asks the policies that a pod's ztunnel enforces: those that
// hold by namespace or by labels. It returns nil where they let the connection
// through (istio pilot/pkg/serviceregistry/ambient/authorization.go
// convertAuthorizationPolicy; istio/ztunnel src/state.rs assert_rbac, src/rbac.rs
// matches).
func (w *walker) ztunnelAuthorize(to *model.Workload, peer ztunnelPeer) *flow.Trace {
	attached := w.push.AuthorizationPoliciesFor(to)
	answer := func(t *flow.Trace, decision string, policies ...*model.AuthorizationPolicy) *flow.Trace {
		hop := flow.Hop{At: flow.AtZtunnel, Proxy: to.ID(), Decision: decision}
		var names []string
		for _, policy := range policies {
			names = append(names, policy.ID())
			hop.Because = append(hop.Because, flow.Because{Object: policy.Object, Field: "spec"})
		}
		if t.Outcome == flow.Blocked {
			t.Policy = strings.Join(names, ",")
		} else {
			t.Detail = decision
		}
		return after([]flow.Hop{hop}, t)
	}
	doubt := func(policy *model.AuthorizationPolicy) *flow.Trace {
		return answer(unknown(flow.ViaNone, flow.OpaqueFilter, ""), fmt.Sprintf(
			"AuthorizationPolicy %s asks for something that ztunnel cannot see, and istiod and ztunnel do not agree about what becomes of it", policy.ID()), policy)
	}
	sent := func(list []*model.AuthorizationPolicy) []*model.AuthorizationPolicy {
		return slices.DeleteFunc(slices.Clone(list), model.DryRun)
	}
	for _, policy := range sent(attached.Deny) {
		switch peer.matches(policy) {
		case fitsFor:
			return answer(blocked(flow.RBACDenied, 0), fmt.Sprintf("AuthorizationPolicy %s denies it", policy.ID()), policy)
		case disputed:
			return doubt(policy)
		}
	}
	allow := sent(attached.Allow)
	if len(allow) == 0 {
		return nil
	}
	var uncertain *model.AuthorizationPolicy
	for _, policy := range allow {
		switch peer.matches(policy) {
		case fitsFor:
			return nil
		case disputed:
			uncertain = policy
		}
	}
	if uncertain != nil {
		return doubt(uncertain)
	}
	return answer(blocked(flow.RBACDenied, 0), "no ALLOW policy of its ztunnel matches it", allow...)
}

// matches reports whether any rule of a policy matches; without rules none does.
func (c *ztunnelPeer) matches(policy *model.AuthorizationPolicy) fits {
	out := fitsNot
	for _, rule := range policy.Spec.GetRules() {
		out = max(out, c.rule(policy, rule))
	}
	return out
}

// rule reports whether a rule matches. One of an ALLOW policy that asks for
// anything of HTTP is left out as a whole.
func (c *ztunnelPeer) rule(policy *model.AuthorizationPolicy, rule *security.Rule) fits {
	allow := policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW
	out := fitsFor
	clause := func(list []fits) {
		if len(list) > 0 {
			out = min(out, slices.Max(list))
		}
	}
	var list []fits
	for _, to := range rule.GetTo() {
		o := to.GetOperation()
		if allow && len(o.GetHosts())+len(o.GetNotHosts())+len(o.GetMethods())+len(o.GetNotMethods())+len(o.GetPaths())+len(o.GetNotPaths()) > 0 {
			return fitsNot
		}
		m := &ztunnelMatch{fits: fitsFor}
		m.add(o.GetPorts(), o.GetNotPorts(), c.onPort)
		list = append(list, m.result())
	}
	clause(list)
	list = nil
	for _, from := range rule.GetFrom() {
		s := from.GetSource()
		if allow && len(s.GetRemoteIpBlocks())+len(s.GetNotRemoteIpBlocks())+len(s.GetRequestPrincipals())+len(s.GetNotRequestPrincipals()) > 0 {
			return fitsNot
		}
		m := &ztunnelMatch{fits: fitsFor}
		m.add(s.GetIpBlocks(), s.GetNotIpBlocks(), c.fromBlock)
		m.add(s.GetNamespaces(), s.GetNotNamespaces(), c.inNamespace)
		m.add(s.GetServiceAccounts(), s.GetNotServiceAccounts(), func(v string) bool { return c.hasAccount(policy.Namespace, v) })
		m.add(s.GetPrincipals(), s.GetNotPrincipals(), c.isPrincipal)
		if len(s.GetTrustDomains())+len(s.GetNotTrustDomains()) > 0 {
			m.fits = min(m.fits, disputed) // ztunnel is not told of them
		}
		list = append(list, m.result())
	}
	clause(list)
	for _, when := range rule.GetWhen() {
		test := map[string]func(string) bool{
			"source.ip": c.fromBlock, "source.namespace": c.inNamespace, "source.principal": c.isPrincipal,
			"destination.ip": c.toBlock, "destination.port": c.onPort,
		}[when.GetKey()]
		if test == nil {
			if allow {
				return fitsNot
			}
			out = min(out, disputed)
			continue
		}
		m := &ztunnelMatch{fits: fitsFor}
		m.add(when.GetValues(), when.GetNotValues(), test)
		clause([]fits{m.result()})
	}
	return out
}

// ztunnelMatch is one alternative of a clause.
type ztunnelMatch struct {
	fits  fits
	given bool
}

func (m *ztunnelMatch) add(values, not []string, test func(string) bool) {
	m.given = m.given || len(values)+len(not) > 0
	if len(values) > 0 && !slices.ContainsFunc(values, test) || slices.ContainsFunc(not, test) {
		m.fits = fitsNot
	}
}

// result is disputed for an alternative of which nothing is left: istiod says
// that it always matches (authorization.go handleRule), ztunnel that it never
// does (src/rbac.rs matches, "empty clause").
func (m *ztunnelMatch) result() fits {
	if !m.given {
		return disputed
	}
	return m.fits
}

func (c *ztunnelPeer) onPort(v string) bool {
	n, err := strconv.ParseUint(v, 10, 16)
	return err == nil && int(n) == c.port
}

func (c *ztunnelPeer) fromBlock(v string) bool {
	block, ok := parseBlock(v)
	return ok && block.Contains(c.source)
}

func (c *ztunnelPeer) toBlock(v string) bool {
	block, ok := parseBlock(v)
	return ok && block.Contains(c.destination)
}

// spiffe takes an identity apart.
func (c *ztunnelPeer) spiffe() (namespace, account string) {
	_, rest, _ := strings.Cut(c.identity, "/ns/")
	namespace, account, _ = strings.Cut(rest, "/sa/")
	return namespace, account
}

func (c *ztunnelPeer) inNamespace(v string) bool {
	namespace, _ := c.spiffe()
	return ztunnelText(v, namespace)
}

func (c *ztunnelPeer) hasAccount(policyNamespace, v string) bool {
	namespace, account, found := strings.Cut(v, "/")
	if !found {
		namespace, account = policyNamespace, v
	}
	ownNamespace, ownAccount := c.spiffe()
	return c.identity != "" && namespace == ownNamespace && account == ownAccount
}

// isPrincipal compares without trust domain aliases.
func (c *ztunnelPeer) isPrincipal(v string) bool {
	principal, ok := strings.CutPrefix(c.identity, "spiffe://")
	return ok && ztunnelText(v, principal)
}

// ztunnelText matches a value with "*" at one end, or alone for presence.
func ztunnelText(v, text string) bool {
	switch {
	case v == "*":
		return text != ""
	case strings.HasPrefix(v, "*"):
		return strings.HasSuffix(text, v[1:])
	case strings.HasSuffix(v, "*"):
		return strings.HasPrefix(text, v[:len(v)-1])
	default:
		return v == text
	}
}
