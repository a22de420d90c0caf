package analyzers

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID:   "EGR105",
	Name: "host-network-workload",
	Doc: Doc{
		Title: "A workload of the mesh uses the host's network",
		What: "Pods with `hostNetwork: true` run where the mesh controls egress: without that field their labels, or those of their namespace, would give " +
			"them a proxy.",
		Why: "The injector leaves such pods out, and so does ambient mode: redirecting them would redirect the node. What they send goes past the mesh, and with most network " +
			"plugins NetworkPolicies do not apply to it either.",
		Bad:  documents(closedMesh, shopNamespace, onHostNetwork(ordersDeployment)),
		Good: documents(closedMesh, shopNamespace, ordersDeployment),
		Fix:  "Remove `hostNetwork`. Where a workload needs it, restrict what its nodes send with a firewall.",
		Silent: "The manifests control nothing of what the workload would send; it would have no proxy in a network of its own either, or nobody knows; the outcome is unknown; it is in a " +
			"namespace of Kubernetes or Istio.",
		Sources: []string{
			"istio/istio pkg/kube/inject/inject.go",
			"istio/istio cni/pkg/util/enablement_selector.go",
			"https://kubernetes.io/docs/concepts/services-networking/network-policies/",
		},
	},
	Severity:         Warning,
	SecuritySeverity: 6.3,
	Run:              runHostNetwork,
})

func runHostNetwork(p *Pass) {
	in := newControls(intentOf(p))
	var all escapes
	for _, class := range p.Reach.Classes() {
		var found *leak // of the class, made when it is needed
		for _, w := range class {
			if w.Pod == nil || !w.Pod.HostNetwork || systemNamespace(p, w.Namespace) || p.Reach.Sim.Capture(w).Mode != capture.None || !meshedOtherwise(p, w) {
				continue
			}
			if found == nil {
				list, more := in.of(class[0], anyPort)
				l := leakOf(p, list, more, anyTrace)
				found = &l
			}
			all.add(w, cause{place: exclusion{w.Object, w.Field("spec.hostNetwork")}}, *found)
		}
	}
	for _, x := range all.order {
		p.Report(x.finding(p, Finding{
			Label: "no proxy in the host's network",
			Help:  "where a workload needs the host's network, restrict what its nodes send with a firewall: most network plugins apply no NetworkPolicy to it",
			Message: fmt.Sprintf("%s the host's network, so that %s there; %s %s; remove hostNetwork",
				x.subject("uses", "use"), x.without(), x.what("any host"), x.leaves()),
		}))
	}
}

// meshedOtherwise reports whether a workload would have a proxy in a network of
// its own.
func meshedOtherwise(p *Pass, w *model.Workload) bool {
	c := captureIf(p, w, func(_ *model.Workload, pod *corev1.PodSpec) { pod.HostNetwork = false })
	return (c.Mode == capture.Sidecar || c.Mode == capture.Ambient) && c.Assumption == ""
}

// onHostNetwork is a workload whose pods use the host's network.
func onHostNetwork(deployment string) string {
	return strings.Replace(deployment, "      containers:\n", "      hostNetwork: true\n      containers:\n", 1)
}
