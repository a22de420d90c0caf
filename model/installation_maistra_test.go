package model

import "testing"

// What is not read of a ServiceMeshControlPlane leaves the outbound policy open.
func TestWhatIsNotReadOfAServiceMeshControlPlane(t *testing.T) {
	const policy = "proxy: {networking: {trafficControl: {outbound: {policy: REGISTRY_ONLY}}}}"
	for name, test := range map[string]struct {
		version, spec, mode, at string
	}{
		"its own policy":     {"v2", policy, "REGISTRY_ONLY", ""},
		"nothing":            {"v2", "version: v2.6", "ALLOW_ANY", ""},
		"profiles of Istio":  {"v2", "profiles: [default, small]", "ALLOW_ANY", ""},
		"a profile":          {"v2", "profiles: [default, ours]", "ALLOW_ANY", "spec.profiles"},
		"technology preview": {"v2", "techPreview: {meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}", "ALLOW_ANY", "spec.techPreview.meshConfig.outboundTrafficPolicy"},
		"both":               {"v2", policy + ", techPreview: {meshConfig: {outboundTrafficPolicy: {mode: ALLOW_ANY}}}", "ALLOW_ANY", "spec.techPreview.meshConfig.outboundTrafficPolicy"},
		"another preview":    {"v2", "techPreview: {meshConfig: {extensionProviders: []}}", "ALLOW_ANY", ""},
		"format v1":          {"v1", "istio: {global: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}", "ALLOW_ANY", "spec"},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, "apiVersion: maistra.io/"+test.version+"\nkind: ServiceMeshControlPlane\nmetadata: {name: basic, namespace: mesh}\nspec: {"+test.spec+"}\n", Options{})
			if got := m.Config.OutboundTrafficPolicy.Mode.String(); got != test.mode {
				t.Errorf("mode %s, want %s", got, test.mode)
			}
			at := ""
			for _, d := range m.Doubts() {
				at = d.Field
				if o := m.Otherwise(d); o.Config.OutboundTrafficPolicy.Mode == m.Config.OutboundTrafficPolicy.Mode {
					t.Error("the other mesh is the same")
				}
			}
			if at != test.at {
				t.Errorf("open is %q, want %q", at, test.at)
			}
		})
	}
}
