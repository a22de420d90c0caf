package analyzers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

var _ = register(&Analyzer{
	ID: "EGR411", Name: "malformed-principal", Severity: Error, SecuritySeverity: 7.8,
	Run: malformedPrincipal,
	Doc: Doc{
		Title: "A principal in a policy about egress is written in a form that no caller has",
		What: "A value of `principals`, `notPrincipals` or `source.principal` is not of the form `<trust domain>/ns/<namespace>/sa/<service account>`, " +
			"with `*` at one end or not: it has the prefix `spiffe://`, lacks the trust domain, has a `*` in the middle, or names a trust domain that is not the mesh's.",
		Why: "Istio puts `spiffe://` in front of the value and compares it with the caller's identity, letter by letter; it does not refuse what can never match. " +
			"A DENY for such a principal denies nobody, an ALLOW admits nobody, and an exception excepts nobody.",
		Bad:    egressDoc(principalDoc("spiffe://cluster.local/ns/shop/sa/orders")),
		Good:   egressDoc(principalDoc("cluster.local/ns/shop/sa/orders")),
		Fix:    "Write `cluster.local/ns/<namespace>/sa/<service account>` (`cluster.local` stands for the mesh's own trust domain and its aliases).",
		Silent: "Patterns with `*` at one end that some identity matches; policies that do not decide about egress.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/generator.go (srcPrincipalGenerator)",
			"istio pilot/pkg/security/authz/matcher/string.go (StringMatcherWithPrefix)",
			"istio pilot/pkg/security/trustdomain/bundle.go (ReplaceTrustDomainAliases)",
		},
	},
})

