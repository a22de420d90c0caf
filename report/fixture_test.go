package report_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/report"
)

const sidecarYAML = `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: payments
spec:
  outboundTrafficPolicy:
    mode: ALLOW_ANY
`

const policyYAML = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: istio-system
spec: {}
`

// load reads files, given by name, through the loader.
func load(t *testing.T, files map[string]string) *manifest.Set {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	set, err := manifest.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: "."}}, Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// object returns the object of a kind; the test's input has one.
func object(t *testing.T, set *manifest.Set, kind string) *manifest.Object {
	t.Helper()
	for _, o := range set.Objects {
		if o.Kind == kind {
			return o
		}
	}
	t.Fatalf("no %s in the input", kind)
	return nil
}

var (
	reopens = &analyzers.Analyzer{
		ID: "EGR202", Name: "sidecar-reopens-egress", Severity: analyzers.Error, SecuritySeverity: 8.1,
		Doc: analyzers.Doc{
			Title: "A Sidecar reopens what the mesh closes",
			What:  "A `Sidecar` sets ALLOW_ANY where the mesh is REGISTRY_ONLY.",
			Why:   "Its workloads reach any host.",
			Bad:   "kind: Sidecar\n", Good: "kind: Sidecar\nmetadata: {}\n", Fix: "Delete the field.",
			Silent: "The mesh is ALLOW_ANY.", Sources: []string{"https://istio.io/"},
		},
	}
	gap = &analyzers.Analyzer{ID: "EGR801", Name: "service-entry-scope-gap", Severity: analyzers.Error, Doc: analyzers.Doc{Title: "A workload cannot reach a host"}}
)

// mesh is a lint result with one finding of each kind that matters to a
// renderer.
func lint(t *testing.T) *report.Lint {
	set := load(t, map[string]string{"manifests/sidecar.yaml": sidecarYAML, "manifests/policy.yaml": policyYAML})
	sidecar, policy := object(t, set, "Sidecar"), object(t, set, "AuthorizationPolicy")
	return &report.Lint{
		Lines: set,
		Rules: []*analyzers.Analyzer{reopens, gap},
		Input: report.Input{Files: 2, Documents: 2, Workloads: 12, FirstFile: "manifests/policy.yaml", Assumptions: []string{"payments is injected"}},
		Findings: []analyzers.Finding{{
			Rule: reopens, Severity: analyzers.Error, SecuritySeverity: 8.1,
			Object: sidecar, Field: "spec.outboundTrafficPolicy.mode",
			Message:   "payments/api reaches any host on port 443 outside the egress gateway",
			Label:     "overrides REGISTRY_ONLY of the mesh for 12 workloads",
			Workloads: []string{"payments/api", "payments/worker"},
			Related:   []analyzers.Related{{Object: policy, Field: "spec", Message: "the gateway's policy"}},
			Flow:      &flow.Flow{From: "payments/api", Host: "internet.example", Port: 443, Scheme: flow.HTTPS},
			Trace: &flow.Trace{Outcome: flow.Allowed, Via: flow.ViaPassthrough, Reason: flow.OK, Hops: []flow.Hop{{
				At: flow.AtSidecar, Proxy: "payments/api", Decision: "no registered host matches, and unregistered ones pass", Cluster: "PassthroughCluster",
				Because: []flow.Because{{Object: sidecar, Field: "spec.outboundTrafficPolicy.mode"}},
			}}},
		}},
	}
}

// text renders into a string.
func text(t *testing.T, write func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// lines joins lines, so that expected output can be indented with the code.
func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }
