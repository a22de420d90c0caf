package model

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	security "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"

	"github.com/egresslint/egresslint/model/manifest"
)

// unfilledAuthorization is an AuthorizationPolicy with placeholders. Most of its fields
// take any text, so that the API server admits it as it stands, and it matches nobody;
// one that it refuses has only those parts of its spec that are certain.
type unfilledAuthorization struct {
	object  *manifest.Object
	spec    *security.AuthorizationPolicy
	refused bool
	// rules are those that hold a placeholder.
	rules []int
	// anyPod, anyTarget, anyAction and anyProvider: the placeholder is in what it selects,
	// in what it is attached to, in its action, in whom it asks.
	anyPod, anyTarget, anyAction, anyProvider bool
	text, field                               string
}

// unfilledRefusal looks what is certain of an AuthorizationPolicy that was refused;
// value is what else it is, if no placeholder is to blame.
func (d *decoding) unfilledRefusal(value any, tree map[string]any) any {
	if d.object.Kind != "AuthorizationPolicy" || d.problems[len(d.problems)-1].Kind != manifest.Template {
		return value
	}
	u := &unfilledAuthorization{object: d.object, refused: true, spec: &security.AuthorizationPolicy{}, field: "spec"}
	u.text = shortPlaceholder(tree)
	labels, _ := lookup(tree, "spec.selector.matchLabels")
	u.anyPod = placeholder(labels) != ""
	u.anyTarget = placeholder(mustLookup(tree, "spec.targetRefs")) != "" || placeholder(mustLookup(tree, "spec.targetRef")) != ""
	if m, ok := labels.(map[string]any); ok && !u.anyPod {
		u.spec.Selector = &typev1beta1.WorkloadSelector{MatchLabels: stringMap(m)}
	}
	refs, _ := lookup(tree, "spec.targetRefs")
	list, _ := refs.([]any)
	if one := lookupMap(tree, "spec.targetRef"); one != nil {
		list = append(list, one)
	}
	for _, e := range list {
		u.spec.TargetRefs = append(u.spec.TargetRefs, &typev1beta1.PolicyTargetReference{
			Group: lookupString(asMap(e), "group"), Kind: lookupString(asMap(e), "kind"), Name: lookupString(asMap(e), "name"), Namespace: lookupString(asMap(e), "namespace")})
	}
	action := lookupString(tree, "spec.action")
	n, known := security.AuthorizationPolicy_Action_value[action]
	u.spec.Action, u.anyAction = security.AuthorizationPolicy_Action(n), action != "" && !known
	return u
}

// unfilledAdmission finds the placeholders of an AuthorizationPolicy that is admitted,
// nil if it has none.
func unfilledAdmission(p *AuthorizationPolicy) *unfilledAuthorization {
	u := &unfilledAuthorization{object: p.Object, spec: p.Spec}
	note := func(text, field string) {
		if u.text == "" {
			u.text, u.field = text, field
		}
	}
	for i, rule := range p.Spec.GetRules() {
		if text, field := placeholderIn(rule.ProtoReflect(), item("spec.rules", i)); text != "" {
			u.rules = append(u.rules, i)
			note(text, field)
		}
	}
	for _, part := range []struct {
		field string
		value proto.Message
		open  *bool
	}{{"spec.selector", p.Spec.GetSelector(), &u.anyPod}, {"spec.targetRef", p.Spec.GetTargetRef(), &u.anyTarget}, {"spec.provider", p.Spec.GetProvider(), &u.anyProvider}} {
		if text, field := placeholderIn(part.value.ProtoReflect(), part.field); text != "" {
			*part.open = true
			note(text, field)
		}
	}
	for i, ref := range p.Spec.GetTargetRefs() {
		if text, field := placeholderIn(ref.ProtoReflect(), item("spec.targetRefs", i)); text != "" {
			u.anyTarget = true
			note(text, field)
		}
	}
	if u.text == "" {
		return nil
	}
	return u
}

// placeholderIn returns the first placeholder in the texts of a message, and its field;
// "" for none.
func placeholderIn(m protoreflect.Message, at string) (text, field string) {
	if all := placeholdersIn(m, at); len(all) > 0 {
		return all[0].text, all[0].field
	}
	return "", ""
}

