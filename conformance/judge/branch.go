package judge

import (
	"slices"

	"github.com/egresslint/egresslint/model/flow"
)

// combine makes one answer of weighted ones.
func combine(branches []flow.Branch) *flow.Trace {
	if len(branches) == 1 {
		return &branches[0].Trace
	}
	answer := merge(branches)
	answer.Branches = branches
	return answer
}

// alternatives makes one answer of those of endpoints that a proxy balances
// over: where all are alike it is theirs.
func alternatives(answers []*flow.Trace) *flow.Trace {
	var branches []flow.Branch
	for _, answer := range answers {
		known := slices.IndexFunc(branches, func(b flow.Branch) bool { return alike(&b.Trace, answer) })
		if known < 0 {
			branches = append(branches, flow.Branch{Weight: 1, Trace: *answer})
		} else {
			branches[known].Weight++
		}
	}
	if len(branches) > 1 {
		// An entry with two addresses has every endpoint twice.
		divisor := 0
		for _, b := range branches {
			divisor = gcd(divisor, b.Weight)
		}
		for i := range branches {
			branches[i].Weight /= divisor
		}
	}
	return combine(branches)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func alike(a, b *flow.Trace) bool {
	return a.Outcome == b.Outcome && a.Via == b.Via && a.Reason == b.Reason && a.Policy == b.Policy &&
		a.UpstreamTLS == b.UpstreamTLS && a.HTTPStatus == b.HTTPStatus && a.Detail == b.Detail &&
		slices.EqualFunc(a.Branches, b.Branches, func(x, y flow.Branch) bool { return x.Weight == y.Weight && alike(&x.Trace, &y.Trace) })
}

func merge(branches []flow.Branch) *flow.Trace {
	first := branches[0].Trace
	answer := &flow.Trace{
		Outcome: first.Outcome, Via: first.Via, Reason: first.Reason,
		Policy: first.Policy, Rule: first.Rule, UpstreamTLS: first.UpstreamTLS, HTTPStatus: first.HTTPStatus, Detail: first.Detail,
	}
	for _, b := range branches[1:] {
		if b.Outcome != answer.Outcome {
			answer.Outcome = flow.Mixed
		}
		if b.Via != answer.Via {
			answer.Via = flow.ViaMixed
		}
		if b.Reason != answer.Reason {
			answer.Reason = flow.BranchesDiffer
		}
		if b.Policy != answer.Policy {
			answer.Policy = ""
		}
		if b.Rule == nil || answer.Rule == nil || *b.Rule != *answer.Rule {
			answer.Rule = nil
		}
		if b.UpstreamTLS != answer.UpstreamTLS {
			answer.UpstreamTLS = ""
		}
		if b.HTTPStatus != answer.HTTPStatus {
			answer.HTTPStatus = 0
		}
		if b.Detail != answer.Detail {
			answer.Detail = ""
		}
	}
	if answer.Outcome == flow.Mixed || answer.Via == flow.ViaMixed {
		answer.Reason = flow.BranchesDiffer
	}
	return answer
}
