package netpol

import (
	"strings"
	"testing"
)

// A NetworkPolicy with a placeholder isolates pods and lets something through once it is
// filled in: it may change what it is about, and nothing else.
func TestPlaceholders(t *testing.T) {
	const (
		head   = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: NAME, namespace: shop}\nspec: "
		cidr   = "egress: [{to: [{ipBlock: {cidr: '${CIDR}'}}]}]}\n"
		closed = "---\n" + head + "{podSelector: {}, policyTypes: [Egress]}\n"
		open   = "---\n" + head + "{podSelector: {}, policyTypes: [Egress], egress: [{}]}\n"
	)
	policy := func(spec string) string { return strings.Replace(head, "NAME", "out", 1) + spec }
	for _, test := range []struct{ name, manifest, ask, want string }{
		{"of all pods", policy("{podSelector: {}, policyTypes: [Egress], " + cidr), "shop/client -> 8.8.8.8:443", "undecided"},
		{"between pods", policy("{podSelector: {}, policyTypes: [Egress], " + cidr), "shop/client -> shop/server:8080", "undecided"},
		{"of the pod", policy("{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], " + cidr), "shop/client -> 8.8.8.8:443", "undecided"},
		{"of other pods", policy("{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress], " + cidr), "shop/client -> 8.8.8.8:443", "allowed"},
		{"of another namespace", policy("{podSelector: {}, policyTypes: [Egress], " + cidr), "gate/egress -> 8.8.8.8:443", "allowed"},
		{"of nobody knows which pods", policy("{podSelector: {matchLabels: {app: '${APP}'}}, policyTypes: [Egress]}\n"), "shop/client -> 8.8.8.8:443", "undecided"},
		{"of the other direction", policy("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: '${CIDR}'}}]}]}\n"), "shop/client -> 8.8.8.8:443", "allowed"},
		{"of that direction", policy("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: '${CIDR}'}}]}]}\n"), "shop/server <- shop/client:8080", "undecided"},
		{"of either direction", policy("{podSelector: {}, " + cidr), "shop/client -> 8.8.8.8:443", "undecided"},
		{"of an unknown direction", policy("{podSelector: {}, policyTypes: ['${TYPE}']}\n"), "shop/client -> 8.8.8.8:443", "undecided"},
		{"it may open what others close", policy("{podSelector: {}, policyTypes: [Egress], "+cidr) + strings.Replace(closed, "NAME", "closed", 1), "shop/client -> 8.8.8.8:443", "undecided"},
		{"it does not close what others open", policy("{podSelector: {}, policyTypes: [Egress], "+cidr) + strings.Replace(open, "NAME", "open", 1), "shop/client -> 8.8.8.8:443", "allowed"},
		{"a complete one of its name", policy("{podSelector: {}, policyTypes: [Egress], "+cidr) + strings.Replace(closed, "NAME", "out", 1), "shop/client -> 8.8.8.8:443", "denied"},
		{"refused for something else", policy("{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: nonsense}}]}]}\n"), "shop/client -> 8.8.8.8:443", "allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, v := ask(t, tryLoad(t, test.manifest), test.ask)
			if got != test.want || v.Unfilled != (got == "undecided") || v.Foreign {
				t.Errorf("%s (%s), unfilled %t, want %s", got, v.Text, v.Unfilled, test.want)
			}
		})
	}
}
