package model

import (
	"fmt"
	"maps"
	"slices"

	"github.com/egresslint/egresslint/model/manifest"
)

// Labels of namespaces and pods that enrol workloads.
const (
	// InjectionLabel with the value "enabled" makes the default control plane
	// inject sidecars into a namespace.
	InjectionLabel = "istio-injection"
	// RevisionLabel does so for a revision.
	RevisionLabel = "istio.io/rev"
	// DataplaneModeLabel with the value "ambient" enrols in ambient mode.
	DataplaneModeLabel = "istio.io/dataplane-mode"
	// NamespaceNameLabel is set by the API server on every namespace.
	NamespaceNameLabel = "kubernetes.io/metadata.name"
	useWaypointLabel   = "istio.io/use-waypoint"
)

// addNamespaces fills in Namespaces from Namespace objects, flags and the
// namespaces of all other objects.
func (m *Mesh) addNamespaces(objects []*manifest.Object) {
	m.Namespaces = map[string]*Namespace{}
	for _, o := range objects {
		if classOf(o) == kubernetesClass && o.Kind == "Namespace" {
			ns := m.namespace(o.Name)
			ns.Object, ns.Declared = o, true
			maps.Copy(ns.Labels, o.Labels)
		} else if o.Namespace != "" {
			m.namespace(o.Namespace)
		}
	}
	for _, l := range m.Options.NamespaceLabels {
		ns := m.namespace(l.Namespace)
		ns.Declared = true
		if l.Key != "" {
			ns.Labels[l.Key] = l.Value
		}
	}
	for name, ns := range m.Namespaces {
		// The API server sets it and lets nobody change it.
		ns.Labels[NamespaceNameLabel] = name
	}
}

func (m *Mesh) namespace(name string) *Namespace {
	ns := m.Namespaces[name]
	if ns == nil {
		ns = &Namespace{Name: name, Labels: map[string]string{}}
		m.Namespaces[name] = ns
	}
	return ns
}

// assumeInjection decides what is assumed for namespaces whose labels the input
// does not tell.
func (m *Mesh) assumeInjection() InjectionAssumption {
	switch m.Options.AssumeInjected {
	case "yes":
		return InjectionAssumption{true, "because the command line says so"}
	case "no":
		return InjectionAssumption{false, "because the command line says so"}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Namespaces)) {
		ns := m.Namespaces[name]
		if ns.Declared && (ns.Labels[InjectionLabel] == "enabled" || ns.Labels[RevisionLabel] != "") {
			return InjectionAssumption{false, fmt.Sprintf(
				"because the input says which namespaces are labelled for injection (%s is), and this one is not among them", name)}
		}
	}
	if mark := m.ambientMark(); mark != "" {
		return InjectionAssumption{false, fmt.Sprintf("because the input shows an ambient mesh (%s) and labels no namespace for sidecars", mark)}
	}
	if mark := m.meshMark(); mark != "" {
		return InjectionAssumption{true, fmt.Sprintf("because the input is that of a mesh (%s) and labels no namespace", mark)}
	}
	return InjectionAssumption{false, "because nothing in the input belongs to Istio"}
}

// ambientMark names what shows that the mesh is an ambient one, "" if nothing.
func (m *Mesh) ambientMark() string {
	for _, name := range slices.Sorted(maps.Keys(m.Namespaces)) {
		ns := m.Namespaces[name]
		if ns.Labels[DataplaneModeLabel] == "ambient" {
			return fmt.Sprintf("namespace %s has %s=ambient", name, DataplaneModeLabel)
		}
		if w := ns.Labels[useWaypointLabel]; w != "" && w != "none" {
			return fmt.Sprintf("namespace %s has %s", name, useWaypointLabel)
		}
	}
	for _, w := range m.Workloads {
		if w.Labels[DataplaneModeLabel] == "ambient" {
			return fmt.Sprintf("%s has %s=ambient", w, DataplaneModeLabel)
		}
	}
	for _, g := range m.KubeGateways {
		if g.Spec.Spec.GatewayClassName == gatewayClassWaypoint {
			return fmt.Sprintf("%s is a waypoint", g.Object)
		}
	}
	for _, o := range m.labelled() {
		if w := o.Labels[useWaypointLabel]; w != "" && w != "none" {
			return fmt.Sprintf("%s has %s", o, useWaypointLabel)
		}
	}
	return ""
}

// labelled are the objects that a waypoint may be bound to.
func (m *Mesh) labelled() []*manifest.Object {
	var out []*manifest.Object
	for _, s := range m.KubeServices {
		out = append(out, s.Object)
	}
	for _, s := range m.ServiceEntries {
		out = append(out, s.Object)
	}
	return out
}

// meshMark names an object that only makes sense in a mesh of sidecars, "" if
// there is none.
func (m *Mesh) meshMark() string {
	if o := m.Config.Source; o != nil {
		return fmt.Sprintf("%s configures it", o)
	}
	if len(m.Config.origins) > 0 {
		return "the command line configures it"
	}
	for _, o := range m.istioObjects() {
		return fmt.Sprintf("%s is Istio's", o)
	}
	for _, u := range m.unfilledObjects {
		if istioKinds[u.Kind] != nil && u.Group() != kubeGatewayGroup {
			return fmt.Sprintf("%s will be Istio's once it is filled in", u.Object)
		}
	}
	for _, revision := range slices.Sorted(maps.Keys(m.Revisions)) {
		if o := m.Revisions[revision].Source; o != nil {
			return fmt.Sprintf("%s configures it", o)
		}
	}
	return ""
}

// istioObjects are the objects of Istio's own kinds.
func (m *Mesh) istioObjects() []*manifest.Object {
	var out []*manifest.Object
	out = objectsOf(out, m.Sidecars)
	out = objectsOf(out, m.VirtualServices)
	out = objectsOf(out, m.ServiceEntries)
	out = objectsOf(out, m.DestinationRules)
	out = objectsOf(out, m.Gateways)
	out = objectsOf(out, m.EnvoyFilters)
	out = objectsOf(out, m.ProxyConfigs)
	out = objectsOf(out, m.AuthorizationPolicies)
	out = objectsOf(out, m.PeerAuthentications)
	out = objectsOf(out, m.RequestAuthentications)
	out = objectsOf(out, m.WorkloadEntries)
	return append(out, m.Legacy...)
}

func objectsOf[S any](out []*manifest.Object, list []*Resource[S]) []*manifest.Object {
	for _, r := range list {
		out = append(out, r.Object)
	}
	return out
}
