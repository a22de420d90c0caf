package model

import (
	"cmp"
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/mesh"

	"github.com/egresslint/egresslint/model/manifest"
)

// home is what the input says of where the control plane of a revision runs.
type home struct {
	// certain are the namespaces of its Deployments, or the one into which the
	// installation that counts puts it; because is a clause that says so.
	certain []string
	because string
	// likely are those where it may run, the likeliest first.
	likely []string
}

// homeOf looks where the control plane of a revision runs. What it reads of
// ConfigMaps is in that namespace alone: its mesh configuration, the shared one and
// the injector's (istio pilot/pkg/bootstrap/mesh.go getConfigurationSources,
// sidecarinjector.go initSidecarInjector).
func (c *configuring) homeOf(revision string, declared *installation) home {
	var h home
	for _, d := range c.istiods[revision] {
		h.certain = append(h.certain, d.namespace())
		h.because = title(d.workload.Object)
	}
	if len(h.certain) > 0 {
		return h
	}
	if len(c.flagsFor(revision)) > 0 {
		for _, path := range []string{"components.pilot.namespace", "values.global.istioNamespace"} {
			if ns := lookupString(c.flagged, path); ns != "" {
				return home{certain: []string{ns}, because: fmt.Sprintf("--set %s=%s", path, ns)}
			}
		}
	}
	if declared != nil && declared.home != "" {
		return home{certain: []string{declared.home}, because: title(declared.object)}
	}
	for _, w := range c.mesh.InjectionWebhooks {
		if revisionName(w.Labels[RevisionLabel]) != revision || w.Labels["istio.io/tag"] != "" {
			continue
		}
		for _, hook := range w.Spec.Webhooks {
			if s := hook.ClientConfig.Service; s != nil && s.Namespace != "" {
				h.likely = append(h.likely, s.Namespace)
			}
		}
	}
	if c.candidates(revision).shared != "" {
		h.likely = append(h.likely, azureNamespace)
	}
	if declared != nil && declared.namespace != "" {
		h.likely = append(h.likely, declared.namespace)
	}
	h.likely = append(h.likely, defaultRootNamespace)
	return h
}

// namespace is the one whose ConfigMaps a control plane reads (istio
// pilot/pkg/bootstrap/options.go).
func (d *istiod) namespace() string {
	return cmp.Or(d.environment["POD_NAMESPACE"], d.workload.Namespace)
}

// UnreadConfig is a ConfigMap that bears the name of one that istiod reads, and
// that lies in a namespace where no control plane reads it. Nothing of it counts.
type UnreadConfig struct {
	Object *manifest.Object
	// Revision is that of the control plane that would read it, "" for the default one.
	Revision string
	// Home is the namespace in which it would be read, "" where the input does not
	// tell.
	Home string
	// Why is a sentence without its final period that says why it is not read.
	Why string
	// Unplaced says that its manifest names no namespace, so that it lies in that of
	// all such objects.
	Unplaced bool

	mesh map[string]any
}

// OutboundPolicy returns the mode of the outbound traffic policy that would be in
// force if the ConfigMap were read alone, with the field that sets it; "" and "" where
// it sets none, is refused, or is an injector's.
func (u *UnreadConfig) OutboundPolicy() (mode, field string) {
	c := MeshConfig{origins: []origin{{object: u.Object, prefix: "data.mesh", fields: u.mesh}}}
	if _, field = c.Because("outboundTrafficPolicy.mode"); field == "" {
		return "", ""
	}
	config, messages := applyMesh(u.mesh, mesh.DefaultMeshConfig())
	if len(messages) > 0 {
		return "", ""
	}
	return config.GetOutboundTrafficPolicy().GetMode().String(), field
}

