package netpol

import (
	"fmt"
	"slices"
	"testing"
)

func TestNeeds(t *testing.T) {
	const allow = `{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: `
	const istiod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: pilot, namespace: dark, labels: {app: istiod}}\nspec: {containers: [{name: c, image: i}]}\n"
	for _, c := range []struct {
		name, policies string
		proxy          Proxy
		want           []string
	}{
		{"nothing is isolated", "", Sidecar, []string{
			"DNS over UDP kube-system/coredns:53/UDP assumed allowed", "DNS over TCP kube-system/coredns:53/TCP assumed allowed",
			"configuration and certificates from istiod istio-system/istiod:15012/TCP assumed allowed",
			"the way through gate/egress gate/egress:8443/TCP allowed"}},
		{"DNS over UDP alone, the port of the gateway's Service, another istiod", np(`{podSelector: {}, policyTypes: [Egress], egress: [`+
			allow+`kube-system}}}], ports: [{protocol: UDP, port: 53}]}, `+allow+`gate}}}], ports: [{port: 443}]}, `+allow+`istio-system}}}]}]}`) + istiod, Sidecar, []string{
			"DNS over UDP kube-system/coredns:53/UDP assumed allowed", "DNS over TCP kube-system/coredns:53/TCP assumed denied",
			"configuration and certificates from istiod dark/pilot:15012/TCP denied",
			"the way through gate/egress gate/egress:8443/TCP denied"}},
		{"a ztunnel needs its tunnel and no istiod", np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: 15008}]}]}`), Ztunnel, []string{
			"DNS over UDP kube-system/coredns:53/UDP assumed denied", "DNS over TCP kube-system/coredns:53/TCP assumed denied",
			"the way through gate/egress gate/egress:15008/TCP allowed"}},
		{"policies of the other end count", anp("a", "1", `subject: {namespaces: {matchLabels: {team: blue}}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]`), Ztunnel, []string{
			"DNS over UDP kube-system/coredns:53/UDP assumed undecided", "DNS over TCP kube-system/coredns:53/TCP assumed undecided",
			"the way through gate/egress gate/egress:15008/TCP denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mesh := load(t, c.policies)
			var got []string
			for _, n := range New(mesh).Needs(workload(t, mesh, "shop/client"), c.proxy, Stop{workload(t, mesh, "gate/egress"), 8443}) {
				line := fmt.Sprintf("%s %s:%d/%s ", n.Purpose, n.To.ID(), n.Port, n.Protocol)
				if n.Assumed {
					line += "assumed "
				}
				got = append(got, line+words[n.Verdict.Decision])
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// TestManyRules bounds what hostile input costs: the work must not grow much
// faster than the number of rules.
func TestManyRules(t *testing.T) {
	text := ""
	for i := range 200 {
		rules := ""
		for j := range 25 {
			rules += fmt.Sprintf("{action: %s, to: [{networks: [%d.%d.%d.0/24]}]}, ", []string{"Accept", "Deny"}[j%2], 11+i%100, i, j*3)
		}
		text += cnp(fmt.Sprint("p", i), "Admin", fmt.Sprint(i), all+"egress: ["+rules+"]")
	}
	mesh := load(t, text)
	if got, v := ask(t, mesh, "shop/client -> internet:443"); got != "undecided" {
		t.Errorf("%s (%s)", got, v.Text)
	}
	if got, v := ask(t, mesh, "shop/client -> 11.0.3.1:443"); got != "denied" {
		t.Errorf("%s (%s)", got, v.Text)
	}
}
