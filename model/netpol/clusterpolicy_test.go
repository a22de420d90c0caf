package netpol

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

func anp(name string, priority, spec string) string {
	return "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: " + name + "}\nspec: {priority: " + priority + ", " + spec + "}\n"
}

func banp(spec string) string {
	return "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: default}\nspec: {" + spec + "}\n"
}

func cnp(name, tier, priority, spec string) string {
	return "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: " + name + "}\nspec: {tier: " + tier + ", priority: " + priority + ", " + spec + "}\n"
}

const (
	all      = `subject: {namespaces: {}}, `
	world4   = `to: [{networks: [0.0.0.0/0]}]`
	any46    = `to: [{networks: [0.0.0.0/0, "::/0"]}]`
	denyAll  = `{action: Deny, ` + any46 + `}`
	noEgress = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress]}\n"
	anyEgr   = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}\n"
)

func TestClusterPolicies(t *testing.T) {
	run(t, []row{
		{"Admin is asked before NetworkPolicies", cnp("a", "Admin", "1", all+`egress: [{action: Accept, `+world4+`}]`) + noEgress, `
			shop/client -> 8.8.8.8:443: allowed (ClusterNetworkPolicy a lets it)
			shop/client -> [2a00::1]:443: denied (NetworkPolicy shop/np)
			shop/client -> internet:443: some`},
		{"and so is an AdminNetworkPolicy", anp("a", "1", all+`egress: [`+denyAll+`]`) + anyEgr, `
			shop/client -> 8.8.8.8:443: denied (AdminNetworkPolicy a does not let it)
			shop/client -> internet:443: closed`},
		{"Baseline is asked where no NetworkPolicy isolates", cnp("b", "Baseline", "1", all+`egress: [`+denyAll+`]`) + anyEgr, `
			shop/client -> 8.8.8.8:443: allowed
			gate/egress -> 8.8.8.8:443: denied (ClusterNetworkPolicy b)
			gate/egress -> internet:443: closed`},
		{"and never where one does", banp(all+`egress: [{action: Allow, `+world4+`}]`) + noEgress, `
			shop/client -> 8.8.8.8:443: denied (NetworkPolicy shop/np)`},
		{"nor for the other direction", banp(all+`ingress: [{action: Deny, from: [{namespaces: {}}]}]`) + noEgress, `
			shop/client <- shop/server:80: denied (BaselineAdminNetworkPolicy default)`},
		{"there is no isolation without a rule that denies", cnp("a", "Admin", "1", all+`egress: [{action: Accept, to: [{networks: [8.0.0.0/8]}]}]`), `
			shop/client -> 9.9.9.9:443: allowed
			shop/client -> internet:443: open`},
		{"the lowest priority value comes first", cnp("z", "Admin", "5", all+`egress: [{action: Accept, `+world4+`}]`) + cnp("a", "Admin", "6", all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: allowed (ClusterNetworkPolicy z)
			shop/client -> [2a00::1]:443: denied (ClusterNetworkPolicy a)`},
		{"the first rule that matches decides", anp("a", "1", all+`egress: [{action: Allow, to: [{networks: [8.8.8.8/32]}]}, `+denyAll+`, {action: Allow, `+world4+`}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 8.8.8.9:443: denied
			shop/client -> internet:443: some`},
		{"equal priorities with different answers", cnp("a", "Admin", "7", all+`egress: [{action: Accept, to: [{networks: [8.0.0.0/8]}]}]`) + cnp("b", "Admin", "7", all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: undecided (they have the same priority)
			shop/client -> 9.9.9.9:443: denied
			shop/client -> internet:443: undecided`},
		{"equal priorities with the same answer", cnp("a", "Admin", "7", all+`egress: [{action: Deny, to: [{networks: [8.0.0.0/8]}]}]`) + cnp("b", "Admin", "7", all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: denied`},
		{"equal priorities where all that match lead to the same", cnp("a", "Admin", "7", all+`egress: [{action: Accept, `+world4+`}]`) + cnp("b", "Admin", "7", all+`egress: [{action: Pass, `+world4+`}]`), `
			shop/client -> 8.8.8.8:443: allowed`},
		{"three of one priority: the middle one counts too", cnp("a", "Admin", "7", all+`egress: [{action: Accept, `+world4+`}]`) + cnp("b", "Admin", "7", all+`egress: [`+denyAll+`]`) + cnp("c", "Admin", "7", all+`egress: [{action: Accept, `+world4+`}]`), `
			shop/client -> 8.8.8.8:443: undecided`},
		{"equal priorities of two tiers are no tie", cnp("a", "Admin", "7", all+`egress: [{action: Accept, `+world4+`}]`) + cnp("b", "Baseline", "7", all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> [2a00::1]:443: denied`},
		{"Pass skips the rest of the tier", cnp("a", "Admin", "1", all+`egress: [{action: Pass, to: [{networks: [8.0.0.0/8]}]}, `+denyAll+`]`) + cnp("b", "Admin", "2", all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: allowed (no network policy)
			shop/client -> 9.9.9.9:443: denied`},
		{"Pass leads to NetworkPolicies", anp("a", "1", all+`egress: [{action: Pass, `+world4+`}]`) + noEgress, `
			shop/client -> 8.8.8.8:443: denied (NetworkPolicy shop/np)`},
		{"Pass leads to Baseline where none isolates", anp("a", "1", all+`egress: [{action: Pass, `+world4+`}]`) + banp(all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: denied (BaselineAdminNetworkPolicy default)`},
		{"Pass in Baseline leads to the default", cnp("b", "Baseline", "1", all+`egress: [{action: Pass, `+world4+`}, `+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: allowed`},
		{"subjects by namespace", anp("a", "1", `subject: {namespaces: {matchLabels: {team: blue}}}, egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: allowed
			gate/egress -> 8.8.8.8:443: denied
			dark/other -> 8.8.8.8:443: undecided (the labels of namespace dark)
			dark/other -> internet:443: undecided`},
		{"subjects by pod", anp("a", "1", `subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}, egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:443: denied
			shop/server -> 8.8.8.8:443: allowed`},
		{"a subject that is not known does not make a policy half apply", anp("a", "1", `subject: {namespaces: {matchLabels: {team: blue}}}, egress: [{action: Allow, `+world4+`}, `+denyAll+`]`), `
			dark/other -> 8.8.8.8:443: allowed
			dark/other -> [2a00::1]:443: undecided`},
		{"pods on their host's network are never subjects", anp("a", "1", all+`egress: [`+denyAll+`]`), `
			gate/host -> 8.8.8.8:443: allowed (usually not applied)`},
		{"peers that are pods", anp("a", "1", all+`egress: [
			{action: Allow, to: [{namespaces: {matchLabels: {team: blue}}}, {pods: {namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {app: server}}}}]},
			{action: Deny, to: [{namespaces: {}}]}]`), `
			shop/client -> gate/egress:8443: allowed
			shop/client -> shop/server:8080: allowed
			shop/server -> shop/client:8080: denied
			shop/client -> dark/other:1: undecided (the labels of namespace dark)
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> internet:443: open`},
		{"pods on their host's network are no peers", anp("a", "1", all+`egress: [{action: Deny, to: [{namespaces: {}}]}]`), `
			shop/client -> gate/host:80: allowed`},
		{"networks match pods as well", anp("a", "1", all+`egress: [{action: Deny, `+world4+`}]`), `
			shop/client -> shop/server:8080: denied
			shop/client -> internet:443: some`},
		{"whether a private network holds a pod is not known", anp("a", "1", all+`egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}]}]`), `
			shop/client -> shop/server:8080: undecided (the address of shop/server)
			shop/client -> 10.1.1.1:80: denied
			shop/client -> internet:443: open`},
		{"ports of v1alpha1", anp("a", "1", all+`egress: [{action: Deny, to: [{namespaces: {}}, ], ports: [
			{portNumber: {protocol: UDP, port: 7}}, {portNumber: {port: 9}}, {portRange: {start: 20, end: 30}}, {namedPort: web}]}]`), `
			shop/client -> shop/server:7/UDP: denied
			shop/client -> shop/server:7: allowed
			shop/client -> shop/server:9: denied
			shop/client -> shop/server:19: allowed
			shop/client -> shop/server:20: denied
			shop/client -> shop/server:30: denied
			shop/client -> shop/server:31: allowed
			shop/client -> shop/server:8080: denied
			shop/client -> gate/egress:8080: allowed`},
		{"protocols of v1alpha2", cnp("a", "Admin", "1", all+`egress: [{action: Deny, to: [{namespaces: {}}], protocols: [
			{udp: {destinationPort: {number: 7}}}, {tcp: {destinationPort: {range: {start: 20, end: 30}}}}, {destinationNamedPort: dns}]}]`), `
			shop/client -> shop/server:7/UDP: denied
			shop/client -> shop/server:7: allowed
			shop/client -> shop/server:30: denied
			shop/client -> shop/server:30/UDP: allowed
			shop/client -> shop/server:53/UDP: denied
			shop/client -> shop/server:53: allowed`},
		{"without ports any protocol", anp("a", "1", all+`egress: [`+denyAll+`]`), `
			shop/client -> 8.8.8.8:1/UDP: denied
			shop/client -> 8.8.8.8:1/SCTP: denied`},
		{"ingress", anp("a", "1", `subject: {namespaces: {matchLabels: {team: red}}}, ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: blue}}}], ports: [{namedPort: web}]}]`), `
			shop/server <- gate/egress:8080: denied
			shop/server <- gate/egress:80: allowed
			shop/server <- shop/client:8080: allowed
			shop/server <- 8.8.8.8:8080: allowed
			gate/egress -> shop/server:8080: allowed`},
		{"nodes", anp("a", "1", all+`egress: [{action: Deny, to: [{nodes: {}}]}]`), `
			shop/client -> gate/host:80: denied
			shop/client -> shop/server:80: allowed
			shop/client -> 10.0.0.1:80: undecided (which addresses the nodes have)
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> internet:443: open`},
		{"nodes by label", anp("a", "1", all+`egress: [{action: Deny, to: [{nodes: {matchLabels: {a: b}}}]}]`), `
			shop/client -> gate/host:80: undecided (the labels of the node)`},
		{"domain names open a host and no address", cnp("a", "Admin", "1", all+`egress: [{action: Accept, to: [{domainNames: ["*.example.com", api.test.]}]}, `+denyAll+`]`), `
			shop/client -> www.example.com:443: allowed (ClusterNetworkPolicy a lets it connect to www.example.com)
			shop/client -> a.b.example.com:443: allowed
			shop/client -> example.com:443: denied
			shop/client -> notexample.com:443: denied
			shop/client -> API.test:443: allowed
			shop/client -> 8.8.8.8:443: undecided (the addresses of *.example.com, api.test)
			shop/client -> internet:443: undecided`},
		{"domain names without a rule that denies", cnp("a", "Admin", "1", all+`egress: [{action: Accept, to: [{domainNames: [api.test]}]}]`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> other.test:443: allowed
			shop/client -> internet:443: open`},
		{"v1beta1", strings.ReplaceAll(cnp("a", "Admin", "1", all+`egress: [`+denyAll+`]`), "v1alpha2", "v1beta1"), `
			shop/client -> internet:443: closed`},
	})
}

