package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/report"
)

func workload(kind, id string) *model.Workload {
	namespace, name, _ := strings.Cut(id, "/")
	return &model.Workload{Kind: kind, Namespace: namespace, Name: name}
}

func allowed(protocol flow.Scheme, via flow.Via, guarantee string) reach.Answer {
	return reach.Answer{Protocol: protocol, Outcome: flow.Allowed, SomeAllowed: true, EveryAllowed: true, Via: via, Reason: flow.OK, Guarantee: guarantee}
}

func blocked(protocol flow.Scheme) reach.Answer {
	return reach.Answer{Protocol: protocol, Outcome: flow.Blocked, Via: flow.ViaNone, Reason: flow.Blackhole}
}

// matrix is three workloads, two of which fare alike.
func matrix() *reach.Matrix {
	api, worker, cart := workload("Deployment", "payments/api"), workload("Deployment", "payments/worker"), workload("Deployment", "shop/cart")
	stripe, any443 := reach.Destination{Host: "api.stripe.com", Port: 443}, reach.Destination{Host: "unregistered.example", Port: 443, Stands: reach.AnyName}
	legacy := reach.Destination{Host: "legacy.example.com", Port: 80}
	rule := 1
	depends := reach.Answer{Protocol: flow.HTTP, Outcome: reach.Depends, SomeAllowed: true, Via: flow.ViaGateway, When: []reach.Condition{
		{Methods: []string{"GET", "HEAD"}, Paths: []string{"/v1/*"}, Outcome: flow.Allowed, Via: flow.ViaGateway, Reason: flow.OK},
		{Outcome: flow.Blocked, Via: flow.ViaGateway, Reason: flow.RBACDenied, Policy: "istio-system/only-v1", HTTPStatus: 403},
	}}
	listed, other := allowed(flow.TCP, flow.ViaDirect, ""), blocked(flow.TCP)
	listed.Address, other.Address = reach.Listed, reach.Other
	return &reach.Matrix{
		Workloads: []*model.Workload{api, worker, cart}, Destinations: []reach.Destination{stripe, legacy, any443},
		Assumptions: []string{"shop is injected"},
		Rectangles: []reach.Rectangle{
			{Workloads: []*model.Workload{api, worker}, Destinations: []reach.Destination{stripe}, Answers: []reach.Answer{allowed(flow.TLS, flow.ViaGateway, "enforced"), listed, other}},
			{Workloads: []*model.Workload{api, worker}, Destinations: []reach.Destination{legacy}, Answers: []reach.Answer{depends}},
			{Workloads: []*model.Workload{api, worker, cart}, Destinations: []reach.Destination{any443}, Answers: []reach.Answer{blocked(flow.HTTP), blocked(flow.TLS)}},
			{Workloads: []*model.Workload{cart}, Destinations: []reach.Destination{stripe, legacy}, Answers: []reach.Answer{
				{Protocol: flow.TLS, Outcome: flow.Unknown, Via: flow.ViaGateway, Reason: flow.ExtAuthz},
				{Protocol: flow.HTTP, Outcome: flow.Blocked, Via: flow.ViaGateway, Reason: flow.RBACDenied, Policy: "istio-system/deny", Rule: &rule, HTTPStatus: 403}}},
		},
	}
}

func renderReach(t *testing.T, m *reach.Matrix, in report.Input) string {
	t.Helper()
	return text(t, func(b *bytes.Buffer) error { return report.ReachText(b, m, in, report.Options{}) })
}

