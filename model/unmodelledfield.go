package model

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model/manifest"
)

// UnmodelledField is a field of the input that may decide whether a request gets
// out and that the simulation does not follow: what depends on it is unknown.
// docs/model.md sorts all fields into modelled, unknown and ignored ones.
type UnmodelledField struct {
	// Kind is that of the objects, "MeshConfig" for mesh configuration.
	Kind string
	// Field is the field path without indexes: "spec.trafficPolicy.tunnel".
	Field string
	// Count is the number of objects that set it, First where the first of them
	// does. First has no Object where a flag of the command sets it.
	Count int
	First Place
}

// countUnmodelledFields fills [Mesh.UnmodelledFields], sorted by kind and field.
func (m *Mesh) countUnmodelledFields() {
	type key struct{ kind, field string }
	found := map[key]*UnmodelledField{}
	count := func(kind, field string, o *manifest.Object, at string) {
		k := key{kind, field}
		if found[k] == nil {
			found[k] = &UnmodelledField{Kind: kind, Field: field, First: Place{o, at}}
		}
		found[k].Count++
	}
	for _, r := range m.DestinationRules {
		if at := policyField(r, "tunnel", func(t *networking.TrafficPolicy) bool { return t.GetTunnel() != nil }); at != "" {
			count(r.Kind, "spec.trafficPolicy.tunnel", r.Object, at)
		}
		if at := policyField(r, "proxyProtocol", func(t *networking.TrafficPolicy) bool { return t.GetProxyProtocol() != nil }); at != "" {
			count(r.Kind, "spec.trafficPolicy.proxyProtocol", r.Object, at)
		}
	}
	for _, f := range m.EnvoyFilters {
		if len(f.Spec.GetConfigPatches()) > 0 {
			count(f.Kind, "spec.configPatches", f.Object, "spec.configPatches")
		}
	}
	for _, s := range m.KubeServices {
		if nodeLocal(s) {
			count(s.Kind, "spec.internalTrafficPolicy", s.Object, "spec.internalTrafficPolicy")
		}
		if len(s.Spec.Spec.ExternalIPs) > 0 {
			count(s.Kind, "spec.externalIPs", s.Object, "spec.externalIPs")
		}
	}
	if at := m.networkGateways(); at != nil {
		if m.meshNetworks != nil {
			count("ConfigMap", "data.meshNetworks", m.meshNetworks, "data.meshNetworks")
		}
		for _, s := range m.ServiceEntries {
			for i, e := range s.Spec.GetEndpoints() {
				if e.GetNetwork() != "" {
					count(s.Kind, "spec.endpoints.network", s.Object, item("spec.endpoints", i)+".network")
					break
				}
			}
		}
		for _, e := range m.WorkloadEntries {
			if e.Spec.GetNetwork() != "" {
				count(e.Kind, "spec.network", e.Object, "spec.network")
			}
		}
	}
	for _, g := range m.KubeGateways {
		if why, at := m.parametersOf(g); why != "" && at.Object == g.Object {
			count(g.Kind, "spec.infrastructure.parametersRef", g.Object, at.Field)
		}
	}
	for _, p := range m.gatewayParameters {
		if p.Spec.class != "" && !p.Spec.harmless() {
			count("ConfigMap", "data, the defaults of a GatewayClass", p.Object, "data")
		}
	}
	for _, w := range m.InjectionWebhooks {
		if slices.ContainsFunc(w.Spec.Webhooks, func(h Webhook) bool { return len(h.MatchConditions) > 0 }) {
			count(w.Kind, "webhooks.matchConditions", w.Object, "webhooks")
		}
	}
	for _, c := range m.configs() {
		for _, field := range c.unmodelledFields() {
			o, at := c.Because(field)
			count("MeshConfig", field, o, at)
		}
	}
	for _, u := range found {
		m.UnmodelledFields = append(m.UnmodelledFields, *u)
	}
	sort.SliceStable(m.UnmodelledFields, func(i, j int) bool {
		a, b := &m.UnmodelledFields[i], &m.UnmodelledFields[j]
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Field, b.Field)) < 0
	})
}

// configs are the mesh configurations of all control planes, the default one
// first.
func (m *Mesh) configs() []*MeshConfig {
	out := []*MeshConfig{m.Config}
	for _, revision := range sortedKeys(m.Revisions) {
		out = append(out, m.Revisions[revision])
	}
	return slices.DeleteFunc(out, func(c *MeshConfig) bool { return c == nil })
}

// policyField returns where a DestinationRule sets a field of a traffic policy,
// "" if nowhere.
func policyField(r *DestinationRule, name string, has func(*networking.TrafficPolicy) bool) string {
	if has(r.Spec.GetTrafficPolicy()) {
		return "spec.trafficPolicy." + name
	}
	for i, s := range r.Spec.GetSubsets() {
		if has(s.GetTrafficPolicy()) {
			return item("spec.subsets", i) + ".trafficPolicy." + name
		}
	}
	return ""
}

// nodeLocal reports whether a Service leads only to pods on the client's own
// node, for proxies as for the cluster's network (istio
// pilot/pkg/xds/endpoints/endpoint_builder.go, Attributes.NodeLocal).
func nodeLocal(s *KubeService) bool {
	p := s.Spec.Spec.InternalTrafficPolicy
	return p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal && s.Spec.Spec.Type != corev1.ServiceTypeExternalName
}

// NodeLocal says that a service leads only to pods on the client's own node, ""
// where it leads to all of its pods. Which pods share a node is not in the
// manifests.
func (s *Service) NodeLocal() string {
	if !s.Kubernetes() || !nodeLocal(s.Kube) {
		return ""
	}
	return s.Object.String() + " leads only to pods on the client's own node (internalTrafficPolicy Local), and where pods run is not in the manifests"
}

// unmodelledFields are the fields of a mesh configuration that change what every
// proxy does, or what istiod reads, and that the simulation does not follow.
func (c *MeshConfig) unmodelledFields() []string {
	var out []string
	for _, source := range c.GetConfigSources() {
		// istiod reads all sources, and those of Kubernetes are what manifests
		// are for (istio pilot/pkg/bootstrap/configcontroller.go
		// initConfigSources).
		if !strings.HasPrefix(source.GetAddress(), "k8s:") {
			out = append(out, "configSources")
			break
		}
	}
	if c.openRoot {
		out = append(out, "rootNamespace")
	}
	// A configuration of Envoy's own in place of Istio's (istio
	// pkg/bootstrap/instance.go).
	if c.GetDefaultConfig().GetCustomConfigFile() != "" {
		out = append(out, "defaultConfig.customConfigFile")
	}
	if c.GetDefaultConfig().GetProxyBootstrapTemplatePath() != "" {
		out = append(out, "defaultConfig.proxyBootstrapTemplatePath")
	}
	return out
}

// Opaque says why it is not known what proxies of a mesh configuration do at
// all, nil usually.
func (c *MeshConfig) Opaque() *Unmodelled {
	for _, field := range c.unmodelledFields() {
		o, at := c.Because(field)
		return &Unmodelled{Why: "the mesh configuration sets " + field + ", and what proxies then do is not in the manifests", Place: Place{o, at}}
	}
	return nil
}
