package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// Unheld reports whether it is certain that nothing but its own proxy holds back a
// process that wants to a host outside the mesh, one at no address of the cluster:
// the guarantee of what its proxy stops or steers is then [BestEffort].
func (s *Simulation) Unheld(w *model.Workload, host string, port int) bool {
	if open, _ := s.open(w, host, port); open {
		return true
	}
	escapes, _ := leavesItsNetwork(w)
	return escapes
}

// Network is the same for workloads for which [Simulation.Unheld] is the same,
// for one of some ports and for hosts with the same [Simulation.Doors].
func (s *Simulation) Network(w *model.Workload, ports []int) string {
	var b strings.Builder
	fmt.Fprint(&b, Escapes(w))
	for _, port := range ports {
		closed, known := s.closed(w, port)
		fmt.Fprint(&b, " ", closed, known)
	}
	for _, o := range s.possible() {
		o.mu.Lock()
		o.findRouters()
		for _, g := range o.ways.routers {
			for _, port := range o.podPorts(o.push(o.mesh.ConfigFor(g)), g) {
				fmt.Fprint(&b, " ", o.admits(w, door{g, port}), o.admitsByNode(w, door{g, port}))
			}
		}
		o.mu.Unlock()
	}
	return b.String()
}

// Doors names the ports of gateways' pods that lead to a host whoever asks.
func (s *Simulation) Doors(host string) string {
	var b strings.Builder
	for _, o := range s.possible() {
		o.mu.Lock()
		doors := slices.Clone(o.forwarding(host))
		o.mu.Unlock()
		sort.Slice(doors, func(i, j int) bool {
			x, y := doors[i], doors[j]
			return cmp.Or(cmp.Compare(x.gateway.ID(), y.gateway.ID()), cmp.Compare(x.gateway.Kind, y.gateway.Kind), cmp.Compare(x.port, y.port)) < 0
		})
		for _, d := range doors {
			fmt.Fprintf(&b, "%s %s %d,", d.gateway.Kind, d.gateway.ID(), d.port)
		}
		b.WriteString("|")
	}
	return b.String()
}

// Unsteered is the guarantee of an outcome that does not rest on what a process may
// do that goes around its proxy.
func Unsteered(outcome flow.Outcome) string {
	if outcome == flow.Unknown {
		return ""
	}
	return NoGuarantee
}

// Addressed reports whether manifests give addresses to go to for a port of a host.
func (s *Simulation) Addressed(w *model.Workload, host string, port int) bool {
	return len(s.addressed(w, flow.Flow{Host: host, Port: port})) > 0
}
