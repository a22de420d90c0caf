package analyzers

import (
	"fmt"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR200", Name: "egress-unrestricted", Severity: Warning, SecuritySeverity: 5.5,
	Precision: PrecisionMedium,
	Run:       runUnrestricted,
	Doc: Doc{
		Title: "The mesh passes through whatever nothing registers",
		What: "The mesh configuration of the input leaves outboundTrafficPolicy at ALLOW_ANY, and no NetworkPolicy keeps some workloads with a sidecar from the internet. " +
			"It is a note, once for each mesh configuration; a warning where routes send hosts to an egress gateway: somebody means to control egress.",
		Why:  "Every host is within reach, registered or not. ServiceEntries then only describe hosts, they permit nothing; and an egress gateway decides only about the hosts that are sent there.",
		Bad:  documents(openMesh, shopNamespace, ordersDeployment),
		Good: documents(closedMesh, shopNamespace, ordersDeployment),
		Fix:  "Write `outboundTrafficPolicy.mode: REGISTRY_ONLY`, register what workloads need, and close the way around the sidecar with NetworkPolicies.",
		Silent: "Inputs without mesh configuration; Sidecars with a policy of their own (EGR202); namespaces of Kubernetes and Istio; workloads that a NetworkPolicy keeps from the internet (a note where routes lead to an egress gateway), or perhaps. " +
			"Where EGR201 shows a host that is reached past its gateway for the same reason, it says so instead.",
		Sources: []string{
			"istio pkg/config/mesh/mesh.go (DefaultMeshConfig)",
			"https://istio.io/latest/docs/ops/best-practices/security/#configure-egress-traffic-control",
		},
	},
})

func runUnrestricted(p *Pass) {
	in := intentOf(p)
	type place struct {
		object *manifest.Object
		field  string
	}
	var order []place
	open := map[place][]*model.Workload{}
	shown := map[place]*proof{}
	limiting := map[place]*model.Sidecar{}
	var shutOrder []place
	shut, left := map[place]*proof{}, map[place][]*model.Workload{} // which only network policies stop
	for _, class := range p.Reach.Classes() {
		w := class[0]
		if !in.captured(w) || systemNamespace(p, w.Namespace) {
			continue
		}
		if s := in.push.SidecarFor(w.Namespace, w.Labels); s != nil && s.Spec.GetOutboundTrafficPolicy() != nil {
			continue
		}
		config := p.Mesh.ConfigFor(w)
		if _, closed := closedMeshOf(config); closed {
			continue
		}
		at := place{config.Source, config.Prefix}
		if o, field := config.Because("outboundTrafficPolicy.mode"); o != nil {
			at = place{o, field}
		}
		if !inFile(at.object, at.field) {
			continue
		}
		f := flow.Flow{From: reach.From(w), Host: in.anyHost(443).Host, Port: 443, Scheme: flow.TLS}
		t := p.Reach.Sim.Verdict(f)
		if len(in.steerings) > 0 && stoppedByNetwork(t) {
			if shut[at] == nil {
				shut[at] = &proof{f, t}
				shutOrder = append(shutOrder, at)
			}
			left[at] = append(left[at], class...)
		}
		if t.Outcome != flow.Allowed || t.Via != flow.ViaPassthrough {
			continue
		}
		if shown[at] == nil {
			order = append(order, at)
			shown[at] = &proof{f, p.Reach.Trace(f)}
		}
		open[at] = append(open[at], class...)
		if s := in.push.SidecarFor(w.Namespace, w.Labels); s != nil && limiting[at] == nil && listsHosts(s) {
			limiting[at] = s
		}
	}
	for _, at := range shutOrder {
		if shown[at] == nil {
			p.Report(in.leftToNetwork(Finding{Object: at.object, Field: at.field, Workloads: workloadIDs(left[at])}, shut[at]))
		}
	}
	for _, at := range order {
		ids := workloadIDs(open[at])
		f := Finding{
			Object: at.object, Field: at.field, Severity: Note, SecuritySeverity: 3.0, Label: "passes through what nothing registers",
			Workloads: ids, Flow: &shown[at].Flow, Trace: shown[at].Trace,
			Message: fmt.Sprintf("outboundTrafficPolicy is ALLOW_ANY, and no network policy closes the internet to %s, so that every host is within reach; write REGISTRY_ONLY to control egress", upTo3(ids)),
			Help:    "register what workloads need with ServiceEntries first",
		}
		if s := limiting[at]; s != nil {
			f.Related = []Related{{s.Object, "spec.egress[0].hosts", fmt.Sprintf("Sidecar %s lists hosts, which keeps its workloads from no other one", s.ID())}}
			f.Message = fmt.Sprintf("outboundTrafficPolicy is ALLOW_ANY, so that Sidecar %s, which lists hosts, keeps %s from no other host: what it does not import passes straight through; write REGISTRY_ONLY to control egress",
				s.ID(), upTo3(ids))
		}
		if len(in.steerings) > 0 {
			s := in.steerings[0]
			f.Severity, f.SecuritySeverity = Warning, 5.5
			f.Related = []Related{s.related()}
			f.Message = fmt.Sprintf("outboundTrafficPolicy is ALLOW_ANY although %s is there to control egress, so that %s still %s every other host past it; write REGISTRY_ONLY",
				s.gateway(), upTo3(ids), verb(len(ids), "reaches", "reach"))
		}
		p.Report(f)
	}
}

// leftToNetwork is the note about a mesh with egress gateways whose other hosts are closed
// by network policies alone.
func (in *intent) leftToNetwork(f Finding, shown *proof) Finding {
	s := in.steerings[0]
	f.Severity, f.Label = Note, "closes nothing by itself"
	f.Flow, f.Trace, f.Related = &shown.Flow, in.pass.Reach.Trace(shown.Flow), []Related{s.related()}
	f.Help = "network policies know addresses, sidecars hosts; let both say no"
	f.Message = fmt.Sprintf("outboundTrafficPolicy is ALLOW_ANY although %s is there to control egress: what %s %s elsewhere is stopped by NetworkPolicy %s alone; write REGISTRY_ONLY",
		s.gateway(), upTo3(f.Workloads), verb(len(f.Workloads), "sends", "send"), shown.Trace.Policy)
	return f
}

// listsHosts reports whether a Sidecar imports less than everything.
func listsHosts(s *model.Sidecar) bool {
	for _, e := range s.Spec.GetEgress() {
		if slices.ContainsFunc(e.GetHosts(), func(h string) bool { return h == "*/*" }) {
			return false
		}
	}
	return len(s.Spec.GetEgress()) > 0
}

// verb agrees with a number of subjects.
func verb(n int, singular, plural string) string {
	if n == 1 {
		return singular
	}
	return plural
}
