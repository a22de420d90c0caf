package analyzers

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// closedGateways reports network policies that isolate the pods of an egress gateway
// and allow them no address outside: what routes send there ends there. Often the
// policy is that of the clients, in the wrong namespace.
func (in *intent) closedGateways() {
	p := in.pass
	closed := map[*model.Workload]*model.NetworkPolicy{}
	for _, g := range in.gateways {
		answer := p.network.internet(g.Workload, worldPort, corev1.ProtocolTCP)
		policies := p.network.policies.Isolating(g.Workload, networkingv1.PolicyTypeEgress)
		if answer.Isolated && answer.Unknown == nil && len(answer.Addresses.Prefixes()) == 0 && len(policies) > 0 {
			closed[g.Workload] = policies[0]
		}
	}
	if len(closed) == 0 {
		return
	}
	var found byKey[*model.Workload]
	for a := range in.steered(flow.NetworkPolicy) {
		if l := in.legOf(a.Trace); a.By != nil && l != nil && l.pod != nil && closed[l.pod] != nil && a.Trace.Outcome == flow.Blocked && a.Trace.Reason == flow.NetworkPolicy {
			found.add(l.pod, a)
		}
	}
	for _, pod := range found.keys {
		c, np := found.of[pod], closed[pod]
		p.Report(c.finding(Finding{
			Object: np.Object, Field: "spec.podSelector", Severity: Error, Label: "selects the egress gateway too",
			Help: "leave the gateway's pods out of the podSelector, or move the policy to the namespace of the clients that it is for",
			Message: fmt.Sprintf("NetworkPolicy %s closes egress gateway %s itself: %s %s sent there and %s no further; leave the gateway's pods out, or move the policy to the namespace that it is for",
				np.ID(), pod.ID(), upTo3(c.hosts), c.are(), plural(len(c.hosts), "gets", "get")),
			Related: []Related{c.first.By.related()},
		}))
	}
}