func TestFieldsOfNewerVersionsAreUndecided(t *testing.T) {
	for _, policy := range []string{
		anp("a", "1", all+`egress: [{action: Deny, to: [{galaxies: {}}]}]`),
		anp("a", "1", all+`egress: [{action: Pass, to: [{galaxies: {}}]}, `+denyAll+`]`),
		anp("a", "1", all+`egress: [{action: Deny, to: [{namespaces: {sameLabels: [x]}}]}]`),
		anp("a", "1", all+`egress: [{action: Allow, to: [{galaxies: {}}]}, `+denyAll+`]`),
	} {
		mesh := tryLoad(t, policy)
		if got, v := ask(t, mesh, "shop/client -> 8.8.8.8:443"); got != "undecided" || !v.Foreign {
			t.Errorf("%s: %s (%s)", policy, got, v.Text)
		}
		if len(mesh.Problems) != 1 || mesh.Problems[0].Kind != manifest.UnknownField {
			t.Errorf("%s: problems %v, want the unknown field", policy, mesh.Problems)
		}
	}
	// A rule for another port leaves the connection alone.
	mesh := tryLoad(t, anp("a", "1", all+`egress: [{action: Deny, to: [{galaxies: {}}], ports: [{portNumber: {port: 1}}]}]`))
	if got, v := ask(t, mesh, "shop/client -> 8.8.8.8:443"); got != "allowed" {
		t.Errorf("%s (%s)", got, v.Text)
	}
}

