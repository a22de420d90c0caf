package traffic

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

// ruleCompiler compiles one rule for one kind of chain (istio
// pilot/pkg/security/authz/model).
type ruleCompiler struct {
	*proxy
	policy *model.AuthorizationPolicy
	tcp    bool
	// strict: a field that the chain cannot see drops the whole rule (ALLOW);
	// else the field alone is dropped and the rule gets wider (DENY, CUSTOM;
	// istio authz/model/model.go checkError).
	strict  bool
	dropped bool
}

// matcher compiles one value of an attribute; false means that the chain cannot
// see the attribute or that the value is malformed.
type matcher func(value string) (attributeMatch, bool)

func (c *ruleCompiler) condition(attribute string, values, not []string, m matcher) (condition, bool) {
	out := condition{attribute: attribute}
	compile := func(list []string) []attributeMatch {
		var matches []attributeMatch
		for _, v := range list {
			if f, ok := m(v); ok {
				matches = append(matches, f)
			} else if c.strict {
				c.dropped = true
			}
		}
		return matches
	}
	out.values, out.not = compile(values), compile(not)
	if len(out.values) == len(values) { // else some are not asked for
		out.exact = c.exactValues(attribute, values)
	}
	return out, len(out.values) > 0 || len(out.not) > 0
}

// compile returns the rule, false if istiod skips it.
func (c *ruleCompiler) compile(rule *security.Rule, index int) (policyRule, bool) {
	r := policyRule{policy: c.policy, index: index}
	var principal, permission clause
	for _, when := range rule.GetWhen() {
		m, isPermission, ok := c.whenMatcher(when.GetKey())
		if !ok {
			return r, false // an unknown attribute skips the rule, whatever its action
		}
		if cond, given := c.condition(when.GetKey(), when.GetValues(), when.GetNotValues(), m); given {
			if isPermission {
				permission = append(permission, cond)
			} else {
				principal = append(principal, cond)
			}
		}
	}
	for _, from := range rule.GetFrom() {
		cl := slices.Clone(principal)
		s := from.GetSource()
		add := func(attribute string, values, not []string, m matcher) {
			if cond, given := c.condition(attribute, values, not, m); given {
				cl = append(cl, cond)
			}
		}
		if s != nil {
			add("ipBlocks", s.GetIpBlocks(), s.GetNotIpBlocks(), ipMatch)
			add("remoteIpBlocks", s.GetRemoteIpBlocks(), s.GetNotRemoteIpBlocks(), remoteMatch)
			add("namespaces", s.GetNamespaces(), s.GetNotNamespaces(), namespaceMatch)
			add("trustDomains", s.GetTrustDomains(), s.GetNotTrustDomains(), c.trustDomainMatch)
			add("serviceAccounts", s.GetServiceAccounts(), s.GetNotServiceAccounts(), c.serviceAccountMatch)
			add("requestPrincipals", s.GetRequestPrincipals(), s.GetNotRequestPrincipals(), c.tokenMatch)
			add("principals", s.GetPrincipals(), s.GetNotPrincipals(), c.principalMatch)
		}
		r.from = append(r.from, cl)
	}
	if len(rule.GetFrom()) == 0 {
		r.from = []clause{principal}
	}
	for _, to := range rule.GetTo() {
		cl := slices.Clone(permission)
		o := to.GetOperation()
		add := func(attribute string, values, not []string, m matcher) {
			if cond, given := c.condition(attribute, values, not, m); given {
				cl = append(cl, cond)
			}
		}
		if o != nil {
			add("ports", o.GetPorts(), o.GetNotPorts(), portMatch)
			add("paths", o.GetPaths(), o.GetNotPaths(), c.pathMatch)
			add("methods", o.GetMethods(), o.GetNotMethods(), c.headerMatch(":method", false))
			add("hosts", o.GetHosts(), o.GetNotHosts(), c.headerMatch(":authority", true))
		}
		r.to = append(r.to, cl)
	}
	if len(rule.GetTo()) == 0 {
		r.to = []clause{permission}
	}
	return r, !c.dropped
}

