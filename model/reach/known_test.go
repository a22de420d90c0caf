package reach_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// knownFlow is a flow with the answer that Istio gives.
type knownFlow struct {
	flow.Flow
	Want   flow.Trace `json:"want"`
	Source string     `json:"source"`
}

func knownFlows(t *testing.T, mesh string) []knownFlow {
	t.Helper()
	file, err := os.Open(filepath.Join(meshRoot, mesh, "flows.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var out []knownFlow
	for d := json.NewDecoder(file); ; {
		var f knownFlow
		if err := d.Decode(&f); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s: %v", file.Name(), err)
		}
		out = append(out, f)
	}
}

// What Istio does with a request is what is said of its workload, host and port:
// the one answer for all requests, or one of those that it depends on.
func TestKnownRequestsAreAmongTheAnswers(t *testing.T) {
	asked := 0
	for _, name := range meshNames(t) {
		r := loadMesh(t, filepath.Join(meshRoot, name, "manifests"), flagsOf(t, name))
		for _, f := range knownFlows(t, name) {
			if f.DstIP != "" || f.ConnectTo != "" || f.Bypass || f.SNI != "" || f.Headers["host"] != "" || f.Headers["Host"] != "" {
				continue // not what a tuple is about
			}
			if f.Headers["x-forwarded-for"] != "" || f.Headers["authorization"] != "" || strings.Contains(f.Path, "%00") {
				continue // a tuple leaves out addresses that clients claim, tokens, and what no client sends
			}
			if s := r.Sim.Push().Resolve("default", f.Host, false).Service; s != nil {
				continue // reach is about hosts outside
			}
			protocol := f.Scheme
			if protocol == flow.HTTPS {
				protocol = flow.TLS
			}
			i := slices.IndexFunc(r.Clients(), func(w *model.Workload) bool { return f.From == w.ID() || strings.EqualFold(f.From, reach.From(w)) })
			if i < 0 || protocol == flow.UDP {
				continue
			}
			asked++
			a := r.Answer(r.Clients()[i], reach.Destination{Host: f.Host, Port: f.Port}, protocol)
			said := a.Outcome == f.Want.Outcome && a.Via == f.Want.Via && a.Reason == f.Want.Reason && a.Policy == f.Want.Policy
			for _, c := range a.When {
				said = said || c.Outcome == f.Want.Outcome && c.Via == f.Want.Via && c.Reason == f.Want.Reason && c.Policy == f.Want.Policy
			}
			if !said {
				t.Errorf("%s: %s\n\tIstio: %s\n\tsaid:  %s", name, jsonText(f.Flow), jsonText(f.Want), jsonText(a))
			}
		}
	}
	if asked < 500 {
		t.Errorf("only %d known flows are about tuples", asked)
	}
}
