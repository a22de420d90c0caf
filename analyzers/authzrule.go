package analyzers

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// authzRule is one rule of an AuthorizationPolicy. What it matches is decided by
// the simulation; here is only what a rule needs to ask the right question.
type authzRule struct {
	*security.Rule
	Policy *model.AuthorizationPolicy
	Index  int
}

// rulesOf returns the rules of a policy.
//
//go:noinline
func rulesOf(policy *model.AuthorizationPolicy) []authzRule {
	out := make([]authzRule, 0, len(policy.Spec.GetRules()))
	for i, r := range policy.Spec.GetRules() {
		out = append(out, authzRule{r, policy, i})
	}
	return out
}

// String names the rule: "DENY rule 0 of AuthorizationPolicy ns/name".
func (r authzRule) String() string {
	return fmt.Sprintf("%s rule %d of AuthorizationPolicy %s", r.Policy.Spec.GetAction(), r.Index, r.Policy.ID())
}

// field is the path of a field of the rule.
func (r authzRule) field(format string, args ...any) string {
	return fmt.Sprintf("spec.rules[%d].", r.Index) + fmt.Sprintf(format, args...)
}

// namedHost is a host as a policy writes it, and the field that does.
type namedHost struct{ Value, Field string }

// hosts returns the hosts that the rule is about: those of its operations and
// the server names of its conditions. "*" names none.
func (r authzRule) hosts() []namedHost {
	var out []namedHost
	add := func(values []string, field string) {
		for i, v := range values {
			if v != "*" {
				out = append(out, namedHost{v, r.field("%s[%d]", field, i)})
			}
		}
	}
	for i, to := range r.GetTo() {
		add(to.GetOperation().GetHosts(), fmt.Sprintf("to[%d].operation.hosts", i))
	}
	for i, w := range r.GetWhen() {
		if w.GetKey() == "connection.sni" {
			add(w.GetValues(), fmt.Sprintf("when[%d].values", i))
		}
	}
	return out
}

// hostsOf returns the hosts that any rule of a policy is about.
func hostsOf(policy *model.AuthorizationPolicy) []namedHost {
	var out []namedHost
	for _, r := range rulesOf(policy) {
		out = append(out, r.hosts()...)
	}
	return out
}

// names reports whether the rule names a host.
func (r authzRule) names(h string) bool {
	return slices.ContainsFunc(r.hosts(), func(n namedHost) bool { return n.covers(h) })
}

// covers reports whether the value means a host, whatever port it gives with it.
func (n namedHost) covers(h string) bool {
	return affix(strings.ToLower(bareHost(n.Value)), strings.ToLower(h))
}

// bareHost returns a policy's value without the port that it gives.
//
//go:noinline
func bareHost(value string) string {
	if i := strings.LastIndexByte(value, ':'); i > 0 {
		return value[:i]
	}
	return value
}

