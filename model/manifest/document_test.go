package manifest_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// withDocument calls f with the only document of a text.
func withDocument(t *testing.T, text string, f func(doc *manifest.Document)) *manifest.Set {
	t.Helper()
	called := false
	s := mustLoad(t, manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text),
		Decode: func(_ *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			called = true
			f(doc)
			return nil, nil
		},
	})
	if !called {
		t.Fatalf("the Decoder was not called: %v", problems(s))
	}
	return s
}

func TestUnmarshal(t *testing.T) {
	withDocument(t, `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example.com]
  ports: [{number: 0x1BB, name: tls, protocol: TLS}]
  resolution: DNS
  exportTo: [on]
`, func(doc *manifest.Document) {
		var se networking.ServiceEntry
		if _, err := doc.UnmarshalField("spec", &se); err == nil {
			t.Error("a boolean was taken for a string")
		}
	})
	withDocument(t, `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec: {hosts: [a.example.com], ports: [{number: 0x1BB, name: tls, protocol: TLS}], resolution: DNS}
`, func(doc *manifest.Document) {
		var se networking.ServiceEntry
		if found, err := doc.UnmarshalField("spec", &se); !found || err != nil || se.Hosts[0] != "a.example.com" || se.Ports[0].Number != 443 || se.Resolution != networking.ServiceEntry_DNS {
			t.Errorf("found %v, error %v, spec %v", found, err, &se)
		}
		var port uint32
		if found, err := doc.UnmarshalField("spec.ports[0].number", &port); !found || err != nil || port != 443 {
			t.Errorf("found %v, error %v, port %d", found, err, port)
		}
		if found, err := doc.UnmarshalField("spec.ports[1].number", &port); found || err != nil || port != 443 {
			t.Errorf("found %v, error %v, port %d", found, err, port)
		}
		var untyped map[string]any
		if err := doc.Unmarshal(&untyped); err != nil || untyped["spec"].(map[string]any)["ports"].([]any)[0].(map[string]any)["number"] != int64(443) {
			t.Errorf("error %v, object %v", err, untyped)
		}
		if b, err := doc.JSON(); err != nil || !strings.Contains(string(b), `"ports":[{"number":443,"name":"tls","protocol":"TLS"}]`) {
			t.Errorf("JSON is %s, error %v", b, err)
		}
	})
	// API servers compare the case of keys, which encoding/json does not.
	withDocument(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostnetwork: true, containers: [{name: c, ports: [{containerPort: 80}]}]}\n", func(doc *manifest.Document) {
		var pod corev1.Pod
		if err := doc.Unmarshal(&pod); err != nil || pod.Spec.HostNetwork || pod.Name != "a" || pod.Spec.Containers[0].Ports[0].ContainerPort != 80 {
			t.Errorf("error %v, pod %v", err, pod)
		}
	})
	// Mesh configuration lies as text in a ConfigMap.
	withDocument(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |-\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n", func(doc *manifest.Document) {
		var mode, text string
		if found, err := doc.UnmarshalField("data.mesh.outboundTrafficPolicy.mode", &mode); !found || err != nil || mode != "REGISTRY_ONLY" {
			t.Errorf("found %v, error %v, mode %q", found, err, mode)
		}
		if found, err := doc.UnmarshalField("data.mesh", &text); !found || err != nil || text != "outboundTrafficPolicy: {mode: REGISTRY_ONLY}" {
			t.Errorf("found %v, error %v, text %q", found, err, text)
		}
	})
}

// fields writes unknown fields with what is marked in the source.
func fields(t *testing.T, s *manifest.Set, list []manifest.Field) []string {
	t.Helper()
	var out []string
	for _, f := range list {
		near := ""
		if f.Near != "" {
			near = " ~" + f.Near
		}
		out = append(out, fmt.Sprintf("%s (%s%s) %s", f.Path, f.Name, near, strings.TrimSpace(marked(t, s, f.Position))))
	}
	return out
}

