package model

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// LeftOut says in a clause what of the input was not analysed and might change an
// answer, what decides about requests first; "" if all of it was.
func (m *Mesh) LeftOut() string {
	var out []manifest.Problem
	answered := map[string]bool{} // what may depend on these is unknown
	for _, u := range m.unfilledObjects {
		answered[u.String()] = true
	}
	for _, p := range m.Problems {
		if p.Kind.Partial() && (p.Kind != manifest.Template || !answered[p.Object]) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return ""
	}
	sort.SliceStable(out, func(i, j int) bool { return decides(out[i]) < decides(out[j]) })
	first := out[0]
	text := first.Position.String()
	if first.Object != "" && text != "" {
		text = fmt.Sprintf("%s (%s)", first.Object, text)
	}
	text = cmp.Or(text, first.Object, first.Message)
	if more := len(out) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return printable("what was not analysed changes nothing in it: " + text)
}

// decides ranks what a problem leaves out: objects of Istio's and of the Gateway API,
// Services, what installs Istio and network policies, then what nobody knows, then other objects.
func decides(p manifest.Problem) int {
	kind, _, _ := strings.Cut(p.Object, " ")
	switch {
	case istioKinds[kind] != nil || strings.HasSuffix(kind, "NetworkPolicy") || kind == "Service" || gatewayAPIKinds[kind] || kind == "ConfigMap" || kind == "IstioOperator" || kind == manifest.KindValues:
		return 0
	case p.Object == "":
		return 1
	default:
		return 2
	}
}

// Hides reports whether something that exists or will exist in the cluster, and that
// may decide about requests, was not analysed: a template, or what nobody can read.
// What the API server refuses is not there.
func (m *Mesh) Hides() bool {
	return len(m.unfilledObjects) > 0 || slices.ContainsFunc(m.Problems, func(p manifest.Problem) bool {
		return p.Kind.Partial() && p.Kind != manifest.Rejected && decides(p) < 2
	})
}
