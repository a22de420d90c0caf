package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR604", Name: "ambient-has-no-registry-only", Severity: Error, SecuritySeverity: 7.9,
	Run: runAmbientRegistryOnly,
	Doc: Doc{
		Title: "REGISTRY_ONLY holds for no workload in ambient mode",
		What:  "The mesh, or a Sidecar, is `REGISTRY_ONLY`, and workloads for which that is said are in ambient mode and reach hosts that nothing registers.",
		Why: "ztunnel knows no outboundTrafficPolicy and no Sidecar. A connection to an address that it knows no service for is passed on as it is. " +
			"Workloads that move from sidecars to ambient mode silently lose this control.",
		Bad:  documents(closedMesh, ambientShop, ordersDeployment),
		Good: documents(closedMesh, ambientShop, ordersDeployment, closedShop),
		Fix: "Close the namespaces in ambient mode with NetworkPolicies that let pods reach DNS, the cluster and the waypoints, and nothing outside. " +
			"Send the hosts that are allowed through a waypoint.",
		Silent: "Network policies keep the workload from the internet, or whether they do is unknown; nothing says REGISTRY_ONLY.",
		Sources: []string{
			"istio/ztunnel src/proxy/outbound.rs (build_request)",
			"https://github.com/istio/istio/issues/54281",
		},
	},
})

func runAmbientRegistryOnly(p *Pass) {
	classes := p.classesIn(capture.Ambient)
	if len(classes) == 0 {
		return
	}
	in := newControls(intentOf(p))
	type open struct {
		Related
		proof     *proof
		workloads []*model.Workload
	}
	var order []exclusion
	found := map[exclusion]*open{}
	for _, class := range classes {
		because, closed := in.closes(class[0])
		if !closed {
			continue
		}
		place := placeOf(class[0], append([]flow.Because{{Object: because.Object, Field: because.Field}}, p.Reach.Sim.Capture(class[0]).Because...))
		o := found[place]
		if o != nil && p.network.free(class[0]) {
			o.workloads = append(o.workloads, class...)
			continue
		}
		proof := in.proveUnregistered(class[0], leavesDirectly)
		if proof == nil {
			continue
		}
		if o == nil {
			o = &open{because, proof, nil}
			found[place], order = o, append(order, place)
		}
		o.workloads = append(o.workloads, class...)
	}
	for _, place := range order {
		o := found[place]
		namespaces, of := byNamespace(o.workloads)
		f := Finding{
			Object: place.object, Field: place.field, Label: "not for ambient mode", Workloads: workloadIDs(o.workloads),
			Flow: &o.proof.Flow, Trace: o.proof.Trace,
			Help: "ztunnel passes on what it does not know; only the network can stop it",
			Fix:  lockdown(in.intent, namespaces[0], of[namespaces[0]]),
		}
		f.Message = fmt.Sprintf("%s, but ztunnel has no REGISTRY_ONLY: %s %s hosts that nothing registers; close %s with a NetworkPolicy",
			o.Message, upTo3(f.Workloads), plural(len(f.Workloads), "reaches", "reach"), namespacesText(namespaces))
		for _, ns := range namespaces[:min(len(namespaces), maxNamed)] {
			at := p.namespacePlace(ns, of[ns])
			f.Related = append(f.Related, Related{at.object, at.field, fmt.Sprintf("namespace %s has pods in ambient mode", ns)})
		}
		p.Report(f)
	}
}

// namespacesText names namespaces: "namespace a", "namespaces a, b".
func namespacesText(names []string) string {
	return plural(len(names), "namespace ", "namespaces ") + upTo3(names)
}
