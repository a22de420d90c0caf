package model

import (
	"encoding/json"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/manifest"
)

// meshMap is the decoded value of a ConfigMap of istiod's: the mesh
// configuration, or the Helm values that its injector uses.
type meshMap struct {
	mesh    string
	hasMesh bool
	values  string
	// networks: data.meshNetworks names some.
	networks bool
	// unplaced: the manifest names no namespace, and nothing else does.
	unplaced bool
}

const (
	meshMapName     = "istio"
	injectorMapName = "istio-sidecar-injector"
)

// configMap decodes a ConfigMap that istiod may read, nil for any other. The
// name of the mesh configuration's is fixed, but SHARED_MESH_CONFIG names any.
func (d *decoding) configMap() any {
	name := d.object.Name
	injector := named(name, injectorMapName)
	var mesh any
	hasMesh, _ := d.doc.UnmarshalField("data.mesh", &mesh)
	agent := name == cniMapName
	if !injector && !agent && !hasMesh && !named(name, meshMapName) {
		return d.gatewayParameters()
	}
	var cm struct {
		Data map[string]string `json:"data"`
	}
	if err := d.doc.Unmarshal(&cm); err != nil {
		return d.refuse(&rejection{"the API server", []complaint{d.mistyped(err, &cm)}})
	}
	if agent {
		return &cniMap{cm.Data}
	}
	m := &meshMap{}
	if injector {
		m.values = cm.Data["values"]
	} else {
		m.mesh, m.hasMesh = cm.Data["mesh"]
		var networks struct {
			Networks map[string]any `json:"networks"`
		}
		m.networks = yaml.Unmarshal([]byte(cm.Data["meshNetworks"]), &networks) == nil && len(networks.Networks) > 0
		d.unknownMesh("data.mesh")
	}
	if !m.hasMesh && m.values == "" && !m.networks {
		return nil
	}
	m.unplaced = d.unplaced()
	return m
}

// unplaced reports whether neither the manifest nor the user names the namespace of
// the object.
func (d *decoding) unplaced() bool {
	var namespace string
	found, _ := d.doc.UnmarshalField("metadata.namespace", &namespace)
	return d.object.Namespace == defaultNamespace && (!found || namespace == "")
}

// named reports whether name is base, or base for a revision.
func named(name, base string) bool { return name == base || strings.HasPrefix(name, base+"-") }

// revisionIn is the revision that the name of a ConfigMap names.
func revisionIn(name, base string) string {
	return revisionName(strings.TrimPrefix(strings.TrimPrefix(name, base), "-"))
}

// mapInstallation reads the mesh configuration of a ConfigMap.
func mapInstallation(o *manifest.Object, m *meshMap) *installation {
	in := &installation{
		object: o, result: true, controlPlane: true, namespace: o.Namespace,
		revision: revisionIn(o.Name, meshMapName), mesh: map[string]any{},
	}
	if err := yaml.Unmarshal([]byte(m.mesh), &in.mesh); err != nil {
		in.refused = printable(err.Error())
		return in
	}
	in.origins = []origin{{object: o, prefix: "data.mesh", fields: in.mesh}}
	return in
}

// injectorValues reads the Helm values that istiod's injector uses.
func injectorValues(m *meshMap) map[string]any {
	var values map[string]any
	if json.Unmarshal([]byte(m.values), &values) != nil {
		return nil
	}
	return values
}