// whenMatcher returns the matcher of a when.key and whether it belongs to the
// operation rather than to the source; false for unknown keys.
func (c *ruleCompiler) whenMatcher(key string) (m matcher, permission, ok bool) {
	switch {
	case key == "destination.ip":
		return destinationMatch, true, true
	case key == "destination.port":
		return portMatch, true, true
	case key == "connection.sni":
		return sniMatch, true, true
	case strings.HasPrefix(key, "experimental.envoy.filters."):
		// Metadata of filters that nothing in the manifests sets.
		return func(string) (attributeMatch, bool) { return never, true }, true, true
	case key == "source.ip":
		return ipMatch, false, true
	case key == "remote.ip":
		return remoteMatch, false, true
	case key == "source.namespace":
		return namespaceMatch, false, true
	case key == "source.trustDomain":
		return c.trustDomainMatch, false, true
	case key == "source.serviceAccount":
		return c.serviceAccountMatch, false, true
	case key == "source.principal":
		return c.principalMatch, false, true
	case strings.HasPrefix(key, "request.auth.claims") && !bracketed(strings.TrimPrefix(key, "request.auth.claims")):
		// istiod cannot read the claim's name (authz/model/generator.go).
		return func(string) (attributeMatch, bool) { return nil, false }, false, true
	case key == "request.auth.principal", key == "request.auth.audiences", key == "request.auth.presenter", strings.HasPrefix(key, "request.auth.claims"):
		return c.tokenMatch, false, true
	case strings.HasPrefix(key, "request.headers"):
		name := strings.TrimPrefix(key, "request.headers")
		if !bracketed(name) {
			return func(string) (attributeMatch, bool) { return nil, false }, false, true
		}
		return c.headerMatch(strings.ToLower(name[1:len(name)-1]), false), false, true
	default:
		return nil, false, false
	}
}

// bracketed reports whether the rest of a key is a name in brackets.
func bracketed(name string) bool { return strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") }

func never(*subject) bool { return false }

// affix is a value with "*" at one end, or alone for presence (istio
// authz/matcher).
func affix(value string, fold bool) func(string) bool {
	eq, prefix, suffix := func(a, b string) bool { return a == b }, strings.HasPrefix, strings.HasSuffix
	if fold {
		value = strings.ToLower(value)
	}
	wrap := func(f func(string) bool) func(string) bool {
		if fold {
			return func(s string) bool { return f(strings.ToLower(s)) }
		}
		return f
	}
	switch {
	case strings.HasPrefix(value, "*"):
		return wrap(func(s string) bool { return suffix(s, value[1:]) })
	case strings.HasSuffix(value, "*"):
		return wrap(func(s string) bool { return prefix(s, value[:len(value)-1]) })
	default:
		return wrap(func(s string) bool { return eq(s, value) })
	}
}

func (c *ruleCompiler) headerMatch(name string, fold bool) matcher {
	return func(value string) (attributeMatch, bool) {
		if c.tcp {
			return nil, false
		}
		if value == "*" {
			return func(s *subject) bool { _, ok := headerValue(s.request, name); return ok }, true
		}
		match := affix(value, fold)
		return func(s *subject) bool {
			v, ok := headerValue(s.request, name)
			return ok && match(v)
		}, true
	}
}

func (c *ruleCompiler) pathMatch(value string) (attributeMatch, bool) {
	if c.tcp {
		return nil, false
	}
	var match func(string) bool
	switch {
	case strings.Contains(value, "{*}") || strings.Contains(value, "{**}"):
		match = pathTemplate(value)
	case value == "*":
		match = func(s string) bool { return s != "" }
	default:
		match = affix(value, false)
	}
	return func(s *subject) bool { return match(s.request.plainPath()) }, true
}

// pathTemplate compiles a path with {*} for one segment and {**} for any number
// (istio authz/matcher/template.go; envoy uri_template).
func pathTemplate(value string) func(string) bool {
	var b strings.Builder
	b.WriteString("^")
	for len(value) > 0 {
		switch {
		case strings.HasPrefix(value, "{**}"):
			b.WriteString(`.*`)
			value = value[4:]
		case strings.HasPrefix(value, "{*}"):
			b.WriteString(`[^/]+`)
			value = value[3:]
		default:
			b.WriteString(regexp.QuoteMeta(value[:1]))
			value = value[1:]
		}
	}
	b.WriteString("$")
	return regexp.MustCompile(b.String()).MatchString
}

func portMatch(value string) (attributeMatch, bool) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return nil, false
	}
	return func(s *subject) bool { return s.port == int(n) }, true
}

