package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR114", Name: "ambient-optout-or-inert-annotation", Severity: Error, SecuritySeverity: 7.8,
	Run: runAmbientAnnotations,
	Doc: Doc{
		Title: "A pod takes itself out of ambient mode, or carries settings of a sidecar that it does not have",
		What: "A pod in a namespace in ambient mode is labelled `istio.io/dataplane-mode: none`, or has the annotation `sidecar.istio.io/status` without a sidecar, where the manifests control " +
			"what it sends. Or a pod in ambient mode has annotations about the redirect to a sidecar (`traffic.sidecar.istio.io/…Outbound…`), which is a note.",
		Why: "Pods that are taken out reach the internet as if there were no mesh. In ambient mode the node's ztunnel takes every TCP connection: the annotations of sidecars exclude nothing, " +
			"and who relies on one is wrong.",
		Bad:  ambientOrders("traffic.sidecar.istio.io/excludeOutboundPorts: \"443\""),
		Good: ambientOrders("ambient.istio.io/dns-capture: \"true\""),
		Fix:  "Remove the label or annotation. What must not be in the mesh is to be closed with a NetworkPolicy.",
		Silent: "Gateways, waypoints and the namespaces of Kubernetes and Istio; opt-outs where the manifests control nothing of what the workload sends; pods with a sidecar; annotations about inbound traffic. " +
			"Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio cni/pkg/util/enablement_selector.go",
			"istio cni/pkg/iptables/iptables.go (AppendInpodRules)",
		},
	},
})

func runAmbientAnnotations(p *Pass) {
	reportInert(p)
	optsOut := func(w *model.Workload) bool {
		ns := p.Mesh.Namespaces[w.Namespace]
		return ns != nil && ns.Labels[model.DataplaneModeLabel] == "ambient" && p.Reach.Sim.Capture(w).Mode == capture.None
	}
	if !slices.ContainsFunc(p.Reach.Clients(), optsOut) {
		return
	}
	for _, x := range bareEscapes(p, newControls(intentOf(p))) {
		if !optsOut(x.workloads[0]) || x.place.object != x.workloads[0].Object {
			continue
		}
		p.Report(x.finding(p, Finding{
			Severity: Error, SecuritySeverity: 7.8, Label: "takes the pod out of ambient mode",
			Message: fmt.Sprintf("%s out of ambient mode (%s), so that %s there; %s %s; %s",
				x.subject("is", "are"), x.why, x.without(), x.what("any host"), x.leaves(), x.todo),
		}))
	}
}

// inert is an annotation of sidecars on pods in ambient mode, by namespace.
type inert struct{ namespace, annotation string }

// reportInert reports annotations that have no effect in ambient mode.
func reportInert(p *Pass) {
	var order []inert
	pods := map[inert][]*model.Workload{}
	for _, class := range p.Reach.Classes() {
		for _, w := range class {
			if p.Reach.Sim.Capture(w).Mode != capture.Ambient || systemNamespace(p, w.Namespace) {
				continue
			}
			for _, name := range []string{"excludeOutboundPorts", "excludeOutboundIPRanges", "includeOutboundPorts", "includeOutboundIPRanges"} {
				k := inert{w.Namespace, trafficAnnotation + name}
				if _, set := w.Annotations[k.annotation]; !set {
					continue
				}
				if pods[k] == nil {
					order = append(order, k)
				}
				pods[k] = append(pods[k], w)
			}
		}
	}
	for _, k := range order {
		w := pods[k][0]
		f := flow.Flow{From: reach.From(w), Host: p.Reach.Sim.Push().PublicAddress(reach.AnyAddress).String(), Port: 443, Scheme: flow.TCP}
		t := p.Reach.Trace(f)
		if t.Outcome == flow.Unknown {
			continue
		}
		ids := workloadIDs(pods[k])
		finding := Finding{
			Object: w.Object, Field: w.Field(annotationField(k.annotation)), Severity: Note, SecuritySeverity: 2.0, Label: "for sidecars only",
			Workloads: ids, Flow: &f, Trace: t,
			Message: fmt.Sprintf("%s has no effect on %s, %s in ambient mode, where ztunnel takes every TCP connection; remove it",
				"annotation "+k.annotation, upTo3(ids), verb(len(ids), "which is", "which are")),
		}
		for _, other := range pods[k][1:min(len(pods[k]), maxNamed+1)] {
			finding.Related = append(finding.Related, Related{other.Object, other.Field(annotationField(k.annotation)), "the same here"})
		}
		p.Report(finding)
	}
}

// ambientOrders is workload shop/orders in ambient mode, with an annotation.
func ambientOrders(annotation string) string {
	return documents(openMesh, strings.Replace(shopNamespace, "istio-injection: enabled", "istio.io/dataplane-mode: ambient", 1), annotatedOrders(annotation))
}
