package netpol

import (
	"net/netip"
	"slices"
	"sort"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
)

// mostEdges bounds the addresses that are tried by [Policies.Private].
const mostEdges = 1024

// Private decides whether a pod may connect to any private address outside of the
// cluster's pods on one of some ports, as those of nodes are: Allowed where it may to
// one, Denied where it may to none.
func (p *Policies) Private(from *model.Workload, ports []int, protocol corev1.Protocol) Decision {
	edges := p.privateEdges()
	result := Denied
	if len(edges) > mostEdges {
		edges, result = edges[:mostEdges], Undecided
	}
	for _, port := range ports {
		for _, address := range edges {
			switch p.Egress(from, Peer{Addr: address, Port: port, Protocol: protocol}).Decision {
			case Allowed:
				return Allowed
			case Undecided:
				result = Undecided
			}
		}
	}
	return result
}

// privateEdges returns a private address of each part into which the addresses of
// rules cut the private space, sorted: policies say the same of all of a part.
func (p *Policies) privateEdges() []netip.Addr {
	out := []netip.Addr{netip.MustParseAddr("fc00::")}
	for _, r := range podSpace.Ranges() {
		out = append(out, r.From())
	}
	add := func(a netip.Addr) {
		if a.IsValid() && (podSpace.Contains(a) || a.IsPrivate()) {
			out = append(out, a)
		}
	}
	blocks := make([]*block, 0, len(p.ipBlocks)+len(p.networks))
	for _, b := range p.ipBlocks {
		blocks = append(blocks, b)
	}
	for _, b := range p.networks {
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		for _, r := range intersect(b.set, union(podSpace, podSpace6)).Ranges() {
			add(r.From())
			add(r.To().Next())
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Less(out[j]) })
	return slices.Compact(out)
}
