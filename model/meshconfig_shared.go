package model

import (
	"cmp"
	"slices"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/egresslint/egresslint/model/manifest"
)

// sharedName is the name of the ConfigMap that a control plane reads before its own,
// "" for none.
func sharedName(environment map[string]string) string { return environment["SHARED_MESH_CONFIG"] }

// The Istio of Azure shares a ConfigMap that is called so, in a namespace of its own
// (https://learn.microsoft.com/azure/aks/istio-meshconfig).
const (
	azureNamespace = "aks-istio-system"
	azureShared    = "istio-shared-configmap-"
)

// azureRevision returns the revision whose control plane shares a ConfigMap on Azure.
func azureRevision(o *manifest.Object) (string, bool) {
	revision, ok := strings.CutPrefix(o.Name, azureShared)
	return revision, ok && revision != "" && o.Namespace == azureNamespace
}

// dropShared keeps ConfigMaps that a control plane shares from being taken for those
// of a revision.
func (c *configuring) dropShared() {
	for _, name := range c.sharedNames() {
		revision := revisionIn(name, meshMapName)
		k := c.byRevision[revision]
		if k == nil || !named(name, meshMapName) || name == meshMapName || len(c.istiods[revision]) > 0 || len(k.declared) > 0 {
			continue
		}
		if k.maps = nil; len(k.gateways) == 0 {
			delete(c.byRevision, revision)
		}
	}
}

// sharedNames are the ConfigMaps that control planes of the input share.
func (c *configuring) sharedNames() []string {
	var names []string
	for _, list := range c.istiods {
		for _, d := range list {
			names = append(names, sharedName(d.environment))
		}
	}
	for _, k := range c.byRevision {
		for _, in := range k.declared {
			names = append(names, sharedName(in.environment))
		}
	}
	names = append(names, lookupString(c.flagged, "values.pilot.env.SHARED_MESH_CONFIG"))
	slices.Sort(names)
	return slices.Compact(names)
}

// withShared applies the ConfigMap that SHARED_MESH_CONFIG names, which istiod
// reads before its own (istio pilot/pkg/bootstrap/mesh.go toSources).
func (c *configuring) withShared(base *meshconfig.MeshConfig, config *MeshConfig, at home) *meshconfig.MeshConfig {
	name := cmp.Or(sharedName(config.Environment), c.candidates(config.Revision).shared)
	if name == "" {
		return base
	}
	all := c.shared[name]
	objects := make([]*manifest.Object, len(all))
	for i, in := range all {
		objects[i] = in.object
	}
	i, assumption := c.read(objects, "shared mesh configuration", config.Revision, at)
	if i < 0 {
		c.mesh.note("istiod also reads the mesh configuration of ConfigMap %s of its namespace (SHARED_MESH_CONFIG), which the input does not hold", name)
		return base
	}
	shared := all[i]
	if shared.refused != "" {
		c.mesh.note("the mesh configuration of %s is refused by istiod and left out: %s", title(shared.object), shared.refused)
		return base
	}
	effective, messages := applyMesh(shared.mesh, base)
	if len(messages) > 0 {
		// With two sources, a bad one is left out and the other still counts.
		c.mesh.note("the mesh configuration of %s is refused by istiod and left out: %s", title(shared.object), strings.Join(messages, "; "))
		return base
	}
	if config.Source == nil {
		config.Source, config.Prefix = shared.object, "data.mesh"
	}
	config.assume(assumption)
	config.origins = append(slices.Clip(config.origins), shared.origins...)
	config.shared = shared
	return effective
}
