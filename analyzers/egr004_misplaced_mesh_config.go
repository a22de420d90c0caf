package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID: "EGR004", Name: "misplaced-mesh-config", Severity: Warning, SecuritySeverity: 6.0,
	Run: runMisplacedMeshConfig,
	Doc: Doc{
		Title: "The mesh configuration lies where no istiod reads it",
		What: "The ConfigMap with the outbound traffic policy of the mesh lies in a namespace of applications, in which nothing of Istio runs. " +
			"The answers take it for the mesh configuration all the same, as the input holds no other.",
		Why:     "istiod reads the ConfigMap of its own namespace, by default istio-system. Elsewhere it is a text that nobody reads, and the default stays in force: ALLOW_ANY.",
		Bad:     documents(misplaced004("shop"), shopNamespace, ordersDeployment),
		Good:    documents(misplaced004("istio-system"), shopNamespace, ordersDeployment),
		Fix:     "Move the ConfigMap to the namespace of istiod.",
		Silent:  "Namespaces of which the input holds no application, or a part of Istio: istiod, a gateway; other kinds of installation (IstioOperator, Helm values), which may lie anywhere; ConfigMaps that do not set outboundTrafficPolicy.",
		Sources: []string{"istio pilot/pkg/bootstrap/mesh.go (initMeshConfiguration)"},
	},
})

// misplaced004 is a mesh configuration in a namespace.
func misplaced004(namespace string) string {
	return `apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: ` + namespace + `
data:
  mesh: |
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
`
}

func runMisplacedMeshConfig(p *Pass) {
	object, field := p.Mesh.Config.Because("outboundTrafficPolicy.mode")
	if object == nil || object.Kind != "ConfigMap" || object.Namespace == "istio-system" {
		return
	}
	var clients []*model.Workload
	for _, w := range p.Mesh.Workloads {
		if w.Namespace != object.Namespace {
			continue
		}
		mode := p.Reach.Sim.Capture(w).Mode
		if mode == capture.Router || mode == capture.Waypoint || slices.Contains(istioParts, w.Labels["app"]) {
			return
		}
		clients = append(clients, w)
	}
	if len(clients) == 0 {
		return
	}
	p.Report(Finding{
		Object: object, Field: "metadata.namespace", Label: "not the namespace of istiod", Help: "move it to istio-system, or wherever istiod runs",
		Related: []Related{{object, field, "the outbound traffic policy"}},
		Message: fmt.Sprintf("%s is taken for the mesh configuration, but istiod reads the one of its own namespace, and namespace %q holds %s and nothing of Istio: the policy may not be in force; move it to istio-system",
			object, object.Namespace, upTo3(workloadIDs(clients))),
	})
}
