package analyzers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/netpol"
	"github.com/egresslint/egresslint/model/reach"
)

// entrance is a port of a gateway's or waypoint's pods, with those who are to call it
// and a request of each.
type entrance struct {
	pod  *model.Workload
	port int
	what string
	// request is the one that a client sends there, false for those who send none.
	request func(*model.Workload) (flow.Flow, bool)
}

// closedEntrances reports network policies of an egress gateway or a waypoint that let
// none of the clients in of which the mesh sends requests there.
func (in *intent) closedEntrances() {
	for _, g := range in.gateways {
		if !in.isolated(g.Workload) {
			continue
		}
		by := map[int][]*steering{}
		var ports []int
		for _, s := range in.steerings {
			for _, stop := range in.podPorts(s) {
				if stop.Workload != g.Workload || len(by[stop.Port]) == maxSteered {
					continue
				}
				if by[stop.Port] == nil {
					ports = append(ports, stop.Port)
				}
				by[stop.Port] = append(by[stop.Port], s)
			}
		}
		for _, port := range ports {
			in.tryEntrance(entrance{g.Workload, port, "egress gateway", func(w *model.Workload) (flow.Flow, bool) {
				i := slices.IndexFunc(by[port], func(s *steering) bool { return in.captured(w) && s.isFor(w) })
				if i < 0 {
					return flow.Flow{}, false
				}
				s := by[port][i]
				return flow.Flow{From: reach.From(w), Host: witnessHost(in.pass, s.Hosts[0]), Port: s.port(), Scheme: s.Scheme}, true
			}})
		}
	}
	seen := map[*model.Workload]bool{}
	for _, h := range served(in.waypointHosts()) {
		pod := in.push.WaypointWorkload(h.Binding.Waypoint)
		if pod == nil || seen[pod] || !in.isolated(pod) {
			continue
		}
		seen[pod] = true
		in.tryEntrance(entrance{pod, model.HBONEPort, "waypoint", func(w *model.Workload) (flow.Flow, bool) {
			list := h.requests(in.pass, w)
			return slices.Concat(list, []flow.Flow{{}})[0], len(list) > 0 && in.pass.Reach.Sim.Capture(w).Mode == capture.Ambient
		}})
	}
}

// isolated reports whether policies say who may connect to a pod.
func (in *intent) isolated(pod *model.Workload) bool {
	return len(in.pass.network.policies.Isolating(pod, networkingv1.PolicyTypeIngress)) > 0
}

// tryEntrance reports an entrance if no client gets in.
func (in *intent) tryEntrance(e entrance) {
	c := &collected{}
	for _, class := range in.pass.Reach.Classes() {
		f, ok := e.request(class[0])
		if !ok || !in.pass.isApplication(class[0]) {
			continue
		}
		if v := in.pass.network.policies.Ingress(e.pod, e.port, corev1.ProtocolTCP, netpol.Peer{Workload: class[0]}); v.Decision != netpol.Denied {
			return
		}
		if t := in.pass.Reach.Sim.Verdict(f); t.Outcome == flow.Blocked && t.Reason == flow.NetworkPolicy {
			c.add(&attempt{Class: class, To: reach.Destination{Host: f.Host, Port: f.Port}, Flow: f, Trace: t})
		}
	}
	if c.first == nil {
		return
	}
	np := in.pass.network.policies.Isolating(e.pod, networkingv1.PolicyTypeIngress)[0]
	field := "spec.podSelector"
	if len(np.Spec.Spec.Ingress) > 0 {
		field = "spec.ingress"
	}
	todo := fmt.Sprintf("admit the clients' namespaces on TCP %d", e.port)
	in.pass.Report(c.finding(Finding{
		Object: np.Object, Field: field, Severity: Error, Label: "admits no client", Help: todo,
		Message: fmt.Sprintf("NetworkPolicy %s lets none of the clients (%s) connect to %s %s on port %d, to which the mesh sends their requests: they do not arrive; %s",
			np.ID(), upTo3(c.workloads()), e.what, e.pod.ID(), e.port, todo),
	}))
}
