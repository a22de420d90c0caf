package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

var _ = register(&Analyzer{
	ID: "EGR708", Name: "lockdown-misses-workloads", Severity: Error, SecuritySeverity: 7.0,
	Run: runLockdownMisses,
	Doc: Doc{
		Title: "The egress lock-down of a namespace leaves out some of its workloads",
		What: "NetworkPolicies keep most workloads of a namespace from the internet, or half of them where the mesh controls what they send, " +
			"and no network policy isolates the others.",
		Why: "A policy holds for the pods that its `podSelector` selects. A workload with another label, often a job or a newer deployment, has the internet to itself, " +
			"and whoever can start a pod in the namespace can choose its labels.",
		Bad:  egressDoc(missingDoc("matchLabels: {app: orders}", "shop")),
		Good: egressDoc(missingDoc("", "shop")),
		Fix:  "Close the whole namespace with one policy (`podSelector: {}`), and open in further policies what single workloads need.",
		Silent: "Fewer than half of the workloads are closed (a policy for one application is no lock-down of the namespace); what the policies say is unknown; " +
			"pods on their host's network, gateways and waypoints.",
		Sources: []string{"https://kubernetes.io/docs/concepts/services-networking/network-policies/#default-deny-all-egress-traffic"},
	},
})

// missingDoc is a policy of a selector for namespace shop, and a second workload in a
// namespace, beside that of the documentation.
func missingDoc(selector, namespace string) string {
	return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: inside-only
  namespace: shop
spec:
  podSelector: {` + selector + `}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: report
  namespace: ` + namespace + `
spec:
  selector:
    matchLabels: {app: report}
  template:
    metadata:
      labels: {app: report}
    spec:
      containers:
      - name: report
        image: registry.example/report:1
`
}

func runLockdownMisses(p *Pass) {
	in := newControls(intentOf(p))
	order, of := p.applications()
	for _, ns := range order {
		var closed, open []*model.Workload
		for _, w := range of[ns] {
			switch {
			case p.network.locked(w):
				closed = append(closed, w)
			case p.network.free(w):
				open = append(open, w)
			}
		}
		most := 2*len(closed) > len(of[ns])
		if len(open) == 0 || len(closed) == 0 || !most && len(closed) < len(open) {
			continue
		}
		purpose := in.purposeFor(of[ns])
		if !most && purpose.Through == "" && !purpose.Closed {
			continue
		}
		locks := p.network.policies.Isolating(closed[0], networkingv1.PolicyTypeEgress)
		if len(locks) == 0 {
			continue // closed by policies of another kind
		}
		witness := p.around(open[0], worldPort, flow.TLS, "")
		if witness.Trace.Outcome != flow.Allowed {
			continue
		}
		f := Finding{Object: locks[0].Object, Field: "spec.podSelector", Label: "leaves out some workloads", Workloads: workloadIDs(open), Flow: &witness.Flow, Trace: witness.Trace,
			Help: "close the whole namespace with podSelector: {} and open in further policies what single workloads need"}
		who := "NetworkPolicy " + locks[0].ID() + " closes"
		if others := lockingPolicies(p, closed) - 1; others > 0 {
			who = fmt.Sprintf("NetworkPolicy %s and %d more close", locks[0].ID(), others)
		}
		f.Message = fmt.Sprintf("%s egress for %d of %d workloads of namespace %s; %s %s not selected and %s the internet; close the namespace with podSelector: {}",
			who, len(closed), len(of[ns]), ns, upTo3(f.Workloads), plural(len(open), "is", "are"), plural(len(open), "reaches", "reach"))
		for _, w := range open[:min(len(open), maxNamed)] {
			f.Related = append(f.Related, Related{w.Object, w.Field("metadata.labels"), fmt.Sprintf("the labels of %s, which no policy selects", w.ID())})
		}
		p.Report(f)
	}
}

// lockingPolicies counts the NetworkPolicies that close some workloads.
func lockingPolicies(p *Pass, closed []*model.Workload) int {
	var all []*model.NetworkPolicy
	for _, w := range closed {
		for _, np := range p.network.policies.Isolating(w, networkingv1.PolicyTypeEgress) {
			if !slices.Contains(all, np) {
				all = append(all, np)
			}
		}
	}
	return len(all)
}
