package netpol

import (
	"slices"

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
	var certain, doubtful reason
	for i := range members {
		m := &members[i]
		if !m.isolates {
			continue
		}
		r := reason{kind: m.object.Kind, policies: []string{m.object.ID()}, because: m.because(m.field), doubt: m.applies.doubt}
		if m.applies.truth == yes {
			certain = certain.and(r)
		} else {
			doubtful = doubtful.and(r)
		}
	}
	return q.isolated(certain, doubtful, rest)
}

// isolated is what holds where no rule matches: a pod that policies certainly
// isolate may do nothing else, and one that none isolates whatever is asked next.
func (q *question) isolated(certain, doubtful reason, rest []piece) []piece {
	switch {
	case certain.kind != "":
		return []piece{{q.domain, Denied, certain}}
	case doubtful.kind != "":
		return join([]piece{{q.domain, Denied, doubtful}}, rest, doubtful)
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
				if certain.reason.kind == "" || q.many() {
					certain.reason = certain.reason.and(why)
				}
				sets = append(sets, r.sure)
			}
			if !empty(r.maybe) {
				if doubtful.reason.kind == "" {
					doubtful.region.doubt = r.doubt
				}
				doubtful.reason = doubtful.reason.and(why)
				maybes = append(maybes, r.maybe)
			}
		}
	}
	certain.region.sure, doubtful.region.maybe = union(sets...), union(maybes...)
	return certain, doubtful
}

// many reports whether the question is about an address space.
func (q *question) many() bool { return q.peer == nil && q.domain == public }

// dedupe drops what is said twice, and keeps the order.
func dedupe(list []flow.Because) []flow.Because {
	var out []flow.Because
	for _, b := range list {
		if !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	return out
}
