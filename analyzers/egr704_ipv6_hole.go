package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR704", Name: "netpol-ipv6-hole", Severity: Warning, SecuritySeverity: 6.5,
	Run: runIPv6Hole,
	Doc: Doc{
		Title: "Network policies close IPv4 and leave IPv6 open",
		What:  "Pods that network policies keep from the internet in IPv4 may reach it in IPv6, because a rule allows `::/0` or most of it.",
		Why: "An `ipBlock` is of one family: `0.0.0.0/0` holds no IPv6 address, and its exceptions none either. " +
			"In a dual-stack cluster the lock-down has a second door, and most hosts of the internet have addresses of both families.",
		Bad:    documents(shopNamespace, ordersDeployment, ipv6Doc("::/0")),
		Good:   documents(shopNamespace, ordersDeployment, ipv6Doc("fd00::/8")),
		Fix:    "Restrict the IPv6 block as the IPv4 ones are, or remove it where the cluster has no IPv6.",
		Silent: "IPv4 is as open (EGR703); what the policies say is unknown. Whether the cluster has IPv6 at all is not in the manifests.",
		Sources: []string{
			"kubernetes api networking/v1 types.go (IPBlock)",
			"https://kubernetes.io/docs/concepts/services-networking/network-policies/",
		},
	},
})

// ipv6Doc is a policy that lets the pods of the documentation reach private IPv4
// addresses and an IPv6 block.
func ipv6Doc(block string) string {
	return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: inside
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock:
        cidr: 10.0.0.0/8
    - ipBlock:
        cidr: "` + block + `"
`
}

func runIPv6Hole(p *Pass) {
	for _, np := range p.Mesh.NetworkPolicies {
		for _, rule := range openRules(np) {
			if !rule.V6 {
				continue
			}
			var open []*model.Workload
			for _, class := range p.classesOf(np.Namespace) {
				if v4, v6 := rule.lets(p.network, class[0]); v6 && !v4 {
					open = append(open, class...)
				}
			}
			if len(open) == 0 {
				continue
			}
			only6 := rule
			only6.V4 = false
			witness := p.around(open[0], rule.Port, rule.scheme(), only6.address(p, open[0]))
			if witness.Trace.Outcome != flow.Allowed {
				continue
			}
			f := Finding{Object: np.Object, Field: rule.Field, Label: "open in IPv6", Workloads: workloadIDs(open), Flow: &witness.Flow, Trace: witness.Trace,
				Help: "0.0.0.0/0 and its exceptions hold no IPv6 address: restrict both families"}
			f.Message = fmt.Sprintf("%s lets %s reach the internet in IPv6 (%s on %s), which policies keep from it in IPv4; restrict both families alike",
				&rule, upTo3(f.Workloads), rule.What, rule.Ports)
			p.Report(f)
		}
	}
}