func sniMatch(value string) (attributeMatch, bool) {
	if value == "*" {
		return func(s *subject) bool { return s.sni != "" }, true
	}
	match := affix(value, false)
	return func(s *subject) bool { return match(s.sni) }, true
}

func parseBlock(value string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(value); err == nil {
		return p.Masked(), true
	}
	if a, err := netip.ParseAddr(value); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return netip.Prefix{}, false
}

func ipMatch(value string) (attributeMatch, bool) {
	block, ok := parseBlock(value)
	return func(s *subject) bool { return block.Contains(s.connection.sourceIP) }, ok
}

func remoteMatch(value string) (attributeMatch, bool) {
	block, ok := parseBlock(value)
	return func(s *subject) bool {
		if s.remote.IsValid() {
			return block.Contains(s.remote)
		}
		return block.Contains(s.connection.sourceIP)
	}, ok
}

func destinationMatch(value string) (attributeMatch, bool) {
	block, ok := parseBlock(value)
	return func(s *subject) bool { return block.Contains(s.connection.dst.Addr()) }, ok
}

// identityRegex tests the SPIFFE identity of the peer; without one nothing
// matches.
func identityRegex(text string) attributeMatch {
	re := wholeRegex(text)
	return func(s *subject) bool { return s.identity != "" && re.MatchString(s.identity) }
}

func namespaceMatch(value string) (attributeMatch, bool) {
	parts := strings.Split(value, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return identityRegex(".*/ns/" + strings.Join(parts, ".*") + "/.*"), true
}

func (c *ruleCompiler) serviceAccountMatch(value string) (attributeMatch, bool) {
	ns, sa, found := strings.Cut(value, "/")
	if !found {
		ns, sa = c.policy.Namespace, value // a bare name means the policy's namespace
	}
	return identityRegex("spiffe://.+/ns/" + regexp.QuoteMeta(ns) + "/(.+/|)sa/" + regexp.QuoteMeta(sa) + "(/.+)?"), true
}

func (c *ruleCompiler) trustDomainMatch(value string) (attributeMatch, bool) {
	domains := c.push.TrustDomains()
	values := []string{value}
	if contains(domains, value) {
		values = domains
	}
	return func(s *subject) bool {
		rest, ok := strings.CutPrefix(s.identity, "spiffe://")
		if !ok {
			return false
		}
		domain, _, found := strings.Cut(rest, "/")
		return slices.ContainsFunc(values, func(v string) bool {
			return v == "*" || found && affix(v, false)(domain)
		})
	}, true
}

// principalMatch tests the identity against a principal, in which cluster.local
// and every alias stand for all trust domains of the mesh (istio
// security/trustdomain ReplaceTrustDomainAliases).
func (c *ruleCompiler) principalMatch(value string) (attributeMatch, bool) {
	var tests []func(string) bool
	for _, v := range c.expandTrustDomains(value) {
		switch {
		case v == "*":
			tests = append(tests, func(id string) bool { return id != "" })
		case strings.HasPrefix(v, "*"):
			re := wholeRegex("spiffe://.*" + regexp.QuoteMeta(v[1:]))
			tests = append(tests, re.MatchString)
		default:
			tests = append(tests, affix("spiffe://"+v, false))
		}
	}
	return func(s *subject) bool {
		return s.identity != "" && slices.ContainsFunc(tests, func(t func(string) bool) bool { return t(s.identity) })
	}, true
}

func (c *ruleCompiler) expandTrustDomains(principal string) []string {
	parts := strings.Split(principal, "/")
	if len(parts) != 5 || parts[0] == "*" {
		return []string{principal}
	}
	domains := c.push.TrustDomains()
	known := parts[0] == "cluster.local" || slices.ContainsFunc(domains, func(d string) bool {
		return affix(parts[0], false)(d) || affix(d, false)(parts[0])
	})
	if !known {
		return []string{principal}
	}
	var out []string
	for _, d := range domains {
		v := d + "/" + strings.Join(parts[1:], "/")
		if strings.HasPrefix(parts[0], "*") && strings.HasSuffix(d, parts[0][1:]) {
			v = principal
		}
		if !contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// tokenMatch stands for conditions on a validated token: flows carry none.
func (c *ruleCompiler) tokenMatch(string) (attributeMatch, bool) {
	return never, !c.tcp
}
