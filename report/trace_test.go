package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/report"
)

func TestTraceTextIsForReaders(t *testing.T) {
	set := load(t, map[string]string{"manifests/sidecar.yaml": sidecarYAML, "manifests/policy.yaml": policyYAML})
	sidecar, policy := object(t, set, "Sidecar"), object(t, set, "AuthorizationPolicy")
	implied := &manifest.Object{Kind: "Service", Namespace: "istio-system", Name: "istio-egressgateway", Implied: "profile=demo installs it"}
	question := flow.Flow{From: "payments/api", Host: "api.example.com", Port: 80, Scheme: flow.HTTP, Method: "HEAD", Path: "/v1"}
	rule := 2
	answer := &flow.Trace{
		Outcome: flow.Blocked, Via: flow.ViaGateway, Reason: flow.RBACDenied, Policy: "istio-system/allow-nothing", Rule: &rule, HTTPStatus: 403, Guarantee: "enforced",
		UpstreamTLS: flow.UpstreamSimple,
		Assumptions: []string{"payments is injected"},
		Hops: []flow.Hop{
			{At: flow.AtSidecar, Proxy: "payments/api", Decision: "the host is registered; its route leads to the egress gateway", Listener: "0.0.0.0_80", Cluster: "outbound|80||gw",
				Because: []flow.Because{{Object: sidecar, Field: "spec.outboundTrafficPolicy.mode"}, {Object: implied, Field: "spec.ports[0]"}}},
			{At: flow.AtGateway, Proxy: "istio-system/istio-egressgateway", Decision: "no rule allows it", Because: []flow.Because{{Object: policy}}},
		},
	}
	want := lines(
		`blocked: HEAD http://api.example.com:80/v1 from payments/api: at the gateway: refused by AuthorizationPolicy istio-system/allow-nothing, rule 2 (HTTP 403); whatever the process does`,
		``,
		`  1. sidecar payments/api: the host is registered; its route leads to the egress gateway`,
		`     in Envoy: listener 0.0.0.0_80, cluster outbound|80||gw`,
		`     because manifests/sidecar.yaml:8:11 Sidecar payments/default spec.outboundTrafficPolicy.mode`,
		`     because Service istio-system/istio-egressgateway spec.ports[0] (profile=demo installs it)`,
		`  2. gateway istio-system/istio-egressgateway: no rule allows it`,
		`     because manifests/policy.yaml:1:1 AuthorizationPolicy istio-system/allow-nothing`,
		``,
		`  the last proxy encrypts with TLS towards the outside`,
		``,
		`assumed: payments is injected`,
	)
	got := text(t, func(b *bytes.Buffer) error { return report.TraceText(b, question, answer, report.Options{}) })
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTraceTextOfBranchesAndUnknowns(t *testing.T) {
	question := flow.Flow{From: "a/b", Host: "2001:db8::1", Port: 443, Scheme: flow.TLS, SNI: "x.example", DstIP: "2001:db8::1"}
	answer := &flow.Trace{Outcome: flow.Mixed, Hops: []flow.Hop{{At: flow.AtSidecar, Proxy: "a/b", Decision: "one of two"}}, Branches: []flow.Branch{
		{Weight: 9, Trace: flow.Trace{Outcome: flow.Allowed, Via: flow.ViaGateway, Reason: flow.OK, Guarantee: "best_effort", Hops: []flow.Hop{{At: flow.AtGateway, Proxy: "a/g", Decision: "forwards"}}}},
		{Weight: 1, Trace: flow.Trace{Outcome: flow.Unknown, Via: flow.ViaGateway, Reason: flow.ExtAuthz, Detail: "the authorizer's rules are not in the input"}},
	}}
	want := lines(
		`mixed: tls://[2001:db8::1]:443 with SNI x.example at 2001:db8::1 from a/b: the weighted branches of the route differ`,
		``,
		`  1. sidecar a/b: one of two`,
		``,
		`  branch 1 of 2, weight 9: allowed: through an egress gateway; only its own proxy steers it there`,
		``,
		`    2. gateway a/g: forwards`,
		``,
		`  branch 2 of 2, weight 1: unknown: an external authorizer decides`,
		``,
		`    not known: the authorizer's rules are not in the input`,
	)
	got := text(t, func(b *bytes.Buffer) error { return report.TraceText(b, question, answer, report.Options{}) })
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTraceTextOfABadLine(t *testing.T) {
	got := text(t, func(b *bytes.Buffer) error {
		return report.TraceText(b, flow.Flow{}, &flow.Trace{ID: "c1", Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.BadFlow, Detail: "no JSON"}, report.Options{})
	})
	if want := lines(`unknown: request c1: the question makes no sense`, ``, `  not known: no JSON`); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Every reason has words of its own: a reader never sees a bare code.
func TestEveryReasonHasWords(t *testing.T) {
	reasons := map[flow.Outcome][]flow.Reason{
		flow.Blocked: {flow.Blackhole, flow.NoListener, flow.NoFilterChain, flow.NoRoute, flow.NoCluster, flow.NoEndpoints, flow.RBACDenied, flow.TLSMismatch, flow.DoubleTLS,
			flow.ProtocolError, flow.Redirect, flow.DirectResponse, flow.FaultAbort, flow.Loop, flow.NetworkPolicy},
		flow.Unknown: {flow.ExtAuthz, flow.CustomCert, flow.JWT, flow.OpaqueFilter, flow.EnvoyFilter, flow.ListenerRejected, flow.MissingObject, flow.Undetermined, flow.SourceIsGateway,
			flow.Capture, flow.ForeignNetworkPolicy, flow.Template, flow.Assumption, flow.NoSuchWorkload, flow.BadFlow},
	}
	for outcome, list := range reasons {
		seen := map[string]flow.Reason{}
		for _, reason := range list {
			got := text(t, func(b *bytes.Buffer) error {
				return report.TraceText(b, flow.Flow{From: "a/b", Host: "h"}, &flow.Trace{Outcome: outcome, Via: flow.ViaNone, Reason: reason}, report.Options{})
			})
			_, words, _ := strings.Cut(strings.TrimSpace(got), "from a/b: ")
			if len(words) < 12 || strings.Contains(words, string(reason)) && strings.Contains(string(reason), "_") {
				t.Errorf("%s has no words: %q", reason, words)
			}
			if other, taken := seen[words]; taken {
				t.Errorf("%s and %s read alike: %q", reason, other, words)
			}
			seen[words] = reason
		}
	}
	for _, via := range []flow.Via{flow.ViaUncaptured, flow.ViaPassthrough, flow.ViaDirect, flow.ViaGateway, flow.ViaWaypoint, flow.ViaMixed} {
		got := text(t, func(b *bytes.Buffer) error {
			return report.TraceText(b, flow.Flow{From: "a/b"}, &flow.Trace{Outcome: flow.Allowed, Via: via, Reason: flow.OK}, report.Options{})
		})
		if strings.Contains(got, "by way of") {
			t.Errorf("%s has no words: %s", via, got)
		}
	}
}

// The names of the contract, one line an answer.
func TestTraceLineKeepsTheContract(t *testing.T) {
	set := load(t, map[string]string{"policy.yaml": policyYAML})
	rule := 0
	line := text(t, func(b *bytes.Buffer) error {
		return report.TraceLine(b, &flow.Trace{
			ID: "c1", Outcome: flow.Blocked, Via: flow.ViaGateway, Reason: flow.RBACDenied, Policy: "istio-system/allow-nothing", Rule: &rule, UpstreamTLS: flow.UpstreamNone, HTTPStatus: 403,
			Hops: []flow.Hop{{At: flow.AtGateway, Proxy: "istio-system/gw", Decision: "no rule allows it", VirtualHost: "v", Because: []flow.Because{{Object: object(t, set, "AuthorizationPolicy"), Field: "spec"}}}},
		})
	})
	want := `{"id":"c1","outcome":"blocked","via":"gateway","reason":"rbac_denied","policy":"istio-system/allow-nothing","rule":0,"upstream_tls":"none","http_status":403,` +
		`"hops":[{"at":"gateway","proxy":"istio-system/gw","decision":"no rule allows it","virtual_host":"v","because":[{"position":"policy.yaml:6:1","kind":"AuthorizationPolicy","name":"istio-system/allow-nothing","field":"spec"}]}]}` + "\n"
	if line != want {
		t.Errorf("got  %swant %s", line, want)
	}
	silent := text(t, func(b *bytes.Buffer) error {
		return report.TraceLine(b, &flow.Trace{ID: "c2", Outcome: flow.Allowed, Via: flow.ViaDirect, Reason: flow.OK})
	})
	if silent != `{"id":"c2","outcome":"allowed","via":"direct","reason":"ok"}`+"\n" {
		t.Errorf("fields that say nothing are written: %s", silent)
	}
}

func TestTracesJSONOfNoneIsAnEmptyList(t *testing.T) {
	var list []any
	if err := json.Unmarshal([]byte(text(t, func(b *bytes.Buffer) error { return report.TracesJSON(b, nil) })), &list); err != nil || list == nil {
		t.Errorf("got %v, %v", list, err)
	}
}
