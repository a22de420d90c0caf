package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pkg/config/mesh"

	"github.com/egresslint/egresslint/model/manifest"
)

// istiodOf recognises the Deployment of a control plane: the container
// "discovery" in pods that are called istiod, or istio-pilot before Istio 1.5.
func istiodOf(w *Workload) *istiod {
	if w.Pod == nil || !strings.HasPrefix(w.Labels["app"], "istiod") && w.Labels["istio"] != "pilot" &&
		!strings.HasPrefix(w.Name, "istiod") && w.Name != "istio-pilot" {
		return nil
	}
	for i := range w.Pod.Containers {
		if c := &w.Pod.Containers[i]; c.Name == "discovery" {
			d := &istiod{workload: w, environment: environmentOf(c), environmentAt: map[string]Place{}}
			for j, e := range c.Env {
				d.environmentAt[e.Name] = Place{w.Object, w.Field(fmt.Sprintf("spec.containers[%d].env[%d].value", i, j))}
			}
			return d
		}
	}
	return nil
}

func (d *istiod) revision() string {
	return revisionName(cmp.Or(d.environment["REVISION"], d.workload.Labels["istio.io/rev"]))
}

// environmentOf is what a container's environment plainly says; values from
// elsewhere are left out.
func environmentOf(c *corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env[e.Name] = e.Value
		}
	}
	return env
}

// environment is that of istiod's Deployment, else of its installation.
func (c *configuring) environment(revision string, declared *installation) (map[string]string, map[string]Place) {
	if all := c.istiods[revision]; len(all) > 0 {
		d := all[len(all)-1]
		return d.environment, d.environmentAt
	}
	if declared != nil {
		return declared.environment, declared.environmentAt
	}
	return nil, nil
}

// helmValues are those that istiod's injector has, else those of an
// installation.
func (c *configuring) helmValues(revision string, declared *installation, at home) (map[string]any, *manifest.Object, string) {
	all := c.injectors[revision]
	objects := make([]*manifest.Object, len(all))
	for i, in := range all {
		objects[i] = in.object
	}
	if i, _ := c.read(objects, "values of the injector", revision, at); i >= 0 {
		return all[i].values, all[i].object, "data.values"
	}
	if declared != nil && declared.values != nil {
		return declared.values, declared.object, declared.valuesPrefix
	}
	return nil, nil, ""
}

// defaultConfig sees to it that there is a default configuration.
func (c *configuring) defaultConfig() {
	m := c.mesh
	if m.Config == nil {
		m.Config = m.Revisions[m.RevisionTags["default"]]
	}
	if named := sortedKeys(m.Revisions); m.Config == nil && len(named) == 1 {
		if m.Config = m.Revisions[named[0]]; m.Config.Source != nil {
			m.note("the input has the mesh configuration of %s only: it is taken for the default one too", revisionText(named[0]))
		}
	}
	if m.Config == nil {
		m.Config = &MeshConfig{MeshConfig: mesh.DefaultMeshConfig()}
		m.Config.Values, m.Config.ValuesSource, m.Config.ValuesPrefix = c.helmValues("", nil, c.homeOf("", nil))
	}
	if m.Config.Source == nil && len(m.Config.origins) == 0 {
		what := "no mesh configuration in the input"
		if len(m.UnreadConfigs) > 0 {
			what = "the input holds no mesh configuration that istiod reads"
		}
		m.note("%s: Istio's defaults are taken (outboundTrafficPolicy ALLOW_ANY)", what)
	}
}

