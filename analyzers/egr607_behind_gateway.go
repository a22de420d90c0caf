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
	for a := range in.attempts(
		func(d reach.Destination) bool { return len(in.covering(d.Host)) > 0 && limited(d.Host) != nil },
		func(via flow.Via, reason flow.Reason) bool { return via == flow.ViaGateway && reason == flow.OK },
	) {
		s := limited(a.To.Host)
		if a.By == nil || a.Trace.Outcome != flow.Allowed || in.push.Visible(s, a.Class[0].Namespace) {
			continue
		}
		if slices.ContainsFunc(in.gateways, func(g *egressGateway) bool { return slices.Contains(a.By.Pods, g.Workload) && g.deniesByDefault() }) {
			continue
		}
		found.add(s, a)
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
