package traffic

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/netpol"
)

// sender is the pod whose network policies hold for what p sends: a sidecar
// shares the application's.
func (w *walker) sender(p *proxy) *model.Workload {
	if p != nil && p.alone() {
		return p.workload
	}
	return w.client
}

func (w *walker) protocol() corev1.Protocol {
	if w.flow.Scheme == flow.UDP {
		return corev1.ProtocolUDP
	}
	return corev1.ProtocolTCP
}

// cross takes a connection from one pod to another, if the network policies of
// both let it.
func (w *walker) cross(p *proxy, to *model.Workload, conn connection) *flow.Trace {
	if c := w.sim.capture(to); p != nil && c.Mode == capture.Undecided && c.Tunnels {
		return w.arrive(to, conn) // network policies may see a tunnel
	}
	from := w.sender(p)
	port := int(conn.dst.Port())
	address := w.push.PodAddress(to)
	w.askNetwork(from, Question{kind: egressAsked, to: to, port: port})
	v := w.sim.network.Egress(from, netpol.Peer{Workload: to, Addr: address, Port: port, Protocol: w.protocol()})
	if t := w.dropped(p, from, v, conn.dst); t != nil {
		return t
	}
	w.askNetwork(from, Question{kind: ingressAsked, to: to, port: port})
	in := w.sim.network.Ingress(to, port, w.protocol(), netpol.Peer{Workload: from, Addr: w.push.PodAddress(from)})
	if t := w.dropped(p, to, in, conn.dst); t != nil {
		return t
	}
	return w.arrive(to, conn)
}

// dropped answers where policies do not let a connection through, nil where they
// do.
func (w *walker) dropped(p *proxy, pod *model.Workload, v netpol.Verdict, dst netip.AddrPort) *flow.Trace {
	hop := flow.Hop{At: flow.AtNetwork, Proxy: pod.ID(), Because: v.Because,
		Decision: fmt.Sprintf("%s: %s on port %d", pod.ID(), v.Text, dst.Port())}
	switch v.Decision {
	case netpol.Denied:
		t := blocked(flow.NetworkPolicy, 0)
		t.Via, t.Policy = viaOf(p, t.Via), strings.Join(v.Policies, ",")
		return after([]flow.Hop{hop}, t)
	case netpol.Undecided:
		reason := flow.NetworkPolicy
		if v.Foreign {
			reason = flow.ForeignNetworkPolicy
		} else if v.Unfilled {
			reason = flow.Template
		}
		return after([]flow.Hop{hop}, unknown(viaOf(p, flow.ViaNone), reason, hop.Decision))
	default:
		return nil
	}
}

// leaveCluster asks the sender's network policies about an address outside. Where
// only the name is known, what they let through of the whole internet decides.
func (w *walker) leaveCluster(p *proxy, conn connection) *flow.Trace {
	from := w.sender(p)
	port := int(conn.dst.Port())
	if !conn.standIn {
		w.askNetwork(from, Question{kind: addressAsked, dst: conn.dst, port: port})
		return w.dropped(p, from, w.sim.network.Egress(from, netpol.Peer{Addr: conn.dst.Addr(), Port: port, Protocol: w.protocol()}), conn.dst)
	}
	name := cmp.Or(conn.name, w.flow.Host)
	q := Question{kind: internetAsked, port: port}
	if mesh := w.sim.mesh; len(mesh.ClusterNetworkPolicies)+len(mesh.PluginPolicies) > 0 {
		q.name = name
	}
	w.askNetwork(from, q)
	return w.dropped(p, from, w.sim.network.Named(from, name, port, w.protocol()), conn.dst)
}
