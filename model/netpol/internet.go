package netpol

import (
	"net/netip"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// public is the address space of the internet: everything but the ranges that
// are private, local or reserved (RFC 6890).
var public = func() *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("0.0.0.0/0"))
	b.AddPrefix(netip.MustParsePrefix("2000::/3"))
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4", "2001:db8::/32", "2001::/23", "2002::/16",
	} {
		b.RemovePrefix(netip.MustParsePrefix(s))
	}
	set, err := b.IPSet()
	if err != nil {
		panic(err) // the prefixes are constants
	}
	return set
}()

// Blocks returns the addresses of an ipBlock; one that is not valid has none.
// 0.0.0.0/0 holds no IPv6 address.
func Blocks(block *networkingv1.IPBlock) *netipx.IPSet {
	var b netipx.IPSetBuilder
	if prefix, err := netip.ParsePrefix(block.CIDR); err == nil {
		b.AddPrefix(prefix.Masked())
	}
	for _, except := range block.Except {
		if prefix, err := netip.ParsePrefix(except); err == nil {
			b.RemovePrefix(prefix.Masked())
		}
	}
	set, err := b.IPSet()
	if err != nil {
		return &netipx.IPSet{}
	}
	return set
}

// Internet is what a pod may reach outside the cluster on one port by itself.
type Internet struct {
	// Addresses are the public addresses that policies let through.
	Addresses *netipx.IPSet
	// Isolated: some policy restricts the pod's egress.
	Isolated bool
	// Unknown is set where policies of kinds that are not interpreted may
	// decide; Addresses then says nothing.
	Unknown *Verdict
	// Because are the rules that let something through, or the policies where
	// nothing is.
	Because []flow.Because
}

// All reports whether every public address of a family may be reached.
func (i *Internet) All(v6 bool) bool { return covers(i.Addresses, family(public, v6)) }

// None reports whether no public address of a family may be reached.
func (i *Internet) None(v6 bool) bool { return len(family(i.Addresses, v6).Prefixes()) == 0 }

// Closed reports whether no public address at all may be reached.
func (i *Internet) Closed() bool { return i.None(false) && i.None(true) }

func family(set *netipx.IPSet, v6 bool) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddSet(set)
	if v6 {
		b.RemovePrefix(netip.MustParsePrefix("0.0.0.0/0"))
	} else {
		b.RemovePrefix(netip.MustParsePrefix("::/0"))
	}
	out, _ := b.IPSet()
	return out
}

func covers(set, all *netipx.IPSet) bool {
	var b netipx.IPSetBuilder
	b.AddSet(all)
	b.RemoveSet(set)
	rest, _ := b.IPSet()
	return len(rest.Prefixes()) == 0
}

// Internet returns the public addresses that a pod may reach on a port: for the
// address set, not for a sample.
func (p *Policies) Internet(from *model.Workload, port int, protocol corev1.Protocol) Internet {
	if foreign := p.foreign(from, networkingv1.PolicyTypeEgress); len(foreign) > 0 && (from.Pod == nil || !from.Pod.HostNetwork) {
		v := undecided(foreign)
		return Internet{Addresses: public, Isolated: true, Unknown: &v, Because: v.Because}
	}
	isolating := p.Isolating(from, networkingv1.PolicyTypeEgress)
	if len(isolating) == 0 {
		return Internet{Addresses: public}
	}
	out := Internet{Isolated: true}
	var b netipx.IPSetBuilder
	at := Peer{Port: port, Protocol: protocol}
	for _, np := range isolating {
		for i, rule := range np.Spec.Spec.Egress {
			if len(rule.Ports) > 0 && !anyPort(rule.Ports, at) {
				continue
			}
			opened := len(rule.To) == 0
			if opened {
				b.AddSet(public)
			}
			for _, peer := range rule.To {
				if peer.IPBlock != nil {
					b.AddSet(Blocks(peer.IPBlock))
					opened = true
				}
			}
			if opened {
				out.Because = append(out.Because, ruleBecause(np, i))
			}
		}
	}
	b.Intersect(public)
	out.Addresses, _ = b.IPSet()
	if out.Closed() {
		out.Because = nil
		for _, np := range isolating {
			out.Because = append(out.Because, flow.Because{Object: np.Object, Field: "spec.egress"})
		}
	}
	return out
}