// implyGateways adds the gateways that installations bring along.
func (c *configuring) implyGateways() {
	for _, revision := range slices.Sorted(maps.Keys(c.byRevision)) {
		k := c.byRevision[revision]
		from := k.gateways
		if k.counts != nil {
			from = slices.Concat([]*installation{k.counts}, k.gateways)
		}
		for _, in := range from {
			for i := range in.gateways {
				c.mesh.implyGateway(&in.gateways[i], in)
			}
		}
		for _, in := range k.gateways {
			c.takeNotes(in)
		}
	}
	// Flags alone install what istioctl install would, if they speak of it: a
	// flag that only tells the mesh configuration says nothing of gateways.
	speaks := lookupString(c.flagged, "profile") != "" || lookupMap(c.flagged, "components") != nil || lookupMap(c.flagged, "values.gateways") != nil
	taken := false
	for revision, k := range c.byRevision {
		if k.counts != nil && k.counts.object.Kind == "IstioOperator" && len(c.flagsFor(revision)) > 0 {
			taken = true
		}
	}
	if speaks && !taken {
		in := operatorInstallation(c.flagObject, map[string]any{}, "", c.flags)
		for i := range in.gateways {
			c.mesh.implyGateway(&in.gateways[i], in)
		}
	}
}

// tagsOfWebhooks reads revision tags from the webhooks that make them up
// (istio manifests/charts/istio-control/istio-discovery/templates/revision-tags-mwc.yaml).
func (c *configuring) tagsOfWebhooks() {
	for _, w := range c.mesh.InjectionWebhooks {
		if tag := w.Labels["istio.io/tag"]; tag != "" && tag != "default" {
			c.mesh.RevisionTags[tag] = cmp.Or(revisionName(w.Labels["istio.io/rev"]), "default")
		} else if tag == "default" {
			c.mesh.RevisionTags["default"] = cmp.Or(revisionName(w.Labels["istio.io/rev"]), "default")
		}
	}
}

// tagsOfSail reads the revision tags of the Sail operator, each of which names an
// Istio or an IstioRevision. One whose Istio is not in the input says only that
// there is such a tag: which revision it stands for is taken to be that of the
// Istio's name.
func (c *configuring) tagsOfSail() {
	for _, o := range c.tags {
		fields := o.Value.(*installationDoc).fields
		name := lookupString(fields, "spec.targetRef.name")
		revision := revisionName(name)
		if r, ok := c.sailRevisions[name]; ok && lookupString(fields, "spec.targetRef.kind") == "Istio" {
			revision = r
		}
		if name != "" && o.Name != cmp.Or(revision, "default") {
			c.mesh.RevisionTags[o.Name] = cmp.Or(revision, "default")
		}
	}
}

// ConfigFor returns the mesh configuration of the control plane that a workload
// belongs to, by the labels that make a webhook inject it (istio
// manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml):
// the revision of its namespace, else of its pod. It is the default one where
// neither names a revision or the input has no configuration of that name.
func (m *Mesh) ConfigFor(w *Workload) *MeshConfig {
	if len(m.RevisionTags) == 0 && (len(m.Revisions) == 0 || len(m.Revisions) == 1 && m.Config != nil && m.Revisions[m.Config.Revision] == m.Config) {
		return m.Config // there is no other
	}
	return m.ConfigOf(m.revisionFor(w))
}

func (m *Mesh) revisionFor(w *Workload) string {
	const label = "istio.io/rev"
	var labels map[string]string
	if ns := m.Namespaces[w.Namespace]; ns != nil {
		labels = ns.Labels
	}
	// A proxy that the manifest itself completes is not the webhook's doing.
	if c := w.ProxyContainer(); c == nil || len(c.Args) == 0 {
		if _, ok := labels["istio-injection"]; ok {
			return "default"
		}
		if rev, ok := labels[label]; ok {
			return rev
		}
	}
	return cmp.Or(w.Labels[label], w.Annotations[label], labels[label])
}

// ConfigOf returns the configuration of a revision or revision tag, "" for the
// default one. It is the default one too where the input has none of that name.
func (m *Mesh) ConfigOf(name string) *MeshConfig {
	if revision, ok := m.RevisionTags[cmp.Or(name, "default")]; ok {
		name = revision
	}
	if c := m.Revisions[name]; c != nil {
		return c
	}
	return m.Config
}
