package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// reportExportBehindGateway reports ServiceEntries that only some clients see, while
// others get to the host by a route that leads to an egress gateway, which sees the
// entry. An entry for the gateway's namespace alone restricts no client.
func reportExportBehindGateway(p *Pass) {
	in := intentOf(p)
	limited := func(h string) *model.Service {
		for _, s := range in.registering(in.push, host.Name(strings.ToLower(h))) {
			if s.Entry == nil || len(s.ExportTo) == 0 || s.ExportTo.Public() {
				return nil
			}
			if len(s.Entry.Spec.GetExportTo()) > 0 {
				return s
			}
		}
		return nil
	}
	var found byKey[*model.Service]
	denying := map[*model.Workload]bool{}
	for _, g := range in.gateways {
		denying[g.Workload] = denying[g.Workload] || g.deniesByDefault()
	}
	for alike := range in.inquire(&inquiry{
		want:  func(d reach.Destination) bool { return in.isSteered(d) && limited(d.Host) != nil },
		keep:  func(via flow.Via, reason flow.Reason) bool { return via == flow.ViaGateway && reason == flow.OK },
		alike: true,
	}) {
		s := limited(alike.To.Host)
		if alike.By == nil || alike.Trace.Outcome != flow.Allowed || slices.ContainsFunc(alike.By.Pods, func(w *model.Workload) bool { return denying[w] }) {
			continue
		}
		// Who sees another entry of the host is not kept away by this one.
		for a := range in.each(alike, func(w *model.Workload) bool {
			return !slices.ContainsFunc(in.registering(in.push, host.Name(strings.ToLower(alike.To.Host))), func(s *model.Service) bool { return in.push.Visible(s, w.Namespace) })
		}) {
			found.add(s, a)
		}
	}
	for _, s := range found.keys {
		c := found.of[s]
		if !slices.ContainsFunc(p.Reach.Classes(), func(class []*model.Workload) bool {
			return in.captured(class[0]) && p.isApplication(class[0]) && in.push.Visible(s, class[0].Namespace)
		}) {
			continue
		}
		by := c.first.By
		todo := fmt.Sprintf("restrict the exportTo of %s too, or say who may use the host in an AuthorizationPolicy at the gateway", by.Route.Title())
		p.Report(c.finding(Finding{
			Object: s.Object, Field: "spec.exportTo", Severity: Warning, SecuritySeverity: 6.3, Label: "does not hold behind the gateway", Help: todo,
			Message: fmt.Sprintf("exportTo of %s does not keep %s from %s: %s, which they see, sends them to %s, and the gateway sees the entry; %s",
				s.Object, upTo3(c.workloads()), upTo3(c.hosts), by.Route.Title(), by.gateway(), todo),
			Related: []Related{by.related()},
		}))
	}
}