// foundPlaceholder is a placeholder with the field where it stands.
type foundPlaceholder struct{ text, field string }

// mostPlaceholders bounds what [placeholdersIn] returns: one is enough for most.
const mostPlaceholders = 100

// placeholdersIn returns the placeholders in the texts of a message, in the order of
// its fields.
func placeholdersIn(m protoreflect.Message, at string) (out []foundPlaceholder) {
	if !m.IsValid() {
		return nil
	}
	look := func(v protoreflect.Value, kind protoreflect.Kind, at func() string) {
		switch {
		case len(out) >= mostPlaceholders:
		case kind == protoreflect.MessageKind:
			if inner := placeholdersIn(v.Message(), ""); len(inner) > 0 {
				for _, found := range inner {
					out = append(out, foundPlaceholder{found.text, join(at(), found.field)})
				}
			}
		case kind == protoreflect.StringKind && strings.ContainsAny(v.String(), "$<_"):
			if placeholderPattern.MatchString(v.String()) {
				out = append(out, foundPlaceholder{shortPlaceholder(v.String()), at()})
			}
		}
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		path := func() string { return join(at, f.JSONName()) }
		switch {
		case f.IsList():
			list := m.Get(f).List()
			for j := range list.Len() {
				look(list.Get(j), f.Kind(), func() string { return item(path(), j) })
			}
		case f.IsMap():
			entries := map[string]any{}
			m.Get(f).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				entries[k.String()] = v
				return true
			})
			for _, k := range sortedKeys(entries) {
				look(entries[k].(protoreflect.Value), f.MapValue().Kind(), func() string { return child(path(), k) })
			}
		default:
			look(m.Get(f), f.Kind(), path)
		}
	}
	return out
}

// findUnfilled finds the AuthorizationPolicies with placeholders, and says so of those
// that nothing refuses.
func (m *Mesh) findUnfilled(rejected []*manifest.Object) {
	for _, p := range m.AuthorizationPolicies {
		if u := unfilledAdmission(p); u != nil {
			m.unfilled = append(m.unfilled, u)
		}
	}
	if n := len(m.unfilled); n > 0 {
		u, more := m.unfilled[0], ""
		if n > 1 {
			more = fmt.Sprintf(", as %d more AuthorizationPolicies hold one", n-1)
		}
		m.note("%s holds the placeholder %s%s, and answers that depend on it are unknown: fill it in before", title(u.object), u.text, more)
	}
	complete := map[string]bool{}
	for _, p := range m.AuthorizationPolicies {
		complete[p.ID()] = true
	}
	for _, o := range rejected {
		if u, ok := o.Value.(*unfilledAuthorization); ok && !complete[o.ID()] {
			m.unfilled = append(m.unfilled, u)
		}
	}
}

// filled returns the policy with values that let most requests through, or least; none
// where it then has no say.
func (u *unfilledAuthorization) filled(m *Mesh, most bool) []*AuthorizationPolicy {
	spec := proto.Clone(u.spec).(*security.AuthorizationPolicy)
	if u.anyPod {
		spec.Selector = nil
	}
	if u.anyAction {
		spec.Action = security.AuthorizationPolicy_DENY
		if most {
			spec.Action = security.AuthorizationPolicy_ALLOW
		}
	}
	allows := spec.Action == security.AuthorizationPolicy_ALLOW
	switch {
	case spec.Action == security.AuthorizationPolicy_AUDIT:
		return nil
	case spec.Action == security.AuthorizationPolicy_CUSTOM && most && u.anyProvider:
		return nil // one that lets everything through
	case allows == most:
		// It matches everything; what selects other pods lets nobody else in.
		if u.refused || u.anyPod || u.anyTarget || u.anyAction || len(u.rules) > 0 {
			spec.Rules = append(u.rulesWithout(), &security.Rule{})
		}
	default:
		spec.Rules = u.rulesWithout()
		if most && (u.anyPod || u.anyTarget || len(spec.Rules) == 0) {
			return nil // it selects other pods, or matches nothing that it would stop
		}
	}
	if !u.anyTarget {
		return []*AuthorizationPolicy{{Object: u.object, Spec: spec}}
	}
	refs := spec.TargetRefs
	if spec.TargetRef != nil {
		refs = append(refs, spec.TargetRef)
	}
	spec.TargetRef, spec.TargetRefs = nil, nil
	for _, target := range m.targets(u.object.Namespace) {
		may := func(open, name string) bool {
			pattern := newNamePattern(open)
			return pattern.matches(strings.ToLower(name))
		}
		if len(refs) == 0 || slices.ContainsFunc(refs, func(r *typev1beta1.PolicyTargetReference) bool {
			return may(r.GetGroup(), target.Group) && may(r.GetKind(), target.Kind) && may(r.GetName(), target.Name)
		}) {
			spec.TargetRefs = append(spec.TargetRefs, target)
		}
	}
	if len(spec.TargetRefs) == 0 {
		return nil
	}
	return []*AuthorizationPolicy{{Object: u.object, Spec: spec}}
}

