// Package netpol decides what network policies let a pod reach, and whom they
// let in. It knows pods, addresses and ports, and nothing of proxies.
//
// It reads NetworkPolicy, the policies of policy.networking.k8s.io, and as far
// as they can be decided those of Cilium and Calico. What it does not
// understand makes an answer Undecided where it may matter, never Allowed.
//
// Sources: k8s.io/api/networking/v1 types.go and the Kubernetes documentation
// "Network Policies"; kubernetes-sigs/network-policy-api; cilium/cilium
// pkg/policy/api and docs.cilium.io; projectcalico/calico.
package netpol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	netutils "k8s.io/utils/net"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// Policies are the network policies of a mesh. They are safe for concurrent use.
type Policies struct {
	mesh            *model.Mesh
	networkPolicies map[string][]*model.NetworkPolicy // by namespace
	cilium          ciliumPolicies
	calico          calicoPolicies
	foreign         []*manifest.Object
	unfilled        []unfilledPolicy

	// The addresses that rules give.
	ipBlocks map[*networkingv1.IPBlock]*block
	networks map[*model.ClusterPolicyPeer]*block

	memo memo
}

// New returns the policies of a mesh.
func New(mesh *model.Mesh) *Policies {
	p := &Policies{mesh: mesh, networkPolicies: map[string][]*model.NetworkPolicy{},
		ipBlocks: map[*networkingv1.IPBlock]*block{}, networks: map[*model.ClusterPolicyPeer]*block{}}
	for _, np := range mesh.NetworkPolicies {
		p.networkPolicies[np.Namespace] = append(p.networkPolicies[np.Namespace], np)
		p.compile(&np.Spec.Spec)
	}
	for _, policy := range mesh.ClusterNetworkPolicies {
		for _, rule := range policy.Spec.Egress {
			for i := range rule.Peers {
				if peer := &rule.Peers[i]; peer.Networks != nil {
					p.networks[peer] = newBlock(prefixes(peer.Networks...))
				}
			}
		}
	}
	for _, o := range mesh.PluginPolicies {
		if o.Group() == "cilium.io" {
			p.cilium.add(o)
		} else {
			p.calico.add(o)
		}
	}
	for _, o := range mesh.Unmodelled {
		if o.Group() == "cilium.io" {
			p.cilium.add(o) // what else shows that the cluster has Cilium
		}
		if u, ok := o.Value.(*model.UnfilledPolicy); ok {
			p.unfilled = append(p.unfilled, unfilledPolicy{o, u})
		}
		if _, ok := foreignKindOf(o); ok {
			p.foreign = append(p.foreign, o)
		}
	}
	return p
}

func (p *Policies) compile(spec *networkingv1.NetworkPolicySpec) {
	for _, rule := range spec.Egress {
		p.compilePeers(rule.To)
	}
	for _, rule := range spec.Ingress {
		p.compilePeers(rule.From)
	}
}

func (p *Policies) compilePeers(peers []networkingv1.NetworkPolicyPeer) {
	for _, peer := range peers {
		if peer.IPBlock != nil {
			p.ipBlocks[peer.IPBlock] = newBlock(Blocks(peer.IPBlock))
		}
	}
}

// Decision is what policies say about a connection.
type Decision int

const (
	// Allowed says that no policy isolates the pod, or a rule
	// allows the connection.
	Allowed Decision = iota
	// Denied says that a rule denies the connection, or policies isolate the pod and no
	// rule allows it.
	Denied
	// Undecided says that what decides is not in the input or not modelled.
	Undecided
)

// Verdict is a decision with its reasons.
type Verdict struct {
	Decision Decision
	// Policies decide, or may decide where it is Undecided: "namespace/name",
	// sorted.
	Policies []string
	// Foreign: what is missing for a decision is that an object is not, or not
	// wholly, interpreted.
	Foreign bool
	// Unfilled: what is missing is what a placeholder stands for.
	Unfilled bool
	// Text is a clause about the pod, without subject or with its own: "no
	// network policy isolates it", "NetworkPolicy shop/a lets it connect to …".
	Text    string
	Because []flow.Because
}

// Peer is the other end of a connection.
type Peer struct {
	// Workload is the pod, nil for an address outside the cluster.
	Workload *model.Workload
	// Addr is the address outside. That of a pod is not in the manifests: only
	// whether it is IPv6 counts.
	Addr netip.Addr
	// Port is the one that the peer listens on (a pod's own, not its
	// Service's).
	Port     int
	Protocol corev1.Protocol
}

// Egress decides whether a pod may connect to a peer.
func (p *Policies) Egress(from *model.Workload, to Peer) Verdict {
	q := p.ask(from, networkingv1.PolicyTypeEgress, to)
	q.at, q.port, q.protocol = to.Workload, to.Port, to.Protocol
	return q.podVerdict(func() string { return peerText("connect to", to) })
}

// Ingress decides whether a pod takes a connection from a peer on one of its
// own ports.
func (p *Policies) Ingress(to *model.Workload, port int, protocol corev1.Protocol, from Peer) Verdict {
	q := p.ask(to, networkingv1.PolicyTypeIngress, from)
	q.at, q.port, q.protocol = to, port, protocol
	return q.podVerdict(func() string { return peerText("be reached by", from) })
}

