package model

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/manifest"
)

// TestBrokenInputNeverPanics puts random values into random places of the
// manifests of the other tests.
func TestBrokenInputNeverPanics(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	docs := testDocuments(t)
	set := []string{"profile=demo", "meshConfig.trustDomain=x", "components.egressGateways[0].name=y", "values.global.proxy.includeIPRanges=z"}
	for round := range 150 {
		var text bytes.Buffer
		for _, doc := range docs {
			var tree any
			if err := json.Unmarshal(doc, &tree); err != nil {
				t.Fatal(err)
			}
			for range 1 + r.IntN(3) {
				tree = disturb(r, tree, 0)
			}
			data, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(data)
			text.WriteString("\n---\n")
		}
		m, _, err := Load(context.Background(), manifest.Options{
			Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text.String()),
		}, Options{Set: set[:round%(len(set)+1)]})
		if err != nil {
			t.Fatal(err)
		}
		if m.Config == nil || m.Config.MeshConfig == nil || m.Config.OutboundTrafficPolicy == nil || m.Config.GetRootNamespace() == "" {
			t.Fatalf("round %d: no usable mesh configuration", round)
		}
		for _, w := range m.Workloads {
			if m.ConfigFor(w) == nil {
				t.Fatalf("round %d: %s has no mesh configuration", round, w)
			}
			w.ProxyRole()
		}
		m.IstioVersion()
	}
}

// testDocuments are the documents of testdata and a few installations, as JSON.
func testDocuments(t *testing.T) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{registryOnlyMap, operator(`
  profile: demo
  hub: docker.io/istio
  tag: 1.24.0
  meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, extensionProviders: [{name: x, envoyExtAuthzGrpc: {service: x.default.svc.cluster.local, port: 80}}]}
  components:
    pilot: {k8s: {env: [{name: A, value: b}]}}
    egressGateways: [{name: out, label: {a: b}, k8s: {service: {ports: [{port: 80, name: http}]}}}]
  values: {global: {proxy: {includeIPRanges: "*"}}, pilot: {env: {C: d}}, revisionTags: [prod]}`), `
apiVersion: sailoperator.io/v1
kind: Istio
metadata: {name: default}
spec: {version: v1.24.2, profile: ambient, namespace: istio-system, values: {meshConfig: {trustDomain: x}}}
`, `
apiVersion: maistra.io/v2
kind: ServiceMeshControlPlane
metadata: {name: basic}
spec: {proxy: {networking: {trafficControl: {outbound: {policy: REGISTRY_ONLY}}}}}
`, `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: istiod}
spec: {sources: [{helm: {valuesObject: {meshConfig: {}}}}, {helm: {values: "meshConfig: {}"}}]}
`, `
istio:
  values: {meshConfig: {}}
  postRenderers: [{kustomize: {patchesStrategicMerge: [{kind: IstioOperator, spec: {components: {egressGateways: [{name: x}]}}}], patches: [{patch: "kind: IstioOperator"}]}}]
`}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, strings.Split(string(data), "\n---\n")...)
	}
	var docs [][]byte
	for _, text := range texts {
		doc, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return docs
}

// disturb replaces one value somewhere in a tree.
func disturb(r *rand.Rand, v any, depth int) any {
	if depth > 1 && r.IntN(4) == 0 {
		return randomValue(r)
	}
	switch v := v.(type) {
	case map[string]any:
		keys := sortedKeys(v)
		if len(keys) == 0 {
			return randomValue(r)
		}
		key := keys[r.IntN(len(keys))]
		// Without these there is no object to disturb.
		if depth == 0 && (key == "apiVersion" || key == "kind") {
			return v
		}
		v[key] = disturb(r, v[key], depth+1)
		return v
	case []any:
		if len(v) == 0 || r.IntN(4) == 0 {
			return append(v, randomValue(r))
		}
		i := r.IntN(len(v))
		v[i] = disturb(r, v[i], depth+1)
		return v
	default:
		return randomValue(r)
	}
}

func randomValue(r *rand.Rand) any {
	values := []any{
		nil, true, 0, -1, 1.5, 1e300, "", "x", "*", "~", "a/b", "1.2.3.4/99", "REGISTRY_ONLY", "10s", "\x1b[31m",
		[]any{}, []any{nil}, []any{"x", map[string]any{}}, map[string]any{}, map[string]any{"": nil}, map[string]any{"a.b/c": []any{1}},
	}
	return values[r.IntN(len(values))]
}