func TestReachTextGroupsWhatFaresAlike(t *testing.T) {
	want := lines(
		`3 workloads, 3 destinations: 0 open, 4 open to some requests or protocols, 3 blocked, 2 unknown`,
		``,
		`payments/api, payments/worker (2 workloads)`,
		`  allowed`,
		`    api.stripe.com:443         tls                      through an egress gateway; a NetworkPolicy leaves no other way`,
		`    api.stripe.com:443         tcp to a listed address  straight from its own proxy, through no gateway`,
		`  depends on the request`,
		`    legacy.example.com:80      http                     some requests get out`,
		`        GET, HEAD; path /v1/*: allowed, through an egress gateway`,
		`        any other request: blocked, at the gateway: refused by AuthorizationPolicy istio-system/only-v1 (HTTP 403)`,
		`  blocked`,
		`    api.stripe.com:443         tcp to another address   nothing that is registered for the workload fits, and its mode is REGISTRY_ONLY`,
		`    any unregistered name:443  http, tls                nothing that is registered for the workload fits, and its mode is REGISTRY_ONLY`,
		``,
		`shop/cart`,
		`  unknown`,
		`    api.stripe.com:443         tls        an external authorizer decides`,
		`    legacy.example.com:80      tls        an external authorizer decides`,
		`  blocked`,
		`    any unregistered name:443  http, tls  nothing that is registered for the workload fits, and its mode is REGISTRY_ONLY`,
		`    api.stripe.com:443         http       at the gateway: refused by AuthorizationPolicy istio-system/deny, rule 1 (HTTP 403)`,
		`    legacy.example.com:80      http       at the gateway: refused by AuthorizationPolicy istio-system/deny, rule 1 (HTTP 403)`,
		``,
		`assumed: shop is injected`,
	)
	if got := renderReach(t, matrix(), report.Input{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// One undecided protocol must not let a pair count as blocked, nor a blocked
// one as open.
func TestReachTotalsNeverRoundUp(t *testing.T) {
	unknown := reach.Answer{Protocol: flow.TCP, Outcome: flow.Unknown, Reason: flow.ExtAuthz}
	hidden := reach.Answer{Protocol: flow.TCP, Outcome: reach.Depends, When: []reach.Condition{{Outcome: flow.Unknown}, {Outcome: flow.Blocked}}}
	open := allowed(flow.TLS, flow.ViaDirect, "")
	for _, test := range []struct {
		answers []reach.Answer
		want    string
	}{
		{[]reach.Answer{open}, "1 open, 0 open to some requests or protocols, 0 blocked, 0 unknown"},
		{[]reach.Answer{open, blocked(flow.HTTP)}, "0 open, 1 open to some requests or protocols, 0 blocked, 0 unknown"},
		{[]reach.Answer{open, unknown}, "0 open, 1 open to some requests or protocols, 0 blocked, 0 unknown"},
		{[]reach.Answer{blocked(flow.HTTP), blocked(flow.TLS)}, "0 open, 0 open to some requests or protocols, 1 blocked, 0 unknown"},
		{[]reach.Answer{blocked(flow.HTTP), unknown}, "0 open, 0 open to some requests or protocols, 0 blocked, 1 unknown"},
		{[]reach.Answer{blocked(flow.HTTP), hidden}, "0 open, 0 open to some requests or protocols, 0 blocked, 1 unknown"},
		{nil, "0 open, 0 open to some requests or protocols, 0 blocked, 1 unknown"},
	} {
		w := workload("Pod", "a/b")
		m := &reach.Matrix{Workloads: []*model.Workload{w}, Destinations: []reach.Destination{{Host: "h", Port: 1}},
			Rectangles: []reach.Rectangle{{Workloads: []*model.Workload{w}, Destinations: []reach.Destination{{Host: "h", Port: 1}}, Answers: test.answers}}}
		first, _, _ := strings.Cut(renderReach(t, m, report.Input{}), "\n")
		if _, got, _ := strings.Cut(first, ": "); got != test.want {
			t.Errorf("%+v\ngot  %s\nwant %s", test.answers, got, test.want)
		}
	}
}

func TestReachTextCutsWideAnswers(t *testing.T) {
	m := &reach.Matrix{}
	for i := range 12 {
		m.Workloads = append(m.Workloads, workload("Pod", fmt.Sprintf("ns/w%02d", i)))
	}
	for i := range 40 {
		m.Destinations = append(m.Destinations, reach.Destination{Host: fmt.Sprintf("h%02d.example", i), Port: 443})
	}
	m.Rectangles = []reach.Rectangle{{Workloads: m.Workloads, Destinations: m.Destinations, Answers: []reach.Answer{blocked(flow.TLS)}}}
	for i := range 60 {
		d := reach.Destination{Host: fmt.Sprintf("d%02d.example", i), Port: 80}
		m.Rectangles = append(m.Rectangles, reach.Rectangle{Workloads: m.Workloads, Destinations: []reach.Destination{d},
			Answers: []reach.Answer{{Protocol: flow.HTTP, Outcome: flow.Blocked, Reason: flow.RBACDenied, Policy: fmt.Sprintf("ns/p%02d", i)}}})
	}
	got := renderReach(t, m, report.Input{})
	for _, want := range []string{
		"\nns/w00, ns/w01, ns/w02, ns/w03, ns/w04, ns/w05 +6 more (12 workloads)\n", "h09.example:443", "+30 more like these (--format json lists them)\n",
		"+21 more of other kinds (--to narrows, --format json lists them)\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "h10.example") || strings.Contains(got, "w06") {
		t.Errorf("not cut:\n%s", got)
	}
}

func TestReachTextSaysThatTheInputIsPartial(t *testing.T) {
	if got := renderReach(t, &reach.Matrix{}, report.Input{Partial: true}); !strings.Contains(got, "partial: some of the input was not analysed") {
		t.Errorf("got %s", got)
	}
}

func TestReachJSONGivesRectangles(t *testing.T) {
	m := matrix()
	job := workload("Job", "shop/cart") // makes the name ambiguous
	m.Workloads = append(m.Workloads, job)
	m.Rectangles[3].Workloads = append(m.Rectangles[3].Workloads, job)
	raw := text(t, func(b *bytes.Buffer) error {
		return report.ReachJSON(b, m, report.Input{Partial: true}, report.Options{Version: "v1"})
	})
	var got struct {
		Partial      bool
		Workloads    []string
		Destinations []map[string]any
		Assumptions  []string
		Rectangles   []struct {
			Workloads    []string
			Destinations []map[string]any
			Answers      []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if want := []string{"payments/api", "payments/worker", "shop/deployment/cart", "shop/job/cart"}; !slices.Equal(got.Workloads, want) {
		t.Errorf("workloads %v, want %v", got.Workloads, want)
	}
	if !got.Partial || len(got.Rectangles) != 4 || !slices.Equal(got.Assumptions, m.Assumptions) {
		t.Errorf("got %+v", got)
	}
	if r := got.Rectangles[2]; fmt.Sprint(r.Destinations) != "[map[host:unregistered.example port:443 stands_for:any unregistered name]]" || r.Workloads[2] != "shop/deployment/cart" {
		t.Errorf("rectangle %+v", r)
	}
	if a := got.Rectangles[1].Answers[0]; a["outcome"] != "depends" || fmt.Sprint(a["when"].([]any)[0].(map[string]any)["methods"]) != "[GET HEAD]" {
		t.Errorf("answer %v", a)
	}
	if lineCount := strings.Count(raw, `{"workloads"`); lineCount != 4 || len(strings.Split(raw, "\n")) != 16 {
		t.Errorf("want a rectangle a line:\n%s", raw)
	}
	empty := text(t, func(b *bytes.Buffer) error {
		return report.ReachJSON(b, &reach.Matrix{}, report.Input{}, report.Options{})
	})
	var list map[string]any
	if err := json.Unmarshal([]byte(empty), &list); err != nil || list["rectangles"] == nil || list["workloads"] == nil {
		t.Errorf("empty lists are to be lists: %v\n%s", err, empty)
	}
}

func TestReachCSV(t *testing.T) {
	raw := text(t, func(b *bytes.Buffer) error { return report.ReachCSV(b, matrix()) })
	rows, err := csv.NewReader(strings.NewReader(raw)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+3+1+2+4 {
		t.Errorf("%d rows:\n%s", len(rows), raw)
	}
	want := []string{"payments/api payments/worker", "2", "legacy.example.com", "80", "", "http", "", "depends", "true", "false", "gateway", "", "", "", "", "", "",
		`[{"methods":["GET","HEAD"],"paths":["/v1/*"],"outcome":"allowed","via":"gateway","reason":"ok"},{"outcome":"blocked","via":"gateway","reason":"rbac_denied","policy":"istio-system/only-v1","http_status":403}]`}
	if !slices.Equal(rows[4], want) {
		t.Errorf("got  %q\nwant %q", rows[4], want)
	}
	if got := rows[len(rows)-1]; got[13] != "1" || got[16] != "403" || got[12] != "istio-system/deny" {
		t.Errorf("last row %q", got)
	}
}

// A spreadsheet must not run what a manifest calls itself.
func TestReachCSVGuardsAgainstFormulas(t *testing.T) {
	for _, evil := range []string{`=cmd|' /C calc'!A0`, `+1+1`, `-2+3`, `@SUM(A1)`, "\t=1", "\r=1", `＝1`, "=\"a\",\"b\"\n=2"} {
		w := &model.Workload{Namespace: evil, Name: "x"}
		d := reach.Destination{Host: evil, Port: 80, Stands: evil}
		m := &reach.Matrix{Workloads: []*model.Workload{w}, Rectangles: []reach.Rectangle{{Workloads: []*model.Workload{w}, Destinations: []reach.Destination{d},
			Answers: []reach.Answer{{Protocol: flow.Scheme(evil), Policy: evil, Via: flow.Via(evil), Guarantee: evil}}}}}
		raw := text(t, func(b *bytes.Buffer) error { return report.ReachCSV(b, m) })
		rows, err := csv.NewReader(strings.NewReader(raw)).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != len(rows[0]) {
			t.Fatalf("%q: %v, %d rows\n%s", evil, err, len(rows), raw)
		}
		for i, cell := range rows[1] {
			if strings.ContainsAny(cell, "\t\r\n") || cell != "" && strings.ContainsRune("=+-@＝", []rune(cell)[0]) {
				t.Errorf("%q: cell %s is %q", evil, rows[0][i], cell)
			}
		}
		for _, line := range strings.Split(strings.TrimSpace(raw), "\r\n") {
			if !strings.HasPrefix(line, `"`) || !strings.HasSuffix(line, `"`) {
				t.Errorf("%q: not every field is quoted: %s", evil, line)
			}
		}
	}
}

func TestReachCSVKeepsCellsReadable(t *testing.T) {
	r := reach.Rectangle{Destinations: []reach.Destination{{Host: "h", Port: 1}}, Answers: []reach.Answer{blocked(flow.TCP)}}
	for i := range 10_000 {
		r.Workloads = append(r.Workloads, workload("Pod", fmt.Sprintf("namespace/workload-%05d", i)))
	}
	rows, err := csv.NewReader(strings.NewReader(text(t, func(b *bytes.Buffer) error {
		return report.ReachCSV(b, &reach.Matrix{Workloads: r.Workloads, Rectangles: []reach.Rectangle{r}})
	}))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if cell := rows[1][0]; len(cell) > 32_767 || !strings.HasSuffix(cell, " more") || rows[1][1] != "10000" {
		t.Errorf("%d characters that end in %q, count %s", len(cell), cell[len(cell)-20:], rows[1][1])
	}
}
