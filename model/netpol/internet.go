package netpol

import (
	"fmt"
	"net/netip"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// public is the address space of the internet: everything but the ranges that
// are private, local or reserved (RFC 6890).
var public = build(func(b *netipx.IPSetBuilder) {
	b.AddPrefix(netip.MustParsePrefix("0.0.0.0/0"))
	b.AddPrefix(netip.MustParsePrefix("2000::/3"))
	// Translated to IPv4 (RFC 6052, RFC 8215): in clusters of IPv6 alone the way
	// to all of it.
	b.AddPrefix(netip.MustParsePrefix("64:ff9b::/96"))
	b.AddPrefix(netip.MustParsePrefix("64:ff9b:1::/48"))
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4", "2001:db8::/32", "2001::/23", "2002::/16",
	} {
		b.RemovePrefix(netip.MustParsePrefix(s))
	}
})

// podSpace and podSpace6 are where pods may have their addresses: in any range
// that is not on the internet and not special. With IPv6, clusters also use
// public ones.
var (
	podSpace = prefixes(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/5"))
	podSpace6 = prefixes(netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("2000::/3"))
)

// Internet is what a pod may reach outside the cluster on one port by itself.
type Internet struct {
	// Addresses are the public addresses that policies let through for certain.
	Addresses *netipx.IPSet
	// Uncertain are the public addresses that they may let through; Unknown
	// says why, and is nil where there are none.
	Uncertain *netipx.IPSet
	Unknown   *Verdict
	// Isolated: some policy has a say about some public address.
	Isolated bool
	// Because are the rules that let something through, or the policies where
	// nothing is.
	Because []flow.Because
}

// All reports whether every public address of a family may be reached for
// certain.
func (i *Internet) All(v6 bool) bool { return covers(i.Addresses, family(public, v6)) }

// None reports whether it is certain that no public address of a family may be
// reached.
func (i *Internet) None(v6 bool) bool {
	return empty(family(i.Addresses, v6)) && empty(family(i.Uncertain, v6))
}

// Closed reports whether it is certain that no public address at all may be
// reached.
func (i *Internet) Closed() bool { return i.None(false) && i.None(true) }

func family(set *netipx.IPSet, v6 bool) *netipx.IPSet {
	if v6 {
		return minus(set, prefixes(netip.MustParsePrefix("0.0.0.0/0")))
	}
	return minus(set, prefixes(netip.MustParsePrefix("::/0")))
}

func covers(set, all *netipx.IPSet) bool { return empty(minus(all, set)) }

// Internet returns the public addresses that a pod may reach on a port: for the
// address set, not for a sample. Rules that name domains make addresses
// Uncertain; [Policies.Named] asks about a name.
func (p *Policies) Internet(from *model.Workload, port int, protocol corev1.Protocol) Internet {
	q := p.internet(from, port, protocol)
	pieces := q.internetPieces()
	out, closed := q.internetOf(pieces)
	if closed {
		for _, piece := range pieces {
			out.Because = append(out.Because, piece.reason.because...)
		}
	}
	out.Because = dedupe(out.Because)
	return out
}

func (p *Policies) internet(from *model.Workload, port int, protocol corev1.Protocol) *question {
	return &question{policies: p, pod: from, direction: networkingv1.PolicyTypeEgress, port: port, protocol: protocol, domain: public}
}

func (q *question) internetOf(pieces []piece) (out Internet, closed bool) {
	var certain, doubtful []*netipx.IPSet
	for _, piece := range pieces {
		r := piece.reason
		out.Isolated = out.Isolated || r.kind != ""
		switch piece.decision {
		case Allowed:
			certain = append(certain, piece.set)
			out.Because = append(out.Because, r.because...)
		case Undecided:
			doubtful = append(doubtful, piece.set)
			out.Because = append(out.Because, r.because...)
			if out.Unknown == nil {
				v := q.say(Undecided, r, fmt.Sprintf("reach the internet on port %d", q.port))
				out.Unknown = &v
			}
		}
	}
	out.Addresses, out.Uncertain = union(certain...), union(doubtful...)
	return out, len(certain)+len(doubtful) == 0
}

// Named decides whether a pod may reach a host of the internet by its name,
// whose address the manifests do not tell: it is Allowed where every public
// address or the name itself may be reached, and Denied where neither is. Hosts
// are taken to have IPv4 addresses.
func (p *Policies) Named(from *model.Workload, host string, port int, protocol corev1.Protocol) Verdict {
	q := p.internet(from, port, protocol)
	q.host = host
	pieces := q.internetPieces()
	what := "connect to " + host
	if len(pieces) == 1 {
		return q.say(pieces[0].decision, pieces[0].reason, what)
	}
	open, closed := q.internetOf(pieces)
	first := func(d Decision, v4 bool) Verdict {
		for _, piece := range pieces {
			if piece.decision == d && (!v4 || !empty(family(piece.set, false))) {
				return q.say(d, piece.reason, what)
			}
		}
		return Verdict{Decision: d}
	}
	switch {
	case open.All(false):
		return first(Allowed, true)
	case closed:
		return first(Denied, false)
	case open.Unknown != nil:
		return first(Undecided, false)
	default:
		v := Verdict{Decision: Undecided, Because: open.Because, Text: fmt.Sprintf(
			"network policies let it reach only some public addresses on port %d, and the manifests do not tell the address of %s", port, host)}
		return v
	}
}
