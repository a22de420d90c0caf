// Package agree asks the product and the judge the same questions about the
// same bytes and tells where they differ.
package agree

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

// Differences lists the fields in which an answer of the product is not the
// judge's, each as "field: judge …, product …"; none means that they agree.
//
// Compared are outcome, via, reason, policy, upstream TLS and HTTP status, and
// every weighted branch. Where the outcome is unknown only the reason is: how
// far the flow got is then a matter of taste. TLS is that of an allowed flow:
// where nothing leaves the mesh there is no last proxy.
func Differences(judge, product *flow.Trace) []string {
	var out []string
	differ := func(field string, a, b any) {
		if a != b {
			out = append(out, fmt.Sprintf("%s: judge %v, product %v", field, a, b))
		}
	}
	if missing(judge, product) {
		return nil
	}
	differ("outcome", judge.Outcome, product.Outcome)
	differ("reason", judge.Reason, product.Reason)
	if judge.Outcome == flow.Unknown && product.Outcome == flow.Unknown {
		return out
	}
	if !open(judge) {
		differ("via", judge.Via, product.Via)
	}
	differ("policy", names(judge.Policy), names(product.Policy))
	if len(judge.Branches) == 0 && len(product.Branches) == 0 {
		differ("http_status", judge.HTTPStatus, product.HTTPStatus)
		if judge.Outcome == flow.Allowed {
			differ("upstream_tls", orNone(judge.UpstreamTLS), orNone(product.UpstreamTLS))
		}
		return out
	}
	ours, theirs := leaves(judge), leaves(product)
	if sameFates(ours, theirs) {
		return out
	}
	if len(ours) != len(theirs) {
		return append(out, fmt.Sprintf("branches: judge %d, product %d", len(ours), len(theirs)))
	}
	for i := range ours {
		if missing(ours[i].trace, theirs[i].trace) {
			// What the branches have in common then differs, too.
			out = nil
			break
		}
	}
	for i := range ours {
		if ours[i].share.Cmp(theirs[i].share) != 0 {
			out = append(out, fmt.Sprintf("branch %d: share: judge %s, product %s", i, ours[i].share, theirs[i].share))
		}
		for _, d := range Differences(ours[i].trace, theirs[i].trace) {
			out = append(out, fmt.Sprintf("branch %d: %s", i, d))
		}
	}
	return out
}

// leaf is a branch that has none itself, with its share of the traffic.
type leaf struct {
	share *big.Rat
	trace *flow.Trace
}

// leaves are the branches of an answer, those of branches in place of them:
// where a fault strikes before a choice, it matters not which of them is drawn
// as the first.
func leaves(answer *flow.Trace) []leaf {
	if len(answer.Branches) == 0 {
		return []leaf{{big.NewRat(1, 1), answer}}
	}
	total := 0
	for i := range answer.Branches {
		total += answer.Branches[i].Weight
	}
	var out []leaf
	for i := range answer.Branches {
		share := new(big.Rat)
		if total > 0 {
			share.SetFrac64(int64(answer.Branches[i].Weight), int64(total))
		}
		for _, l := range leaves(&answer.Branches[i].Trace) {
			out = append(out, leaf{l.share.Mul(l.share, share), l.trace})
		}
	}
	return out
}

// sameFates reports whether the same share of both fares in every way: the order
// of endpoints is nobody's business.
func sameFates(ours, theirs []leaf) bool {
	shares := map[string]*big.Rat{}
	add := func(list []leaf, sign int64) {
		for _, l := range list {
			key := fmt.Sprint(l.trace.Outcome, " ", l.trace.Reason)
			if l.trace.Outcome != flow.Unknown {
				key = fmt.Sprint(key, " ", l.trace.Via, " ", names(l.trace.Policy), " ", l.trace.HTTPStatus)
			}
			if l.trace.Outcome == flow.Allowed {
				key += " " + string(orNone(l.trace.UpstreamTLS))
			}
			if shares[key] == nil {
				shares[key] = new(big.Rat)
			}
			shares[key].Add(shares[key], new(big.Rat).Mul(l.share, big.NewRat(sign, 1)))
		}
	}
	add(ours, 1)
	add(theirs, -1)
	// Faults are counted in millionths.
	for _, share := range shares {
		if share.Abs(share).Cmp(big.NewRat(1, 100_000)) > 0 {
			return false
		}
	}
	return true
}

// open tells whether a branch is unknown.
func open(answer *flow.Trace) bool {
	return slices.ContainsFunc(answer.Branches, func(b flow.Branch) bool { return b.Outcome == flow.Unknown || open(&b.Trace) })
}

func orNone(tls flow.UpstreamTLS) flow.UpstreamTLS {
	if tls == "" {
		return flow.UpstreamNone
	}
	return tls
}

// names sorts a list of policies.
func names(list string) string {
	if list == "" {
		return ""
	}
	parts := strings.Split(list, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// missing accepts that the product does not know where istiod has no endpoint:
// a selector that selects nothing in the input may select pods or machines
// that the input leaves out.
func missing(judge, product *flow.Trace) bool {
	return (judge.Reason == flow.NoEndpoints || judge.Reason == flow.NoCluster) && product.Reason == flow.MissingObject
}
