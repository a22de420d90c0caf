package analyzers

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID: "EGR705", Name: "netpol-broad-gateway-peer", Severity: Warning, SecuritySeverity: 5.5,
	Run: runBroadGatewayPeer,
	Doc: Doc{
		Title: "A NetworkPolicy lets pods reach more than the egress gateway in the gateway's namespace",
		What: "A policy that closes pods' egress lets them reach all pods of the namespace of the egress gateway, and other pods run there that may reach the internet: " +
			"other gateways, tools, applications.",
		Why: "Whatever runs beside the gateway and may reach the internet can serve as a way out: an ingress gateway that forwards, a proxy, a debugging pod. " +
			"None of them asks the policies of the egress gateway.",
		Bad:  egressDoc(broadPeerDoc("")),
		Good: egressDoc(broadPeerDoc("      podSelector:\n        matchLabels:\n          istio: egressgateway\n")),
		Fix:  "Add a `podSelector` with the gateway's labels to the same element of `to` (two elements are alternatives), and the ports on which its pods listen.",
		Silent: "Nothing sends the requests of the pods through a gateway; nothing else in that namespace may reach the internet for certain; the selector takes all namespaces; " +
			"the policy does not close the pods' egress. istiod does not count.",
		Sources: []string{
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/#additional-security-considerations",
			"https://kubernetes.io/docs/concepts/services-networking/network-policies/#behavior-of-to-and-from-selectors",
		},
	},
})

// broadPeerDoc is a policy for the clients of the documentation, and a tool beside
// their gateway.
func broadPeerDoc(selector string) string {
	return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: gateway-only
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: istio-egress
` + selector + `---
apiVersion: v1
kind: Pod
metadata:
  name: squid
  namespace: istio-egress
  labels:
    app: squid
spec:
  containers:
  - name: squid
    image: registry.example/squid:1
`
}

func runBroadGatewayPeer(p *Pass) {
	in := intentOf(p)
	gateways := map[*model.Workload]bool{}
	for _, s := range in.steerings {
		for _, w := range s.Pods {
			gateways[w] = true
		}
	}
	for _, h := range served(in.waypointHosts()) {
		if w := in.push.WaypointWorkload(h.Binding.Waypoint); w != nil {
			gateways[w] = true
		}
	}
	if len(gateways) == 0 {
		return
	}
	type neighbours struct {
		gateway *model.Workload
		others  []*model.Workload
	}
	found := map[string]neighbours{}
	for _, np := range p.Mesh.NetworkPolicies {
		if !isolatesEgress(np) {
			continue
		}
		var clients []*model.Workload
		for _, class := range p.classesOf(np.Namespace) {
			if selectsPod(&np.Spec.Spec.PodSelector, class[0]) && p.network.locked(class[0]) {
				clients = append(clients, class...)
			}
		}
		if len(clients) == 0 {
			continue
		}
		for i, rule := range np.Spec.Spec.Egress {
			for j, peer := range rule.To {
				if peer.NamespaceSelector == nil || len(peer.NamespaceSelector.MatchLabels)+len(peer.NamespaceSelector.MatchExpressions) == 0 ||
					peer.PodSelector != nil && len(peer.PodSelector.MatchLabels)+len(peer.PodSelector.MatchExpressions) > 0 {
					continue
				}
				selector := metav1.FormatLabelSelector(peer.NamespaceSelector)
				at, known := found[selector] // most policies have the same
				if !known {
					at.gateway, at.others = in.beside(peer.NamespaceSelector, gateways)
					found[selector] = at
				}
				meant, others := at.gateway, at.others
				if meant == nil || len(others) == 0 {
					continue
				}
				f := Finding{Object: np.Object, Field: fmt.Sprintf("spec.egress[%d].to[%d].namespaceSelector", i, j), Label: "all pods of that namespace", Workloads: workloadIDs(clients),
					Fix: podSelectorFix(in.podLabels(meant)), Help: "put the podSelector into the same element of to: two elements are alternatives"}
				f.Message = fmt.Sprintf("NetworkPolicy %s rule %d lets %s reach all pods of namespace %s instead of gateway %s alone: %s may reach the internet too; add a podSelector for the gateway",
					np.ID(), i, upTo3(f.Workloads), meant.Namespace, meant.ID(), upTo3(workloadIDs(others)))
				for _, w := range others[:min(len(others), maxNamed)] {
					f.Related = append(f.Related, Related{w.Object, "metadata.name", fmt.Sprintf("%s runs beside the gateway", w.ID())})
				}
				p.Report(f)
			}
		}
	}
}

// beside returns a gateway of the namespaces that a selector certainly selects,
// and the other workloads there that may certainly reach the internet.
func (in *intent) beside(selector *metav1.LabelSelector, gateways map[*model.Workload]bool) (gateway *model.Workload, others []*model.Workload) {
	p := in.pass
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, nil
	}
	for _, w := range p.Mesh.Workloads {
		ns := p.Mesh.Namespaces[w.Namespace]
		if ns == nil || !s.Matches(labels.Set(ns.Labels)) {
			continue
		}
		switch {
		case gateways[w]:
			if gateway == nil {
				gateway = w
			}
		case w.Labels["app"] == "istiod", p.Reach.Sim.Capture(w).Mode == capture.Waypoint:
		case p.network.free(w):
			others = append(others, w)
		}
	}
	if gateway == nil {
		return nil, nil
	}
	others = slices.DeleteFunc(others, func(w *model.Workload) bool { return w.Namespace != gateway.Namespace })
	return gateway, others
}

// podSelectorFix is the selector to add.
func podSelectorFix(podLabels map[string]string) string {
	out := "podSelector:\n  matchLabels:\n"
	for _, k := range sortedKeys(podLabels) {
		out += fmt.Sprintf("    %s: %q\n", k, podLabels[k])
	}
	return out
}
