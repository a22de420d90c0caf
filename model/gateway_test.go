package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
)

// egress is a gateway's pod with a Service that has these ports.
func egress(ports string) string {
	return pod("egress", "istio-system", "{istio: egress, app: gw}") +
		object("v1", "Service", "egress", "istio-system", "{selector: {istio: egress}, ports: ["+ports+"]}")
}

func gateway(name, namespace, created string, servers ...string) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: %s, namespace: %s%s}\nspec:\n  selector: {istio: egress}\n  servers:\n  - %s\n",
		name, namespace, timestamp(created), strings.Join(servers, "\n  - "))
}

// server is one for hosts; a name without dot is one below .test.
func server(number int, name, protocol, tls string, hosts ...string) string {
	for i, h := range hosts {
		if !strings.Contains(h, ".") {
			hosts[i] = h + ".test"
		}
	}
	s := fmt.Sprintf("{port: {number: %d, name: %s, protocol: %s}, hosts: ['%s']", number, name, protocol, strings.Join(hosts, "', '"))
	if tls != "" {
		s += ", tls: {" + tls + "}"
	}
	return s + "}"
}

// merged writes the merged gateway of the only workload: a line for each port,
// with its servers, and one for each server left out.
func merged(p *model.PushContext) []string {
	g := p.MergeGateways(p.Mesh.Workloads[0])
	if g == nil {
		return nil
	}
	var out []string
	name := func(s *model.GatewayServer) string { return s.Gateway.Name + "/" + s.GetPort().GetName() }
	for _, port := range g.Ports {
		var servers []string
		for _, s := range port.Servers {
			servers = append(servers, name(s))
		}
		out = append(out, fmt.Sprintf("%d %s: %s", port.Port, port.Protocol, strings.Join(servers, ", ")))
	}
	for _, s := range g.Skipped {
		out = append(out, "left out: "+name(s.GatewayServer))
	}
	return out
}

