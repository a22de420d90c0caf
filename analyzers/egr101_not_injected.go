package analyzers

import (
	"fmt"
	"strings"
)

var _ = register(&Analyzer{
	ID:        "EGR101",
	Name:      "workload-not-injected",
	Precision: PrecisionMedium,
	Doc: Doc{
		Title: "A workload that the mesh is to control has no proxy",
		What: "A workload has neither a sidecar nor a ztunnel: its pods decline injection, the injector leaves them out, nothing " +
			"redirects to the proxy that they bring, or their namespace has no injection label although other configuration means the " +
			"mesh to control it (pods there that have a proxy, a ServiceEntry, a Sidecar, a route, a policy that names it).",
		Why: "Nothing of the mesh holds for what it sends. REGISTRY_ONLY, routes to an egress gateway and the policies of that gateway " +
			"are carried out by the proxy of the client, and there is none: the workload reaches the internet as if there were no mesh.",
		Bad:  documents(closedMesh, shopNamespace, declining(ordersDeployment)),
		Good: documents(closedMesh, shopNamespace, ordersDeployment),
		Fix: "Have the proxy injected: label the namespace, take the opt-out off the pod template, and restart the pods. Where a " +
			"workload cannot have a proxy, stop what it sends with a NetworkPolicy.",
		Silent: "The manifests control nothing of what the workload sends; the labels of the namespace are not in the input, and it is they that " +
			"decide; the outcome is unknown. Gateways, waypoints and the namespaces of Kubernetes and Istio are left out, as are labels without effect " +
			"(EGR103), pods in the host's network (EGR105), and namespaces of which nothing says that the mesh is to control them " +
			"(EGR102). Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio/istio manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml",
			"istio/istio pkg/kube/inject/inject.go",
			"https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy",
		},
	},
	Severity:         Error,
	SecuritySeverity: 8.1,
	Run:              runNotInjected,
})

func runNotInjected(p *Pass) {
	in := newControls(intentOf(p))
	for _, x := range bareEscapes(p, in) {
		if x.outside {
			continue // EGR102
		}
		who := x.subject("gets no proxy", "get no proxy")
		if x.workloads[0].ProxyContainer() != nil {
			who = x.subject("has a proxy that sees nothing", "have a proxy that sees nothing")
		}
		f := Finding{
			Severity: Warning, SecuritySeverity: 6.1, Label: "no proxy",
			Help: "labels are looked at when a pod is created: restart the pods after the change",
			Message: fmt.Sprintf("%s (%s), so that %s there; %s %s; %s",
				who, x.why, x.without(), x.what("any host"), x.leaves(), x.todo),
		}
		for _, c := range x.open {
			if c.Steering == nil {
				continue
			}
			// Somebody wrote a policy about this host for the gateway.
			if list := in.policed(c.Steering, c.To.Host); len(list) > 0 {
				f.Severity, f.SecuritySeverity = Error, 8.1
				f.Related = append(f.Related, list[0].related(c.To.Host))
				break
			}
		}
		p.Report(x.meantToPass(in.intent, x.finding(p, f)))
	}
}

// declining is workload shop/orders with pods that decline a sidecar.
func declining(deployment string) string {
	return strings.Replace(deployment, "      labels: {app: orders}\n",
		"      labels:\n        app: orders\n        sidecar.istio.io/inject: \"false\"\n", 1)
}
