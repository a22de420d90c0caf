package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID:   "EGR202",
	Name: "sidecar-reopens-egress",
	Doc: Doc{
		Title: "A Sidecar reopens what REGISTRY_ONLY closes",
		What: "The mesh, or a Sidecar of wider scope, is `REGISTRY_ONLY`; the Sidecar that counts for some workloads is `ALLOW_ANY`, " +
			"because it says so, or because it says nothing and so takes the mesh's policy in place of that of the Sidecar it displaces.",
		Why: "Of several Sidecars only one counts for a workload: one that selects it, else the one of its namespace, else the one of " +
			"the root namespace. They are never combined. Its workloads reach every host, registered or not, while the mesh " +
			"configuration reads as if they could not.",
		Bad: documents(closedMesh, shopNamespace, ordersDeployment, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: shop
spec:
  outboundTrafficPolicy:
    mode: ALLOW_ANY
`),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: shop
spec:
  egress:
  - hosts: ["./*", "istio-system/*"]
`),
		Fix: "Write `REGISTRY_ONLY` (or remove `outboundTrafficPolicy`, if it is the mesh that is closed), and register what the workloads need " +
			"with ServiceEntries.",
		Silent: "The Sidecar counts for no workload with a sidecar in the input; nothing closes the mesh; the outcome is unknown. " +
			"With `egressProxy`, or where a NetworkPolicy stops the requests, it is a note.",
		Sources: []string{
			"istio/istio pilot/pkg/model/sidecar.go",
			"istio/istio pilot/pkg/model/push_context.go doGetSidecarScope",
			"https://istio.io/latest/docs/reference/config/networking/sidecar/#OutboundTrafficPolicy",
		},
	},
	Severity:         Error,
	SecuritySeverity: 7.9,
	Run:              runSidecarReopens,
})

// reopening is a Sidecar that opens what something else would close.
type reopening struct {
	sidecar *model.Sidecar
	closed  Related
}

func runSidecarReopens(p *Pass) {
	in := newControls(intentOf(p))
	var order []reopening
	proofs := map[reopening]*proof{}
	workloads := map[reopening][]*model.Workload{}
	for _, class := range p.Reach.Classes() {
		w := class[0]
		s := in.push.SidecarFor(w.Namespace, w.Labels)
		if s == nil || !in.captured(w) {
			continue
		}
		if _, closed := in.closes(w); closed {
			continue
		}
		closed, ok := in.closedWithout(s, w)
		if !ok {
			continue
		}
		shown := in.proveUnregistered(w, func(t *flow.Trace) bool {
			return stoppedByNetwork(t) || t.Outcome == flow.Allowed && (t.Via == flow.ViaPassthrough || s.Spec.GetOutboundTrafficPolicy().GetEgressProxy() != nil)
		})
		if shown == nil {
			continue
		}
		key := reopening{s, closed}
		if proofs[key] == nil {
			order = append(order, key)
		}
		// One that gets out proves more than one that is stopped.
		if old := proofs[key]; old == nil || old.Trace.Outcome == flow.Blocked && shown.Trace.Outcome == flow.Allowed {
			proofs[key] = shown
		}
		workloads[key] = append(workloads[key], class...)
	}
	for _, key := range order {
		p.Report(key.finding(proofs[key], workloadIDs(workloads[key])))
	}
}

func (r reopening) finding(shown *proof, workloads []string) Finding {
	policy := r.sidecar.Spec.GetOutboundTrafficPolicy()
	f := Finding{
		Object: r.sidecar.Object, Field: "spec.outboundTrafficPolicy.mode", Label: "opens " + counted(len(workloads), "workload"),
		Workloads: workloads, Related: []Related{r.closed}, Flow: &shown.Flow, Trace: shown.Trace,
		Help: "register what the workloads need with ServiceEntries instead",
	}
	switch {
	case policy == nil:
		f.Field = "spec"
		f.Message = fmt.Sprintf("Sidecar %s displaces %s and has no outboundTrafficPolicy of its own; ALLOW_ANY of the mesh holds for %s, so that hosts that nothing registers are within their reach; write outboundTrafficPolicy.mode REGISTRY_ONLY",
			r.sidecar.ID(), r.closed.Object, upTo3(workloads))
	case policy.GetEgressProxy() != nil:
		f.Severity, f.Field = Note, "spec.outboundTrafficPolicy.egressProxy"
		f.Message = fmt.Sprintf("Sidecar %s sets ALLOW_ANY for %s although %s, and sends what nothing registers to %q; see to it that this proxy decides about it",
			r.sidecar.ID(), upTo3(workloads), r.closed.Message, policy.GetEgressProxy().GetHost())
	default:
		mend := "remove outboundTrafficPolicy"
		f.Edits = []Edit{{f.Object, f.Field, "REGISTRY_ONLY"}}
		if r.closed.Object.Kind == "Sidecar" {
			mend = "write REGISTRY_ONLY" // Sidecars do not inherit from each other
		}
		f.Message = fmt.Sprintf("Sidecar %s sets ALLOW_ANY for %s although %s; hosts that nothing registers are within their reach; %s",
			r.sidecar.ID(), upTo3(workloads), r.closed.Message, mend)
	}
	if shown.Trace.Outcome == flow.Blocked {
		f.onlyNetworkPolicy()
	}
	return f
}

// closedWithout returns what would close a workload's sidecar to hosts that
// nothing registers if the Sidecar that counts for it were not there, and whether
// anything would.
func (in *intent) closedWithout(s *model.Sidecar, w *model.Workload) (Related, bool) {
	// Without labels no selector matches, and no namespace has an empty name:
	// what is left are the Sidecars of the namespace and of the mesh.
	next := in.push.SidecarFor(w.Namespace, nil)
	if next == s {
		next = in.push.SidecarFor("", nil)
	}
	if next == nil || next == s || next.Spec.GetOutboundTrafficPolicy() == nil {
		return closedMeshOf(in.pass.Mesh.ConfigFor(w))
	}
	return closedBy(next)
}
