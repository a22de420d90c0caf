package analyzers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/analyzers/analyzertest"
	"github.com/egresslint/egresslint/model/flow"
)

// The NetworkPolicy that EGR701 offers closes the namespace, lets the mesh's own
// path through, and is nothing that another rule complains about.
func TestLockdownThatIsOffered(t *testing.T) {
	for mesh, via := range map[string]flow.Via{"gateway": flow.ViaGateway, "waypoint": flow.ViaWaypoint} {
		t.Run(mesh, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(testdata, "EGR701", "bad", mesh, "manifests.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			open := analyzertest.LoadText(t, string(text))
			findings := open.Run("EGR701")
			if len(findings) != 1 || findings[0].Fix == "" {
				t.Fatalf("%d findings, want one with a fix", len(findings))
			}
			closed := analyzertest.LoadText(t, string(text)+"---\n"+findings[0].Fix)
			for _, p := range closed.Mesh.Problems {
				t.Errorf("%s: %s", p.Position, p.Message)
			}
			for _, a := range analyzers.All() {
				if a.ID < "EGR700" || a.ID > "EGR710" && a.ID != "EGR810" {
					continue
				}
				for _, line := range closed.Lines(closed.Run(a.ID)) {
					t.Errorf("%s: %s\n%s", a.ID, line, findings[0].Fix)
				}
			}
			if trace := closed.Reach.Trace(*findings[0].Flow); trace.Outcome != flow.Blocked || trace.Reason != flow.NetworkPolicy {
				t.Errorf("the witness is %s (%s), want it stopped", trace.Outcome, trace.Reason)
			}
			request := flow.Flow{From: "shop/orders", Host: "api.example.com", Port: 80, Scheme: flow.HTTP}
			if trace := closed.Reach.Trace(request); trace.Outcome != flow.Allowed || trace.Via != via {
				t.Errorf("the request is %s by %s, want it allowed by %s: %s", trace.Outcome, trace.Via, via, trace.Detail)
			}
		})
	}
}

// A waypoint or gateway in the namespace of its clients stays open: what it forwards is
// to leave.
func TestLockdownLeavesTheWayOutOpen(t *testing.T) {
	read := func(mesh string) string {
		text, err := os.ReadFile(filepath.Join(testdata, "EGR701", "bad", mesh, "manifests.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		// The namespace of its own stays, empty.
		moved := strings.NewReplacer("namespace: istio-egress", "namespace: shop", ".istio-egress.svc", ".shop.svc").Replace(string(text))
		return strings.Replace(moved, `    istio.io/dataplane-mode: "ambient"`, `    istio.io/dataplane-mode: "ambient"
    istio.io/use-waypoint: "waypoint"`, 1)
	}
	for _, test := range []struct {
		name, manifests string
		via             flow.Via
		selector        string
	}{
		{"waypoint", read("waypoint"), flow.ViaWaypoint, "- key: gateway.networking.k8s.io/gateway-name\n      operator: DoesNotExist\n"},
		{"gateway", read("gateway"), flow.ViaGateway, "      operator: NotIn\n      values: ["},
	} {
		t.Run(test.name, func(t *testing.T) {
			open := analyzertest.LoadText(t, test.manifests)
			findings := open.Run("EGR701")
			if len(findings) != 1 || !strings.Contains(findings[0].Fix, test.selector) {
				t.Fatalf("%d findings, want one whose policy has %q: %+v", len(findings), test.selector, findings)
			}
			closed := analyzertest.LoadText(t, test.manifests+"---\n"+findings[0].Fix)
			for _, id := range []string{"EGR701", "EGR702", "EGR708", "EGR810", "EGR011"} {
				for _, line := range closed.Lines(closed.Run(id)) {
					t.Errorf("%s: %s\n%s", id, line, findings[0].Fix)
				}
			}
			if trace := closed.Reach.Trace(*findings[0].Flow); trace.Outcome != flow.Blocked || trace.Reason != flow.NetworkPolicy {
				t.Errorf("the witness is %s (%s), want it stopped", trace.Outcome, trace.Reason)
			}
			request := flow.Flow{From: "shop/orders", Host: "api.example.com", Port: 80, Scheme: flow.HTTP}
			if trace := closed.Reach.Trace(request); trace.Outcome != flow.Allowed || trace.Via != test.via {
				t.Errorf("the request is %s by %s, want it allowed by %s: %s", trace.Outcome, trace.Via, test.via, trace.Detail)
			}
		})
	}
}

// The policy lets clients to the ports that routes lead to, though no server listens
// there yet: else it were in the way of the mend.
func TestLockdownLetsToThePortsOfRoutes(t *testing.T) {
	for _, mesh := range []string{"no-server", "server-on-another-port"} {
		dir := filepath.Join(testdata, "EGR803", "bad", mesh)
		open := analyzertest.Load(t, dir)
		policies := 0
		for _, f := range open.Run("EGR701") {
			for _, e := range f.Edits {
				policies++
				copied := t.TempDir()
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(copied, "lockdown.yaml"), []byte(e.Text), 0o600); err != nil {
					t.Fatal(err)
				}
				closed := analyzertest.Load(t, copied)
				for _, line := range closed.Lines(closed.Run("EGR810")) {
					t.Errorf("%s: %s\n%s", mesh, line, e.Text)
				}
			}
		}
		if policies == 0 {
			t.Errorf("%s: no policy is offered", mesh)
		}
	}
}
