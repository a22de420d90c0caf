package netpol

import (
	"strings"
	"testing"
)

func cilium(spec string) string {
	return "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: shop}\nspec: {endpointSelector: {}, " + spec + "}\n"
}

func ciliumWide(spec string) string {
	return "---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: wide}\nspec: {" + spec + "}\n"
}

func TestCilium(t *testing.T) {
	run(t, []row{
		{"an empty rule is default deny", cilium(`egress: [{}]`), `
			shop/client -> 8.8.8.8:443: denied (CiliumNetworkPolicy shop/c does not let it)
			shop/client -> internet:443: closed
			shop/client <- shop/server:80: allowed
			gate/egress -> 8.8.8.8:443: allowed`},
		{"an empty section does not apply", cilium(`egress: []`), `
			shop/client -> 8.8.8.8:443: allowed (no network policy)`},
		{"a section for ingress is default deny of ingress", cilium(`ingress: [{}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client <- shop/server:80: denied`},
		{"default deny that is switched off", cilium(`enableDefaultDeny: {egress: false}, egress: [{toCIDR: [9.9.9.9/32]}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> internet:443: open`},
		{"default deny that is switched on", cilium(`enableDefaultDeny: {egress: true}`), `
			shop/client -> internet:443: closed`},
		{"it is united with NetworkPolicies", cilium(`egress: [{toCIDR: [9.9.9.9/32]}]`) + noEgress, `
			shop/client -> 9.9.9.9:443: allowed (CiliumNetworkPolicy shop/c)
			shop/client -> 8.8.8.8:443: denied (CiliumNetworkPolicy shop/c)`},
		{"deny beats allow, of NetworkPolicies too", cilium(`egressDeny: [{toCIDRSet: [{cidr: 8.0.0.0/8, except: [8.8.8.8/32]}]}]`) + anyEgr, `
			shop/client -> 8.8.8.9:443: denied
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> internet:443: some`},
		{"deny alone is default deny too", cilium(`egressDeny: [{toCIDR: [8.0.0.0/8]}]`), `
			shop/client -> 9.9.9.9:443: denied`},
		{"prefixes match no pods", cilium(`egress: [{toCIDR: [0.0.0.0/0]}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> [2a00::1]:443: denied
			shop/client -> shop/server:8080: denied
			shop/client -> gate/host:80: undecided (policy-cidr-match-mode)`},
		{"nor do those of NetworkPolicies where Cilium is", cilium(`egress: [{}]`) + np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> shop/server:8080: denied`},
		{"entity world", cilium(`egress: [{toEntities: [world]}]`), `
			shop/client -> internet:443: open
			shop/client -> shop/server:8080: denied
			shop/client -> gate/host:80: denied`},
		{"entity all", cilium(`egress: [{toEntities: [all]}]`), `
			shop/client -> internet:443: open
			shop/client -> shop/server:8080: allowed`},
		{"entity cluster", cilium(`egress: [{toEntities: [cluster]}]`), `
			shop/client -> internet:443: closed
			shop/client -> dark/other:8080: allowed
			shop/client -> 10.0.0.1:443: undecided (which addresses the nodes have)`},
		{"entities that are nodes", cilium(`egress: [{toEntities: [kube-apiserver, remote-node]}]`), `
			shop/client -> internet:443: closed
			shop/client -> shop/server:8080: denied
			shop/client -> gate/host:6443: undecided`},
		{"entity world-ipv4 needs a dual-stack cluster", cilium(`egress: [{toEntities: [world-ipv4]}]`), `
			shop/client -> 8.8.8.8:443: undecided (dual-stack)
			shop/client -> [2a00::1]:443: denied`},
		{"an entity that is not known", cilium(`egress: [{toEntities: [moon]}]`), `
			shop/client -> 8.8.8.8:443: undecided (spec.egress[0].toEntities[0] of CiliumNetworkPolicy shop/c)`},
		{"endpoints of the policy's namespace", cilium(`egress: [{toEndpoints: [{}]}]`), `
			shop/client -> shop/server:8080: allowed
			shop/client -> gate/egress:8443: denied
			shop/client -> internet:443: closed`},
		{"endpoints of another namespace", cilium(`egress: [{toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": gate, "any:app": egress}}]}]`), `
			shop/client -> gate/egress:8443: allowed
			shop/client -> shop/server:8080: denied`},
		{"endpoints by namespace labels", cilium(`egress: [{toEndpoints: [{matchLabels: {io.cilium.k8s.namespace.labels.team: blue}}]}]`), `
			shop/client -> gate/egress:8443: allowed
			shop/client -> shop/server:8080: denied
			shop/client -> dark/other:8080: undecided (the labels of namespace dark)`},
		{"endpoints by service account", cilium(`ingress: [{fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: buyer}}]}]`), `
			shop/server <- shop/client:8080: allowed
			shop/client <- shop/server:8080: denied`},
		{"labels that Cilium does not look at", cilium(`egress: [{toEndpoints: [{matchLabels: {beta.kubernetes.io/os: linux}}]}]`), `
			shop/client -> shop/server:8080: undecided (label beta.kubernetes.io/os)`},
		{"the absence of a namespace is also that of the internet", cilium(`egress: [{toEndpoints: [{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: NotIn, values: [kube-system]}]}]}]`), `
			shop/client -> gate/egress:8443: allowed
			shop/client -> internet:443: undecided`},
		{"reserved labels", cilium(`egress: [{toEndpoints: [{matchLabels: {"reserved:world": ""}}]}]`), `
			shop/client -> internet:443: undecided
			shop/client -> shop/server:8080: undecided`},
		{"the selector of another pod", strings.Replace(cilium(`egress: [{}]`), "endpointSelector: {}", "endpointSelector: {matchLabels: {app: server}}", 1), `
			shop/client -> internet:443: open
			shop/server -> internet:443: closed`},
		{"a policy for nodes", ciliumWide(`nodeSelector: {}, egress: [{}]`), `
			shop/client -> internet:443: open`},
		{"a clusterwide policy", ciliumWide(`endpointSelector: {matchExpressions: [{key: "k8s:io.kubernetes.pod.namespace", operator: NotIn, values: [gate]}]}, egress: [{toEndpoints: [{}]}]`), `
			gate/egress -> internet:443: open
			shop/client -> internet:443: closed
			shop/client -> dark/other:80: allowed`},
		{"ports", cilium(`egress: [{toPorts: [{ports: [{port: "443", protocol: TCP}, {port: "9000", endPort: 9001}, {port: web}]}]}]`), `
			shop/client -> internet:443: open
			shop/client -> 8.8.8.8:443/UDP: denied
			shop/client -> 8.8.8.8:9001/UDP: allowed
			shop/client -> 8.8.8.8:9002: denied
			shop/client -> shop/server:8080: allowed
			shop/client -> 8.8.8.8:8080: denied`},
		{"peers and ports are united by and", cilium(`egress: [{toCIDR: [8.8.8.8], toPorts: [{ports: [{port: "0", protocol: UDP}]}]}]`), `
			shop/client -> 8.8.8.8:1/UDP: allowed
			shop/client -> 8.8.8.8:1: denied
			shop/client -> 9.9.9.9:1/UDP: denied`},
		{"a rule of ICMP alone", cilium(`egress: [{icmps: [{fields: [{type: 8}]}]}]`), `
			shop/client -> internet:443: closed`},
		{"a DNS rule for all names", cilium(`egress: [{toEntities: [all], toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]}]`), `
			shop/client -> gate/egress:53/UDP: allowed
			shop/client -> gate/egress:54: denied`},
		{"rules of HTTP", cilium(`egress: [{toEntities: [world], toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]}]`), `
			shop/client -> internet:80: undecided (spec.egress[0].toPorts[0].rules of CiliumNetworkPolicy shop/c)
			shop/client -> internet:443: closed`},
		{"names", cilium(`egress: [{toFQDNs: [{matchName: Api.test}, {matchPattern: "*.example.com"}]}]`), `
			shop/client -> api.test:443: undecided (DNS proxy)
			shop/client -> www.example.com:443: undecided
			shop/client -> other.test:443: denied
			shop/client -> 8.8.8.8:443: undecided
			shop/client -> shop/server:8080: denied
			shop/client -> internet:443: undecided`},
		{"names beside the world", cilium(`egress: [{toFQDNs: [{matchName: a.test}]}, {toEntities: [world]}]`), `
			shop/client -> internet:443: open`},
		{"fields that are not interpreted", cilium(`egress: [{toServices: [{k8sService: {serviceName: a}}]}]`), `
			shop/client -> 8.8.8.8:443: undecided (spec.egress[0].toServices of CiliumNetworkPolicy shop/c)
			shop/client -> shop/server:8080: undecided`},
		{"of another port they leave the answer alone", cilium(`egress: [{toEntities: [world]}, {toPorts: [{ports: [{port: "80", protocol: TCP}], serverNames: [a.test]}]}]`), `
			shop/client -> internet:443: open
			shop/client -> shop/server:80: undecided (spec.egress[1].toPorts[0].serverNames)
			shop/client -> shop/server:81: denied`},
		{"requirements restrict other rules", cilium(`egress: [{toEntities: [all]}, {toRequires: [{matchLabels: {a: b}}]}]`), `
			shop/client -> shop/server:80: undecided (toRequires)`},
		{"a field of the policy that is not known", cilium(`egressWish: [{}], egress: [{}]`), `
			shop/client -> internet:443: undecided (spec.egressWish)`},
		{"groups of prefixes", cilium(`egress: [{toCIDRSet: [{cidrGroupRef: x}]}]`), `
			shop/client -> 8.8.8.8:443: undecided (spec.egress[0].toCIDRSet[0])`},
		{"with policies of another kind the order is not known", cilium(`egress: [{}]`) + anp("a", "1", all+`egress: [{action: Allow, `+any46+`}]`), `
			shop/client -> internet:443: undecided (which of these kinds)
			gate/egress -> internet:443: open`},
		{"several rule sets", "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: shop}\nspecs: [{endpointSelector: {}, egress: [{}]}, {endpointSelector: {}, egress: [{toCIDR: [8.8.8.8/32]}]}]\n", `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 9.9.9.9:443: denied`},
	})
}