func principalDoc(principal string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-orders
  namespace: istio-egress
spec:
  action: DENY
  rules:
  - from:
    - source:
        principals: ["` + principal + `"]
    to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`
}

func malformedPrincipal(p *Pass) {
	for _, policy := range governing(p) {
		for _, r := range rulesOf(policy.AuthorizationPolicy) {
			for _, v := range r.identityValues() {
				if v.attribute != "principal" {
					continue
				}
				if why, better := neverMatches(p, v.value); why != "" {
					reportPrincipal(p, policy, r, v, why, better)
				}
			}
		}
	}
}

// The parts of an identity: names of namespaces and service accounts, and what
// may stand in a part of such a name.
var (
	accountName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)
	namePart    = regexp.MustCompile(`^[-.a-z0-9]*$`)
)

// neverMatches says why a principal matches no identity that Istio gives, and how
// to write it, "" where that cannot be guessed. Both are "" where it may match.
func neverMatches(p *Pass, value string) (why, better string) {
	if rest, ok := strings.CutPrefix(value, "spiffe://"); ok {
		return `Istio adds "spiffe://" itself`, rest
	}
	inner := strings.TrimSuffix(value, "*")
	if strings.HasPrefix(value, "*") {
		inner = value[1:]
	}
	if value == "*" {
		return "", ""
	}
	parts := strings.Split(inner, "/")
	if domain, ok := strings.CutSuffix(parts[0], "*"); ok && len(parts) == 5 {
		parts[0] = domain // istiod puts the mesh's own in its place
		for _, own := range p.Reach.Sim.Push().TrustDomains() {
			if strings.HasPrefix(own, domain) {
				parts[0] = own
			}
		}
		value, inner = strings.Join(parts, "/"), strings.Join(parts, "/")
	}
	if strings.Contains(inner, "*") {
		return `a "*" counts at one end only, elsewhere it stands for itself`, ""
	}
	form := "it is not of the form <trust domain>/ns/<namespace>/sa/<service account>"
	switch {
	case strings.HasPrefix(value, "*"):
		// Aligned to the end; its first part may be the end of anything.
		for i := range parts {
			if !fits(parts[len(parts)-1-i], 4-i, i == len(parts)-1, false) {
				return form, ""
			}
		}
	case strings.HasSuffix(value, "*"):
		for i, part := range parts {
			if !fits(part, i, false, i == len(parts)-1) {
				if parts[0] == "ns" {
					return "the trust domain is missing", ownDomain + "/" + value
				}
				return form, ""
			}
		}
	default:
		if len(parts) == 4 && parts[0] == "ns" && parts[2] == "sa" {
			return "the trust domain is missing", ownDomain + "/" + value
		}
		if len(parts) > 5 && slices.Contains(parts, "ns") && slices.Contains(parts, "sa") {
			return "", "" // an identity with more to it, of another authority
		}
		if len(parts) != 5 {
			return form, ""
		}
		for i, part := range parts {
			if !fits(part, i, false, false) {
				return form, ""
			}
		}
	}
	return foreignDomain(p, value, parts)
}

// fits reports whether a part of a principal may be the one at an index of an
// identity: as a whole, or as the end or beginning of one.
func fits(part string, index int, end, beginning bool) bool {
	if index < 0 || index > 4 {
		return false
	}
	if word, fixed := map[int]string{1: "ns", 3: "sa"}[index]; fixed {
		return part == word || end && strings.HasSuffix(word, part) || beginning && strings.HasPrefix(word, part)
	}
	switch {
	case index == 0:
		return part != "" || end || beginning
	case end || beginning:
		return namePart.MatchString(part)
	default:
		return accountName.MatchString(part)
	}
}

// foreignDomain says that a principal names a trust domain which the mesh, whose
// configuration the input holds, does not have.
func foreignDomain(p *Pass, value string, parts []string) (why, better string) {
	config := p.Mesh.Config
	if strings.HasPrefix(value, "*") || len(parts) < 2 || config.Source == nil || config.Refused || len(p.Mesh.Revisions) > 0 {
		return "", ""
	}
	domains := p.Reach.Sim.Push().TrustDomains()
	if parts[0] == ownDomain || slices.Contains(domains, parts[0]) {
		return "", ""
	}
	return fmt.Sprintf("the mesh's trust domain is %q", domains[0]), ownDomain + strings.TrimPrefix(value, parts[0])
}

// ownDomain is what stands for the mesh's own trust domain in principals.
const ownDomain = "cluster.local"

func reportPrincipal(p *Pass, policy governed, r authzRule, v identityValue, why, better string) {
	opens := denies(policy.AuthorizationPolicy) != v.not
	f := Finding{Severity: Error, Object: policy.Object, Field: v.field, Label: "matches nobody"}
	if opens {
		f.SecuritySeverity = 7.8
	}
	if strings.HasPrefix(why, "the mesh's") { // callers of another mesh may be meant
		f.Severity = Warning
		f.SecuritySeverity = min(f.SecuritySeverity, 5.5)
	}
	effect := "never matches"
	if v.not {
		effect = "excludes nobody"
	}
	f.Message = fmt.Sprintf("principal %q in %s %s: %s", v.value, r, effect, why)
	todo := "write <trust domain>/ns/<namespace>/sa/<service account>"
	if better != "" {
		todo = fmt.Sprintf("write %q", better)
		f.provePrincipal(p, policy, r, v, better, opens)
	}
	f.Message += "; " + todo
	p.Report(f)
}

// provePrincipal adds a request of those whom the principal means, written well,
// that fares otherwise than the rule says.
func (f *Finding) provePrincipal(p *Pass, policy governed, r authzRule, v identityValue, better string, opens bool) {
	meant := authzRule{proto.CloneOf(r.Rule), r.Policy, r.Index}
	swap := func(list []string) {
		if i := slices.Index(list, v.value); i >= 0 {
			list[i] = better
		}
	}
	for _, from := range meant.GetFrom() {
		swap(from.GetSource().GetPrincipals())
		swap(from.GetSource().GetNotPrincipals())
	}
	for _, w := range meant.GetWhen() {
		swap(w.GetValues())
		swap(w.GetNotValues())
	}
	for _, g := range policy.at {
		w := g.witness(p, []authzRule{meant}, func(_ authzRule, c *crossing) *crossing {
			if meant.means(g.push, c.Class[0]) == v.not {
				return nil
			}
			return c.when(opens && c.allowed() || !opens && c.deniedBy(policy.AuthorizationPolicy))
		})
		if f.prove(w); w != nil {
			return
		}
	}
}
