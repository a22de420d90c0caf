package netpol

import (
	"fmt"

	"go4.org/netipx"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// member is a policy of a tier in which what any policy allows is allowed,
// unless one denies it, and a pod that any policy isolates may do nothing else.
type member struct {
	object *manifest.Object
	// applies says whether the policy holds for the pod.
	applies  answer
	isolates bool
	// field is the section that isolates.
	field          string
	allows, denies []part
}

// part is what one rule of a member matches, and the rule's field.
type part struct {
	field  string
	region region
}

// because points to a field of the policy.
func (m *member) because(field string) []flow.Because {
	return []flow.Because{{Object: m.object, Field: field}}
}

// allow adds a rule, by its index in the section that isolates, if it matches
// anything.
func (m *member) allow(index int, r region) {
	if !r.empty() {
		m.allows = append(m.allows, part{fmt.Sprintf("%s[%d]", m.field, index), r})
	}
}

// unitePolicies lays a tier of members over what is asked after it.
func (q *question) unitePolicies(members []member, rest []piece) []piece {
	out := q.isolation(members, rest)
	for _, a := range []action{accept, deny} {
		certain, doubtful := q.sum(members, a)
		out = certain.over(doubtful.over(out, nil), nil)
	}
	return out
}

// isolation is what holds where no rule matches.
func (q *question) isolation(members []member, rest []piece) []piece {
	var certain, doubtful []reason
	for i := range members {
		m := &members[i]
		if !m.isolates {
			continue
		}
		r := reason{kind: m.object.Kind, policies: []string{m.object.ID()}, because: m.because(m.field), doubt: m.applies.doubt}
		if m.applies.truth == yes {
			certain = append(certain, r)
		} else {
			doubtful = append(doubtful, r)
		}
	}
	return q.isolated(certain, doubtful, rest)
}

// isolated is what holds where no rule matches: a pod that policies certainly
// isolate may do nothing else, and one that none isolates whatever is asked next.
func (q *question) isolated(certain, doubtful []reason, rest []piece) []piece {
	switch {
	case len(certain) > 0:
		return []piece{{q.domain, Denied, merge(certain)}}
	case len(doubtful) > 0:
		why := merge(doubtful)
		return join([]piece{{q.domain, Denied, why}}, rest, why)
	default:
		return rest
	}
}

// sum is what the members' rules of an action make together: where one of them
// matches for certain, and where one may. The reason is the first that matches
// where one connection is asked about, and all that match for an address space.
func (q *question) sum(members []member, a action) (certain, doubtful rule) {
	certain, doubtful = rule{action: a, region: nowhere}, rule{action: a, region: nowhere}
	var sets, maybes []*netipx.IPSet
	var reasons, doubts []reason
	for i := range members {
		m := &members[i]
		parts := m.allows
		if a == deny {
			parts = m.denies
		}
		for _, p := range parts {
			r := p.region
			if m.applies.truth == perhaps {
				r = region{sure: nowhere.sure, maybe: union(r.sure, r.maybe), doubt: m.applies.doubt}
			}
			why := reason{kind: m.object.Kind, policies: []string{m.object.ID()}, because: m.because(p.field)}
			if !empty(r.sure) {
				if len(reasons) == 0 || q.many() {
					reasons = append(reasons, why)
				}
				sets = append(sets, r.sure)
			}
			if !empty(r.maybe) {
				if len(doubts) == 0 {
					doubtful.region.doubt = r.doubt
				}
				doubts = append(doubts, why)
				maybes = append(maybes, r.maybe)
			}
		}
	}
	certain.reason, doubtful.reason = merge(reasons), merge(doubts)
	certain.region.sure, doubtful.region.maybe = union(sets...), union(maybes...)
	return certain, doubtful
}

// many reports whether the question is about an address space.
func (q *question) many() bool { return q.peer == nil && q.domain == public }