// TestClusterPoliciesThatNoClusterHas: what the API server refuses decides
// nothing and is reported.
func TestClusterPoliciesThatNoClusterHas(t *testing.T) {
	deny := `egress: [` + denyAll + `]`
	for name, policy := range map[string]string{
		"no subject":               anp("a", "1", deny),
		"two subjects":             anp("a", "1", `subject: {namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}, `+deny),
		"half a subject":           anp("a", "1", `subject: {pods: {podSelector: {}}}, `+deny),
		"priority too high":        anp("a", "1001", all+deny),
		"priority of text":         anp("a", "high", all+deny),
		"no tier":                  strings.Replace(cnp("a", "Admin", "1", all+deny), "tier: Admin, ", "", 1),
		"tier of NetworkPolicy":    cnp("a", "NetworkPolicy", "1", all+deny),
		"action of the other":      anp("a", "1", all+`egress: [{action: Accept, `+world4+`}]`),
		"action of the new":        cnp("a", "Admin", "1", all+`egress: [{action: Allow, `+world4+`}]`),
		"Pass in the baseline":     banp(all + `egress: [{action: Pass, ` + world4 + `}]`),
		"baseline by another name": strings.Replace(banp(all+deny), "name: default", "name: b", 1),
		"no peers":                 anp("a", "1", all+`egress: [{action: Deny, to: []}]`),
		"an empty peer":            anp("a", "1", all+`egress: [{action: Deny, to: [{}]}]`),
		"two kinds of peer":        anp("a", "1", all+`egress: [{action: Deny, to: [{namespaces: {}, networks: [0.0.0.0/0]}]}]`),
		"networks of ingress":      anp("a", "1", all+`ingress: [{action: Deny, from: [{networks: [0.0.0.0/0]}]}]`),
		"a bad network":            anp("a", "1", all+`egress: [{action: Deny, to: [{networks: [8.8.8.8]}]}]`),
		"a name that is denied":    cnp("a", "Admin", "1", all+`egress: [{action: Deny, to: [{domainNames: [a.test]}]}]`),
		"a network's named port":   cnp("a", "Admin", "1", all+`egress: [{action: Deny, `+world4+`, protocols: [{destinationNamedPort: web}]}]`),
		"an empty port":            anp("a", "1", all+`egress: [{action: Deny, `+world4+`, ports: [{}]}]`),
		"no ports":                 anp("a", "1", all+`egress: [{action: Deny, `+world4+`, ports: []}]`),
		"port 0":                   anp("a", "1", all+`egress: [{action: Deny, `+world4+`, ports: [{portNumber: {port: 0}}]}]`),
		"a range backwards":        cnp("a", "Admin", "1", all+`egress: [{action: Deny, `+world4+`, protocols: [{tcp: {destinationPort: {range: {start: 9, end: 9}}}}]}]`),
		"a bad selector":           anp("a", "1", `subject: {namespaces: {matchExpressions: [{key: a, operator: Is}]}}, `+deny),
		"too many rules":           cnp("a", "Admin", "1", all+`egress: [`+strings.Repeat(denyAll+`, `, 26)+`]`),
	} {
		mesh := tryLoad(t, policy)
		if len(mesh.ClusterNetworkPolicies) != 0 || len(mesh.Problems) == 0 || mesh.Problems[0].Kind != manifest.Rejected || mesh.Problems[0].Position.Line == 0 {
			t.Errorf("%s: %d policies, problems %v", name, len(mesh.ClusterNetworkPolicies), mesh.Problems)
		}
		if got, v := ask(t, mesh, "shop/client -> internet:443"); got != "open" {
			t.Errorf("%s: %s (%s)", name, got, v.Text)
		}
	}
}
