package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

var _ = register(&Analyzer{
	ID: "EGR709", Name: "gateway-escape-hatch", Severity: Warning, SecuritySeverity: 5.5,
	Precision: PrecisionMedium,
	Run:       runGatewayEscapeHatch,
	Doc: Doc{
		Title: "Applications share the open namespace of Istio and its egress gateway",
		What: "Network policies close the internet to the namespaces of applications, and in a namespace of Istio (istio-system, the root namespace) that holds an egress gateway a workload runs that none isolates " +
			"and that is no part of Istio.",
		Why: "The gateway's namespace is the one that may reach the internet. Whatever else runs there gets out as well, past the gateway and its policies, " +
			"and whoever may create pods there has a way out that the policies of all other namespaces do not close.",
		Bad:  egressDoc(missingDoc("", "istio-system"), hatchMesh...),
		Good: egressDoc(missingDoc("", "shop"), hatchMesh...),
		Fix:  "Move the workload to a namespace that is closed, or close the namespace of the gateway by a NetworkPolicy for all pods and open it for the pods of the gateway in another one.",
		Silent: "No namespace is closed; something isolates the workload, or whether it does is unknown; the gateway is in a namespace of its own (what is wrong there with other workloads is EGR101, EGR102, EGR701 and EGR708); the workload is a part of Istio or one of the tools that come with it " +
			"(Prometheus, Grafana, Kiali, Jaeger, Zipkin and the like), or on its host's network (EGR105); the gateway's pods are not in the input.",
		Sources: []string{
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/#additional-security-considerations",
			"https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation",
		},
	},
})

// hatchMesh puts the gateway of the documented mesh into istio-system.
var hatchMesh = []string{"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: istio-egress\n---\n", "", "istio-egress", "istio-system"}

func runGatewayEscapeHatch(p *Pass) {
	in := intentOf(p)
	closed := p.closedWorkload()
	if closed == nil {
		return
	}
	var done []string
	for _, g := range in.gateways {
		if slices.Contains(done, g.Namespace) {
			continue
		}
		done = append(done, g.Namespace)
		var open []*model.Workload
		for _, class := range p.Reach.Classes() {
			for _, w := range class {
				if w.Namespace == g.Namespace && p.strays(w) && p.network.free(w) {
					open = append(open, w)
				}
			}
		}
		if len(open) == 0 {
			continue
		}
		witness := p.around(open[0], worldPort, flow.TLS, "")
		if witness.Trace.Outcome != flow.Allowed {
			continue
		}
		f := Finding{Object: open[0].Object, Field: "metadata.namespace", Label: "beside the gateway, and as open", Workloads: workloadIDs(open),
			Flow: &witness.Flow, Trace: witness.Trace, Related: []Related{{g.Object, "metadata.namespace", fmt.Sprintf("egress gateway %s", g.ID())}},
			Help: "or close the gateway's namespace for all pods and open it for the gateway's in another NetworkPolicy"}
		for _, np := range p.network.policies.Isolating(closed, networkingv1.PolicyTypeEgress) {
			f.Related = append(f.Related, Related{np.Object, "spec.podSelector", fmt.Sprintf("namespace %s is closed", closed.Namespace)})
			break
		}
		f.Message = fmt.Sprintf("%s %s namespace %s with egress gateway %s, and no network policy keeps %s from the internet, although other namespaces (%s) are closed: %s out past the gateway; move %s to a closed namespace",
			upTo3(f.Workloads), plural(len(open), "shares", "share"), g.Namespace, g.ID(), plural(len(open), "it", "them"), closed.Namespace, plural(len(open), "it gets", "they get"), plural(len(open), "it", "them"))
		p.Report(f)
	}
}

// closedWorkload returns a workload of a namespace that network policies close for
// the most part, nil if there is none.
func (p *Pass) closedWorkload() *model.Workload {
	order, of := p.applications()
	for _, ns := range order {
		list := slices.DeleteFunc(slices.Clone(of[ns]), func(w *model.Workload) bool { return !p.network.locked(w) })
		if 2*len(list) > len(of[ns]) {
			return list[0]
		}
	}
	return nil
}

// strays reports whether a workload of a namespace of Istio's is no part of Istio.
func (p *Pass) strays(w *model.Workload) bool {
	if w.Pod == nil || w.Pod.HostNetwork || p.isApplication(w) {
		return false
	}
	return !w.PartOfIstio()
}