// targets are what the policies of a namespace may be attached to, in the order of the
// input (istio pilot/pkg/model/policyattachment.go).
func (m *Mesh) targets(namespace string) []*typev1beta1.PolicyTargetReference {
	var out []*typev1beta1.PolicyTargetReference
	add := func(group, kind string, o *manifest.Object) {
		if o.Namespace == namespace {
			out = append(out, &typev1beta1.PolicyTargetReference{Group: group, Kind: kind, Name: o.Name})
		}
	}
	for _, g := range m.KubeGateways {
		add(kubeGatewayGroup, "Gateway", g.Object)
	}
	for _, s := range m.KubeServices {
		add("", "Service", s.Object)
	}
	for _, e := range m.ServiceEntries {
		add("networking.istio.io", "ServiceEntry", e.Object)
	}
	if m.Config.GetRootNamespace() == namespace {
		out = append(out, &typev1beta1.PolicyTargetReference{Group: kubeGatewayGroup, Kind: "GatewayClass", Name: gatewayClassWaypoint})
	}
	return out
}

// rulesWithout are the rules without a placeholder.
func (u *unfilledAuthorization) rulesWithout() []*security.Rule {
	var out []*security.Rule
	for i, rule := range u.spec.GetRules() {
		if !slices.Contains(u.rules, i) {
			out = append(out, rule)
		}
	}
	return out
}

// policyDoubts are what the placeholders of all AuthorizationPolicies leave open: an
// answer that is the same where they let most through and where they let least does
// not depend on them.
func (m *Mesh) policyDoubts() []Doubt {
	if len(m.unfilled) == 0 {
		return nil
	}
	first := m.unfilled[0]
	names := []string{}
	for _, u := range m.unfilled {
		names = append(names, u.object.ID())
	}
	d := Doubt{Place: Place{first.object, first.field}, Text: first.text, Taken: "what stands there", Policies: true,
		Why: printable(fmt.Sprintf("placeholders in AuthorizationPolicy %s, as %s, are to be filled in", strings.Join(shortened(names), ", "), first.text))}
	var out []Doubt
	for _, most := range []bool{true, false} {
		d.Other = "values that let least through"
		if most {
			d.Other = "values that let most through"
		}
		d.other = func(m *Mesh) *Mesh { return m.withFilled(most) }
		out = append(out, d)
	}
	return out
}

// withFilled returns the mesh with all placeholders of AuthorizationPolicies filled in.
func (m *Mesh) withFilled(most bool) *Mesh {
	of := map[*manifest.Object]*unfilledAuthorization{}
	for _, u := range m.unfilled {
		of[u.object] = u
	}
	out := *m
	out.AuthorizationPolicies = nil
	for _, p := range m.AuthorizationPolicies {
		u := of[p.Object]
		if u == nil {
			out.AuthorizationPolicies = append(out.AuthorizationPolicies, p)
		} else {
			out.AuthorizationPolicies = append(out.AuthorizationPolicies, u.filled(m, most)...)
		}
	}
	for _, u := range m.unfilled {
		if u.refused {
			out.AuthorizationPolicies = append(out.AuthorizationPolicies, u.filled(m, most)...)
		}
	}
	return &out
}
