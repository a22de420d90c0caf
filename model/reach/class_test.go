package reach_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// Each client is in one class, gateways are in none.
func TestEachClientIsInOneClass(t *testing.T) {
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		var members []*model.Workload
		for _, class := range r.Classes() {
			members = append(members, class...)
		}
		if want, got := names(r.Clients()), names(members); !slices.Equal(want, got) {
			t.Errorf("the classes have %q, the clients are %q", got, want)
		}
	})
}

// Two workloads of one class have the same answer to everything, whatever their
// labels, accounts and annotations: the meshes of testdata, with copies of their
// workloads that differ a little.
func TestMembersOfAClassHaveTheSameAnswers(t *testing.T) {
	random := seeded(t)
	compared := 0
	for _, name := range meshNames(t) {
		opts := flagsOf(t, name)
		dir, copies := withCopies(t, random, filepath.Join(meshRoot, name, "manifests"))
		r := loadMesh(t, dir, opts)
		if n := len(r.Mesh.Workloads); n < copies {
			t.Errorf("%s: %d workloads, but %d were added", name, n, copies)
		}
		for _, class := range r.Classes() {
			for _, w := range class[1:] {
				compared++
				for _, diff := range unequal(r, class[0], w) {
					t.Errorf("%s with copies: %s and %s are of one class\n%s", name, describe(class[0]), describe(w), diff)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		}
	}
	if compared < len(meshNames(t)) {
		t.Errorf("only %d workloads were in the class of another", compared)
	}
}

func describe(w *model.Workload) string {
	return fmt.Sprintf("%s (account %s, labels %s)", reach.From(w), w.ServiceAccount, jsonText(w.Labels))
}

// unequal lists the requests that fare differently from two workloads.
func unequal(r *reach.Reach, a, b *model.Workload) []string {
	var out []string
	for _, d := range r.Universe() {
		for _, scheme := range []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP} {
			for _, dial := range []string{"", "192.0.2.77"} {
				f := flow.Flow{From: reach.From(a), Host: d.Host, Port: d.Port, Scheme: scheme, DstIP: dial}
				g := f
				g.From = reach.From(b)
				if x, y := fate(r.Trace(f)), fate(r.Trace(g)); x != y {
					out = append(out, fmt.Sprintf("\t%s: %s\n\t%s: %s", jsonText(f), x, jsonText(g), y))
				}
			}
		}
	}
	return out
}

// twoPods are two pods that differ in one label.
const twoPods = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, labels: {app: shop, tier: one}}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: shop, labels: {app: shop, tier: two}}
spec: {containers: [{name: app, image: app}]}
---
`

// A label tells workloads apart where an object asks for it that can decide what
// becomes of their requests, and nowhere else.
func TestLabelsThatTellWorkloadsApart(t *testing.T) {
	tests := []struct {
		name, object string
		classes      int
	}{
		{"nothing asks for the label", `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: shop}
spec: {workloadSelector: {labels: {app: shop}}, egress: [{hosts: ["./*"]}]}
`, 1},
		{"Sidecar", `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: shop}
spec: {workloadSelector: {labels: {tier: one}}, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
`, 2},
		{"DestinationRule", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: shop}
spec: {host: a.example.com, workloadSelector: {matchLabels: {tier: one}}, trafficPolicy: {tls: {mode: SIMPLE}}}
`, 2},
		{"EnvoyFilter", `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: f, namespace: shop}
spec:
  workloadSelector: {labels: {tier: one}}
  configPatches:
  - {applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: REMOVE}}
`, 2},
		{"sourceLabels of an http route", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a.example.com], http: [{match: [{sourceLabels: {tier: one}}], directResponse: {status: 451}}]}
`, 2},
		{"sourceLabels of a tls route", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a.example.com], tls: [{match: [{sniHosts: [a.example.com], sourceLabels: {tier: one}}], route: [{destination: {host: a.example.com}}]}]}
`, 2},
		{"sourceLabels of a tcp route", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a.example.com], tcp: [{match: [{sourceLabels: {tier: one}}], route: [{destination: {host: a.example.com}}]}]}
`, 2},
		{"NetworkPolicy by label", `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: shop}
spec: {podSelector: {matchLabels: {tier: one}}, policyTypes: [Egress]}
`, 2},
		{"NetworkPolicy by expression", `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: shop}
spec: {podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [one]}]}, policyTypes: [Egress]}
`, 2},
		{"NetworkPolicy of whom it lets in", `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: istio-system}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {tier: one}}}]}]}
`, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if r := loadText(t, twoPods+test.object); len(r.Classes()) != test.classes {
				t.Errorf("%d classes, want %d", len(r.Classes()), test.classes)
			}
		})
	}
}

// withCopies writes the manifests of a directory and, for each workload in them,
// copies that differ from it in one or two things. It returns how many.
func withCopies(t *testing.T, random *rand.Rand, dir string) (string, int) {
	t.Helper()
	out := t.TempDir()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	var copies []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(out, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split("\n"+string(text), "\n---") {
			for i := range 3 {
				if c := changedCopy(t, random, document, i); c != "" {
					copies = append(copies, c)
				}
			}
		}
	}
	if err := os.WriteFile(filepath.Join(out, "copies.yaml"), []byte(strings.Join(copies, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return out, len(copies)
}

// changedCopy returns a document with another name and a few other things
// changed, or nothing if it is no workload or a gateway.
func changedCopy(t *testing.T, random *rand.Rand, document string, number int) string {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(document), &o); err != nil || strings.Contains(document, "router") || strings.Contains(document, "inject.istio.io/templates") {
		return "" // whatever else is wrong with it, it is no workload to copy
	}
	var pod map[string]any
	switch o["kind"] {
	case "Deployment":
		pod = field(field(o, "spec"), "template")
		// The copies' labels need not fit; istiod looks at pods.
		delete(field(o, "spec"), "selector")
	case "Pod":
		pod = o
	default:
		return ""
	}
	meta := field(o, "metadata")
	meta["name"] = fmt.Sprintf("%v-copy-%d", meta["name"], number)
	labels, annotations := field(field(pod, "metadata"), "labels"), field(field(pod, "metadata"), "annotations")
	for range random.IntN(3) {
		change(random, labels, annotations, field(pod, "spec"))
	}
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// change changes one thing of a pod.
func change(random *rand.Rand, labels, annotations, spec map[string]any) {
	keys := slices.Sorted(maps.Keys(labels))
	pick := func() string { return keys[random.IntN(len(keys))] }
	switch n := random.IntN(9); {
	case n == 0 && len(keys) > 0:
		delete(labels, pick())
	case n == 1 && len(keys) > 0:
		labels[pick()] = letters(random, 3)
	case n == 2:
		labels[letters(random, 4)] = letters(random, 3)
	case n == 3:
		spec["serviceAccountName"] = []string{"default", "sleep", "other"}[random.IntN(3)]
	case n == 4:
		annotations["sidecar.istio.io/inject"] = "false"
	case n == 5:
		annotations["traffic.sidecar.istio.io/excludeOutboundPorts"] = []string{"80", "443", "80,443"}[random.IntN(3)]
	case n == 6:
		annotations["traffic.sidecar.istio.io/excludeOutboundIPRanges"] = "192.0.2.0/24"
	case n == 7:
		spec["hostNetwork"] = true
	case n == 8:
		annotations["proxy.istio.io/config"] = `{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}`
	}
}

// field returns a field that is an object, and makes it if it is not there.
func field(o map[string]any, name string) map[string]any {
	f, ok := o[name].(map[string]any)
	if !ok {
		f = map[string]any{}
		o[name] = f
	}
	return f
}
