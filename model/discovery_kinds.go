package model

import (
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// reads reports whether istiod reads the kind of a custom resource:
// PILOT_IGNORE_RESOURCES lists the names of CustomResourceDefinitions that it does
// not look at, and PILOT_INCLUDE_RESOURCES exceptions (istio
// pkg/kube/kclient/crdwatcher.go filterPilotResources).
func (c *MeshConfig) reads(definition string) bool {
	lists := func(list string) bool {
		for item := range strings.SplitSeq(list, ",") {
			item = strings.TrimSpace(item)
			if suffix, whole := strings.CutPrefix(item, "*."); item == definition || whole && strings.HasSuffix(definition, suffix) {
				return true
			}
		}
		return false
	}
	return !lists(c.Setting("PILOT_IGNORE_RESOURCES")) || lists(c.Setting("PILOT_INCLUDE_RESOURCES"))
}

// Reads reports whether istiod reads objects of the kind of o. Kinds of Kubernetes
// itself it always does.
func (c *MeshConfig) Reads(o *manifest.Object) bool {
	if c.Setting("PILOT_IGNORE_RESOURCES") == "" || !strings.Contains(o.Group(), ".") {
		return true
	}
	definition := definitionOf(o.Group(), o.Kind)
	if c.reading == nil { // a configuration that Build did not make
		return c.reads(definition)
	}
	if known, ok := c.reading.Load(definition); ok {
		return known.(bool)
	}
	read := c.reads(definition)
	c.reading.Store(definition, read)
	return read
}

// definitionOf names the CustomResourceDefinition of a kind.
func definitionOf(group, kind string) string {
	plural := strings.ToLower(kind)
	switch {
	case strings.HasSuffix(plural, "y") && !strings.HasSuffix(plural, "ay"):
		plural = strings.TrimSuffix(plural, "y") + "ies"
	case strings.HasSuffix(plural, "s"):
		plural += "es"
	default:
		plural += "s"
	}
	return plural + "." + group
}

// withoutIgnored returns the mesh without the objects of kinds that istiod does not
// read.
func (m *Mesh) withoutIgnored(config *MeshConfig) *Mesh {
	out := *m
	keepRead(&out.ServiceEntries, config)
	keepRead(&out.WorkloadEntries, config)
	keepRead(&out.VirtualServices, config)
	keepRead(&out.DestinationRules, config)
	keepRead(&out.Gateways, config)
	keepRead(&out.Sidecars, config)
	keepRead(&out.EnvoyFilters, config)
	keepRead(&out.ProxyConfigs, config)
	keepRead(&out.AuthorizationPolicies, config)
	keepRead(&out.PeerAuthentications, config)
	keepRead(&out.RequestAuthentications, config)
	keepRead(&out.KubeGateways, config)
	keepRead(&out.GatewayClasses, config)
	keepRead(&out.KubeHTTPRoutes, config)
	keepRead(&out.KubeGRPCRoutes, config)
	keepRead(&out.KubeTLSRoutes, config)
	keepRead(&out.KubeTCPRoutes, config)
	keepRead(&out.ReferenceGrants, config)
	out.Unmodelled = slices.DeleteFunc(slices.Clone(m.Unmodelled), func(o *manifest.Object) bool { return !config.Reads(o) })
	return &out
}

// keepRead leaves the objects that istiod reads, in a new slice.
func keepRead[S any](list *[]*Resource[S], config *MeshConfig) {
	*list = slices.DeleteFunc(slices.Clone(*list), func(r *Resource[S]) bool { return !config.Reads(r.Object) })
}
