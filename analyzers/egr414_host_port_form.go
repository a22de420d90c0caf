package analyzers

import (
	"fmt"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR414", Name: "host-match-without-port-form", Severity: Error, SecuritySeverity: 7.6,
	Run: hostPortForm,
	Doc: Doc{
		Title: "A policy names a host without its form with a port, which requests may carry as well",
		What: "A rule in force at an egress gateway lists a host, and a request that writes the port into its Host header " +
			"(`Host: api.example.com:80`) is routed all the same, but the rule does not match it.",
		Why: "Policies compare the whole Host header, port included; routes at gateways ignore the port. Whoever is denied a host by name gets through " +
			"by adding a port, and whoever is allowed one is denied if the client writes the port, as all do for ports other than 80.",
		Bad:  egressDoc(hostFormDoc(`["api.example.com"]`)),
		Good: egressDoc(hostFormDoc(`["api.example.com", "api.example.com:*"]`)),
		Fix: "List `host:*` beside the host. For a wildcard in front (`*.example.com`) there is no such form, as a value may have one `*` only: " +
			"name the hosts, or allow what is wanted instead of denying what is not.",
		Silent: "Lists that hold the form with a port, or a prefix that covers it; servers that do not speak HTTP; rules for which no request of a client in the input shows the difference.",
		Sources: []string{
			"istio pilot/pkg/security/authz/matcher/header.go (HostMatcher)",
			"istio pilot/pkg/networking/core/gateway.go (IgnorePortInHostMatching)",
			"https://istio.io/latest/docs/ops/best-practices/security/#writing-host-match-policies",
		},
	},
})

func hostFormDoc(hosts string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-shop
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ` + hosts + `
`
}

// hostList is one list of hosts in a rule: hosts, or notHosts.
type hostList struct {
	values []string
	field  string
	// opens: a request that the list fails to match gets out that should not.
	opens bool
}

func hostPortForm(p *Pass) {
	for _, g := range egressGateways(p) {
		for _, policy := range slices.Concat(g.Policies.Deny, g.Policies.Allow) {
			if !enforced(policy) {
				continue
			}
			deny := policy.Spec.GetAction() == security.AuthorizationPolicy_DENY
			for _, r := range rulesOf(policy) {
				for i, to := range r.GetTo() {
					for _, list := range []hostList{
						{to.GetOperation().GetHosts(), r.field("to[%d].operation.hosts", i), deny},
						{to.GetOperation().GetNotHosts(), r.field("to[%d].operation.notHosts", i), !deny},
					} {
						if k := list.bare(); k >= 0 {
							reportHostForm(p, g, policy, r.only(i), list, k)
						}
					}
				}
			}
		}
	}
}

// bare returns the index of the first host that is listed without a form with a
// port, -1 if there is none.
func (l hostList) bare() int {
	return slices.IndexFunc(l.values, func(v string) bool {
		if v == "*" || strings.HasSuffix(v, "*") || strings.Contains(v, ":") {
			return false
		}
		return !slices.ContainsFunc(l.values, func(x string) bool { return x == "*" || strings.HasSuffix(x, "*") && affix(x, v+":1") })
	})
}

// reportHostForm reports a list if a client's requests show that it does not
// match what is routed.
func reportHostForm(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, r authzRule, list hostList, k int) {
	value := list.values[k]
	deny := policy.Spec.GetAction() == security.AuthorizationPolicy_DENY
	w := g.witnessAlike(p, r, func(c *crossing) *crossing {
		if !(namedHost{Value: value}).covers(c.Flow.Host) {
			return nil
		}
		bare, ported := g.withHost(p, c, c.Flow.Host), g.withHost(p, c, fmt.Sprintf("%s:%d", c.Flow.Host, c.Flow.Port))
		if bare == nil || ported == nil {
			return nil
		}
		var differs bool
		switch {
		case deny && list.opens:
			differs = bare.deniedByRule(policy, r.Index) && ported.allowed()
		case deny:
			differs = bare.allowed() && ported.deniedByRule(policy, r.Index)
		case list.opens:
			differs = bare.deniedBy(policy) && ported.admittedBy(policy, r.Index)
		default:
			differs = bare.admittedBy(policy, r.Index) && ported.deniedBy(policy)
		}
		return ported.when(differs)
	})
	if w == nil {
		return
	}
	f := Finding{Severity: Note, Object: policy.Object, Field: fmt.Sprintf("%s[%d]", list.field, k), Label: "not with a port"}
	f.prove(w)
	todo := fmt.Sprintf("add %q", value+":*")
	if strings.HasPrefix(value, "*") {
		todo = "name the hosts, each with its form \"host:*\""
		f.Help = "a value may have one \"*\" only, so that a wildcard in front cannot cover ports: name the hosts, or allow what is wanted instead"
	}
	request := fmt.Sprintf("a request with Host %q", w.Flow.Headers["host"])
	if w.Flow.Port != 80 {
		request = fmt.Sprintf("any request to port %d (Host %q)", w.Flow.Port, w.Flow.Headers["host"])
	}
	switch {
	case list.opens:
		f.Severity, f.SecuritySeverity = Error, 7.6
		f.Message = fmt.Sprintf("%s lists host %q and not its form with a port: %s is routed and not denied; %s", r, value, request, todo)
	case w.Flow.Port != 80:
		f.Severity = Warning
		fallthrough
	default:
		f.Message = fmt.Sprintf("%s lists host %q and not its form with a port: %s is denied; %s", r, value, request, todo)
	}
	p.Report(f)
}

// withHost sends a request again with another Host header.
func (g *egressGateway) withHost(p *Pass, c *crossing, authority string) *crossing {
	f := c.Flow
	f.Headers = map[string]string{"host": authority}
	for name, value := range c.Flow.Headers {
		if name != "host" {
			f.Headers[name] = value
		}
	}
	return g.send(p, c.Class, f)
}
