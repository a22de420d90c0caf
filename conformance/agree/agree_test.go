package agree

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
	"github.com/egresslint/egresslint/model/flow"
)

// TestRandomMeshes is the bounded run of cmd/agree: the product must say what
// istiod's configuration says. A failure names the seed; run
//
//	go run ./cmd/agree -start SEED -seeds 1 -reduce 5
//
// to see it reduced.
func TestRandomMeshes(t *testing.T) {
	meshes := 60
	if testing.Short() {
		meshes = 10
	}
	answers := map[flow.Outcome]int{}
	for seed := range uint64(meshes) {
		c := generate.New(seed+1, 60)
		result, err := Check(c.YAML(), c.Flows)
		if err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
		if result.Rejected != result.ProductRejected {
			t.Errorf("seed %d: the judge rejects %d objects, the product %d", seed+1, result.Rejected, result.ProductRejected)
		}
		for _, a := range result.Answers {
			answers[a.Judge.Outcome]++
			if len(a.Differences) > 0 {
				question, err := json.Marshal(a.Flow)
				if err != nil {
					t.Fatal(err)
				}
				t.Errorf("seed %d %s: %v", seed+1, question, a.Differences)
			}
		}
	}
	for _, outcome := range []flow.Outcome{flow.Allowed, flow.Blocked, flow.Mixed, flow.Unknown} {
		if answers[outcome] == 0 {
			t.Errorf("no flow was %s: the generator has a hole", outcome)
		}
	}
}

// TestCases puts the saved cases to both.
func TestCases(t *testing.T) {
	dirs, err := filepath.Glob("../testdata/mesh/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			stream, err := os.ReadFile(filepath.Join(dir, "manifests", "mesh.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(filepath.Join(dir, "calls.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var flows []flow.Flow
			for lines := bufio.NewScanner(file); lines.Scan(); {
				var f flow.Flow
				if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
					t.Fatal(err)
				}
				flows = append(flows, f)
			}
			result, err := Check(stream, flows)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range result.Answers {
				if len(a.Differences) > 0 {
					t.Errorf("%s %s://%s:%d%s: %v", a.Flow.ID, a.Flow.Scheme, a.Flow.Host, a.Flow.Port, a.Flow.Path, a.Differences)
				}
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	rule := 1
	allowed := func() *flow.Trace {
		return &flow.Trace{Outcome: flow.Allowed, Via: flow.ViaGateway, Reason: flow.OK, UpstreamTLS: flow.UpstreamSimple}
	}
	for _, test := range []struct {
		name   string
		change func(*flow.Trace)
		differ bool
	}{
		{"nothing", func(*flow.Trace) {}, false},
		{"outcome", func(a *flow.Trace) { a.Outcome = flow.Blocked }, true},
		{"via", func(a *flow.Trace) { a.Via = flow.ViaDirect }, true},
		{"reason", func(a *flow.Trace) { a.Reason = flow.InMesh }, true},
		{"upstream TLS", func(a *flow.Trace) { a.UpstreamTLS = flow.UpstreamNone }, true},
		{"status", func(a *flow.Trace) { a.HTTPStatus = 503 }, true},
		{"policy", func(a *flow.Trace) { a.Policy = "a/b" }, true},
		{"branches", func(a *flow.Trace) { a.Branches = []flow.Branch{{Weight: 1}} }, true},
		{"the way", func(a *flow.Trace) { a.Hops = []flow.Hop{{}}; a.Rule = &rule; a.ID = "x" }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := allowed()
			test.change(other)
			if got := Differences(allowed(), other, nil); (len(got) > 0) != test.differ {
				t.Errorf("differences: %v", got)
			}
		})
	}
	unknown := func(reason flow.Reason, via flow.Via) *flow.Trace {
		return &flow.Trace{Outcome: flow.Unknown, Reason: reason, Via: via}
	}
	if got := Differences(unknown(flow.JWT, flow.ViaNone), unknown(flow.JWT, flow.ViaGateway), nil); len(got) == 0 {
		t.Error("where it became unknown is compared")
	}
	if got := Differences(unknown(flow.JWT, flow.ViaNone), unknown(flow.CustomCert, flow.ViaNone), nil); len(got) == 0 {
		t.Error("two reasons not to know are not the same")
	}
	branch := func(weight int, reason flow.Reason) flow.Branch {
		return flow.Branch{Weight: weight, Trace: flow.Trace{Outcome: flow.Blocked, Reason: reason}}
	}
	a := &flow.Trace{Outcome: flow.Mixed, Branches: []flow.Branch{branch(1, flow.NoRoute), branch(2, flow.NoCluster)}}
	b := &flow.Trace{Outcome: flow.Mixed, Branches: []flow.Branch{branch(1, flow.NoRoute), branch(2, flow.NoEndpoints)}}
	if len(Differences(a, b, nil)) == 0 {
		t.Error("branches that end otherwise are not the same")
	}
	mixed := func(branches ...flow.Branch) *flow.Trace {
		return &flow.Trace{Outcome: flow.Mixed, Branches: branches}
	}
	nested := flow.Branch{Weight: 3, Trace: *mixed(branch(1, flow.NoRoute), branch(2, flow.NoCluster))}
	for _, test := range []struct {
		name   string
		other  *flow.Trace
		differ bool
	}{
		{"branches of a branch count as its own", mixed(branch(1, flow.Loop), branch(1, flow.NoRoute), branch(2, flow.NoCluster)), false},
		{"shares count, not weights", mixed(branch(10, flow.Loop), branch(10, flow.NoRoute), branch(20, flow.NoCluster)), false},
		{"other shares", mixed(branch(1, flow.Loop), branch(1, flow.NoRoute), branch(1, flow.NoCluster)), true},
		{"another branch", mixed(branch(1, flow.Loop), branch(3, flow.NoRoute)), true},
	} {
		if got := Differences(mixed(branch(1, flow.Loop), nested), test.other, nil); (len(got) > 0) != test.differ {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
