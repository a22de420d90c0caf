package analyzers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/netpol"
)

var _ = register(&Analyzer{
	ID: "EGR606", Name: "sidecar-client-skips-waypoint", Severity: Error, SecuritySeverity: 7.9,
	Run: runSidecarSkipsWaypoint,
	Doc: Doc{
		Title: "Workloads with a sidecar go around the waypoint of an external host",
		What:  "A ServiceEntry is bound to a waypoint, and workloads with a sidecar reach its host straight from their sidecars.",
		Why: "Only ztunnel, and gateways that are told so, send to waypoints. A sidecar knows the host as any other and connects to it directly: " +
			"the policies, routes and TLS origination of the waypoint do not exist for it. In a fleet that is being moved to ambient mode the hole is as large as what has not moved yet.",
		Bad:  ambientDoc([]string{"istio.io/dataplane-mode: ambient", "istio-injection: enabled"}),
		Good: ambientDoc(nil),
		Fix: "Move the clients to ambient mode, or hide the ServiceEntry from those with a sidecar (`exportTo`, under REGISTRY_ONLY) and send them through an egress gateway. " +
			"A NetworkPolicy that closes their way straight out turns the hole into an error that somebody notices.",
		Silent: "The clients do not see the ServiceEntry, a route sends them through a gateway, or something stops the request; the binding is unknown.",
		Sources: []string{
			"istio pilot/pkg/xds/endpoints/endpoint_builder.go (findServiceWaypoint)",
			"https://github.com/istio/istio/issues/57729",
		},
	},
})

// skipped is what goes around one waypoint.
type skipped struct {
	first waypointHost
	proof *proof
	hosts []string
	// closed is a request that a network policy stops on its direct way, of
	// clients that may reach the waypoint; nil if there is none such.
	closed      *proof
	closedHost  waypointHost
	closedClass []*model.Workload
	// workloads are those with a sidecar; classes are the first of each.
	workloads, classes []*model.Workload
}

// maxSkipped bounds the hosts of one waypoint that are tried for a class.
const maxSkipped = 8

func runSidecarSkipsWaypoint(p *Pass) {
	var order []*model.KubeGateway
	of := map[*model.KubeGateway][]waypointHost{}
	for _, h := range served(waypointHosts(p)) {
		g := h.Binding.Waypoint
		if of[g] == nil {
			order = append(order, g)
		}
		of[g] = append(of[g], h)
	}
	classes := p.classesIn(capture.Sidecar)
	in := intentOf(p)
	for _, g := range order {
		var s skipped
		for _, class := range classes {
			s.add(p, in, class, of[g])
		}
		switch {
		case s.proof != nil:
			s.report(p, g)
		case s.closed != nil:
			s.reportClosed(p, g)
		}
	}
}

// add takes in a class of clients if they reach one of the hosts directly.
func (s *skipped) add(p *Pass, in *intent, class []*model.Workload, hosts []waypointHost) {
	w, tried := class[0], 0
	push := in.pushFor(w)
	scope := in.scopeOfClient(push, w)
	var own []string
	for _, h := range hosts {
		if visible := scope.Service(h.Service.Hostname); visible == nil || visible.Namespace != h.Service.Namespace {
			continue
		}
		if tried++; tried > maxSkipped {
			break
		}
		proof := h.attempt(p, w, func(t *flow.Trace) bool {
			return t.Outcome == flow.Allowed && t.Via == flow.ViaDirect && t.Reason == flow.OK
		})
		if proof == nil && s.proof == nil && s.closed == nil && p.reaches(w, h.Binding.Waypoint) {
			// A client that network policies let reach the waypoint alone is cut off.
			if s.closed = h.attempt(p, w, stoppedByNetwork); s.closed != nil {
				s.closedHost, s.closedClass = h, class
			}
		}
		if proof == nil {
			continue
		}
		if s.proof == nil {
			s.first, s.proof = h, proof
		}
		own = append(own, h.name())
		if s.classes != nil {
			break // one host is enough for those that are only counted
		}
	}
	if len(own) == 0 {
		return
	}
	if s.classes == nil {
		s.hosts = own
	} else {
		// The message names the hosts that are seen to be reached by somebody.
		for _, name := range own {
			if !slices.Contains(s.hosts, name) {
				s.hosts = append(s.hosts, name)
			}
		}
	}
	s.classes, s.workloads = append(s.classes, w), append(s.workloads, class...)
}

// reaches reports whether network policies certainly let a workload connect to a
// waypoint.
func (p *Pass) reaches(w *model.Workload, g *model.KubeGateway) bool {
	push := p.Reach.Sim.Push()
	to := push.WaypointWorkload(g)
	if to == nil {
		return false
	}
	peer := netpol.Peer{Workload: to, Addr: push.PodAddress(to), Port: model.HBONEPort, Protocol: corev1.ProtocolTCP}
	return p.network.policies.Egress(w, peer).Decision == netpol.Allowed
}

// reportClosed reports clients that are meant to use the waypoint, as their network
// policies let them reach it, and cannot.
func (s *skipped) reportClosed(p *Pass, g *model.KubeGateway) {
	ids := workloadIDs(s.closedClass)
	at := placeOf(s.closedClass[0], p.Reach.Sim.Capture(s.closedClass[0]).Because)
	p.Report(Finding{
		Severity: Error, Object: at.object, Field: at.field, Label: "sidecars do not send to waypoints", Workloads: ids,
		Flow: &s.closed.Flow, Trace: s.closed.Trace, Help: "move the clients to ambient mode: only ztunnel sends to waypoints",
		Message: fmt.Sprintf("%s %s a sidecar, which sends nothing to waypoint %s: requests for %s go straight out, where a network policy stops them; move the clients to ambient mode",
			upTo3(ids), plural(len(ids), "has", "have"), g.ID(), s.closedHost.name()),
		Related: []Related{{g.Object, "metadata.name", fmt.Sprintf("waypoint %s", g.ID())}},
	})
}

func (s *skipped) report(p *Pass, g *model.KubeGateway) {
	b := s.first.Binding
	f := Finding{
		Object: b.Object, Field: b.Field, Label: "sidecars do not send to waypoints", Workloads: workloadIDs(s.workloads),
		Flow: &s.proof.Flow, Trace: s.proof.Trace,
		Help: "only ztunnel sends to waypoints: move the clients to ambient mode, or send them through an egress gateway",
	}
	if f.Object == nil || f.Object.At(f.Field).File == "" {
		f.Object, f.Field = s.first.Service.Object, s.first.Service.HostField
	}
	slices.Sort(s.hosts)
	f.Message = fmt.Sprintf("%s %s a sidecar, which sends nothing to waypoint %s: %s %s directly, without its policies; "+
		"move the clients to ambient mode or send them through an egress gateway",
		upTo3(f.Workloads), plural(len(f.Workloads), "has", "have"), g.ID(), upTo3(s.hosts), plural(len(s.hosts), "is reached", "are reached"))
	f.Related = append(f.Related, Related{g.Object, "metadata.name", fmt.Sprintf("waypoint %s", g.ID())})
	for _, w := range s.classes {
		if at := placeOf(w, p.Reach.Sim.Capture(w).Because); len(f.Related) <= maxNamed {
			r := Related{at.object, at.field, "clients have sidecars because of this"}
			if !slices.Contains(f.Related, r) {
				f.Related = append(f.Related, r)
			}
		}
	}
	p.Report(f)
}