// affix matches as policies do: with "*" at one end, or exactly (istio
// pilot/pkg/security/authz/matcher).
func affix(pattern, s string) bool {
	switch {
	case pattern == "*":
		return s != ""
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(s, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(s, pattern[:len(pattern)-1])
	default:
		return s == pattern
	}
}

// sample returns a value that a pattern accepts.
func sample(pattern, filler string) string {
	switch {
	case pattern == "*":
		return filler
	case strings.HasPrefix(pattern, "*"):
		return "x" + pattern[1:]
	case strings.HasSuffix(pattern, "*"):
		return pattern[:len(pattern)-1] + "x"
	default:
		return pattern
	}
}

var pathVariable = regexp.MustCompile(`\{\*{1,2}\}`)

// requests returns requests to a destination that meet what the rule says about
// operations and headers, as far as a client decides about that; one for each
// operation, plaintext HTTP, and TLS where nothing in the rule is about HTTP.
func (r authzRule) requests(from string, d reach.Destination) []flow.Flow {
	base := flow.Flow{From: from, Host: d.Host, Port: d.Port, Scheme: flow.HTTP}
	headers := map[string]string{}
	http := false
	for _, w := range r.GetWhen() {
		name, ok := strings.CutPrefix(w.GetKey(), "request.headers[")
		http = http || strings.HasPrefix(w.GetKey(), "request.")
		if ok && len(w.GetValues()) > 0 {
			headers[strings.ToLower(strings.TrimSuffix(name, "]"))] = sample(w.GetValues()[0], "x")
		}
	}
	var out []flow.Flow
	operation := func(o *security.Operation) {
		f := base
		f.Headers = map[string]string{}
		for name, value := range headers {
			f.Headers[name] = value
		}
		f.Method = methodFor(o)
		if paths := o.GetPaths(); len(paths) > 0 {
			if f.Path = pathVariable.ReplaceAllString(sample(paths[0], "/"), "x"); !strings.HasPrefix(f.Path, "/") {
				f.Path = "/" + f.Path
			}
		}
		if hosts := o.GetHosts(); len(hosts) > 0 {
			authority, ok := authorityFor(hosts, d)
			if !ok {
				return
			}
			if authority != defaultAuthority(d) {
				f.Headers["host"] = authority
			}
		}
		if len(f.Headers) == 0 {
			f.Headers = nil
		}
		out = append(out, f)
		onlyTransport := len(o.GetHosts())+len(o.GetNotHosts())+len(o.GetPaths())+len(o.GetNotPaths())+len(o.GetMethods())+len(o.GetNotMethods()) == 0
		if onlyTransport && !http {
			tls := base
			tls.Scheme = flow.TLS
			out = append(out, tls)
		}
	}
	for _, to := range r.GetTo() {
		operation(to.GetOperation())
	}
	if len(r.GetTo()) == 0 {
		operation(nil)
	}
	return out
}

// methodFor returns a method that an operation accepts.
func methodFor(o *security.Operation) string {
	if methods := o.GetMethods(); len(methods) > 0 {
		return sample(methods[0], "GET")
	}
	for _, m := range []string{"GET", "HEAD", "POST", "PUT"} {
		if !slices.ContainsFunc(o.GetNotMethods(), func(v string) bool { return affix(v, m) }) {
			return m
		}
	}
	return "GET"
}

// defaultAuthority is the Host header that a client sends by itself.
func defaultAuthority(d reach.Destination) string {
	if d.Port == 80 {
		return d.Host
	}
	return d.Host + ":" + strconv.Itoa(d.Port)
}

// authorityFor returns a Host header for a destination that one of the hosts of
// an operation accepts, the most usual one first; false if there is none.
func authorityFor(hosts []string, d reach.Destination) (string, bool) {
	for _, authority := range []string{defaultAuthority(d), d.Host, d.Host + ":" + strconv.Itoa(d.Port)} {
		if slices.ContainsFunc(hosts, func(h string) bool { return affix(strings.ToLower(h), strings.ToLower(authority)) }) {
			return authority, true
		}
	}
	for _, h := range hosts {
		if (namedHost{Value: h}).covers(d.Host) {
			return sample(h, d.Host), true
		}
	}
	return "", false
}

// identityFields returns the fields of the rule that ask for an identity of the
// peer, and whether the rule cannot match without one.
func (r authzRule) identityFields() (fields []string, needed bool) {
	for i, w := range r.GetWhen() {
		switch w.GetKey() {
		case "source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain":
			if len(w.GetValues()) > 0 {
				fields, needed = append(fields, r.field("when[%d].values", i)), true
			}
		}
	}
	every := len(r.GetFrom()) > 0
	for i, from := range r.GetFrom() {
		s := from.GetSource()
		any := false
		for _, list := range []struct {
			name   string
			values []string
		}{{"principals", s.GetPrincipals()}, {"namespaces", s.GetNamespaces()}, {"serviceAccounts", s.GetServiceAccounts()}, {"trustDomains", s.GetTrustDomains()}} {
			if len(list.values) > 0 {
				fields, any = append(fields, r.field("from[%d].source.%s", i, list.name)), true
			}
		}
		every = every && any
	}
	return fields, needed || every
}

// exceptFields returns the fields by which the rule asks that the peer has not
// some identity, and nothing else of its identity: they hold for whoever has
// none.
func (r authzRule) exceptFields() []string {
	if fields, _ := r.identityFields(); len(fields) > 0 {
		return nil
	}
	var out []string
	for i, w := range r.GetWhen() {
		switch w.GetKey() {
		case "source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain":
			if len(w.GetNotValues()) > 0 {
				out = append(out, r.field("when[%d].notValues", i))
			}
		}
	}
	for i, from := range r.GetFrom() {
		s := from.GetSource()
		for _, list := range []struct {
			name   string
			values []string
		}{{"notPrincipals", s.GetNotPrincipals()}, {"notNamespaces", s.GetNotNamespaces()}, {"notServiceAccounts", s.GetNotServiceAccounts()}, {"notTrustDomains", s.GetNotTrustDomains()}} {
			if len(list.values) > 0 {
				out = append(out, r.field("from[%d].source.%s", i, list.name))
			}
		}
	}
	return out
}

// onPort reports whether a request came in on a port that the rule speaks of, as
// far as it speaks of ports.
func (r authzRule) onPort(c *crossing) bool {
	var ports []string
	for _, to := range r.GetTo() {
		if list := to.GetOperation().GetPorts(); len(list) > 0 {
			ports = append(ports, list...)
		} else {
			return true
		}
	}
	return len(ports) == 0 || slices.ContainsFunc(c.Servers, func(s *model.GatewayServer) bool { return contains(ports, strconv.Itoa(s.Port)) })
}

// means reports whether a workload is among those that the rule's conditions on
// identity are about.
func (r authzRule) means(push *model.PushContext, w *model.Workload) bool {
	who := peer{push, r.Policy.Namespace, w}
	for _, c := range r.GetWhen() {
		if test := who.test(strings.TrimPrefix(c.GetKey(), "source.")); test != nil && !accepts(test, c.GetValues(), c.GetNotValues()) {
			return false
		}
	}
	if len(r.GetFrom()) == 0 {
		return true
	}
	return slices.ContainsFunc(r.GetFrom(), func(from *security.Rule_From) bool {
		s := from.GetSource()
		return who.among("principal", s.GetPrincipals(), s.GetNotPrincipals()) &&
			who.among("namespace", s.GetNamespaces(), s.GetNotNamespaces()) &&
			who.among("serviceAccount", s.GetServiceAccounts(), s.GetNotServiceAccounts())
	})
}

// among reports whether some of the values, if there are any, and none of the others
// are what a peer has of an attribute.
func (p peer) among(attribute string, values, not []string) bool {
	return len(values)+len(not) == 0 || accepts(p.test(attribute), values, not)
}

func accepts(test func(string) bool, values, not []string) bool {
	return (len(values) == 0 || slices.ContainsFunc(values, test)) && !slices.ContainsFunc(not, test)
}

// peer is a workload as policies of a namespace would see it over mesh TLS.
type peer struct {
	push      *model.PushContext
	namespace string
	*model.Workload
}

// test returns the comparison of an attribute with a value, nil for attributes
// that are not about who the peer is.
func (p peer) test(attribute string) func(string) bool {
	switch attribute {
	case "principal":
		_, path, _ := strings.Cut(strings.TrimPrefix(p.push.Identity(p.Workload), "spiffe://"), "/")
		domains := append([]string{"cluster.local"}, p.push.TrustDomains()...)
		return func(v string) bool {
			return slices.ContainsFunc(domains, func(d string) bool { return affix(v, d+"/"+path) })
		}
	case "namespace":
		return func(v string) bool {
			if !strings.Contains(v, "*") {
				return v == p.Namespace
			}
			parts := strings.Split(v, "*")
			for i := range parts {
				parts[i] = regexp.QuoteMeta(parts[i])
			}
			re, err := regexp.Compile("^" + strings.Join(parts, ".*") + "$")
			return err == nil && re.MatchString(p.Namespace)
		}
	case "serviceAccount":
		return func(v string) bool {
			if !strings.Contains(v, "/") {
				v = p.namespace + "/" + v
			}
			return v == p.Namespace+"/"+p.ServiceAccount
		}
	default:
		return nil
	}
}

// enforced reports whether a policy decides anything.
//
//go:noinline
func enforced(policy *model.AuthorizationPolicy) bool {
	return policy.Spec.GetAction() != security.AuthorizationPolicy_AUDIT && !model.DryRun(policy)
}

// attachedTo returns the workloads that a policy applies to, in the order of the input.
func attachedTo(p *Pass, policy *model.AuthorizationPolicy) []*model.Workload {
	var out []*model.Workload
	for _, w := range p.selectable(policy) {
		if (policy.Namespace == w.Namespace || policy.Namespace == p.Mesh.Config.GetRootNamespace()) && model.Attached(policy.Namespace, policy.Spec, w) {
			out = append(out, w)
		}
	}
	return out
}

// only returns the rule with one of its operations alone.
func (r authzRule) only(to int) authzRule {
	r.Rule = &security.Rule{From: r.GetFrom(), To: r.GetTo()[to : to+1], When: r.GetWhen()}
	return r
}
