package analyzers

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// closedGateways reports network policies that isolate the pods of an egress gateway
// or of a waypoint and allow them no address outside: what is sent there ends there.
// Often the policy is that of the clients, in the wrong namespace. It returns the pods.
func (in *intent) closedGateways() []*model.Workload {
	closed := map[*model.Workload]*model.NetworkPolicy{}
	for _, g := range in.gateways {
		if np := in.closing(g.Workload); np != nil {
			closed[g.Workload] = np
		}
	}
	var found byKey[*model.Workload]
	if len(closed) > 0 {
		for a := range in.steered(flow.NetworkPolicy) {
			if l := in.legOf(a.Trace); a.By != nil && l != nil && l.pod != nil && closed[l.pod] != nil && a.Trace.Outcome == flow.Blocked && a.Trace.Reason == flow.NetworkPolicy {
				found.add(l.pod, a)
			}
		}
	}
	waypoints := map[*model.Workload]bool{}
	byID := map[string]*model.Workload{}
	for _, h := range served(in.waypointHosts()) {
		if w := in.push.WaypointWorkload(h.Binding.Waypoint); w != nil && !waypoints[w] {
			waypoints[w], byID[w.ID()] = true, w
			closed[w] = in.closing(w)
		}
	}
	if len(waypoints) > 0 {
		for _, a := range in.waypointAttempts() {
			e := exitOf(a.Trace)
			if e == nil || e.At != flow.AtWaypoint || a.Trace.Outcome != flow.Blocked || a.Trace.Reason != flow.NetworkPolicy {
				continue
			}
			if w := byID[e.Proxy]; closed[w] != nil {
				found.add(w, a)
			}
		}
	}
	for _, pod := range found.keys {
		c, np := found.of[pod], closed[pod]
		what := "egress gateway"
		if waypoints[pod] {
			what = "waypoint"
		}
		f := Finding{
			Object: np.Object, Field: "spec.podSelector", Severity: Error, Label: "selects the " + what + " too",
			Help: "leave the " + what + "'s pods out of the podSelector, or move the policy to the namespace of the clients that it is for",
			Message: fmt.Sprintf("NetworkPolicy %s closes %s %s itself: %s %s sent there and %s no further; leave the %s's pods out, or move the policy to the namespace that it is for",
				np.ID(), what, pod.ID(), upTo3(c.hosts), c.are(), plural(len(c.hosts), "gets", "get"), strings.TrimPrefix(what, "egress ")),
		}
		if c.first.By != nil {
			f.Related = []Related{c.first.By.related()}
		}
		in.pass.Report(c.finding(f))
	}
	return found.keys
}

// closing returns a policy that isolates a workload's egress if certainly no address
// outside is left to it.
func (in *intent) closing(w *model.Workload) *model.NetworkPolicy {
	network := in.pass.network
	answer := network.internet(w, worldPort, corev1.ProtocolTCP)
	policies := network.policies.Isolating(w, networkingv1.PolicyTypeEgress)
	if !answer.Isolated || answer.Unknown != nil || len(answer.Addresses.Prefixes()) > 0 || len(policies) == 0 {
		return nil
	}
	return policies[0]
}