func (p *Policies) ask(pod *model.Workload, direction networkingv1.PolicyType, peer Peer) *question {
	q := &question{policies: p, pod: pod, direction: direction, peer: peer.Workload, domain: onePod, v6: peer.Addr.Is6() && !peer.Addr.Is4In6()}
	if peer.Workload == nil {
		addr := peer.Addr.Unmap().WithZone("")
		if !addr.IsValid() {
			addr = netip.IPv4Unspecified()
		}
		q.addr, q.domain = addr, prefixes(netip.PrefixFrom(addr, addr.BitLen()))
	}
	return q
}

// onePod is the domain of a question about a pod.
var onePod = prefixes(netip.MustParsePrefix("0.0.0.0/32"))

func peerText(verb string, peer Peer) string {
	who := peer.Addr.String()
	if peer.Workload != nil {
		who = peer.Workload.ID()
	}
	return fmt.Sprintf("%s %s", verb, who)
}

// verdict answers a question about one connection.
func (q *question) verdict(what string) Verdict {
	pieces := q.pieces()
	if len(pieces) == 0 {
		return Verdict{Decision: Undecided, Text: "no answer"}
	}
	return q.say(pieces[0].decision, pieces[0].reason, what)
}

// say puts a decision into words; what says what the pod wants.
func (q *question) say(d Decision, r reason, what string) Verdict {
	v := Verdict{Decision: d, Policies: unique(r.policies), Because: dedupe(r.because), Foreign: d == Undecided && r.doubt.foreign, Unfilled: d == Undecided && r.doubt.unfilled}
	who := r.kind + " " + strings.Join(v.Policies, ", ")
	switch {
	case r.kind == "" && onHostNetwork(q.pod):
		v.Text = "it is on its host's network, where network policies are usually not applied"
	case r.kind == "":
		v.Text = "no network policy isolates it"
	case d == Allowed:
		v.Text = fmt.Sprintf("%s lets it %s", who, what)
	case d == Denied:
		v.Text = fmt.Sprintf("%s does not let it %s", who, what)
	default:
		v.Text = fmt.Sprintf("whether %s lets it %s depends on %s", who, what, r.doubt.text)
	}
	return v
}

// pieces answers a question for every address of its domain.
func (q *question) pieces() []piece {
	open := []piece{{set: q.domain, decision: Allowed}}
	if onHostNetwork(q.pod) {
		return open
	}
	if r := q.uninterpreted(); r.kind != "" {
		return []piece{{q.domain, Undecided, r}}
	}
	return q.unlessFilled(q.interpreted(open))
}

// interpreted answers a question by the policies that are interpreted; open is the
// answer without any.
func (q *question) interpreted(open []piece) []piece {
	cilium, calico, cluster := q.ciliumMembers(), q.calicoTiers(), q.clusterPolicies()
	if r := q.rivals(cilium, calico, cluster); r.kind != "" {
		return []piece{{q.domain, Undecided, r}}
	}
	if len(calico) > 0 {
		return q.calicoPieces(calico, cluster, open)
	}
	out := q.clusterTier(cluster, model.BaselineTier, open)
	out = q.unitePolicies(slices.Concat(q.networkPolicyMembers(), cilium), out)
	return q.clusterTier(cluster, model.AdminTier, out)
}

// rivals is the reason for no answer where the pod has policies that no network
// plugin is known to enforce together.
func (q *question) rivals(cilium []member, calico []calicoTier, cluster []clusterPolicy) reason {
	var list []*manifest.Object
	if len(cilium) > 0 && len(calico)+len(cluster) > 0 || len(calico) > 0 && q.policies.cilium.present {
		for i := range cilium {
			list = append(list, cilium[i].object)
		}
		for _, t := range calico {
			for _, p := range t.policies {
				list = append(list, p.object)
			}
		}
		for _, p := range cluster {
			list = append(list, p.Object)
		}
	}
	return objectsReason(list, doubt{text: "which of these kinds the network plugin enforces, and in which order", foreign: true})
}

// objectsReason names objects of any kinds; the zero reason if there are none.
func objectsReason(list []*manifest.Object, why doubt) reason {
	r := reason{doubt: why}
	for i, o := range list {
		if i == 0 {
			r.kind = o.Kind
		}
		name := o.ID()
		if o.Kind != r.kind {
			name = o.String()
		}
		r.policies = append(r.policies, name)
		r.because = append(r.because, flow.Because{Object: o, Field: "spec"})
	}
	return r
}

// Blocks returns the addresses of an ipBlock; one that is not valid has none.
// 0.0.0.0/0 holds no IPv6 address.
func Blocks(block *networkingv1.IPBlock) *netipx.IPSet {
	return build(func(b *netipx.IPSetBuilder) {
		if prefix, ok := parseCIDR(block.CIDR); ok {
			b.AddPrefix(prefix)
		}
		for _, except := range block.Except {
			if prefix, ok := parseCIDR(except); ok {
				b.RemovePrefix(prefix)
			}
		}
	})
}

// parseCIDR reads a CIDR as the API server admits it in NetworkPolicies: with
// leading zeros (Kubernetes pkg/apis/networking/validation ValidateIPBlock).
func parseCIDR(s string) (netip.Prefix, bool) {
	_, n, err := netutils.ParseCIDRSloppy(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr, bits).Masked(), ok && addr.BitLen() >= bits
}
