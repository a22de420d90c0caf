package analyzers

import (
	"cmp"
	"fmt"
)

var _ = register(&Analyzer{
	ID: "EGR004", Name: "misplaced-mesh-config", Severity: Warning, SecuritySeverity: 6.0,
	Run: runMisplacedMeshConfig,
	Doc: Doc{
		Title: "The mesh configuration lies where no istiod reads it",
		What: "A ConfigMap with an outbound traffic policy for the mesh lies where istiod does not read it: in a namespace other than that of istiod, or in one of applications where nothing of Istio runs. " +
			"The answers do not take it: what is in force is another policy.",
		Why:  "istiod reads the ConfigMap of its own namespace, by default istio-system. Elsewhere it is a text that nobody reads, and what was to be closed is open.",
		Bad:  documents(misplaced004("shop"), shopNamespace, ordersDeployment),
		Good: documents(misplaced004("istio-system"), shopNamespace, ordersDeployment),
		Fix:  "Move the ConfigMap to the namespace of istiod. If its manifest names no namespace because it is applied with one (kubectl apply -n), tell egresslint that too: PATH=NAMESPACE.",
		Silent: "The policy that is in force is the same; namespaces of which the input holds no application, or a part of Istio as a gateway, unless the input shows that istiod runs in another one (then the ConfigMap is taken, and a note says on what assumption); " +
			"other kinds of installation (IstioOperator, Helm values), which may lie anywhere; ConfigMaps that do not set outboundTrafficPolicy.",
		Sources: []string{"istio pilot/pkg/bootstrap/mesh.go (getConfigurationSources)"},
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
	for _, u := range p.Mesh.UnreadConfigs {
		mode, field := u.OutboundPolicy()
		effective := p.Mesh.ConfigOf(u.Revision).GetOutboundTrafficPolicy().GetMode().String()
		if mode == "" || mode == effective {
			continue
		}
		where, label := cmp.Or(u.Home, "istio-system"), "not the namespace of istiod"
		help := fmt.Sprintf("move it to %s", where)
		if u.Home == "" {
			help += ", or wherever istiod runs"
		}
		if u.Unplaced {
			label = "names no namespace"
			help += fmt.Sprintf("; where kubectl apply -n does so, tell egresslint too: PATH=%s", where)
		}
		p.Report(Finding{
			Object: u.Object, Field: "metadata.namespace", Label: label, Help: help,
			Related: []Related{{u.Object, field, "the policy that is not in force"}},
			Message: fmt.Sprintf("%s: %s is in force, not its %s; move it to %s", u.Why, effective, mode, where),
		})
	}
}
