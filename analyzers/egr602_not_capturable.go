package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR602", Name: "entry-not-capturable", Severity: Error, SecuritySeverity: 8.0,
	Run: runNotCapturable,
	Doc: Doc{
		Title: "A ServiceEntry has no address by which ztunnel could know it, so that its waypoint is never used",
		What: "A ServiceEntry is bound to a waypoint and has no `addresses`, and istiod allocates none: its `resolution` is NONE, its host is a wildcard, " +
			"or allocation is switched off.",
		Why: "ztunnel sees addresses, not names. A service without an address does not exist for it: the client resolves the name with the cluster's DNS, " +
			"dials the real address, and is passed through. The label for the waypoint changes nothing.",
		Bad:  ambientDoc([]string{"resolution: DNS", "resolution: NONE"}),
		Good: ambientDoc(nil),
		Fix: "Use `resolution: DNS` and name each host, or give the entry the `addresses` of the host; for wildcards `resolution: DYNAMIC_DNS`. " +
			"Close the clients' way straight out with a NetworkPolicy.",
		Silent: "No client in ambient mode gets out by it; the binding to the waypoint fails anyway (EGR601) or is unknown.",
		Sources: []string{
			"istio pilot/pkg/serviceregistry/ambient/services.go (constructServiceEntries)",
			"istio pilot/pkg/networking/serviceentry/ip_autoallocation.go",
			"https://github.com/istio/istio/issues/54981",
		},
	},
})

func runNotCapturable(p *Pass) {
	push := p.Reach.Sim.Push()
	var order []model.Place
	of := map[model.Place][]waypointHost{}
	why := map[model.Place]string{}
	for _, h := range served(waypointHosts(p)) {
		if len(push.AmbientAddresses(h.Service)) > 0 {
			continue
		}
		place, text := addressless(h.Service)
		if of[place] == nil {
			order = append(order, place)
		}
		of[place], why[place] = append(of[place], h), text
	}
	if len(order) == 0 {
		return
	}
	clients := ambientClientsOf(p)
	for _, place := range order {
		h := of[place][0]
		effect, security := "%s %s it directly", 8.0
		first, affected := clients.faring(h, func(t *flow.Trace) bool { return leavesDirectly(t) && t.Via == flow.ViaPassthrough })
		if first == nil {
			// Whoever may reach the waypoint and nothing else is cut off.
			if first, affected = clients.faring(h, stoppedByNetwork); first == nil {
				continue
			}
			effect, security = "%s %s it no more, as a network policy stops what goes straight out", 0
		}
		var names []string
		for _, h := range of[place] {
			names = append(names, h.name())
		}
		slices.Sort(names)
		f := Finding{Severity: Error, SecuritySeverity: security, Object: place.Object, Field: place.Field, Label: "no address for ztunnel", Workloads: workloadIDs(affected), Flow: &first.Flow, Trace: first.Trace,
			Related: []Related{{h.Binding.Waypoint.Object, "metadata.name", "the waypoint that is never used"}}}
		f.Message = fmt.Sprintf("%s gives %s no address by which ztunnel knows it (%s), so that waypoint %s is never used: %s; use resolution DNS and full names, or list addresses",
			place.Object, upTo3(names), why[place], h.Binding.Waypoint.ID(), fmt.Sprintf(effect, upTo3(f.Workloads), plural(len(f.Workloads), "reaches", "reach")))
		p.Report(f)
	}
}

// addressless says why a ServiceEntry without addresses gets none for a host.
func addressless(s *model.Service) (model.Place, string) {
	const optOut = "networking.istio.io/enable-autoallocate-ip"
	switch {
	case s.Entry.Spec.GetResolution() == networking.ServiceEntry_NONE:
		return model.Place{Object: s.Object, Field: "spec.resolution"}, "resolution NONE without addresses"
	case strings.EqualFold(s.Object.Labels[optOut], "false"):
		return model.Place{Object: s.Object, Field: labelField(optOut)}, "label " + optOut
	case s.Hostname.IsWildCarded():
		return model.Place{Object: s.Object, Field: s.HostField}, "a wildcard"
	default:
		return model.Place{Object: s.Object, Field: s.HostField}, "PILOT_ENABLE_IP_AUTOALLOCATE is off"
	}
}
