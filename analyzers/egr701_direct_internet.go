package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR701", Name: "direct-internet-possible", Severity: Warning, SecuritySeverity: 6.9,
	Precision: PrecisionMedium,
	Run:       runDirectInternet,
	Doc: Doc{
		Title: "Nothing but their own proxies keeps workloads from the internet",
		What: "The manifests send requests of a namespace through an egress gateway or a waypoint, or close at least half of the namespaces with network policies, " +
			"and no network policy isolates the pods of this namespace. Under REGISTRY_ONLY alone it is a note.",
		Why: "A process can go around its own proxy: with another user id, with a capability, by UDP, or because the pod loses its proxy. " +
			"It can not go around the network. Without a network policy a gateway is a suggestion.",
		Bad: egressDoc(""),
		Good: egressDoc(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: inside-only
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {}
`),
		Fix: "Add a NetworkPolicy that lets the pods of the namespace reach DNS, istiod, and the pods of the gateway on the ports on which these listen; the finding holds one to begin with.",
		Silent: "The manifests control nothing of what the namespace sends; a network policy isolates the pods (what it leaves open is EGR703 and EGR704), or most of the pods (EGR708); " +
			"what the policies say is unknown, or one of them is a template; the name of the namespace is a placeholder (`${NAMESPACE}`); the input does not hold the gateway, and the route to it stands with the pods of another namespace; the pods stand for a server outside, since a route sends requests for their own Service through the gateway. Pods without a proxy are EGR101 and EGR102, those on their host's network EGR105.",
		Sources: []string{
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/#additional-security-considerations",
			"https://istio.io/latest/docs/ops/best-practices/security/#understand-traffic-capture-limitations",
		},
	},
})

func runDirectInternet(p *Pass) {
	in := newControls(intentOf(p))
	outside := in.standIns()
	order, of := p.applications()
	locked := map[string]*model.Workload{} // a closed workload, by namespace that is closed for the most part
	open := map[string][]*model.Workload{}
	for _, ns := range order {
		var first *model.Workload
		closed := 0
		for _, w := range of[ns] {
			switch {
			case p.network.locked(w):
				if closed++; first == nil {
					first = w
				}
			case p.inMesh(w) && p.network.free(w) && !outside[w]:
				open[ns] = append(open[ns], w)
			}
		}
		switch {
		case 2*closed > len(of[ns]):
			locked[ns] = first
			delete(open, ns) // EGR708
		case closed > 0 && closed >= len(open[ns]):
			delete(open, ns)
		}
	}
	told := map[string]string{} // the namespace for which a policy was written out
	for _, ns := range order {
		if len(open[ns]) > 0 {
			in.reportOpen(ns, open[ns], locked, order, told)
		}
	}
}

// reportOpen reports a namespace that no network policy closes.
func (in *controls) reportOpen(ns string, clients []*model.Workload, locked map[string]*model.Workload, namespaces []string, told map[string]string) {
	p := in.pass
	purpose := in.purposeFor(clients)
	f := Finding{Severity: Warning, SecuritySeverity: 6.9, Label: "no network policy closes it", Workloads: workloadIDs(clients)}
	at := p.namespacePlace(ns, clients)
	f.Object, f.Field = at.object, at.field
	i := slices.IndexFunc(namespaces, func(other string) bool { return locked[other] != nil })
	if 2*len(locked) < len(namespaces) {
		i = -1 // one namespace that is closed is no wish for all others
	}
	var effect string
	switch {
	case purpose.Through != "":
		effect = fmt.Sprintf("control at %s is advisory", purpose.Through)
	case i >= 0:
		w := locked[namespaces[i]]
		for _, np := range p.network.policies.Isolating(w, networkingv1.PolicyTypeEgress)[:1] {
			purpose.Because = Related{np.Object, "spec.podSelector", fmt.Sprintf("namespace %s is closed", w.Namespace)}
		}
		effect = fmt.Sprintf("other namespaces (%s) are closed", namespaces[i])
	case purpose.Closed && slices.ContainsFunc(clients, func(w *model.Workload) bool { return p.Reach.Sim.Capture(w).Mode == capture.Sidecar }):
		f.Severity, f.SecuritySeverity = Note, 3.0
		effect = "REGISTRY_ONLY is advisory"
	default:
		return
	}
	beside := ""
	if object, field := unmeantPolicy(p, ns); object != nil {
		f.Object, f.Field = object, field
	} else if np := selectingNobody(p, ns); np != nil {
		f.Object, f.Field, f.Label = np.Object, "spec.podSelector", "selects none of them"
		beside = fmt.Sprintf(" (NetworkPolicy %s, which restricts egress, selects no pod)", np.ID())
	}
	witness := p.around(clients[0], worldPort, flow.TLS, "")
	if witness.Trace.Outcome != flow.Allowed {
		return
	}
	f.Flow, f.Trace = &witness.Flow, witness.Trace
	if purpose.Because.Object != nil {
		f.Related = append(f.Related, purpose.Because)
	}
	f.Message = fmt.Sprintf("namespace %s has no network policy that keeps %s from the internet%s: a process that goes around its proxy gets out, and %s; close the namespace with a NetworkPolicy",
		ns, upTo3(f.Workloads), beside, effect)
	policy := lockdown(in.intent, ns, clients)
	if f.Object == at.object { // a policy that means to is mended, not joined
		f.Edits = []Edit{{Object: f.Object, Text: policy}}
	}
	// Most namespaces need the same policy: a page of it for each tells nothing.
	alike := strings.Replace(policy, "\n  namespace: "+ns+"\n", "\n", 1)
	if first := told[alike]; first != "" {
		f.Help = fmt.Sprintf("the policy of the fix for namespace %s does here too; add what the pods call inside the cluster", first)
	} else {
		told[alike] = ns
		f.Fix = policy
		f.Help = "the policy of the fix lets the mesh's own path through; add what the pods call inside the cluster"
	}
	p.Report(f)
}

// standIns returns the workloads for whose Service a route of the mesh sends
// requests to an egress gateway: they take the place of servers outside, and
// nothing is to keep them from where they are.
func (in *intent) standIns() map[*model.Workload]bool {
	gateways := map[host.Name]bool{}
	for _, s := range in.steerings {
		gateways[host.Name(s.Destination.GetHost())] = true
	}
	out := map[*model.Workload]bool{}
	for _, vs := range in.push.VirtualServices() {
		for _, m := range meshRoutes(vs) {
			if !gateways[m.to] {
				continue
			}
			for _, h := range m.hosts {
				s := in.service(h)
				if s == nil || gateways[h] {
					continue
				}
				for _, e := range in.push.Endpoints(s, nil) {
					if e.Workload != nil {
						out[e.Workload] = true
					}
				}
			}
		}
	}
	return out
}

// selectingNobody returns a NetworkPolicy of a namespace that restricts egress and
// certainly selects none of its workloads, nil if there is none.
func selectingNobody(p *Pass, ns string) *model.NetworkPolicy {
	for _, np := range p.Mesh.NetworkPolicies {
		s, err := metav1.LabelSelectorAsSelector(&np.Spec.Spec.PodSelector)
		if np.Namespace != ns || err != nil || !isolatesEgress(np) || slices.ContainsFunc(p.Mesh.Workloads, func(w *model.Workload) bool {
			return w.Namespace == ns && (w.PodUnknown != "" || s.Matches(labels.Set(w.Labels)))
		}) {
			continue
		}
		return np
	}
	return nil
}

// unmeantPolicy returns a NetworkPolicy of a namespace that means to restrict
// egress and does not, with the field that EGR702 points to.
func unmeantPolicy(p *Pass, ns string) (object *manifest.Object, field string) {
	for _, np := range p.Mesh.NetworkPolicies {
		if np.Namespace == ns {
			if f, ok := notEgress(np); ok && f.Severity == Error {
				return np.Object, f.Field
			}
		}
	}
	return nil, ""
}
