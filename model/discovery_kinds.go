package model

import (
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
	out := m.keeping(config.Reads)
	keep(&out.GatewayClasses, config.Reads)
	return out
}
