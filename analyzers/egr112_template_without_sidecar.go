package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR112", Name: "non-sidecar-template", Severity: Error, SecuritySeverity: 7.5,
	Run: runTemplateWithoutSidecar,
	Doc: Doc{
		Title: "A workload is injected with a template that redirects nothing",
		What: "`inject.istio.io/templates` of a pod, or `sidecarInjectorWebhook.defaultTemplates` of the installation, chooses a gRPC template (`grpc-agent`, `grpc-simple`) without `sidecar`, " +
			"where the manifests control what the workload sends.",
		Why: "These templates add an agent that configures the gRPC library of the application. Only its gRPC channels with an xds:/// target take part in the mesh: everything " +
			"else goes out as if there were no mesh, whatever routes, gateways and REGISTRY_ONLY say.",
		Bad:  documents(closedMesh, shopNamespace, annotatedOrders("inject.istio.io/templates: grpc-agent")),
		Good: documents(closedMesh, shopNamespace, annotatedOrders("inject.istio.io/templates: sidecar")),
		Fix:  "Use the template `sidecar`, or stop with a NetworkPolicy what the workload must not send.",
		Silent: "The manifests control nothing of what the workload sends; the template is the installation's own, or one that nobody knows; gateways; namespaces of Kubernetes and Istio; the outcome is unknown. " +
			"Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio pkg/kube/inject/inject.go (selectTemplates, RunTemplate)",
			"istio manifests/charts/istio-control/istio-discovery/files/grpc-agent.yaml",
			"https://istio.io/latest/blog/2021/proxyless-grpc/",
		},
	},
})

// templatesAnnotation chooses the injection templates of a pod.
const templatesAnnotation = "inject.istio.io/templates"

func runTemplateWithoutSidecar(p *Pass) {
	in := newControls(intentOf(p))
	var all escapes
	for _, class := range p.Reach.Classes() {
		c := p.Reach.Sim.Capture(class[0])
		if c.Mode != capture.None || c.Assumption != "" || systemNamespace(p, class[0].Namespace) || !slices.ContainsFunc(c.Because, ofTemplates) {
			continue
		}
		list, more := in.of(class[0], anyPort)
		found := leakOf(p, list, more, anyTrace)
		for _, w := range class {
			own := p.Reach.Sim.Capture(w)
			all.add(w, cause{why: own.Why, place: placeOf(w, own.Because)}, found)
		}
	}
	for _, x := range all.order {
		p.Report(x.finding(p, Finding{
			Label: "redirects nothing",
			Help:  "only gRPC channels with an xds:/// target take part in the mesh without a sidecar",
			Message: fmt.Sprintf("%s no sidecar (%s), so that %s there; %s %s; use template sidecar",
				x.subject("gets", "get"), x.why, x.without(), x.what("any host"), x.leaves()),
		}))
	}
}

// ofTemplates reports whether a field chooses injection templates.
func ofTemplates(b flow.Because) bool {
	return strings.HasSuffix(b.Field, annotationField(templatesAnnotation)) || strings.HasSuffix(b.Field, "sidecarInjectorWebhook.defaultTemplates")
}
