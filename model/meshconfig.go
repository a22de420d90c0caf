package model

import (
	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/egresslint/egresslint/model/manifest"
)

// MeshConfig is the effective mesh configuration of one control plane, with
// Istio's defaults filled in (istio.io/istio/pkg/config/mesh.DefaultMeshConfig).
type MeshConfig struct {
	*meshconfig.MeshConfig

	// Revision is "" for the default control plane.
	Revision string
	// Source is the object that holds the configuration, nil where the input
	// has none and Istio's defaults are taken.
	Source *manifest.Object
	// Prefix is the field path of the mesh configuration in Source:
	// "data.mesh", "spec.meshConfig", "istio.values.meshConfig".
	Prefix string
	// Values are the Helm values of the installation (as "global.proxy"), as
	// far as the input tells; nil if not at all.
	Values map[string]any
	// ValuesSource and ValuesPrefix locate Values as Source and Prefix do.
	ValuesSource *manifest.Object
	ValuesPrefix string
	// Environment are the environment variables of istiod that the input sets
	// (PILOT_…, ENABLE_…).
	Environment map[string]string
}
