package analyzers

import (
	"fmt"
	"strings"

	security "istio.io/api/security/v1beta1"
)

var _ = register(&Analyzer{
	ID:   "EGR002",
	Name: "invalid-authz-rule",
	Doc: Doc{
		Title: "A rule of an AuthorizationPolicy has a condition that istiod cannot read",
		What: "Istio's validation lets some conditions pass that istiod then fails to make configuration of: " +
			"`request.headers.x-env[prod]` in place of `request.headers[x-env]`, `request.auth.claims.groups[a]` in place of " +
			"`request.auth.claims[groups]`. It skips an ALLOW rule with such a condition; of a DENY or CUSTOM rule it drops the " +
			"condition and keeps the rest. And in `request.headers[\"x-env\"]` the quotes belong to the name, so that no request has " +
			"that header.",
		Why: "An ALLOW rule that is skipped admits nobody. A DENY rule without one of its conditions denies more than it says, without " +
			"its only condition everything. A DENY rule that waits for an impossible header denies nothing.",
		Bad: `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-test-traffic
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - when:
    - key: request.headers["x-env"]
      values: [test]
`,
		Good: `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-test-traffic
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - when:
    - key: request.headers[x-env]
      values: [test]
`,
		Fix: "Write the key as `request.headers[NAME]` or `request.auth.claims[NAME]`, without quotes.",
		Silent: "A policy that the API server or Istio's validation refuses (an unknown key, a port that is no number, a bad CIDR, an empty " +
			"source, DENY without rules) does not exist in a cluster: that is EGR011. AUDIT and dry-run policies enforce nothing anyway.",
		Sources: []string{
			"istio/istio pilot/pkg/security/authz/builder/builder.go",
			"istio/istio pilot/pkg/security/authz/model/model.go checkError",
			"istio/istio pilot/pkg/security/authz/model/util.go",
			"istio/istio pkg/config/security/security.go ValidateAttribute",
		},
	},
	Severity:         Error,
	SecuritySeverity: 7.5,
	Run:              runInvalidAuthzRule,
})

func runInvalidAuthzRule(p *Pass) {
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) {
			continue
		}
		for _, r := range rulesOf(policy) {
			for i, when := range r.GetWhen() {
				if f, bad := conditionFinding(r, when); bad {
					f.Object, f.Field = policy.Object, r.field("when[%d].key", i)
					p.Report(f)
				}
			}
		}
	}
}

// conditionFinding says what is wrong with a condition, if anything.
func conditionFinding(r authzRule, when *security.Condition) (Finding, bool) {
	key := when.GetKey()
	correct := "request.headers[NAME]"
	name, isHeader := strings.CutPrefix(key, "request.headers")
	if !isHeader {
		var isClaim bool
		if name, isClaim = strings.CutPrefix(key, "request.auth.claims"); !isClaim {
			return Finding{}, false
		}
		correct = "request.auth.claims[NAME]"
	}
	unreadable := !bracketed(name)
	allow := r.Policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW
	switch {
	case unreadable && allow:
		return Finding{Severity: Warning, SecuritySeverity: 4.0, Label: "not readable",
			Message: fmt.Sprintf("%s has the condition %q, which istiod cannot read; it skips the rule, which admits nobody; write %s", r, key, correct)}, true
	case unreadable:
		return Finding{Severity: Error, Label: "not readable",
			Message: fmt.Sprintf("%s has the condition %q, which istiod cannot read; it drops the condition, and the rule takes more requests than it says; write %s", r, key, correct)}, true
	case !isHeader || !strings.ContainsAny(name, "\"' ") || len(when.GetValues()) == 0:
		return Finding{}, false
	case allow:
		return Finding{Severity: Warning, SecuritySeverity: 4.0, Label: "no such header",
			Message: fmt.Sprintf("%s waits for a header whose name is %s, quotes and blanks included; no request has it, so the rule admits nobody; write %s", r, name[1:len(name)-1], correct)}, true
	default:
		return Finding{Label: "no such header",
			Message: fmt.Sprintf("%s waits for a header whose name is %s, quotes and blanks included; no request has it, so the rule never matches; write %s", r, name[1:len(name)-1], correct)}, true
	}
}

// bracketed reports whether istiod finds a name in what follows the attribute:
// it must begin and end with brackets, whatever lies between.
func bracketed(s string) bool { return strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") }
