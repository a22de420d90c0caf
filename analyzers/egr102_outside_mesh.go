package analyzers

import (
	"fmt"
	"slices"
	"strings"
)

var _ = register(&Analyzer{
	ID:   "EGR102",
	Name: "namespace-outside-mesh",
	Doc: Doc{
		Title: "A namespace is in no mesh mode, and the egress controls of the mesh do not hold there",
		What: "The labels of a namespace ask for no proxy, none of its workloads has one, and the mesh controls egress: it is " +
			"`REGISTRY_ONLY`, or routes send external hosts to an egress gateway.",
		Why: "\"The mesh is REGISTRY_ONLY\" is not true of the cluster. Sidecars block, not the network: in a namespace without proxies " +
			"nothing blocks anything, and whoever may create pods there reaches every host.",
		Bad:  labelledShop("team: shop"),
		Good: labelledShop("istio-injection: enabled"),
		Fix: "Label the namespace `istio-injection=enabled` (or `istio.io/rev`) and restart its pods. If it is to stay outside the mesh, close its egress with a " +
			"NetworkPolicy.",
		Silent: "The mesh controls nothing that the namespace would send; no Namespace object or flag tells its labels; the outcome is unknown; it is a namespace " +
			"of Kubernetes or Istio, or only holds gateways or pods in the host's network. Where other configuration means the mesh to control the " +
			"namespace, EGR101 reports it. It is a note where only routes to a gateway are concerned (silent, where the input does not show the gateway), where the namespace is labelled " +
			"`istio-injection=disabled`, and where a NetworkPolicy stops the requests.",
		Sources: []string{
			"istio/istio manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-control/#security-note",
		},
	},
	Severity:         Warning,
	SecuritySeverity: 5.5,
	Run:              runOutsideMesh,
})

func runOutsideMesh(p *Pass) {
	for _, x := range unmeshedClients(p) {
		if x.asks == "" {
			x.report(p)
		}
	}
	in := newControls(intentOf(p))
	for _, x := range bareEscapes(p, in) {
		if !x.outside {
			continue // EGR101
		}
		// A Service of which the input does not show the pods may be a gateway:
		// not enough for an alarm about a namespace that nothing else mentions.
		if !slices.ContainsFunc(x.requests(), func(c control) bool { return c.Steering == nil || len(c.Steering.Pods) > 0 }) {
			continue
		}
		name := x.workloads[0].Namespace
		f := Finding{
			Severity: Note, Label: "no proxy in this namespace",
			Help: "labels are looked at when a pod is created: restart the pods after the change",
			Message: fmt.Sprintf("namespace %s is in no mesh mode (%s), so that %s there; %s %s; %s",
				name, strings.Replace(x.why, "namespace "+name+" ", "it ", 1), x.without(), x.what("any host"), x.leaves(), x.todo),
		}
		for _, c := range x.open {
			if c.Steering == nil && !x.declined {
				f.Severity, f.SecuritySeverity = Warning, 5.5
			}
		}
		p.Report(x.meantToPass(in.intent, x.finding(p, f)))
	}
}
