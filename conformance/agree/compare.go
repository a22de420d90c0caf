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
// every weighted branch. TLS is that of an allowed flow: where nothing leaves
// the mesh there is no last proxy. Where an answer has branches, the status and
// TLS are theirs. What the input leaves out is accepted as [Input] says.
func Differences(judge, product *flow.Trace, input *Input) []string {
	if input.leavesOut(judge, product) {
		return nil
	}
	if len(judge.Branches) == 0 && len(product.Branches) == 0 {
		return topDifferences(judge, product)
	}
	ours, theirs := leaves(judge), leaves(product)
	if sameFates(ours, theirs) {
		return topDifferences(judge, product)
	}
	if len(ours) != len(theirs) {
		return append(topDifferences(judge, product), fmt.Sprintf("branches: judge %d, product %d", len(ours), len(theirs)))
	}
	expected := make([]leaf, len(ours))
	var out []string
	for i := range ours {
		expected[i] = ours[i]
		if input.leavesOut(ours[i].trace, theirs[i].trace) {
			// The whole is then what it is with a branch that is not known.
			expected[i].trace = theirs[i].trace
		}
		if ours[i].share.Cmp(theirs[i].share) != 0 {
			out = append(out, fmt.Sprintf("branch %d: share: judge %s, product %s", i, ours[i].share, theirs[i].share))
		}
		for _, d := range topDifferences(expected[i].trace, theirs[i].trace) {
			out = append(out, fmt.Sprintf("branch %d: %s", i, d))
		}
	}
	return append(topDifferences(united(expected), product), out...)
}

// topDifferences compares two answers without their branches.
func topDifferences(judge, product *flow.Trace) []string {
	var out []string
	differ := func(field string, a, b any) {
		if a != b {
			out = append(out, fmt.Sprintf("%s: judge %v, product %v", field, a, b))
		}
	}
	differ("outcome", judge.Outcome, product.Outcome)
	differ("reason", judge.Reason, product.Reason)
	differ("via", judge.Via, product.Via)
	differ("policy", names(judge.Policy), names(product.Policy))
	if len(judge.Branches) == 0 && len(product.Branches) == 0 {
		differ("http_status", judge.HTTPStatus, product.HTTPStatus)
		if judge.Outcome == flow.Allowed {
			differ("upstream_tls", judge.UpstreamTLS, product.UpstreamTLS)
		}
	}
	return out
}

// united is the answer that branches have in common.
func united(branches []leaf) *flow.Trace {
	first := branches[0].trace
	whole := &flow.Trace{Outcome: first.Outcome, Via: first.Via, Reason: first.Reason, Policy: names(first.Policy)}
	for _, l := range branches {
		whole.Branches = append(whole.Branches, flow.Branch{Trace: *l.trace})
		if l.trace.Outcome != whole.Outcome {
			whole.Outcome = flow.Mixed
		}
		if l.trace.Via != whole.Via {
			whole.Via = flow.ViaMixed
		}
		if l.trace.Reason != whole.Reason {
			whole.Reason = flow.BranchesDiffer
		}
		if names(l.trace.Policy) != whole.Policy {
			whole.Policy = ""
		}
	}
	if whole.Outcome == flow.Mixed || whole.Via == flow.ViaMixed {
		whole.Reason = flow.BranchesDiffer
	}
	return whole
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
			key := fmt.Sprint(l.trace.Outcome, " ", l.trace.Reason, " ", l.trace.Via, " ", names(l.trace.Policy), " ", l.trace.HTTPStatus)
			if l.trace.Outcome == flow.Allowed {
				key += " " + string(l.trace.UpstreamTLS)
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

// names sorts a list of policies.
func names(list string) string {
	if list == "" {
		return ""
	}
	parts := strings.Split(list, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
