package analyzers

import (
	"fmt"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR426", Name: "audit-only", Severity: Warning, SecuritySeverity: 5.0,
	Run: auditOnly,
	Doc: Doc{
		Title: "A policy of an egress gateway only asks for an audit, and stops nothing",
		What:  "An AuthorizationPolicy with action AUDIT applies to an egress gateway. It is a warning where the policy's name says that it allows or denies, else a note.",
		Why: "AUDIT marks requests for a plugin that writes them down; Istio brings none of its own. It neither allows nor denies, " +
			"and does not make the gateway deny by default.",
		Bad:    egressDoc(auditDoc("AUDIT")),
		Good:   egressDoc(auditDoc("DENY")),
		Fix:    "Use ALLOW or DENY for what is to be controlled, and access logs for what is to be known.",
		Silent: "Policies that apply to no egress gateway.",
		Sources: []string{
			"https://istio.io/latest/docs/reference/config/security/authorization-policy/#AuthorizationPolicy-Action",
			"istio pilot/pkg/security/authz/builder/builder.go",
		},
	},
})

func auditDoc(action string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: watch-api
  namespace: istio-egress
spec:
  action: ` + action + `
  rules:
  - to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`
}

func auditOnly(p *Pass) {
	seen := map[*model.AuthorizationPolicy]bool{}
	for _, g := range egressGateways(p) {
		for _, policy := range g.Policies.Audit {
			if seen[policy] || policy.Spec.GetAction() != security.AuthorizationPolicy_AUDIT {
				continue
			}
			seen[policy] = true
			severity, score := Note, 2.0
			if meantToStop(policy.Name) {
				severity, score = Warning, 5.0 // whoever calls it that means more than a record
			}
			p.Report(Finding{
				Severity: severity, SecuritySeverity: score, Object: policy.Object, Field: "spec.action", Label: "neither allows nor denies",
				Message: fmt.Sprintf("AuthorizationPolicy %s (AUDIT) stops nothing at egress gateway %s; use ALLOW or DENY for what it should control", policy.ID(), g.ID()),
				Related: []Related{{g.Object, "metadata.name", fmt.Sprintf("the policy applies to egress gateway %s", g.ID())}},
			})
		}
	}
}

// meantToStop reports whether the name of a policy says that it decides something.
func meantToStop(name string) bool {
	for _, word := range strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r < 'a' || r > 'z' }) {
		if slices.Contains([]string{"deny", "denies", "block", "blocks", "forbid", "allow", "allows", "restrict", "no", "only"}, word) {
			return true
		}
	}
	return false
}
