package capture

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/validation/agent"
	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

const (
	proxyConfigKey  = "proxy.istio.io/config"
	interceptionKey = "sidecar.istio.io/interceptionMode"
)

// proxyConfigOf returns the pod's own proxy configuration, nil if it has none,
// and what is wrong with it (istio pkg/kube/inject/validate.go validateProxyConfig).
func proxyConfigOf(w *model.Workload) (*meshconfig.ProxyConfig, error) {
	text, ok := w.Annotations[proxyConfigKey]
	if !ok {
		return nil, nil
	}
	config, whole := &meshconfig.ProxyConfig{}, mesh.DefaultProxyConfig()
	if err := protomarshal.ApplyYAML(text, config); err != nil {
		return nil, err
	}
	if err := protomarshal.ApplyYAML(text, whole); err != nil {
		return nil, err
	}
	return config, agent.ValidateMeshConfigProxyConfig(whole).Err
}

// interceptionMode returns REDIRECT, TPROXY or NONE.
func (s *subject) interceptionMode() (string, []flow.Because) {
	if mode, ok := s.w.Annotations[interceptionKey]; ok {
		return mode, s.podAnnotation(interceptionKey)
	}
	// An annotation cannot turn the mesh's mode back into REDIRECT: that is the
	// zero value, which merging leaves out.
	if own, _ := proxyConfigOf(s.w); own.GetInterceptionMode() != meshconfig.ProxyConfig_REDIRECT {
		return own.GetInterceptionMode().String(), s.podAnnotation(proxyConfigKey)
	}
	var from []flow.Because
	if object, field := s.config.Because("defaultConfig.interceptionMode"); object != nil {
		from = []flow.Because{{Object: object, Field: field}}
	}
	return s.config.GetDefaultConfig().GetInterceptionMode().String(), from
}

// metadata is the environment of the pod's proxy: that of the mesh, of the
// ProxyConfigs of the root namespace and of its own, of its annotation, and of
// the ProxyConfig that selects it, the later ones counting (istio
// pilot/pkg/model/proxy_config.go EffectiveProxyConfig).
func (s *subject) metadata() map[string]string {
	out := maps.Clone(s.config.GetDefaultConfig().GetProxyMetadata())
	if out == nil {
		out = map[string]string{}
	}
	root := s.config.GetRootNamespace()
	if c := s.proxyConfig(root, false); c != nil {
		maps.Copy(out, c.Spec.GetEnvironmentVariables())
	}
	if s.w.Namespace != root {
		if c := s.proxyConfig(s.w.Namespace, false); c != nil {
			maps.Copy(out, c.Spec.GetEnvironmentVariables())
		}
	}
	if own, _ := proxyConfigOf(s.w); own != nil {
		maps.Copy(out, own.GetProxyMetadata())
	}
	if c := s.proxyConfig(s.w.Namespace, true); c != nil {
		maps.Copy(out, c.Spec.GetEnvironmentVariables())
	}
	return out
}

// proxyConfig returns the oldest ProxyConfig of a namespace: of those that
// select the workload, or of those that select nothing in particular.
func (s *subject) proxyConfig(namespace string, selecting bool) *model.ProxyConfig {
	var list []*model.ProxyConfig
	for _, c := range s.mesh.ProxyConfigs {
		if c.Namespace == namespace && s.matches(c, selecting) && s.config.Reads(c.Object) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b *model.ProxyConfig) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
}

func (s *subject) matches(c *model.ProxyConfig, selecting bool) bool {
	if !selecting {
		return c.Spec.GetSelector() == nil
	}
	want := c.Spec.GetSelector().GetMatchLabels()
	pod := s.w.AtCreation()
	for k, v := range want {
		if has, ok := pod[k]; !ok || has != v {
			return false
		}
	}
	return len(want) > 0
}

// variable is one of the environment of the pod's proxy, be it of the manifest's own
// or an injected one.
func (s *subject) variable(name string) string {
	if v := ownVariable(s.w, name); v != "" {
		return v
	}
	return s.metadata()[name]
}

// autoAddresses reports whether the proxy uses addresses that istiod allocates:
// without PILOT_ENABLE_IP_AUTOALLOCATE only one that asks for them does (istio
// pilot/pkg/model/service.go nodeUsesAutoallocatedIPs).
func (s *subject) autoAddresses() bool {
	on, err := strconv.ParseBool(s.variable("ISTIO_META_DNS_AUTO_ALLOCATE"))
	return s.config.Enabled("PILOT_ENABLE_IP_AUTOALLOCATE") || err == nil && on
}

// perhapsDualStack reports whether istiod makes listeners for both families, or the
// input does not tell how it is started (istio pilot/pkg/networking/core/listener_builder.go
// buildVirtualOutboundListener).
func (s *subject) perhapsDualStack() bool {
	return s.config.Enabled("ISTIO_DUAL_STACK") || s.config.Environment == nil && s.config.ValuesSource == nil
}

// switchBecause points to what sets one of istiod's switches.
func switchBecause(s *model.Switch) []flow.Because {
	if s.Object == nil {
		return nil
	}
	return []flow.Because{{Object: s.Object, Field: s.Field}}
}

// dnsCapture reports whether the sidecar answers the pod's name lookups.
func (s *subject) dnsCapture() bool {
	on, err := strconv.ParseBool(s.metadata()["ISTIO_META_DNS_CAPTURE"])
	return err == nil && on
}
