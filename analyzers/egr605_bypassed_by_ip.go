package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR605", Name: "waypoint-bypassed-by-ip", Severity: Warning, SecuritySeverity: 6.6,
	Run: runBypassedByIP,
	Doc: Doc{
		Title: "A waypoint takes an external host only where the client asks ztunnel's DNS for it",
		What: "Hosts are bound to a waypoint by ServiceEntries without `addresses`, and no network policy keeps a namespace in ambient mode from the internet: " +
			"a client that dials a real address of the host goes straight out. One finding for each namespace of clients.",
		Why: "ztunnel knows the address that istiod made up for the host, and no other. A hard-coded address, DNS over HTTPS or another resolver is all it takes, " +
			"no privilege and no change to the pod.",
		Bad:    ambientDoc(nil),
		Good:   ambientDoc(nil, closedShop),
		Fix:    "Close the namespace with a NetworkPolicy that lets its pods reach the waypoint and nothing outside; the finding holds one to begin with.",
		Silent: "A network policy isolates the clients, or what policies say is unknown; the ServiceEntries list addresses; the waypoint does not take part (EGR601, EGR602).",
		Sources: []string{
			"https://istio.io/latest/docs/ambient/usage/egress-gateway/",
			"istio/ztunnel src/proxy/outbound.rs (build_request)",
		},
	},
})

func runBypassedByIP(p *Pass) {
	push := p.Reach.Sim.Push()
	hosts := slices.DeleteFunc(served(waypointHosts(p)), func(h waypointHost) bool {
		return len(h.Service.Entry.Spec.GetAddresses()) > 0 || len(push.AmbientAddresses(h.Service)) == 0
	})
	if len(hosts) == 0 {
		return
	}
	in := intentOf(p)
	for _, ns := range ambientClientsOf(p).namespaces {
		if len(ns.free) == 0 {
			continue
		}
		clients := slices.Concat(ns.free...)
		w := clients[0]
		var witness *proof
		var names []string
		for _, h := range hosts {
			if len(names) == maxSteered {
				break
			}
			requests := h.requests(p, w)
			if len(requests) == 0 || !goesBy(p, requests[0], h) {
				continue
			}
			request := requests[0]
			request.DstIP = push.PublicAddress(request.Host).String()
			if t := p.Reach.Sim.Verdict(request); !leavesDirectly(t) || t.Via != flow.ViaPassthrough {
				continue
			}
			if names = append(names, h.name()); witness == nil {
				witness = &proof{request, p.Reach.Trace(request)}
			}
		}
		if witness == nil {
			continue
		}
		slices.Sort(names)
		at := p.namespacePlace(w.Namespace, clients)
		f := Finding{Object: at.object, Field: at.field, Label: "no network policy closes it", Workloads: workloadIDs(clients), Flow: &witness.Flow, Trace: witness.Trace,
			Fix: lockdown(in, w.Namespace, clients), Help: "the policy of the fix lets the mesh's own path through; add what the pods call inside the cluster",
			Related: []Related{{hosts[0].Binding.Waypoint.Object, "metadata.name", fmt.Sprintf("waypoint %s", hosts[0].Binding.Waypoint.ID())}}}
		f.Message = fmt.Sprintf("namespace %s goes through the waypoint to %s by name only: %s %s out directly by dialling the real address; close the namespace with a NetworkPolicy",
			w.Namespace, upTo3(names), upTo3(f.Workloads), plural(len(f.Workloads), "gets", "get"))
		p.Report(f)
	}
}

// goesBy reports whether a request goes to the waypoint of a host.
func goesBy(p *Pass, f flow.Flow, h waypointHost) bool {
	t := p.Reach.Sim.Verdict(f)
	return (t.Via == flow.ViaWaypoint || t.Via == flow.ViaMixed) && refersTo(t, flow.AtZtunnel, h.Service.Object)
}

// waypointTakes reports whether a trace gets out by way of a waypoint, because of
// an object.
func waypointTakes(t *flow.Trace, s *model.Service) bool {
	return t.Outcome == flow.Allowed && t.Via == flow.ViaWaypoint && refersTo(t, flow.AtZtunnel, s.Object)
}
