package model

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// load makes a mesh of manifests as standard input gives them.
func load(t *testing.T, text string, opts Options) *Mesh {
	t.Helper()
	m, _, err := Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text),
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// loadDir makes a mesh of a directory below testdata.
func loadDir(t *testing.T, dir string, opts Options) *Mesh {
	t.Helper()
	m, _, err := Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: filepath.Join("testdata", dir)}},
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// problems writes the problems of a mesh as "line:column kind message".
func problems(m *Mesh) []string {
	kinds := map[manifest.ProblemKind]string{
		manifest.Unreadable: "unreadable", manifest.Rejected: "rejected", manifest.Template: "template", manifest.Unrendered: "unrendered", manifest.UnknownField: "unknown field",
		manifest.Duplicate: "duplicate", manifest.Conflict: "conflict",
	}
	var out []string
	for _, p := range m.Problems {
		out = append(out, fmt.Sprintf("%d:%d %s: %s", p.Position.Line, p.Position.Column, kinds[p.Kind], p.Message))
	}
	return out
}

// wantProblems compares problems with patterns, one for each problem, of which
// each text between "…" must come in order.
func wantProblems(t *testing.T, m *Mesh, patterns ...string) {
	t.Helper()
	got := problems(m)
	if len(got) != len(patterns) {
		t.Fatalf("got %d problems, want %d:\n%s", len(got), len(patterns), strings.Join(got, "\n"))
	}
	for i, pattern := range patterns {
		if !matches(got[i], pattern) {
			t.Errorf("problem %d is\n%s\nwant\n%s", i, got[i], pattern)
		}
	}
}

func matches(text, pattern string) bool {
	for i, part := range strings.Split(pattern, "…") {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

func TestEveryKindGoesWhereItBelongs(t *testing.T) {
	m := loadDir(t, "kinds", Options{})
	wantProblems(t, m)
	for what, n := range map[string]int{
		"services": len(m.KubeServices), "endpoints": len(m.KubeEndpoints), "endpoint slices": len(m.EndpointSlices),
		"service entries": len(m.ServiceEntries), "workload entries": len(m.WorkloadEntries),
		"virtual services": len(m.VirtualServices), "destination rules": len(m.DestinationRules),
		"gateways": len(m.Gateways), "sidecars": len(m.Sidecars), "envoy filters": len(m.EnvoyFilters),
		"proxy configs": len(m.ProxyConfigs), "authorization policies": len(m.AuthorizationPolicies),
		"peer authentications": len(m.PeerAuthentications), "request authentications": len(m.RequestAuthentications),
		"network policies": len(m.NetworkPolicies), "service accounts": len(m.ServiceAccounts),
		"webhooks": len(m.InjectionWebhooks), "cluster network policies": len(m.ClusterNetworkPolicies),
	} {
		if n != 1 {
			t.Errorf("%d %s, want 1", n, what)
		}
	}
	if got := m.ServiceEntries[0].Spec.Hosts; !slices.Equal(got, []string{"api.example.com"}) {
		t.Errorf("hosts of the ServiceEntry: %q", got)
	}
	if got := m.DestinationRules[0].At("spec.trafficPolicy.tls.mode").String(); got != "testdata/kinds/istio.yaml:51:13" {
		t.Errorf("place of the TLS mode: %s", got)
	}
	wantNames(t, "legacy", m.Legacy, "EgressRule default/old", "ServiceRole default/old", "listchecker default/old")
	wantNames(t, "unmodelled", m.Unmodelled,
		"Secret istio-system/remote", "WasmPlugin default/filter")
	wantNames(t, "policies of network plugins", m.PluginPolicies, "CiliumNetworkPolicy default/dns")
	want := map[string]int{
		"v1 ConfigMap": 1, "rbac.authorization.k8s.io/v1 Role": 2, "networking.istio.io/v1 WorkloadGroup": 1,
		"telemetry.istio.io/v1 Telemetry": 1, "example.com/v1 Thing": 1, "v1 Secret": 1,
		"admissionregistration.k8s.io/v1 MutatingWebhookConfiguration": 1,
	}
	if !reflect.DeepEqual(m.Ignored, want) {
		t.Errorf("ignored: %v", m.Ignored)
	}
	for _, o := range m.Unmodelled {
		if (o.Value == nil) != (o.Kind == "Secret") {
			t.Errorf("%s: value %v; all but a Secret's content is kept", o, o.Value)
		}
	}
}

func wantNames(t *testing.T, what string, objects []*manifest.Object, want ...string) {
	t.Helper()
	var got []string
	for _, o := range objects {
		got = append(got, o.String())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestBuildIsDeterministic loads the same files often: files are parsed in
// parallel, and the model is full of maps.
func TestBuildIsDeterministic(t *testing.T) {
	dirs, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		var first string
		for i := range 20 {
			m := loadDir(t, dir.Name(), Options{Set: []string{"profile=demo"}})
			text := describe(m)
			if i == 0 {
				first = text
			} else if text != first {
				t.Fatalf("%s: loaded again, it is different:\n%s\n\n%s", dir.Name(), first, text)
			}
		}
	}
}

// describe writes what can be seen of a mesh.
func describe(m *Mesh) string {
	var b strings.Builder
	for _, p := range m.Problems {
		fmt.Fprintln(&b, p.Kind, p.Position, p.Message)
	}
	for _, w := range m.Workloads {
		fmt.Fprintln(&b, w, w.ServiceAccount, w.Labels, w.Annotations, w.PodUnknown)
	}
	for _, s := range m.KubeServices {
		fmt.Fprintln(&b, s.Object, s.Spec.Spec.Ports)
	}
	for _, o := range m.istioObjects() {
		fmt.Fprintln(&b, o)
	}
	fmt.Fprintln(&b, m.Namespaces["default"], m.InjectionAssumption, m.Ignored, m.RevisionTags)
	fmt.Fprintln(&b, m.Config.MeshConfig, strings.Join(m.Notes, "\n"))
	return b.String()
}

func TestLoadFailsWhereNothingCanBeRead(t *testing.T) {
	_, _, err := Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "testdata/absent"}}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("error %v does not name the path that does not exist", err)
	}
}
