package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// reportClosedWaypoints reports ALLOW policies without rules at a waypoint that keep every
// client from a host.
func (in *intent) reportClosedWaypoints() {
	for _, h := range served(in.waypointHosts()) {
		var empty *model.AuthorizationPolicy
		for _, policy := range in.push.AuthorizationPoliciesForWaypoint(h.Binding.Waypoint, h.Service).Allow {
			if enforced(policy) && len(policy.Spec.GetRules()) == 0 {
				empty = policy
			}
		}
		if empty == nil {
			continue
		}
		var first *proof
		var closed []*model.Workload
		open := false
		for _, class := range in.pass.Reach.Classes() {
			denied := h.attempt(in.pass, class[0], func(t *flow.Trace) bool {
				open = open || t.Via == flow.ViaWaypoint && (t.Outcome != flow.Blocked || t.Reason != flow.RBACDenied)
				return t.Via == flow.ViaWaypoint && t.Reason == flow.RBACDenied && t.Rule == nil
			})
			if denied != nil && in.pass.isApplication(class[0]) {
				if first == nil {
					first = denied
				}
				closed = append(closed, class...)
			}
		}
		if first == nil || open {
			continue
		}
		ids := workloadIDs(closed)
		todo := "add rules that say who may send what"
		in.pass.Report(Finding{
			Object: empty.Object, Field: "spec", Severity: Warning, Label: "an ALLOW policy without rules", Help: todo, Flow: &first.Flow, Trace: first.Trace, Workloads: ids,
			Related: []Related{{h.Service.Object, h.Service.HostField, fmt.Sprintf("%s goes through waypoint %s", h.name(), h.Binding.Waypoint.ID())}},
			Message: fmt.Sprintf("AuthorizationPolicy %s allows nothing at waypoint %s: %s is unreachable for %s, whose requests are sent there; %s",
				empty.ID(), h.Binding.Waypoint.ID(), h.name(), upTo3(ids), todo),
		})
	}
}
