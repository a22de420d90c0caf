package traffic

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// opaqueMesh answers unknown where the mesh configuration replaces what proxies
// do, or what istiod reads, by something that is not in the manifests.
func (w *walker) opaqueMesh() *flow.Trace {
	u := w.push.Config.Opaque()
	if u == nil {
		return nil
	}
	hop := flow.Hop{At: flow.AtNetwork, Proxy: w.client.ID(), Decision: u.Why, Because: unmodelledBecause(u)}
	return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.OpaqueFilter, u.Why))
}

// unmodelledBecause points to what is not followed, if a manifest holds it.
func unmodelledBecause(u *model.Unmodelled) []flow.Because {
	if u.Object == nil {
		return nil
	}
	return []flow.Because{{Object: u.Object, Field: u.Field}}
}

// sameNode answers unknown where a service leads only to pods on the node of
// whoever asks.
func (w *walker) sameNode(p *proxy, s *model.Service) *flow.Trace {
	why := s.NodeLocal()
	if why == "" {
		return nil
	}
	hop := flow.Hop{At: flow.AtNetwork, Decision: why, Because: []flow.Because{{Object: s.Object, Field: "spec.internalTrafficPolicy"}}}
	return after([]flow.Hop{hop}, unknown(viaOf(p, flow.ViaNone), flow.Undetermined, why))
}

// externalIP answers unknown for an address that some Service takes for itself
// (spec.externalIPs): nodes lead it to the Service's pods, wherever it is.
func (w *walker) externalIP(p *proxy, dst netip.Addr) *flow.Trace {
	x := w.sim.external
	if x == nil {
		x = map[netip.Addr]flow.Because{}
		for _, s := range w.sim.mesh.KubeServices {
			for i, text := range s.Spec.Spec.ExternalIPs {
				a, err := netip.ParseAddr(text)
				if _, taken := x[a]; err == nil && !taken {
					x[a] = flow.Because{Object: s.Object, Field: fmt.Sprintf("spec.externalIPs[%d]", i)}
				}
			}
		}
		w.sim.external = x
	}
	taken, ok := x[dst]
	if !ok {
		return nil
	}
	why := fmt.Sprintf("%s takes the address %s for itself (externalIPs), and where nodes lead it is not simulated", taken.Object, dst)
	hop := flow.Hop{At: flow.AtNetwork, Decision: why, Because: []flow.Because{taken}}
	return after([]flow.Hop{hop}, unknown(viaOf(p, flow.ViaNone), flow.OpaqueFilter, why))
}

// hostAlias returns the address that a pod's own hosts file has for a name, and
// the hop that says so. Resolvers read it before they ask DNS
// (spec.hostAliases, k8s.io/api/core/v1).
func hostAlias(client *model.Workload, name string) (netip.Addr, *flow.Hop) {
	if client.Pod == nil || isAddress(name) {
		return netip.Addr{}, nil
	}
	for i, alias := range client.Pod.HostAliases {
		for _, h := range alias.Hostnames {
			address, err := netip.ParseAddr(alias.IP)
			if err != nil || !strings.EqualFold(h, strings.TrimSuffix(name, ".")) {
				continue
			}
			return address.Unmap(), &flow.Hop{At: flow.AtNetwork, Proxy: client.ID(),
				Decision: fmt.Sprintf("the pod's hosts file gives %s for %s", address, name),
				Because:  []flow.Because{{Object: client.Object, Field: client.Field(fmt.Sprintf("spec.hostAliases[%d]", i))}}}
		}
	}
	return netip.Addr{}, nil
}

// openAlias says that a placeholder in the hosts file of the client's pod may decide
// where a name leads, "" where it may not.
func (w *walker) openAlias() (why string, because flow.Because) {
	if w.client.Pod == nil || w.flow.DstIP != "" || w.flow.ConnectTo != "" || isAddress(w.flow.Host) {
		return "", flow.Because{}
	}
	name := strings.TrimSuffix(w.flow.Host, ".")
	for i, alias := range w.client.Pod.HostAliases {
		for _, h := range alias.Hostnames {
			text := model.PlaceholderIn(h)
			if text == "" && strings.EqualFold(h, name) {
				text = model.PlaceholderIn(alias.IP)
			}
			if text != "" {
				return fmt.Sprintf("the pod's hosts file holds the placeholder %s, and what is filled in there may decide where %s leads", text, name),
					flow.Because{Object: w.client.Object, Field: w.client.Field(fmt.Sprintf("spec.hostAliases[%d]", i))}
			}
		}
	}
	return "", flow.Because{}
}

// Aliases is the same for workloads whose hosts files are.
func Aliases(w *model.Workload) string {
	if w.Pod == nil || len(w.Pod.HostAliases) == 0 {
		return ""
	}
	return fmt.Sprint(w.Pod.HostAliases)
}
