package model

import "testing"

func TestFlags(t *testing.T) {
	operator := `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec:
  profile: minimal
  values: {global: {proxy: {excludeIPRanges: 10.0.0.0/8, includeIPRanges: 10.0.0.0/8}}}
`
	t.Run("values and types", func(t *testing.T) {
		m := load(t, operator, Options{Set: []string{
			"values.global.proxy.excludeIPRanges=192.0.2.0/24",
			`meshConfig.defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE=true`,
			"meshConfig.enableAutoMtls=false",
			`values.pilot.env.PILOT_SCOPE_GATEWAY_TO_NAMESPACE=true`,
			`components.egressGateways[0].label.example\.com/a=b`,
		}})
		wantProblems(t, m)
		for path, want := range map[string]any{"global.proxy.excludeIPRanges": "192.0.2.0/24", "global.proxy.includeIPRanges": "10.0.0.0/8"} {
			if got, _ := m.Config.Value(path); got != want {
				t.Errorf("%s is %v, want %v", path, got, want)
			}
		}
		if got := m.Config.DefaultConfig.ProxyMetadata["ISTIO_META_DNS_CAPTURE"]; got != "true" {
			t.Errorf("proxy metadata is %q", got)
		}
		if m.Config.EnableAutoMtls.Value {
			t.Error("enableAutoMtls=false is not taken")
		}
		if got := m.Config.Environment["PILOT_SCOPE_GATEWAY_TO_NAMESPACE"]; got != "true" {
			t.Errorf("environment is %q", got)
		}
	})
	t.Run("on top of a ConfigMap", func(t *testing.T) {
		m := load(t, registryOnlyMap, Options{Set: []string{"meshConfig.trustDomain=example.org", "values.global.proxy.includeIPRanges=10.0.0.0/8"}})
		if m.Config.TrustDomain != "example.org" || m.Config.OutboundTrafficPolicy.Mode.String() != "REGISTRY_ONLY" {
			t.Errorf("trust domain %s, mode %s", m.Config.TrustDomain, m.Config.OutboundTrafficPolicy.Mode)
		}
		if got, _ := m.Config.Value("global.proxy.includeIPRanges"); got != "10.0.0.0/8" {
			t.Errorf("includeIPRanges is %v", got)
		}
		if o, _ := m.Config.Because("outboundTrafficPolicy.mode"); o == nil || o.Kind != "ConfigMap" {
			t.Errorf("the mode is said to come from %v", o)
		}
	})
	t.Run("for one revision", func(t *testing.T) {
		m := load(t, registryOnlyMap, Options{Set: []string{"revision=canary", "meshConfig.trustDomain=example.org"}})
		if got := m.Config.TrustDomain; got != "cluster.local" {
			t.Errorf("the default revision has trust domain %s", got)
		}
		if c := m.Revisions["canary"]; c == nil || c.TrustDomain != "example.org" {
			t.Errorf("revision canary: %v", c)
		}
	})
	t.Run("wrong ones", func(t *testing.T) {
		m := load(t, operator, Options{Set: []string{"meshConfig", "=x", "meshConfig.outboundTrafficpolicy.mode=REGISTRY_ONLY", "profile.x=1"}})
		wantProblems(t, m,
			`0:0 unreadable: --set "=x" has no path`,
			`0:0 unreadable: --set "meshConfig" has no value`,
			`0:0 unknown field: --set meshConfig: unknown field "outboundTrafficpolicy"`,
			`0:0 unreadable: --set on top of IstioOperator istio-system/mesh: a --set path does not fit`,
		)
		if got, _ := m.Config.Value("global.proxy.includeIPRanges"); got != "10.0.0.0/8" || m.Config.Refused {
			t.Errorf("the IstioOperator does not count any more: includeIPRanges is %v", got)
		}
	})
}
