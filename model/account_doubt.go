package model

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
)

// accountDoubts are the service accounts that placeholders leave open: what policies say
// of callers may be about any that they name.
func (m *Mesh) accountDoubts() []Doubt {
	var out []Doubt
	var named []string
	seen := map[string]bool{}
	for _, w := range m.Workloads {
		text := PlaceholderIn(w.ServiceAccount)
		if text == "" || seen[w.ServiceAccount] {
			continue
		}
		seen[w.ServiceAccount] = true
		if named == nil {
			named = m.namedAccounts()
		}
		literal, pattern := w.ServiceAccount, newNamePattern(w.ServiceAccount)
		fits := slices.DeleteFunc(slices.Clone(named), func(name string) bool { return !pattern.matches(strings.ToLower(name)) })
		for _, name := range fits[:min(len(fits), mostRoots)] {
			out = append(out, Doubt{
				Place: Place{w.Object, w.Field("spec.serviceAccountName")}, Text: text, Taken: "an account that no policy names", Other: name,
				Why:   printable(fmt.Sprintf("the service account of %s is the placeholder %s", title(w.Object), text)),
				other: func(m *Mesh) *Mesh { return m.withAccount(literal, name) },
			})
		}
	}
	return out
}

// namedAccounts are the service accounts that policies name, or the ends of their names
// where they name several at once, sorted.
func (m *Mesh) namedAccounts() []string {
	var out []string
	add := func(texts ...string) {
		for _, text := range texts {
			name := strings.Trim(text[strings.LastIndexByte(text, '/')+1:], "*")
			if name != "" && PlaceholderIn(name) == "" {
				out = append(out, name)
			}
		}
	}
	for _, p := range m.AuthorizationPolicies {
		eachIdentity(p.Spec, add, add)
	}
	m.eachAltName(add)
	slices.Sort(out)
	return slices.Compact(out)
}

// eachIdentity passes on what the rules of a policy say of the identities of callers: as
// principals, and as service accounts.
func eachIdentity(spec *security.AuthorizationPolicy, principals, accounts func(...string)) {
	for _, rule := range spec.GetRules() {
		for _, from := range rule.GetFrom() {
			s := from.GetSource()
			principals(s.GetPrincipals()...)
			principals(s.GetNotPrincipals()...)
			accounts(s.GetServiceAccounts()...)
			accounts(s.GetNotServiceAccounts()...)
		}
		for _, when := range rule.GetWhen() {
			add := principals
			switch when.GetKey() {
			case "source.principal":
			case "source.serviceAccount":
				add = accounts
			default:
				continue
			}
			add(when.GetValues()...)
			add(when.GetNotValues()...)
		}
	}
}

// eachAltName passes on the identities that clients and gateways want to see.
func (m *Mesh) eachAltName(add func(...string)) {
	policy := func(p *networking.TrafficPolicy) {
		add(p.GetTls().GetSubjectAltNames()...)
		for _, port := range p.GetPortLevelSettings() {
			add(port.GetTls().GetSubjectAltNames()...)
		}
	}
	for _, r := range m.DestinationRules {
		policy(r.Spec.GetTrafficPolicy())
		for _, subset := range r.Spec.GetSubsets() {
			policy(subset.GetTrafficPolicy())
		}
	}
	for _, e := range m.ServiceEntries {
		add(e.Spec.GetSubjectAltNames()...)
	}
	for _, g := range m.Gateways {
		for _, s := range g.Spec.GetServers() {
			add(s.GetTls().GetSubjectAltNames()...)
		}
	}
}

// withAccount returns the mesh with another name for the service account of some
// workloads. It shares all else with m.
func (m *Mesh) withAccount(literal, name string) *Mesh {
	out := *m
	out.Workloads = slices.Clone(m.Workloads)
	for i, w := range out.Workloads {
		if w.ServiceAccount == literal {
			c := *w
			c.ServiceAccount = name
			out.Workloads[i] = &c
		}
	}
	return &out
}
