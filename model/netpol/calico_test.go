package netpol

import (
	"strings"
	"testing"
)

func calicoNP(spec string) string {
	return "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: c, namespace: shop}\nspec: {" + spec + "}\n"
}

func calicoGNP(name, spec string) string {
	return "---\napiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

func calicoTierObject(name, spec string) string {
	return "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

func TestCalico(t *testing.T) {
	const egress = `types: [Egress], egress: `
	run(t, []row{
		{"a policy without rules that match denies", calicoNP(egress + `[{action: Allow, destination: {nets: [8.0.0.0/8], notNets: [8.8.8.8/32]}}]`), `
			shop/client -> 8.8.8.9:443: allowed (NetworkPolicy shop/c lets it)
			shop/client -> 8.8.8.8:443: denied
			shop/client -> 9.9.9.9:443: denied
			shop/client -> internet:443: some
			gate/egress -> internet:443: open`},
		{"types by default", calicoNP(`egress: [{action: Allow}]`), `
			shop/client -> internet:443: open
			shop/client <- shop/server:80: allowed`},
		{"without rules ingress is restricted", calicoNP(`selector: all()`), `
			shop/client -> internet:443: open
			shop/client <- shop/server:80: denied`},
		{"the first rule that matches decides", calicoGNP("c", egress+`[{action: Log}, {action: Deny, destination: {nets: [8.8.8.8/32]}}, {action: Allow, protocol: TCP, destination: {ports: [443, "8000:8010"]}}]`), `
			shop/client -> 8.8.8.8:443: denied
			shop/client -> 9.9.9.9:443: allowed
			shop/client -> 9.9.9.9:8010: allowed
			shop/client -> 9.9.9.9:8011: denied
			shop/client -> 9.9.9.9:443/UDP: denied`},
		{"policies are asked by order, then by name", calicoGNP("z", `order: 1, `+egress+`[{action: Allow, destination: {nets: [8.0.0.0/8]}}]`) +
			calicoGNP("a", `order: 2, `+egress+`[{action: Deny}]`) + calicoGNP("b", `order: 1, `+egress+`[{action: Deny, destination: {nets: [8.8.8.8/32]}}]`), `
			shop/client -> 8.8.8.8:443: denied (GlobalNetworkPolicy b)
			shop/client -> 8.8.8.9:443: allowed (GlobalNetworkPolicy z)
			shop/client -> 9.9.9.9:443: denied (GlobalNetworkPolicy a)`},
		{"a policy without order is the last", calicoGNP("a", egress+`[{action: Allow}]`) + calicoGNP("b", `order: 5000, `+egress+`[{action: Deny}]`), `
			shop/client -> internet:443: closed`},
		{"NetworkPolicies have the order 1000", calicoGNP("a", `order: 999, `+egress+`[{action: Deny, destination: {nets: [8.0.0.0/8]}}]`) + calicoGNP("b", `order: 1001, `+egress+`[{action: Deny}]`) + anyEgr, `
			shop/client -> 8.8.8.8:443: denied
			shop/client -> 9.9.9.9:443: allowed (NetworkPolicy shop/np)
			gate/egress -> 9.9.9.9:443: denied`},
		{"a policy after one that isolates may still allow", calicoGNP("b", egress+`[{action: Allow, destination: {nets: [8.0.0.0/8]}}]`) + noEgress, `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 9.9.9.9:443: denied`},
		{"of the same order as theirs", calicoGNP("a", `order: 1000, `+egress+`[{action: Deny}]`) + anyEgr, `
			shop/client -> 8.8.8.8:443: undecided (they have the same priority)`},
		{"tiers by order, and what passes goes to the next", calicoTierObject("sec", `order: 5`) + calicoGNP("sec.a", `tier: sec, `+egress+`[{action: Pass, destination: {nets: [8.0.0.0/8]}}, {action: Deny}]`) +
			calicoGNP("d", egress+`[{action: Allow}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 9.9.9.9:443: denied`},
		{"what passes may be denied there", calicoTierObject("sec", `order: 5`) + calicoGNP("sec.a", `tier: sec, `+egress+`[{action: Pass}]`) + noEgress, `
			shop/client -> 8.8.8.8:443: denied (NetworkPolicy shop/np)
			gate/egress -> 8.8.8.8:443: allowed`},
		{"the end of a tier denies", calicoTierObject("sec", `order: 5`) + calicoGNP("sec.a", `tier: sec, `+egress+`[{action: Pass, destination: {nets: [8.0.0.0/8]}}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 9.9.9.9:443: denied`},
		{"or passes", calicoTierObject("sec", `order: 5, defaultAction: Pass`) + calicoGNP("sec.a", `tier: sec, `+egress+`[{action: Deny, destination: {nets: [8.0.0.0/8]}}]`), `
			shop/client -> 8.8.8.8:443: denied
			shop/client -> 9.9.9.9:443: allowed`},
		{"a tier that the input does not have", calicoGNP("sec.a", `tier: sec, `+egress+`[{action: Deny}]`), `
			shop/client -> 8.8.8.8:443: undecided (the order of its tier)`},
		{"policies of Kubernetes are in tiers around", anp("admin", "1", all+`egress: [{action: Allow, to: [{networks: [8.8.8.8/32]}]}]`) + banp(all+`egress: [`+denyAll+`]`) +
			calicoTierObject("first", `order: 999, defaultAction: Pass`) + calicoGNP("first.a", `tier: first, `+egress+`[{action: Deny, destination: {nets: [8.8.8.8/32], ports: [80]}, protocol: TCP}]`) +
			calicoTierObject("late", `order: 1001, defaultAction: Pass`) + calicoGNP("late.a", `tier: late, `+egress+`[{action: Allow, destination: {nets: [9.9.9.9/32]}}, {action: Deny, destination: {nets: [8.8.8.8/32]}}]`), `
			shop/client -> 8.8.8.8:80: denied (GlobalNetworkPolicy first.a)
			shop/client -> 8.8.8.8:443: allowed (AdminNetworkPolicy admin)
			shop/client -> 9.9.9.9:443: allowed (GlobalNetworkPolicy late.a)
			shop/client -> 7.7.7.7:443: denied (BaselineAdminNetworkPolicy)`},
		{"selectors of the subject", calicoNP(`selector: "app == 'client' && has(tier)", ` + egress + `[{action: Deny}]`), `
			shop/client -> internet:443: closed
			shop/server -> internet:443: open`},
		{"namespace selectors of the subject", calicoGNP("c", `namespaceSelector: "team in {'blue', 'green'}", `+egress+`[{action: Deny}]`), `
			gate/egress -> internet:443: closed
			shop/client -> internet:443: open
			dark/other -> internet:443: undecided (the labels of namespace dark)`},
		{"service accounts of the subject", calicoGNP("c", `serviceAccountSelector: "role == 'x'", `+egress+`[{action: Deny}]`), `
			shop/client -> internet:443: undecided (spec.serviceAccountSelector)`},
		{"peers by selector keep to the policy's namespace", calicoNP(egress + `[{action: Allow, destination: {selector: "all()"}}]`), `
			shop/client -> shop/server:80: allowed
			shop/client -> gate/egress:80: denied
			shop/client -> internet:443: closed`},
		{"peers by namespace selector", calicoNP(egress + `[{action: Allow, destination: {namespaceSelector: "team == 'blue'", notSelector: "app == 'egress'"}}, {action: Allow, destination: {namespaceSelector: "projectcalico.org/name == 'dark'"}}]`), `
			shop/client -> gate/egress:80: denied
			shop/client -> dark/other:80: allowed
			shop/client -> shop/server:80: denied`},
		{"peers of a global policy are of all namespaces", calicoGNP("c", egress+`[{action: Allow, destination: {selector: "projectcalico.org/namespace == 'gate'"}}]`), `
			shop/client -> gate/egress:80: allowed
			shop/client -> shop/server:80: denied`},
		{"network sets make selectors mean addresses", calicoGNP("c", egress+`[{action: Allow, destination: {selector: "kind == 'good'"}}]`) +
			"---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s, labels: {kind: good}}\nspec: {nets: [8.8.8.8/32]}\n", `
			shop/client -> internet:443: undecided (the network sets)`},
		{"ingress", calicoNP(`types: [Ingress], ingress: [{action: Allow, protocol: TCP, source: {selector: "app == 'client'"}, destination: {ports: [web]}}]`), `
			shop/server <- shop/client:8080: allowed
			shop/server <- shop/client:8081: denied
			shop/client <- shop/server:8080: denied`},
		{"addresses of pods are not known", calicoGNP("c", egress+`[{action: Allow, destination: {nets: [10.0.0.0/8]}}]`), `
			shop/client -> shop/server:80: undecided (the address of shop/server)
			shop/client -> 10.0.0.1:80: allowed`},
		{"versions of IP", calicoGNP("c", egress+`[{action: Deny, ipVersion: 6}, {action: Allow}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> [2a00::1]:443: denied
			shop/client -> internet:443: some`},
		{"policies for hosts", calicoGNP("c", `preDNAT: true, applyOnForward: true, types: [Ingress], ingress: [{action: Deny}]`), `
			shop/server <- shop/client:80: allowed`},
		{"fields that are not interpreted", calicoGNP("c", egress+`[{action: Allow, destination: {domains: [a.test]}}]`), `
			shop/client -> 8.8.8.8:443: undecided (spec.egress[0].destination.domains of GlobalNetworkPolicy c)`},
		{"after a rule that decides they do not matter", calicoGNP("c", egress+`[{action: Allow, destination: {nets: [8.8.8.8/32]}}, {action: Allow, http: {methods: [GET]}}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 9.9.9.9:443: undecided (spec.egress[1].http)`},
		{"a list that is none", calicoGNP("c", egress+`[{action: Allow, destination: {nets: 8.8.8.8/32}}]`), `
			shop/client -> 9.9.9.9:443: undecided (spec.egress[0].destination.nets)`},
		{"an action that is not known", calicoGNP("c", egress+`[{action: Delay}]`), `
			shop/client -> 9.9.9.9:443: undecided (spec.egress[0])`},
		{"a selector that is not one", calicoGNP("c", `selector: "app = 'x'", `+egress+`[{action: Deny}]`), `
			shop/client -> 9.9.9.9:443: undecided (spec.selector)`},
		{"a field of the policy that is not known", calicoGNP("c", `mood: bad, `+egress+`[{action: Allow}]`), `
			shop/client -> 9.9.9.9:443: undecided (spec.mood)`},
		{"beside objects of Cilium", calicoGNP("c", egress+`[{action: Deny}]`) + "---\napiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: {name: x}\nspec: {}\n", `
			shop/client -> 9.9.9.9:443: undecided (which of these kinds)`},
	})
}

func TestCalicoSelectors(t *testing.T) {
	labels := map[string]string{"a": "x", "b/c": "yes it is"}
	of := func(key string) calicoLabel {
		if key == "unknown" {
			return calicoLabel{doubt: unsure("")}
		}
		v, has := labels[key]
		return calicoLabel{value: v, has: has}
	}
	for selector, want := range map[string]truth{
		"":                               yes,
		"all()":                          yes,
		" all( ) ":                       yes,
		"!all()":                         no,
		`a == 'x'`:                       yes,
		`a=="y"`:                         no,
		`a != 'x'`:                       no,
		`d != 'x'`:                       yes,
		`d == 'x'`:                       no,
		`has(b/c)`:                       yes,
		`!has(d)`:                        yes,
		`b/c contains "it"`:              yes,
		`b/c starts with 'it'`:           no,
		`b/c ends with 'is'`:             yes,
		`a in {'y', "x"}`:                yes,
		`a in{}`:                         no,
		`a not in {'x'}`:                 no,
		`d not in {'x'}`:                 yes,
		`has(d) || a == 'x' && !has(d)`:  yes,
		`(has(d) || a == 'x') && has(d)`: no,
		`unknown == 'x'`:                 perhaps,
		`!(unknown == 'x')`:              perhaps,
		`unknown == 'x' || has(a)`:       yes,
		`unknown == 'x' && has(d)`:       no,
	} {
		e, err := parseCalicoSelector(selector)
		if err != nil {
			t.Errorf("%s: %v", selector, err)
		} else if got := e(of); got.truth != want {
			t.Errorf("%s: %v, want %v", selector, got.truth, want)
		}
	}
	for _, selector := range []string{"a", "a = 'x'", "a == x", "a == 'x", "(a == 'x'", "a == 'x')", "a in ('x')", "a in {'x' 'y'}", "has()", "global()", "a == 'x' b == 'y'",
		"!", "&&", strings.Repeat("(", 5000), strings.Repeat("!", 5000)} {
		if _, err := parseCalicoSelector(selector); err == nil {
			t.Errorf("%.20s: no error", selector)
		}
	}
}
