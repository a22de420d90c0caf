package traffic_test

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// A gateway that forwards for anybody, on a port that policies close, can be reached
// by way of a node if its Service says so and policies let the client go to nodes.
func TestGuaranteeOfNodePorts(t *testing.T) {
	const (
		rule    = "  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: egress}}}]\n"
		closed  = "  - {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: egress}}}], ports: [{port: 8443}]}\n"
		toNodes = "  - {to: [{ipBlock: {cidr: 192.168.4.0/24}}], ports: [{port: PORT}]}\n"
		service = "  selector: {istio: egress}\n  ports: [{name: tls, port: 443, targetPort: 8443}]\n"
		open    = "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: open, namespace: egress}\nspec: {selector: {istio: egress}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]}\n" +
			"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: open, namespace: egress}\nspec: {hosts: [anything.example.com], gateways: [open], http: [{route: [{destination: {host: pay.example.com, port: {number: 443}}}]}]}\n"
		isolated = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shop-only, namespace: egress}\nspec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {}}]}]}\n"
	)
	for _, test := range []struct{ name, service, policy, more, want string }{
		{"no way by nodes", "", "", open, "enforced"},
		{"a port of nodes", "type: NodePort, nodePort: 30080", "30080", open, "best_effort"},
		{"a load balancer has one, too", "type: LoadBalancer, nodePort: 30080", "30080", open, "best_effort"},
		{"one that takes none", "type: LoadBalancer, nodePort: 0, allocateLoadBalancerNodePorts: false", "30000, endPort: 32767", open, "enforced"},
		{"another port", "type: NodePort, nodePort: 30081", "30080", open, "enforced"},
		{"a port that Kubernetes chooses", "type: NodePort, nodePort: 0", "30000, endPort: 32767", open, "best_effort"},
		{"a port that Kubernetes chooses, and web servers", "type: NodePort, nodePort: 0", "443", open, "enforced"},
		{"no policy lets the client go to nodes", "type: NodePort, nodePort: 30080", "", open, "enforced"},
		{"the gateway's policy takes pods alone", "type: NodePort, nodePort: 30080", "30080", open + isolated, ""},
		{"a gateway that asks for identities", "type: NodePort, nodePort: 30080", "30080", "", "enforced"},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy, more := closed, service
			if test.policy != "" {
				policy += strings.Replace(toNodes, "PORT", test.policy, 1)
			}
			if test.service != "" {
				kind, node, _ := strings.Cut(test.service, ", nodePort: ")
				node, rest, _ := strings.Cut(node, ", ")
				more = "  " + kind + "\n  selector: {istio: egress}\n  ports: [{name: tls, port: 443, targetPort: 8443}, {name: http, port: 80, targetPort: 8080, nodePort: " + node + "}]\n"
				if rest != "" {
					more += "  " + rest + "\n"
				}
			}
			text := strings.Replace(strings.Replace(forced, rule, policy, 1), service, more, 1)
			trace := traffic.New(meshOf(t, text+test.more)).Trace(flow.Flow{From: "shop/cart", Host: "pay.example.com", Port: 443, Scheme: flow.HTTPS})
			if trace.Outcome != flow.Allowed || trace.Guarantee != test.want {
				t.Errorf("%s (%s), guarantee %q, want allowed, %q", trace.Outcome, trace.Reason, trace.Guarantee, test.want)
			}
		})
	}
}
