package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR607", Name: "exportto-ignored-by-ztunnel", Severity: Warning, SecuritySeverity: 6.3,
	Run: runExportToIgnored,
	Doc: Doc{
		Title: "exportTo of a ServiceEntry does not keep ambient clients of other namespaces from its waypoint",
		What:  "A ServiceEntry is exported to the namespaces of some clients only, and clients of others get out all the same: in ambient mode through its waypoint, or by a route that they see through an egress gateway.",
		Why: "ztunnel gets every ServiceEntry, whatever `exportTo` says. And a gateway looks hosts up for itself, whoever asks: what counts is the `exportTo` of the route that leads to it. Clients of all namespaces may use what the waypoint does for the host: " +
			"its TLS origination with a client certificate, its address that a firewall outside admits.",
		Bad:  ambientDoc([]string{"  resolution: DNS\n", "  resolution: DNS\n  exportTo:\n  - istio-egress\n"}),
		Good: ambientDoc([]string{"  resolution: DNS\n", "  resolution: DNS\n  exportTo:\n  - shop\n"}),
		Fix:  "Say who may use the host in an AuthorizationPolicy with the ServiceEntry as target, or set `serviceEntryVisibility` of the mesh configuration to NAMESPACE for it.",
		Silent: "The host has no waypoint (then clients get out the same way without the ServiceEntry); a policy of the waypoint stops them; `serviceEntryVisibility` hides the entry; " +
			"the clients use, or see, another definition of the host.",
		Sources: []string{
			"https://github.com/istio/istio/issues/55163",
			"istio pilot/pkg/serviceregistry/ambient/services.go",
		},
	},
})

func runExportToIgnored(p *Pass) {
	reportExportBehindGateway(p)
	push := p.Reach.Sim.Push()
	limited := slices.DeleteFunc(served(waypointHosts(p)), func(h waypointHost) bool {
		export := h.Service.Entry.Spec.GetExportTo()
		return len(export) == 0 || slices.Contains(export, "*")
	})
	if len(limited) == 0 {
		return
	}
	clients := ambientClientsOf(p)
	for _, h := range limited {
		outside := &ambientClients{pass: p}
		for _, ns := range clients.namespaces {
			if w := ns.first(); !push.Visible(h.Service, w.Namespace) {
				outside.namespaces = append(outside.namespaces, ns)
			}
		}
		first, affected := outside.faring(h, func(t *flow.Trace) bool { return waypointTakes(t, h.Service) })
		if first == nil {
			continue
		}
		namespaces, _ := byNamespace(affected)
		f := Finding{Object: h.Service.Object, Field: "spec.exportTo", Label: "not for ztunnel", Workloads: workloadIDs(affected), Flow: &first.Flow, Trace: first.Trace,
			Related: []Related{{h.Binding.Waypoint.Object, "metadata.name", "no policy of the waypoint stops them"}}}
		f.Message = fmt.Sprintf("%s is exported to %s, which does not limit clients in ambient mode: %s %s %s through waypoint %s; say who may in an AuthorizationPolicy of the waypoint",
			h.Service.Object, upTo3(quotedList(h.Service.Entry.Spec.GetExportTo())), namespacesText(namespaces), plural(len(namespaces), "reaches", "reach"), h.name(), h.Binding.Waypoint.ID())
		p.Report(f)
	}
}

func quotedList(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("%q", v)
	}
	return out
}
