package netpol

import (
	"net/netip"
	"slices"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// Policies of all kinds are answered in one way: an address space (of one
// address, for one connection) is cut into pieces, each with the decision that
// holds there. What is asked last is laid out first, and every rule that is
// asked before it covers what it matches.

// question is what is asked of the policies of one pod: whether it may connect
// to, or be reached from, each address of a domain.
type question struct {
	policies  *Policies
	pod       *model.Workload
	direction networkingv1.PolicyType
	// peer is the other end, nil outside the cluster. A pod is one point: its
	// rules match it or not, and the domain then has one address that says
	// nothing.
	peer *model.Workload
	// at is the end that listens, for ports by name; nil outside.
	at       *model.Workload
	port     int
	protocol corev1.Protocol
	// host is the name that the pod looks up, "" where only addresses are known.
	host   string
	domain *netipx.IPSet
	// addr is the one address of the domain, if it is outside.
	addr netip.Addr
	// v6: peer is asked for at an IPv6 address.
	v6 bool
	// laid counts the ordered rules that were laid out.
	laid int
}

// truth is an answer that may be missing.
type truth int

const (
	no truth = iota
	perhaps
	yes
)

// answer is a truth; where it is missing, doubt says what it depends on.
type answer struct {
	truth
	doubt doubt
}

// doubt completes the sentence "… depends on". The zero doubt is none.
type doubt struct {
	text string
	// foreign: something that is not interpreted decides.
	foreign bool
	// unfilled: a placeholder does.
	unfilled bool
}

func sure(b bool) answer {
	if b {
		return answer{truth: yes}
	}
	return answer{}
}

func unsure(text string) answer { return answer{perhaps, doubt{text: text}} }

func uninterpreted(text string) answer { return answer{perhaps, doubt{text: text, foreign: true}} }

func (a answer) and(b answer) answer {
	if b.truth < a.truth {
		return b
	}
	return a
}

func (a answer) or(b answer) answer {
	if b.truth > a.truth {
		return b
	}
	return a
}

func (a answer) not() answer { return answer{yes - a.truth, a.doubt} }

// region is the part of a domain that a rule matches: certainly, and perhaps.
type region struct {
	sure, maybe *netipx.IPSet
	doubt       doubt
}

var nowhere = region{sure: none, maybe: none}

// where turns an answer about the whole domain into a region.
//
//go:noinline
func (q *question) where(a answer) region {
	r := nowhere
	switch a.truth {
	case yes:
		r.sure = q.domain
	case perhaps:
		r.maybe, r.doubt = q.domain, a.doubt
	}
	return r
}

// block is a set of addresses that a rule gives.
type block struct {
	set *netipx.IPSet
	// public is what of it is on the internet.
	public *netipx.IPSet
	// pods says whether pods have their addresses in it, in IPv4 and in IPv6.
	pods [2]truth
}

func newBlock(set *netipx.IPSet) *block {
	b := &block{set: set, public: intersect(set, public)}
	for i, space := range []*netipx.IPSet{podSpace, podSpace6} {
		switch {
		case covers(set, space):
			b.pods[i] = yes
		case set.Overlaps(space):
			b.pods[i] = perhaps
		}
	}
	return b
}

// within is the part of the domain that a block holds, where peers are told by
// their address. The address of a pod is not in the manifests.
func (q *question) within(b *block) region {
	r := nowhere
	switch {
	case q.peer != nil:
		a := answer{truth: b.pods[0]}
		if q.v6 {
			a.truth = b.pods[1]
		}
		if a.truth == perhaps {
			a.doubt.text = "the address of " + q.peer.ID() + ", which manifests do not tell"
		}
		return q.where(a)
	case q.many():
		r.sure = b.public
	case b.set.Contains(q.addr):
		r.sure = q.domain
	}
	return r
}

func (r region) and(s region) region {
	out := region{sure: intersect(r.sure, s.sure), doubt: r.doubt}
	out.maybe = minus(intersect(union(r.sure, r.maybe), union(s.sure, s.maybe)), out.sure)
	if empty(r.maybe) {
		out.doubt = s.doubt
	}
	return out
}

// anyOf is where any of the regions is.
func anyOf(list []region) region {
	out := nowhere
	var certain, doubtful []*netipx.IPSet
	for _, r := range list {
		if !empty(r.sure) {
			certain = append(certain, r.sure)
		}
		if !empty(r.maybe) {
			if len(doubtful) == 0 {
				out.doubt = r.doubt
			}
			doubtful = append(doubtful, r.maybe)
		}
	}
	out.sure = union(certain...)
	out.maybe = minus(union(doubtful...), out.sure)
	return out
}

func (q *question) not(r region) region {
	return region{sure: minus(q.domain, union(r.sure, r.maybe)), maybe: r.maybe, doubt: r.doubt}
}

func (r region) empty() bool { return empty(r.sure) && empty(r.maybe) }

// piece is a part of the domain with the decision that holds there.
type piece struct {
	set      *netipx.IPSet
	decision Decision
	reason   reason
}

// reason names who decided. The zero reason: no policy did.
type reason struct {
	// kind and policies name the objects: "NetworkPolicy", "shop/a".
	kind     string
	policies []string
	because  []flow.Because
	doubt    doubt
}

// merge unites reasons of one decision; the doubt is that of the first.
func merge(list []reason) reason {
	var out reason
	for i, r := range list {
		if i == 0 {
			out.kind, out.doubt = r.kind, r.doubt
		}
		for _, p := range r.policies {
			if r.kind != out.kind {
				p = r.kind + " " + p
			}
			out.policies = append(out.policies, p)
		}
		out.because = append(out.because, r.because...)
	}
	out.policies, out.because = unique(out.policies), dedupe(out.because)
	return out
}

func unique(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// dedupe drops what is said twice, and keeps the order.
func dedupe(list []flow.Because) []flow.Because {
	var out []flow.Because
	seen := map[flow.Because]bool{}
	for _, b := range list {
		if !seen[b] {
			seen[b] = true
			out = append(out, b)
		}
	}
	return out
}

type action int

const (
	accept action = iota
	deny
	pass
)

// rule is one rule as it applies to a question.
type rule struct {
	region region
	action action
	reason reason
}

// over lays a rule over what is asked after it; next is what is asked after the
// rule's tier.
func (r rule) over(rest, next []piece) []piece {
	if r.region.empty() {
		return rest
	}
	out := r.pieces(r.region.sure, next)
	if !empty(r.region.maybe) {
		why := r.reason
		why.doubt = r.region.doubt
		out = append(out, join(r.pieces(r.region.maybe, next), clip(rest, r.region.maybe), why)...)
	}
	matched := union(r.region.sure, r.region.maybe)
	for _, p := range rest {
		out = keep(out, piece{minus(p.set, matched), p.decision, p.reason})
	}
	return out
}

func (r rule) pieces(set *netipx.IPSet, next []piece) []piece {
	switch r.action {
	case accept:
		return keep(nil, piece{set, Allowed, r.reason})
	case deny:
		return keep(nil, piece{set, Denied, r.reason})
	default:
		return clip(next, set)
	}
}

// join is the answer where either of two holds and it is not known which: what
// both say, and Undecided elsewhere.
//
//go:noinline
func join(a, b []piece, why reason) []piece {
	var out []piece
	for _, x := range a {
		for _, y := range b {
			set := intersect(x.set, y.set)
			switch {
			case x.decision == y.decision || y.decision == Undecided:
				out = keep(out, piece{set, y.decision, y.reason})
			case x.decision == Undecided:
				out = keep(out, piece{set, Undecided, x.reason})
			default:
				out = keep(out, piece{set, Undecided, why})
			}
		}
	}
	return out
}

func clip(pieces []piece, set *netipx.IPSet) []piece {
	var out []piece
	for _, p := range pieces {
		out = keep(out, piece{intersect(p.set, set), p.decision, p.reason})
	}
	return out
}

func keep(pieces []piece, p piece) []piece {
	if empty(p.set) {
		return pieces
	}
	return append(pieces, p)
}

// none is the only empty set, so that most questions, whose domain is one
// address, are answered by comparing pointers.
var none = &netipx.IPSet{}

func empty(set *netipx.IPSet) bool { return set == none }

func intersect(a, b *netipx.IPSet) *netipx.IPSet {
	switch {
	case a == b || a == none:
		return a
	case b == none:
		return b
	}
	return build(func(s *netipx.IPSetBuilder) { s.AddSet(a); s.Intersect(b) })
}

func minus(a, b *netipx.IPSet) *netipx.IPSet {
	switch {
	case a == b:
		return none
	case a == none || b == none || !a.Overlaps(b):
		return a
	}
	return build(func(s *netipx.IPSetBuilder) { s.AddSet(a); s.RemoveSet(b) })
}

func union(sets ...*netipx.IPSet) *netipx.IPSet {
	one, several := none, false
	for _, set := range sets {
		switch {
		case set == none || set == one:
		case one == none:
			one = set
		default:
			several = true
		}
	}
	if !several {
		return one
	}
	return build(func(s *netipx.IPSetBuilder) {
		for _, set := range sets {
			s.AddSet(set)
		}
	})
}

// build makes a set. Builders fail only over invalid addresses, which no set
// and no parsed prefix holds.
func build(fill func(*netipx.IPSetBuilder)) *netipx.IPSet {
	var b netipx.IPSetBuilder
	fill(&b)
	set, err := b.IPSet()
	if err != nil || set.Equal(none) {
		return none
	}
	return set
}

func prefixes(list ...netip.Prefix) *netipx.IPSet {
	return build(func(s *netipx.IPSetBuilder) {
		for _, p := range list {
			s.AddPrefix(p)
		}
	})
}
