package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/report"
)

func TestJSONOfFindings(t *testing.T) {
	l := lint(t)
	l.Input.Partial = true
	l.Findings = append(l.Findings, analyzers.Finding{Rule: gap, Severity: analyzers.Note, Position: manifest.Position{File: "broken.yaml", Line: 3, Column: 1}, Message: "does not parse"})
	raw := text(t, func(b *bytes.Buffer) error {
		return report.JSON(b, l, report.Options{Version: "v1.2.3", Istio: "1.31"})
	})
	var got struct {
		SchemaVersion int `json:"schema_version"`
		Tool          map[string]string
		Summary       map[string]any
		Assumptions   []string
		Findings      []map[string]any
	}
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	if got.SchemaVersion != 1 || got.Tool["version"] != "v1.2.3" || got.Tool["istio"] != "1.31" || got.Assumptions[0] != "payments is injected" {
		t.Errorf("got %+v", got)
	}
	if s := fmt.Sprint(got.Summary); s != "map[documents:2 errors:1 files:2 notes:1 partial:true suppressed:0 warnings:0 workloads:12]" {
		t.Errorf("summary %s", s)
	}
	f := got.Findings[0]
	place := fmt.Sprint(f["place"])
	if f["rule"] != "EGR202" || f["severity"] != "error" || f["security_severity"] != 8.1 ||
		place != "map[column:11 end_column:20 field:spec.outboundTrafficPolicy.mode file:manifests/sidecar.yaml kind:Sidecar line:8 name:payments/default]" {
		t.Errorf("finding %v", f)
	}
	if f["flow"].(map[string]any)["from"] != "payments/api" || f["trace"].(map[string]any)["via"] != "passthrough" {
		t.Errorf("witness %v %v", f["flow"], f["trace"])
	}
	if s := fmt.Sprint(got.Findings[1]["place"]); s != "map[column:1 file:broken.yaml line:3]" {
		t.Errorf("place %s", s)
	}
	if f["fingerprint"] != report.Fingerprints(l.Findings)[0] {
		t.Errorf("fingerprint %v", f["fingerprint"])
	}
}

func TestJSONOfNoFindingsIsAnEmptyList(t *testing.T) {
	raw := text(t, func(b *bytes.Buffer) error { return report.JSON(b, &report.Lint{}, report.Options{}) })
	var got map[string]any
	if err := json.Unmarshal([]byte(raw), &got); err != nil || got["findings"] == nil {
		t.Errorf("%v\n%s", err, raw)
	}
}

func TestJSONOfUnmodelledFields(t *testing.T) {
	l := &report.Lint{Input: report.Input{UnmodelledFields: []model.UnmodelledField{{Kind: "Service", Field: "spec.externalIPs", Count: 3,
		First: model.Place{Object: &manifest.Object{Kind: "Service", Namespace: "shop", Name: "db"}, Field: "spec.externalIPs"}}}}}
	var got struct {
		Fields []struct {
			Kind, Field string
			Count       int
			First       struct{ Kind, Name, Field string }
		} `json:"unmodelled_fields"`
	}
	raw := text(t, func(b *bytes.Buffer) error { return report.JSON(b, l, report.Options{}) })
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(got.Fields); s != "[{Service spec.externalIPs 3 {Service shop/db spec.externalIPs}}]" {
		t.Errorf("unmodelled_fields: %s in %s", s, raw)
	}
}
