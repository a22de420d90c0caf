package analyzers

import (
	"fmt"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR419", Name: "jwt-without-requestauthentication", Severity: Error, SecuritySeverity: 7.5,
	Run: jwtUnchecked,
	Doc: Doc{
		Title: "A policy at an egress gateway asks for a token that nothing there checks",
		What:  "A rule asks for `requestPrincipals`, `notRequestPrincipals` or a `request.auth` condition, and no RequestAuthentication applies to the egress gateway or waypoint that the policy is in force at.",
		Why: "Only a RequestAuthentication makes a proxy read and verify tokens. Without one every request is one without a token: a DENY for some principal never fires, " +
			"an ALLOW never matches, and a rule that only excludes principals takes everybody.",
		Bad:    egressDoc(tokenDoc),
		Good:   egressDoc(tokenDoc + "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata:\n  name: tokens\n  namespace: istio-egress\nspec:\n  jwtRules:\n  - issuer: https://login.example.com\n    jwksUri: https://login.example.com/keys\n"),
		Fix:    "Put a RequestAuthentication with the issuer into the gateway's namespace (for a waypoint with `targetRefs`), or use the identity of the workload instead of a token.",
		Silent: "Proxies to which some RequestAuthentication applies, whatever its issuers; proxies with an EnvoyFilter, which may check tokens; policies that do not decide about egress.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/generator.go (requestPrincipalGenerator)",
			"istio pilot/pkg/security/authn/policy_applier.go (JwtFilter)",
			"https://istio.io/latest/docs/tasks/security/authorization/authz-jwt/",
		},
	},
})

const tokenDoc = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-trial-accounts
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - from:
    - source:
        requestPrincipals: ["https://login.example.com/trial"]
    to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`

// tokenField returns the first field of a rule that asks for a token, and whether
// it only excludes tokens; "" if there is none.
func (r authzRule) tokenField() (field string, not bool) {
	for i, from := range r.GetFrom() {
		if s := from.GetSource(); len(s.GetRequestPrincipals()) > 0 {
			return r.field("from[%d].source.requestPrincipals", i), false
		} else if len(s.GetNotRequestPrincipals()) > 0 {
			return r.field("from[%d].source.notRequestPrincipals", i), true
		}
	}
	for i, w := range r.GetWhen() {
		if strings.HasPrefix(w.GetKey(), "request.auth.") {
			if len(w.GetValues()) > 0 {
				return r.field("when[%d].values", i), false
			}
			return r.field("when[%d].notValues", i), true
		}
	}
	return "", false
}

func jwtUnchecked(p *Pass) {
	push := p.Reach.Sim.Push()
	for _, policy := range governing(p) {
		if action := policy.Spec.GetAction(); action == security.AuthorizationPolicy_CUSTOM {
			continue
		}
		for _, r := range rulesOf(policy.AuthorizationPolicy) {
			field, not := r.tokenField()
			if field == "" {
				continue
			}
			for _, g := range policy.at {
				if len(push.RequestAuthenticationsFor(g.Workload)) > 0 || len(push.EnvoyFiltersFor(g.Workload)) > 0 {
					continue
				}
				f, deny := tokenFinding(policy, r, field, not, "egress gateway "+g.ID(), g.Namespace)
				f.prove(g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
					return c.when(deny == not && c.deniedBy(r.Policy) || deny != not && c.allowed())
				}))
				p.Report(f)
				break
			}
			for _, w := range policy.waypoints {
				checked := slices.ContainsFunc(w.services, func(s *model.Service) bool { return len(push.RequestAuthenticationsForWaypoint(w.KubeGateway, s)) > 0 })
				if checked || len(push.EnvoyFiltersForWaypoint(w.KubeGateway)) > 0 {
					continue
				}
				f, deny := tokenFinding(policy, r, field, not, "waypoint "+w.ID(), w.Namespace)
				if deny != not {
					w.show(p, &f, r.Policy)
				}
				p.Report(f)
				break
			}
		}
	}
}

// tokenFinding words the finding about one rule at one proxy.
func tokenFinding(policy governed, r authzRule, field string, not bool, at, namespace string) (f Finding, deny bool) {
	deny = denies(policy.AuthorizationPolicy)
	f = Finding{Severity: Error, Object: policy.Object, Field: field, Label: "no token is ever read there"}
	effect := "never matches"
	switch {
	case not && deny:
		effect = "matches everybody, and denies it"
	case not:
		effect = "matches everybody, and allows it"
	}
	if deny != not {
		f.SecuritySeverity = 7.5
	}
	f.Message = fmt.Sprintf("%s asks for a token, and no RequestAuthentication applies to %s, so that it %s; add one in namespace %q",
		r, at, effect, namespace)
	return f, deny
}
