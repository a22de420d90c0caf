package analyzers

import (
	"fmt"
	"maps"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR003", Name: "object-outside-discovery", Severity: Error, SecuritySeverity: 7.5,
	Run: runOutsideDiscovery,
	Doc: Doc{
		Title: "Istio objects lie in a namespace that istiod does not watch",
		What: "The mesh configuration has `discoverySelectors`, none of them matches the labels of a namespace, and Istio objects lie in it. It is an error where these are policies, Gateways or " +
			"Sidecars, a warning where they only route.",
		Why: "For istiod the objects of such a namespace do not exist. Its AuthorizationPolicies deny nothing, its Gateways open no port, its Sidecars and routes hold for nobody; " +
			"nothing reports an error.",
		Bad:  documents(selectiveMesh, deniedNamespace(""), denyPolicy),
		Good: documents(selectiveMesh, deniedNamespace("    istio-discovery: enabled\n"), denyPolicy),
		Fix:  "Give the namespace a label that a selector matches, or widen the selectors.",
		Silent: "Namespaces without Namespace object in the input, whose labels nobody knows; namespaces that one of several control planes of the input watches; namespaces that hold no " +
			"objects of Istio.",
		Sources: []string{
			"istio pkg/kube/namespace/filter.go",
			"https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-discovery_selectors",
		},
	},
})

// outsider is a namespace that no control plane watches, with what lies in it.
type outsider struct {
	// controls are the objects that control something, routes all others.
	controls, routes []*manifest.Object
}

func runOutsideDiscovery(p *Pass) {
	configs := []*model.MeshConfig{p.Mesh.Config}
	if p.Mesh.Config.Source == nil && len(p.Mesh.Revisions) > 0 {
		configs = nil // there is no default control plane in the input
	}
	for _, revision := range slices.Sorted(maps.Keys(p.Mesh.Revisions)) {
		configs = append(configs, p.Mesh.Revisions[revision])
	}
	found := map[string]*outsider{}
	take := func(o *manifest.Object, control bool) {
		if o.Namespace == "" || slices.ContainsFunc(configs, func(c *model.MeshConfig) bool { return p.Mesh.Watches(c, o.Namespace) }) {
			return
		}
		x := found[o.Namespace]
		if x == nil {
			x = &outsider{}
			found[o.Namespace] = x
		}
		if control {
			x.controls = append(x.controls, o)
		} else {
			x.routes = append(x.routes, o)
		}
	}
	if slices.ContainsFunc(configs, func(c *model.MeshConfig) bool { return len(c.GetDiscoverySelectors()) == 0 }) {
		return
	}
	takeAll(take, true, p.Mesh.AuthorizationPolicies)
	takeAll(take, true, p.Mesh.Gateways)
	takeAll(take, true, p.Mesh.PeerAuthentications)
	takeAll(take, true, p.Mesh.RequestAuthentications)
	takeAll(take, true, p.Mesh.Sidecars)
	takeAll(take, false, p.Mesh.ServiceEntries)
	takeAll(take, false, p.Mesh.VirtualServices)
	takeAll(take, false, p.Mesh.DestinationRules)
	takeAll(take, false, p.Mesh.WorkloadEntries)
	takeAll(take, false, p.Mesh.EnvoyFilters)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		p.Report(found[name].finding(p.Mesh.Namespaces[name], configs[0]))
	}
}

func takeAll[S any](take func(*manifest.Object, bool), control bool, list []*model.Resource[S]) {
	for _, r := range list {
		take(r.Object, control)
	}
}

func (x *outsider) finding(ns *model.Namespace, config *model.MeshConfig) Finding {
	all := slices.Concat(x.controls, x.routes)
	names := make([]string, len(all))
	for i, o := range all {
		names[i] = o.String()
	}
	f := Finding{
		Severity: Error, SecuritySeverity: 7.5, Object: ns.Object, Field: "metadata.labels", Label: "no discoverySelector matches",
		Message: fmt.Sprintf("namespace %s is matched by no discoverySelector, so that %s %s not exist for istiod; give it a label that is selected",
			ns.Name, upTo3(names), verb(len(all), "does", "do")),
		Help: "or widen discoverySelectors of the mesh configuration",
	}
	if len(x.controls) == 0 {
		f.Severity, f.SecuritySeverity = Warning, 0
	}
	if !inFile(f.Object, f.Field) {
		f.Object, f.Field = all[0], "metadata.namespace"
	}
	if o, field := config.Because("discoverySelectors"); o != nil {
		f.Related = append(f.Related, Related{o, field, "the namespaces that istiod watches"})
	}
	for _, o := range all[:min(len(all), maxNamed)] {
		f.Related = append(f.Related, Related{o, "metadata.namespace", fmt.Sprintf("%s is ignored", o)})
	}
	return f
}

const selectiveMesh = `apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    discoverySelectors:
    - matchLabels:
        istio-discovery: enabled
`

const denyPolicy = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: istio-egress
spec: {}
`

// deniedNamespace is namespace istio-egress with a line of labels.
func deniedNamespace(label string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: istio-egress\n  labels:\n    team: platform\n" + label
}