func TestUnknownFields(t *testing.T) {
	type inner struct {
		Known string `json:"known"`
		Any   any    `json:"any"`
	}
	type outer struct {
		inner   `json:",inline"`
		List    []inner          `json:"list,omitempty"`
		Map     map[string]inner `json:"map"`
		Pointer *inner           `json:"pointer"`
		Skipped string           `json:"-"`
		Bare    string
		private string
	}
	_ = outer{}.private
	tests := []struct {
		name, text, path string
		of               any
		want             []string
	}{
		{"message", "spec:\n  hosts: [a]\n  exportto: [x]\n  ports:\n  - number: 1\n    target_port: 2\n    targetPort: 2\n    targtPort: 3\n  workloadSelector:\n    labels: {any: x}\n    label: {}\n  http: {}\n", "spec", &networking.ServiceEntry{},
			[]string{"spec.exportto (exportto ~exportTo) 6:   [exportto]: [x]", "spec.ports[0].targtPort (targtPort ~targetPort) 11:     [targtPort]: 3", "spec.workloadSelector.label (label ~labels) 14:     [label]: {}", "spec.http (http) 15:   [http]: {}"}},
		{"message with anything in it", "spec:\n  configPatches:\n  - applyTo: CLUSTER\n    patch: {operation: ADD, value: {what: ever, \"@type\": x}, valu: 1}\n", "spec", &networking.EnvoyFilter{},
			[]string{"spec.configPatches[0].patch.valu (valu ~value) 7:     patch: {operation: ADD, value: {what: ever, \"@type\": x}, [valu]: 1}"}},
		{"messages in maps, wrappers and durations", "spec:\n  jwtRules:\n  - issuer: x\n    timeout: 5s\n    fromHeader: []\n", "spec", &security.RequestAuthentication{},
			[]string{"spec.jwtRules[0].fromHeader (fromHeader ~fromHeaders) 8:     [fromHeader]: []"}},
		{"value of a wrong type", "spec: [a]\n", "spec", &networking.ServiceEntry{}, nil},
		{"nothing there", "x: 1\n", "spec", &networking.ServiceEntry{}, nil},
		{"whole object of Kubernetes", "spec:\n  replica: 1\n  template:\n    metadata: {labels: {a: b}, label: {}}\n    spec:\n      hostnetwork: true\n      containers:\n      - resources: {limits: {cpu: 1, own/x: 2}}\n        ports: [{containerPort: 1, nam: x}]\n      initContainer: []\nstatus: {}\nstaus: {}\n", "", reflect.TypeFor[appsv1.Deployment](),
			[]string{"spec.replica (replica ~replicas) 5:   [replica]: 1", "spec.template.metadata.label (label ~labels) 7:     metadata: {labels: {a: b}, [label]: {}}", "spec.template.spec.hostnetwork (hostnetwork ~hostNetwork) 9:       [hostnetwork]: true",
				"spec.template.spec.containers[0].ports[0].nam (nam) 12:         ports: [{containerPort: 1, [nam]: x}]", "spec.template.spec.initContainer (initContainer ~initContainers) 13:       [initContainer]: []", "staus (staus ~status) 15: [staus]: {}"}},
		{"types that decode themselves", "spec:\n  egress:\n  - ports: [{port: http, endPort: 5, proto: TCP}]\n", "spec", networkingv1.NetworkPolicySpec{},
			[]string{"spec.egress[0].ports[0].proto (proto) 6:   - ports: [{port: http, endPort: 5, [proto]: TCP}]"}},
		{"structs", "known: 1\nany: {x: y}\nlist: [{knwn: 1}]\nmap: {\"k.1\": {x-y: 1}}\npointer: {Known: 1}\nSkipped: 1\nBare: 1\nprivate: 1\n", "", outer{},
			[]string{"apiVersion (apiVersion) 1: [apiVersion]: v1", "kind (kind) 2: [kind]: X", "metadata (metadata) 3: [metadata]: {name: istio}", "list[0].knwn (knwn ~known) 6: list: [{[knwn]: 1}]", "map['k.1'].x-y (x-y) 7: map: {\"k.1\": {[x-y]: 1}}", "pointer.Known (Known ~known) 8: pointer: {[Known]: 1}", "Skipped (Skipped) 9: [Skipped]: 1", "private (private) 11: [private]: 1"}},
		{"YAML in a text", "data:\n  mesh: |\n    outBoundTrafficPolicy: {mode: REGISTRY_ONLY}\n    defaultConfig:\n      proxyMetadata: {A: b}\n      holdApplicationsUntilProxyStarts: true\n", "data.mesh", &meshconfig.MeshConfig{},
			[]string{"data.mesh.outBoundTrafficPolicy (outBoundTrafficPolicy ~outboundTrafficPolicy) 6:     [outBoundTrafficPolicy]: {mode: REGISTRY_ONLY}", "data.mesh.defaultConfig.holdApplicationsUntilProxyStarts (holdApplicationsUntilProxyStarts ~holdApplicationUntilProxyStarts) 9:       [holdApplicationsUntilProxyStarts]: true"}},
		{"text that is no YAML", "data: {mesh: text}\n", "data.mesh", &meshconfig.MeshConfig{}, nil},
		{"merged", "x: &x {hosts: [], hots: []}\nspec: {<<: *x}\n", "spec", &networking.ServiceEntry{}, []string{"spec.hots (hots ~hosts) 4: x: &x {hosts: [], [hots]: []}"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var found []manifest.Field
			s := withDocument(t, "apiVersion: v1\nkind: X\nmetadata: {name: istio}\n"+test.text, func(doc *manifest.Document) {
				found = doc.UnknownFields(test.path, test.of)
			})
			equal(t, "fields", fields(t, s, found), test.want)
		})
	}
}

// TestDocumentPositions: a Decoder sees the positions that the object gives
// later.
func TestDocumentPositions(t *testing.T) {
	var at, key manifest.Position
	s := withDocument(t, "# c\n"+positions, func(doc *manifest.Document) {
		at, key = doc.Position("spec.list[0].hosts[1]"), doc.KeyPosition("spec.list[0].hosts")
	})
	o := s.Objects[0]
	if at != o.At("spec.list[0].hosts[1]") || key != o.AtKey("spec.list[0].hosts") || at.Line != 15 {
		t.Errorf("positions are %v and %v, later %v and %v", at, key, o.At("spec.list[0].hosts[1]"), o.AtKey("spec.list[0].hosts"))
	}
}
