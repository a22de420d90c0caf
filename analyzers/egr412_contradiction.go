package analyzers

import (
	"fmt"
	"slices"
	"strings"
)

// reportContradictions reports sources that list principals and namespaces, both of
// which have to match (istio pilot/pkg/security/authz/model/model.go New), while none of
// the principals is of one of the namespaces.
func reportContradictions(p *Pass, policy governed, r authzRule) {
	for i, from := range r.GetFrom() {
		principals, namespaces := from.GetSource().GetPrincipals(), from.GetSource().GetNamespaces()
		if len(principals) == 0 || len(namespaces) == 0 || slices.ContainsFunc(principals, func(v string) bool { return mayBeOf(v, namespaces) }) {
			continue
		}
		opens := denies(policy.AuthorizationPolicy)
		f := Finding{Severity: Warning, Object: policy.Object, Field: r.field("from[%d].source.namespaces", i), Label: "nobody is of both",
			Related: []Related{{policy.Object, r.field("from[%d].source.principals", i), "the principals"}}}
		if opens {
			f.SecuritySeverity = 5.5
		}
		f.Help = "list the namespaces in a source of their own, which matches by itself, or leave them out"
		f.Message = fmt.Sprintf("source %d of %s never matches, as its principals and its namespaces both have to, and no principal of %s is of namespace %s; %s",
			i, r, upTo3(quotedList(principals)), upTo3(quotedList(namespaces)), f.Help)
		p.Report(f)
	}
}

// mayBeOf reports whether a principal may be of one of some namespaces: patterns may.
func mayBeOf(principal string, namespaces []string) bool {
	parts := strings.Split(principal, "/")
	if strings.Contains(principal, "*") || len(parts) != 5 || parts[1] != "ns" {
		return true // EGR411 tells what is wrong with it
	}
	return slices.ContainsFunc(namespaces, func(v string) bool { return v == parts[2] || strings.Contains(v, "*") })
}