// How servers on one port become one listener (istio pilot/pkg/model/gateway.go
// mergeGateways).
func TestMergeGateways(t *testing.T) {
	const pass = "mode: PASSTHROUGH"
	for _, test := range []struct {
		name     string
		ports    string
		gateways string
		want     []string
	}{
		{"the Service's target port", "{port: 80, targetPort: 8080}", gateway("g", "any", "", server(80, "http", "HTTP", "", "a")),
			[]string{"8080 HTTP: g/http"}},
		{"the number itself where no Service has it", "{port: 80, targetPort: 8080}", gateway("g", "any", "", server(9000, "http", "HTTP", "", "a")),
			[]string{"9000 HTTP: g/http"}},
		{"two plaintext servers", "{port: 80}", gateway("b", "any", "", server(80, "one", "HTTP", "", "a")) + gateway("a", "any", "", server(80, "two", "HTTP", "", "b")),
			[]string{"80 HTTP: a/two, b/one"}},
		{"by age", "{port: 80}", gateway("a", "any", "2024-05-02T00:00:00Z", server(80, "one", "HTTP", "", "a")) + gateway("b", "any", "2024-05-01T00:00:00Z", server(80, "two", "HTTP", "", "b")),
			[]string{"80 HTTP: b/two, a/one"}},
		{"HTTP and TCP in plaintext", "{port: 80}", gateway("g", "any", "", server(80, "one", "HTTP", "", "a"), server(80, "two", "TCP", "", "b")),
			[]string{"80 HTTP: g/one", "left out: g/two"}},
		{"TLS after plaintext", "{port: 80}", gateway("g", "any", "", server(80, "one", "HTTP", "", "a"), server(80, "two", "TLS", pass, "b")),
			[]string{"80 HTTP: g/one", "left out: g/two"}},
		{"plaintext after TLS", "{port: 80}", gateway("g", "any", "", server(80, "one", "TLS", pass, "a"), server(80, "two", "HTTP", "", "b")),
			[]string{"80 TLS: g/one", "80 HTTP: g/two"}},
		{"TLS servers by server name", "{port: 443}", gateway("g", "any", "", server(443, "one", "TLS", pass, "a"), server(443, "two", "TLS", pass, "b")),
			[]string{"443 TLS: g/one, g/two"}},
		{"a host twice", "{port: 443}", gateway("g", "any", "", server(443, "one", "TLS", pass, "a"), server(443, "two", "TLS", pass, "b", "a"), server(443, "three", "TLS", pass, "c")),
			[]string{"443 TLS: g/one, g/three", "left out: g/two"}},
		{"TLS and HTTPS", "{port: 443}", gateway("g", "any", "", server(443, "one", "TLS", pass, "a"), server(443, "two", "HTTPS", "mode: ISTIO_MUTUAL", "b")),
			[]string{"443 TLS: g/one", "443 HTTPS: g/two"}},
		{"a redirect is no TLS server", "{port: 80}", gateway("g", "any", "", server(80, "one", "HTTP", "httpsRedirect: true", "a"), server(80, "two", "HTTP", "", "b")),
			[]string{"80 HTTP: g/one, g/two"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := merged(pushOf(t, egress(test.ports)+test.gateways))
			if !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	if got := merged(pushOf(t, egress("{port: 80}"))); got != nil {
		t.Errorf("without any Gateway: %v, want none", got)
	}
}

// Plaintext HTTP servers of a port share a route table, each HTTPS server has its
// own, others have none (istio pilot/pkg/model/gateway.go gatewayRDSRouteName).
func TestGatewayRouteTables(t *testing.T) {
	p := pushOf(t, egress("{port: 80, targetPort: 8080}")+
		gateway("one", "any", "", server(80, "http", "HTTP", "", "a"), server(443, "https", "HTTPS", "mode: ISTIO_MUTUAL", "a"))+
		gateway("two", "any", "", server(80, "http2", "HTTP2", "", "b"), server(444, "tls", "TLS", "mode: PASSTHROUGH", "b")))
	names := map[string]string{}
	for _, port := range p.MergeGateways(p.Mesh.Workloads[0]).Ports {
		for _, s := range port.Servers {
			names[s.Gateway.Name+"/"+s.GetPort().GetName()] = s.RouteName
		}
	}
	for server, want := range map[string]string{
		"one/http": "http.8080", "two/http2": "http.8080", "one/https": "https.443.https.one.any", "two/tls": "",
	} {
		if names[server] != want {
			t.Errorf("%s has table %q, want %q", server, names[server], want)
		}
	}
}

// server.hosts names namespaces: "./" the Gateway's, "*/" any.
func TestGatewayHosts(t *testing.T) {
	p := pushOf(t, egress("{port: 80}")+gateway("g", "own", "", server(80, "http", "HTTP", "", "./a.example.com", "other/b.example.com", "*/c.example.com", "d.example.com")))
	s := p.MergeGateways(p.Mesh.Workloads[0]).Ports[0].Servers[0]
	for namespace, want := range map[string]string{
		"own": "[a.example.com c.example.com d.example.com]", "other": "[b.example.com c.example.com d.example.com]", "third": "[c.example.com d.example.com]",
	} {
		if got := fmt.Sprint(s.HostsFor(namespace)); got != want {
			t.Errorf("%s: %s, want %s", namespace, got, want)
		}
	}
}

// A Gateway selects pods by label in every namespace, unless istiod is told to
// stay within the Gateway's.
func TestGatewaySelection(t *testing.T) {
	text := egress("{port: 80}") + gateway("elsewhere", "other", "", server(80, "http", "HTTP", "", "a")) +
		gateway("here", "istio-system", "", server(80, "http", "HTTP", "", "b")) +
		strings.Replace(gateway("not", "istio-system", "", server(80, "http", "HTTP", "", "c")), "istio: egress", "istio: ingress", 1)
	names := func(p *model.PushContext) string {
		var out []string
		for _, g := range p.GatewaysFor(p.Mesh.Workloads[0]) {
			out = append(out, g.Name)
		}
		return strings.Join(out, " ")
	}
	if got := names(pushOf(t, text)); got != "elsewhere here" {
		t.Errorf("selected are %q", got)
	}
	scoped := pushOf(t, text)
	scoped.Config.Environment = map[string]string{"PILOT_SCOPE_GATEWAY_TO_NAMESPACE": "true"}
	if got := names(scoped); got != "here" {
		t.Errorf("scoped to the namespace: %q", got)
	}
}