// read returns the index of the one of several ConfigMaps that the control plane of
// a revision reads, negative for none, and on what assumption. Those that it does not
// read for certain are noted as unread. what says what they hold.
func (c *configuring) read(all []*manifest.Object, what, revision string, h home) (chosen int, assumption string) {
	what += " of " + revisionText(revision)
	chosen = -1
	if len(h.certain) > 0 {
		// The last of several Deployments counts, as for its environment.
		for _, ns := range h.certain {
			for i, o := range all {
				if o.Namespace == ns {
					chosen = i
				}
			}
		}
		ns, read := h.certain[len(h.certain)-1], 0
		for _, o := range all {
			if contains(h.certain, o.Namespace) {
				read++
				continue
			}
			c.unread(o, revision, ns, fmt.Sprintf("%s is not read: istiod reads the ConfigMap of its own namespace, which is %s because of %s", located(o), printable(ns), h.because))
		}
		c.take(all, chosen, read, what)
		return chosen, ""
	}
	for _, ns := range slices.Backward(h.likely) {
		for i, o := range all {
			if o.Namespace == ns {
				chosen = i
			}
		}
	}
	last, read := -1, 0
	for i, o := range all {
		if w := c.onlyApplications(o.Namespace); w != nil && !contains(h.likely, o.Namespace) {
			c.unread(o, revision, "", fmt.Sprintf("%s is not read: istiod reads the ConfigMap of its own namespace, and namespace %s holds applications (%s) and nothing of Istio",
				located(o), printable(o.Namespace), printable(w.ID())))
			continue
		}
		last, read = i, read+1
	}
	if chosen < 0 && last >= 0 {
		chosen = last
		assumption = fmt.Sprintf("istiod runs in namespace %s, so that %s holds the %s; nothing in the input shows it",
			printable(all[chosen].Namespace), located(all[chosen]), what)
		c.mesh.note("assumed: %s", assumption)
	}
	c.take(all, chosen, read, what)
	return chosen, assumption
}

// take remembers that a ConfigMap is read, as one of so many.
func (c *configuring) take(all []*manifest.Object, chosen, of int, what string) {
	if chosen < 0 {
		return
	}
	c.taken[all[chosen]] = true
	if of > 1 {
		c.mesh.note("%d ConfigMaps hold the %s: %s is taken", of, what, title(all[chosen]))
	}
}

// onlyApplications returns a workload of a namespace in which the input shows
// applications and nothing that is installed with Istio, nil for any other. A
// waypoint is neither: it is wherever there are applications.
func (c *configuring) onlyApplications(namespace string) *Workload {
	if c.applications == nil {
		c.applications = map[string]*Workload{}
		parts := map[string]bool{}
		for _, w := range c.mesh.Workloads {
			switch {
			case w.ProxyRole() == WaypointProxy:
			case w.ProxyRole() == Router || w.PartOfIstio() || istiodOf(w) != nil:
				parts[w.Namespace] = true
			case c.applications[w.Namespace] == nil:
				c.applications[w.Namespace] = w
			}
		}
		for _, g := range c.mesh.KubeGateways {
			if g.Spec.Spec.GatewayClassName != gatewayClassWaypoint {
				parts[g.Namespace] = true
			}
		}
		for ns := range parts {
			delete(c.applications, ns)
		}
	}
	return c.applications[namespace]
}

// isUnplaced reports whether the manifest of a ConfigMap names no namespace.
func isUnplaced(o *manifest.Object) bool {
	m, ok := o.Value.(*meshMap)
	return ok && m.unplaced
}

// located names a ConfigMap, and says so where its manifest has no namespace.
func located(o *manifest.Object) string {
	if isUnplaced(o) {
		return fmt.Sprintf("%s, whose manifest names no namespace,", title(o))
	}
	return title(o)
}

func (c *configuring) unread(o *manifest.Object, revision, home, why string) {
	m := c.mesh
	if c.unreads[o] {
		return
	}
	c.unreads[o] = true
	u := UnreadConfig{Object: o, Revision: revision, Home: printable(home), Why: why, Unplaced: isUnplaced(o), mesh: c.meshOf[o]}
	m.UnreadConfigs = append(m.UnreadConfigs, u)
}

// settleUnread drops from the unread ConfigMaps those that another control plane
// reads, and notes the others.
func (c *configuring) settleUnread() {
	m := c.mesh
	m.UnreadConfigs = slices.DeleteFunc(m.UnreadConfigs, func(u UnreadConfig) bool { return c.taken[u.Object] })
	const most = 5
	for i, u := range m.UnreadConfigs {
		if u.Object == m.meshNetworks {
			m.meshNetworks = nil
		}
		switch {
		case i < most:
			m.note("%s", u.Why)
		case i == most:
			m.note("%d more ConfigMaps are not read either, as they are not in the namespace of istiod", len(m.UnreadConfigs)-most)
		}
	}
}

// assume keeps an assumption once; "" is none.
func (c *MeshConfig) assume(text string) {
	if text = printable(text); text != "" && !contains(c.Assumptions, text) {
		c.Assumptions = append(c.Assumptions, text)
	}
}

// lastOf says that an object which the input defines several times, and not always
// alike, is taken as it is defined last; "" for any other.
func (m *Mesh) lastOf(o *manifest.Object) string {
	name := o.String()
	for _, p := range m.Problems {
		if p.Kind == manifest.Conflict && p.Object == name {
			return printable(fmt.Sprintf("%s is defined in %s, too, and differs there: the last definition counts", title(o), p.Position))
		}
	}
	return ""
}
