package model

import (
	"fmt"
	"strings"
	"testing"
)

// A placeholder leaves open what it stands for, and nothing else.
func TestPlaceholdersInMeshConfiguration(t *testing.T) {
	for name, test := range map[string]struct{ mesh, mode, doubts, problem string }{
		"mode": {"rootNamespace: admin\noutboundTrafficPolicy: {mode: '${MODE}'}", "ALLOW_ANY", "outboundTrafficPolicy.mode ${MODE} ALLOW_ANY REGISTRY_ONLY",
			"…template: mesh configuration of ConfigMap istio-system/istio holds the placeholder ${MODE} and is refused as it stands: …; it is taken without what stands in outboundTrafficPolicy.mode, and answers that depend on outboundTrafficPolicy.mode are unknown"},
		"policy":           {"rootNamespace: admin\noutboundTrafficPolicy: ${POLICY}", "ALLOW_ANY", "outboundTrafficPolicy.mode ${POLICY} ALLOW_ANY REGISTRY_ONLY", "…template: …it is taken without what stands in outboundTrafficPolicy, and …"},
		"protobuf's name":  {"rootNamespace: admin\noutbound_traffic_policy: {mode: '${MODE}'}", "ALLOW_ANY", "outboundTrafficPolicy.mode ${MODE} ALLOW_ANY REGISTRY_ONLY", "…template: …"},
		"mutual TLS":       {"rootNamespace: admin\nenableAutoMtls: ${AUTO}\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}", "REGISTRY_ONLY", "enableAutoMtls ${AUTO} true false", "…template: …"},
		"what decides not": {"rootNamespace: admin\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\ndefaultConfig: {discoveryAddress: '$ISTIOD_ADDRESS:15012'}", "REGISTRY_ONLY", "", "…template: …it is taken without what stands in defaultConfig.discoveryAddress"},
		"in a list":        {"rootNamespace: admin\nextensionProviders: [{name: a, envoyExtAuthzHttp: {service: '${HOST}', port: '${PORT}'}}]", "ALLOW_ANY", "", "…template: …it is taken without what stands in extensionProviders"},
		"a text that is no good for terminals": {"rootNamespace: admin\noutboundTrafficPolicy: {mode: \"${A\\x1b\\n" + strings.Repeat("long ", 20) + "}\"}", "ALLOW_ANY",
			"outboundTrafficPolicy.mode ${A\ufffd long long long long long long long … ALLOW_ANY REGISTRY_ONLY", "…template: …"},
		"nothing open": {"rootNamespace: admin\ntrustDomain: td", "ALLOW_ANY", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    "+strings.ReplaceAll(test.mesh, "\n", "\n    ")+"\n", Options{})
			if test.problem == "" {
				wantProblems(t, m)
			} else {
				wantProblems(t, m, test.problem)
			}
			c := m.Config
			if got := c.OutboundTrafficPolicy.Mode.String(); got != test.mode || c.RootNamespace != "admin" || c.Refused {
				t.Errorf("mode %s, root namespace %s, refused %t", got, c.RootNamespace, c.Refused)
			}
			if name == "in a list" && (len(c.ExtensionProviders) != len(load(t, labelledDefault, Options{}).Config.ExtensionProviders)+1) {
				t.Errorf("extension providers: %v", c.ExtensionProviders)
			}
			var doubts []string
			for _, d := range m.Doubts() {
				doubts = append(doubts, fmt.Sprintf("%s %s %s %s", d.Setting, d.Text, d.Taken, d.Other))
				o := m.Otherwise(d)
				if o.Config.OutboundTrafficPolicy.Mode == c.OutboundTrafficPolicy.Mode && o.Config.EnableAutoMtls.Value == c.EnableAutoMtls.Value {
					t.Errorf("%s: the other mesh is the same", d.Setting)
				}
				if p := d.Object.At(d.Field); p.Line < 6 {
					t.Errorf("%s: it stands at %s", d.Setting, p)
				}
			}
			if got := strings.Join(doubts, "; "); got != test.doubts {
				t.Errorf("doubts %q, want %q", got, test.doubts)
			}
		})
	}
}

// What is wrong beside a placeholder is refused as ever.
func TestPlaceholderBesideAMistake(t *testing.T) {
	m := load(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    connectTimeout: 48h\n    outboundTrafficPolicy: {mode: '${MODE}'}\n", Options{})
	wantProblems(t, m, "…template: …; Istio's defaults are taken…")
	if len(m.Doubts()) > 0 || !m.Config.Refused {
		t.Errorf("doubts %v, refused %t", m.Doubts(), m.Config.Refused)
	}
}

func TestLeftOut(t *testing.T) {
	const broken = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {action: '${ACTION}'}\n"
	for text, want := range map[string]string{
		labelledDefault: "",
		broken:          "what was not analysed changes nothing in it: AuthorizationPolicy shop/deny (…:4:16)",
		"a: {{ .b }}\n---\n" + broken + "---\nc: [\n": "what was not analysed changes nothing in it: AuthorizationPolicy shop/deny (…) and 2 more",
		"a: {{ .b }}\n": "what was not analysed changes nothing in it: …:1:1",
	} {
		if got := load(t, text+"---\n"+labelledDefault, Options{}).LeftOut(); !matches(got, want) || want == "" && got != "" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
