package netpol

import (
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// unfilledPolicy is a NetworkPolicy in which a placeholder is to be filled in.
type unfilledPolicy struct {
	object *manifest.Object
	policy *model.UnfilledPolicy
}

// unlessFilled leaves open what NetworkPolicies may change that hold for the pod once
// they are filled in: they isolate it, and they let something through. What another
// NetworkPolicy lets through they cannot stop, as rules add up.
func (q *question) unlessFilled(pieces []piece) []piece {
	var list []*manifest.Object
	for _, u := range q.policies.unfilled {
		if u.object.Namespace != q.pod.Namespace || len(u.policy.Types) > 0 && !contains(u.policy.Types, string(q.direction)) ||
			u.policy.PodSelector != nil && podMatches(u.policy.PodSelector, q.pod).truth == no {
			continue
		}
		list = append(list, u.object)
	}
	if len(list) == 0 {
		return pieces
	}
	r := objectsReason(list, doubt{text: "what its placeholder stands for", unfilled: true})
	out := make([]piece, len(pieces))
	for i, p := range pieces {
		if out[i] = p; p.decision != Allowed || p.reason.kind != "NetworkPolicy" {
			out[i].decision, out[i].reason = Undecided, r
		}
	}
	return out
}
