package traffic

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// The guarantees of a verdict.
const (
	// Enforced: whatever the process does, it stays so.
	Enforced = "enforced"
	// BestEffort: only the client's own proxy sees to it.
	BestEffort = "best_effort"
	// NoGuarantee: nothing steers.
	NoGuarantee = "none"
)

// Bypasses returns the flows by which a process that ignores its own proxy would
// try the same: straight out, and straight to each port of a gateway or waypoint,
// in the order of their names.
func (s *Simulation) Bypasses(f flow.Flow) []flow.Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	straight := f
	straight.Bypass, straight.ConnectTo = true, ""
	out := []flow.Flow{straight}
	if f.Scheme == flow.UDP {
		return out
	}
	push := s.push(s.mesh.Config)
	services := slices.Clone(push.Services())
	slices.SortStableFunc(services, func(a, b *model.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, svc := range services {
		if !svc.Kubernetes() || !s.fronts(push, svc) {
			continue
		}
		for _, port := range svc.Ports {
			to := straight
			to.ConnectTo = fmt.Sprintf("%s/%s:%d", svc.Namespace, svc.Kube.Name, port.Number)
			out = append(out, to)
		}
	}
	return out
}

// fronts reports whether a Service leads to a gateway or waypoint.
func (s *Simulation) fronts(push *model.PushContext, svc *model.Service) bool {
	for _, e := range push.Endpoints(svc, nil) {
		if e.Workload == nil {
			continue
		}
		if mode := s.capture(e.Workload).Mode; mode == capture.Router || mode == capture.Waypoint {
			return true
		}
	}
	return false
}

// guarantee says what holds a verdict up: that network policies close the way
// straight out, and that no gateway or waypoint takes the request from a process
// that comes to it without its proxy; or nothing but the client's own proxy. ""
// where that is not known.
func (s *Simulation) guarantee(f flow.Flow, t *flow.Trace) string {
	if f.Bypass || f.ConnectTo != "" || t.Outcome == flow.Unknown {
		return ""
	}
	client, _ := s.find(f.From)
	if client == nil {
		return ""
	}
	steered := t.Via == flow.ViaGateway || t.Via == flow.ViaWaypoint || t.Via == flow.ViaMixed
	if t.Outcome != flow.Blocked && !steered {
		return NoGuarantee
	}
	open := s.network.Internet(client, f.Port, corev1.ProtocolTCP)
	if !open.Isolated && !s.internal(client, f) {
		return BestEffort // no policy holds the process back
	}
	unsure := false
	for _, bypass := range s.Bypasses(f) {
		switch around := s.trace(bypass); around.Outcome {
		case flow.Allowed, flow.Mixed:
			return BestEffort
		case flow.Unknown:
			unsure = true
		}
	}
	if unsure {
		return ""
	}
	return Enforced
}

// internal reports whether a host is a Service of the cluster.
func (s *Simulation) internal(client *model.Workload, f flow.Flow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.push(s.mesh.ConfigFor(client)).Resolve(client.Namespace, f.Host, false).Service != nil
}
