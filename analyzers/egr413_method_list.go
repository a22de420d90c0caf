package analyzers

import (
	"fmt"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR413", Name: "method-list-incomplete", Severity: Error, SecuritySeverity: 7.5,
	Run: methodList,
	Doc: Doc{
		Title: "A rule lists GET without HEAD, or methods in lower case",
		What:  "A rule about egress lists the method GET and not HEAD, or writes a method in lower case.",
		Why: "Methods are compared letter by letter, and HEAD is a method of its own. An ALLOW rule for GET denies HEAD, which `curl -I`, health checks " +
			"and download tools send. A DENY rule for GET lets HEAD through, to which servers answer as to GET, without the body. " +
			"A method in lower case matches no request that any client sends.",
		Bad:  egressDoc(methodDoc(`["GET"]`)),
		Good: egressDoc(methodDoc(`["GET", "HEAD"]`)),
		Fix:  "List HEAD beside GET, and write methods in capitals.",
		Silent: "Rules that another rule makes up for; policies that neither apply to an egress gateway nor are meant for one (EGR402); HEAD at waypoints; " +
			"policies in force at a gateway for which no request of a client in the input shows the difference.",
		Sources: []string{
			"istio pilot/pkg/security/authz/matcher/header.go",
			"https://www.rfc-editor.org/rfc/rfc9110#name-head",
		},
	},
})

func methodDoc(methods string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: read-api
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  - to:
    - operation:
        methods: ` + methods + `
        hosts: ["api.example.com"]
`
}

func methodList(p *Pass) {
	for _, x := range governing(p) {
		policy, at, meant := x.AuthorizationPolicy, x.at, x.meant
		if action := policy.Spec.GetAction(); action != security.AuthorizationPolicy_ALLOW && action != security.AuthorizationPolicy_DENY {
			continue
		}
		for _, r := range rulesOf(policy) {
			for i, to := range r.GetTo() {
				methods := to.GetOperation().GetMethods()
				one := r.only(i)
				if k := slices.IndexFunc(methods, lowerCase); k >= 0 && !slices.Contains(methods, strings.ToUpper(methods[k])) {
					reportLowerCase(p, at, policy, one, r.field("to[%d].operation.methods[%d]", i, k), methods[k])
					continue
				}
				k := slices.IndexFunc(methods, func(m string) bool { return affix(m, "GET") })
				if k < 0 || slices.ContainsFunc(methods, func(m string) bool { return affix(m, "HEAD") }) {
					continue
				}
				field := r.field("to[%d].operation.methods[%d]", i, k)
				if len(at) > 0 {
					reportMissingHead(p, at, policy, one, field, methods[k])
				} else if len(meant) > 0 && !otherwiseHead(policy) {
					reportMissingHeadUnattached(p, meant[0], policy, one, field, methods[k])
				}
			}
		}
	}
}

// lowerCase reports whether a method has lower-case letters, as no method that
// clients use has.
func lowerCase(method string) bool { return method != strings.ToUpper(method) }

// otherwiseHead reports whether any operation of a policy takes HEAD.
func otherwiseHead(policy *model.AuthorizationPolicy) bool {
	for _, r := range policy.Spec.GetRules() {
		if len(r.GetTo()) == 0 {
			return true
		}
		for _, to := range r.GetTo() {
			m := to.GetOperation().GetMethods()
			if len(m) == 0 || slices.ContainsFunc(m, func(v string) bool { return affix(v, "HEAD") }) {
				return true
			}
		}
	}
	return false
}

// withMethod sends a request again with another method.
func (g *egressGateway) withMethod(p *Pass, c *crossing, method string) *crossing {
	f := c.Flow
	f.Method = method
	return g.send(p, c.Class, f)
}

// reportMissingHead reports an operation that takes GET and not HEAD if a client's
// requests show it.
func reportMissingHead(p *Pass, gateways []*egressGateway, policy *model.AuthorizationPolicy, r authzRule, field, method string) {
	deny := policy.Spec.GetAction() == security.AuthorizationPolicy_DENY
	for _, g := range gateways {
		w := g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
			get, head := g.withMethod(p, c, "GET"), g.withMethod(p, c, "HEAD")
			switch {
			case get == nil || head == nil:
				return nil
			case deny:
				return head.when(get.deniedByRule(policy, r.Index) && head.allowed())
			default:
				return head.when(get.admittedBy(policy, r.Index) && head.deniedBy(policy))
			}
		})
		if w == nil {
			continue
		}
		f := missingHead(policy, field)
		f.prove(w)
		if deny {
			f.Message = fmt.Sprintf(`%s lists method %q and not "HEAD": a HEAD request to %q is not denied; add "HEAD"`, r, method, w.Flow.Host)
		} else {
			f.Message = fmt.Sprintf(`%s lists method %q and not "HEAD": a HEAD request, as of "curl -I", to %q is denied; add "HEAD"`, r, method, w.Flow.Host)
		}
		p.Report(f)
		return
	}
}

// reportMissingHeadUnattached reports such an operation of a policy that is meant
// for a gateway and does not apply to it yet.
func reportMissingHeadUnattached(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, r authzRule, field, method string) {
	f := missingHead(policy, field)
	would := `would not allow a HEAD request, as of "curl -I", either`
	if policy.Spec.GetAction() == security.AuthorizationPolicy_DENY {
		would = "would not deny a HEAD request either"
	}
	f.Message = fmt.Sprintf(`%s lists method %q and not "HEAD": at egress gateway %s it %s; add "HEAD"`, r, method, g.ID(), would)
	p.Report(f)
}

func missingHead(policy *model.AuthorizationPolicy, field string) Finding {
	f := Finding{Severity: Note, Object: policy.Object, Field: field, Label: "and not HEAD"}
	if policy.Spec.GetAction() == security.AuthorizationPolicy_DENY {
		f.Severity, f.SecuritySeverity = Warning, 6.0
	}
	return f
}

// reportLowerCase reports a method that matches no request.
func reportLowerCase(p *Pass, gateways []*egressGateway, policy *model.AuthorizationPolicy, r authzRule, field, method string) {
	f := Finding{Severity: Error, Object: policy.Object, Field: field, Label: "methods are compared letter by letter"}
	upper := strings.ToUpper(method)
	effect := "is not allowed by it"
	deny := policy.Spec.GetAction() == security.AuthorizationPolicy_DENY
	if deny {
		effect, f.SecuritySeverity = "is not denied", 7.5
	}
	f.Message = fmt.Sprintf("%s lists method %q: methods are compared letter by letter, and %s %s; write %q", r, method, upper, effect, upper)
	for _, g := range gateways {
		w := g.witness(p, []authzRule{r}, func(_ authzRule, c *crossing) *crossing {
			again := g.withMethod(p, c, sample(upper, "GET"))
			if again == nil {
				return nil
			}
			return again.when(deny && again.allowed() || !deny && again.deniedBy(policy))
		})
		if f.prove(w); w != nil {
			break
		}
	}
	p.Report(f)
}
