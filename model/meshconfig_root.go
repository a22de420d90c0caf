package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/egresslint/egresslint/model/manifest"
)

// mostRoots bounds the namespaces that are tried for a root namespace that is open.
const mostRoots = 8

// doubtRoot leaves the root namespace open where a placeholder stands for it, which
// istiod's validation takes for a name like any other (istio
// pkg/config/validation/agent/validation.go ValidateMeshConfig): it may be any in which
// there is something that would then hold for the whole mesh.
func (c *MeshConfig) doubtRoot(m *Mesh, fields map[string]any) {
	const setting = "rootNamespace"
	literal := cmp.Or(lookupString(fields, setting), lookupString(fields, snake(setting)))
	o, at := c.Because(setting)
	if !placeholderPattern.MatchString(literal) || o == nil {
		return
	}
	text := shortPlaceholder(literal)
	taken := defaultRootNamespace
	if c.Source != nil && c.Source.Namespace != "" {
		taken = c.Source.Namespace
	}
	if m.Namespaces[literal] != nil {
		taken = literal // what lies there is of the same placeholder
	}
	c.RootNamespace = taken
	d := Doubt{Place: Place{o, at}, Setting: setting, Text: text, Taken: taken, config: c,
		Why: fmt.Sprintf("rootNamespace of the mesh is the placeholder %s", text)}
	m.note("rootNamespace of %s is the placeholder %s, and answers that depend on it are unknown: fill it in before", title(o), text)
	others := slices.DeleteFunc(m.ruling(), func(ns string) bool { return ns == taken })
	if len(others) > mostRoots {
		c.openRoot = true
		return
	}
	for _, ns := range others {
		d.Other = ns
		d.set = func(m *meshconfig.MeshConfig) { m.RootNamespace = ns }
		c.doubts = append(c.doubts, d)
	}
}

// ruling are the namespaces with objects that hold for the whole mesh if they are in
// the root namespace, sorted.
func (m *Mesh) ruling() []string {
	var objects []*manifest.Object
	objects = objectsOf(objects, m.Sidecars)
	objects = objectsOf(objects, m.DestinationRules)
	objects = objectsOf(objects, m.EnvoyFilters)
	objects = objectsOf(objects, m.ProxyConfigs)
	objects = objectsOf(objects, m.AuthorizationPolicies)
	objects = objectsOf(objects, m.PeerAuthentications)
	objects = objectsOf(objects, m.RequestAuthentications)
	for _, u := range m.unfilledObjects {
		objects = append(objects, u.Object)
	}
	objects = append(objects, m.Unmodelled...)
	var out []string
	for _, o := range objects {
		if o.Namespace != "" {
			out = append(out, o.Namespace)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// doubtTrust leaves the trust domain open where a placeholder stands for it: it may be
// any that a policy or a rule names.
func (c *MeshConfig) doubtTrust(m *Mesh, fields map[string]any) {
	const setting = "trustDomain"
	literal := cmp.Or(lookupString(fields, setting), lookupString(fields, snake(setting)))
	if !placeholderPattern.MatchString(literal) {
		return
	}
	o, at := c.origin(setting)
	text := shortPlaceholder(literal)
	d := Doubt{Place: Place{o, at}, Setting: setting, Text: text, Taken: c.TrustDomain, config: c,
		Why: fmt.Sprintf("trustDomain of the mesh is the placeholder %s", text)}
	others := m.trustDomains()
	others = slices.DeleteFunc(others, func(td string) bool { return td == c.TrustDomain })
	for _, td := range others[:min(len(others), mostRoots)] {
		d.Other = td
		d.set = func(m *meshconfig.MeshConfig) { m.TrustDomain = td }
		c.doubts = append(c.doubts, d)
	}
}

// trustDomains are those of the identities that policies and rules name, sorted.
func (m *Mesh) trustDomains() []string {
	var out []string
	add := func(identities ...string) {
		for _, identity := range identities {
			td, _, found := strings.Cut(strings.TrimPrefix(identity, "spiffe://"), "/")
			if found && td != "" && td != "*" && !placeholderPattern.MatchString(td) {
				out = append(out, td)
			}
		}
	}
	for _, p := range m.AuthorizationPolicies {
		eachIdentity(p.Spec, add, func(...string) {})
	}
	m.eachAltName(add)
	slices.Sort(out)
	return slices.Compact(out)
}
