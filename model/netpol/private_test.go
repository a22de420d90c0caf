package netpol

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What a pod may reach of the private addresses is found wherever the rules draw
// their lines.
func TestPrivate(t *testing.T) {
	const policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: out, namespace: shop}\nspec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [RULES]}\n"
	for _, test := range []struct {
		name, rules string
		want        Decision
	}{
		{"nothing", "", Denied},
		{"anything", "{}", Allowed},
		{"any address on another port", "{ports: [{port: 443}]}", Denied},
		{"any address on the port", "{ports: [{port: 30080}]}", Allowed},
		{"the last port of several", "{ports: [{port: 1, endPort: 30090}]}", Allowed},
		{"the internet alone", "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 198.18.0.0/15, 240.0.0.0/5]}}]}", Denied},
		{"all but one private range", "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 198.18.0.0/15, 240.0.0.0/5]}}]}", Allowed},
		{"a single node", "{to: [{ipBlock: {cidr: 172.31.7.9/32}}]}", Allowed},
		{"what an exception leaves", "{to: [{ipBlock: {cidr: 192.168.0.0/16, except: [192.168.0.0/17]}}]}", Allowed},
		{"IPv6", "{to: [{ipBlock: {cidr: 'fd12::/64'}}]}", Allowed},
		{"pods", "{to: [{podSelector: {}}]}", Denied},
	} {
		mesh := load(t, strings.Replace(policy, "RULES", test.rules, 1))
		if got := New(mesh).Private(workload(t, mesh, "shop/client"), []int{30079, 30080}, corev1.ProtocolTCP); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
