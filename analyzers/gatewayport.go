package analyzers

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// servicePorts gives for the ports of the gateway's Services the ports of its
// pods.
func (g *egressGateway) servicePorts() map[int]int {
	out := map[int]int{}
	for _, s := range g.push.Services() {
		if !s.Kubernetes() || s.Namespace != g.Namespace || len(s.Selector) == 0 || !hasLabels(g.Labels, s.Selector) {
			continue
		}
		for _, port := range s.Ports {
			for _, e := range g.push.Endpoints(s, port) {
				if e.Workload == g.Workload && out[port.Number] == 0 {
					out[port.Number] = e.Port
				}
			}
		}
	}
	return out
}

// listens reports whether a server of the gateway is on a port of its pods.
func (g *egressGateway) listens(port int) bool {
	return slices.ContainsFunc(g.servers, func(s *model.GatewayServer) bool { return s.Port == port })
}

// meansOthers reports whether a policy also applies to a workload that is no
// gateway and may well listen on a port: the port may be meant for that one.
func meansOthers(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, port int) bool {
	others := slices.DeleteFunc(attachedTo(p, policy), func(w *model.Workload) bool {
		m := p.Reach.Sim.Capture(w).Mode
		return m == capture.Router || m == capture.None
	})
	for _, w := range others {
		if w.Pod == nil {
			return true
		}
		for _, c := range w.Pod.Containers {
			if slices.ContainsFunc(c.Ports, func(cp corev1.ContainerPort) bool { return int(cp.ContainerPort) == port }) {
				return true
			}
		}
	}
	for _, s := range g.push.Services() {
		if !s.Kubernetes() {
			continue
		}
		for _, sp := range s.Ports {
			if slices.ContainsFunc(g.push.Endpoints(s, sp), func(e model.Endpoint) bool { return e.Port == port && slices.Contains(others, e.Workload) }) {
				return true
			}
		}
	}
	return false
}
