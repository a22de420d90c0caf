package model

import (
	"strings"
	"testing"
)

func TestGatewayListenersAreHeldToTheirCRD(t *testing.T) {
	const good = "[{name: http, port: 80, protocol: HTTP}, {name: a, port: 443, protocol: HTTPS, hostname: a.example.com, tls: {}}, {name: b, port: 443, protocol: HTTPS, hostname: b.example.com, tls: {mode: Terminate}}, {name: tls, port: 8443, protocol: TLS, tls: {mode: Passthrough}}, {name: tcp, port: 9000, protocol: TCP}, {name: udp, port: 9000, protocol: UDP}]"
	for _, test := range []struct{ listeners, problem string }{
		{good, ""},
		{"[]", "spec.listeners: Required value"},
		{"[{name: x, port: 80, protocol: HTTP}, {name: x, port: 81, protocol: HTTP}]", "spec.listeners[1].name: Listener name must be unique"},
		{"[{name: x, port: 80, protocol: HTTP}, {name: z, port: 80, protocol: HTTP}]", "spec.listeners[1]: Combination of port, protocol and hostname"},
		{"[{name: x, port: 80, protocol: HTTP, hostname: a.example.com}, {name: z, port: 80, protocol: HTTP, hostname: a.example.com}]", "spec.listeners[1]: Combination"},
		{"[{name: x, port: 80, protocol: HTTP, tls: {}}]", "spec.listeners[0].tls: tls must not be specified"},
		{"[{name: x, port: 80, protocol: TCP, hostname: a.example.com}]", "spec.listeners[0].hostname: hostname must not be specified"},
		{"[{name: x, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}]", "spec.listeners[0].tls.mode: tls mode must be Terminate"},
	} {
		m := load(t, "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: way, namespace: egress}\nspec: {gatewayClassName: istio, listeners: "+test.listeners+"}\n", Options{})
		var got []string
		for _, p := range m.Problems {
			got = append(got, p.Message)
		}
		if text := strings.Join(got, "; "); test.problem == "" && text != "" || !strings.Contains(text, test.problem) || len(got) > 1 {
			t.Errorf("%s: %q, want %q", test.listeners, text, test.problem)
		}
		if kept := len(m.KubeGateways) == 1; kept != (test.problem == "") {
			t.Errorf("%s: kept %t", test.listeners, kept)
		}
	}
}
