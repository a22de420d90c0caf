package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// mostTies bounds the choices between which [PushContext.Ties] distinguishes.
const mostTies = 8

// compareServices orders services as istiod does, by age, name and namespace
// (istio pilot/pkg/model/push_context.go SortServicesByCreationTime). The name
// of those of a ServiceEntry is their host: several of one host in one namespace
// and of the same age compare equal, and come out of a map.
func compareServices(a, b *Service) int {
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
}

// TiedServices returns the services whose order istiod leaves to chance, those
// of one host, namespace and age together: of several ServiceEntries, or of
// several addresses of one.
func (p *PushContext) TiedServices() [][]*Service { return p.tied }

// Ties returns the number of choices that differ, or of those that are tried
// where there are more: at most 8.
func (p *PushContext) Ties() int {
	all := 1
	for _, group := range p.tied {
		if all *= len(group); all >= mostTies {
			return mostTies
		}
	}
	return all
}

// TieWithFirst returns the choice that puts the i-th of each group first, for
// groups larger than the number of choices.
func TieWithFirst(i int) int { return mostTies + i }

// Tied reports whether an address is one of those of a group, and its place in
// the largest such group.
func (p *PushContext) Tied(a netip.Addr) (place int, tied bool) {
	size := 0
	for _, group := range p.tied {
		for i, s := range group {
			if len(group) > size && covers(s.Address, a) {
				place, tied, size = i, true, len(group)
			}
		}
	}
	return place, tied
}

// covers reports whether an address or CIDR has an address in it.
func covers(listed string, a netip.Addr) bool {
	if prefix, err := netip.ParsePrefix(listed); err == nil {
		return prefix.Contains(a)
	}
	addr, err := netip.ParseAddr(listed)
	return err == nil && addr != netip.IPv4Unspecified() && addr.Unmap() == a.Unmap()
}

// untie finds the services that tie and puts them into the order of one choice:
// each group turned by some number of places.
func (p *PushContext) untie(tie int) {
	p.tied = nil
	var starts []int
	for start := 0; start < len(p.services); {
		end := start + 1
		for end < len(p.services) && compareServices(p.services[start], p.services[end]) == 0 {
			end++
		}
		group := slices.DeleteFunc(slices.Clone(p.services[start:end]), (*Service).Kubernetes)
		if len(group) > 1 && len(group) == end-start {
			p.tied = append(p.tied, group)
			starts = append(starts, start)
		}
		start = end
	}
	exhaustive := p.Ties() < mostTies
	rest := tie
	for i, group := range p.tied {
		n := len(group)
		var turn int
		switch {
		case exhaustive:
			turn, rest = rest%n, rest/n
		case tie >= mostTies:
			turn = (tie - mostTies) % n
		case tie < n && tie < mostTies/2:
			turn = tie
		default:
			turn = int(mix(uint64(tie), uint64(i)) % uint64(n)) //nolint:gosec // small numbers
		}
		copy(p.services[starts[i]:], slices.Concat(group[turn:], group[:turn]))
	}
}

// mix spreads choices over groups (the finalizer of SplitMix64).
func mix(a, b uint64) uint64 {
	x := (a<<32 | b) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// mostPicks bounds the choices of [PushContext.Picks].
const mostPicks = 4

// Picks returns how many choices istiod may have among equally old services of
// one host in several namespaces, where a Sidecar does not say which it imports
// and a route leads there; at most 4.
func (p *PushContext) Picks() int {
	most := 1
	if len(p.Mesh.Sidecars) == 0 {
		return most
	}
	for _, byNamespace := range p.byHost {
		if len(byNamespace) < 2 {
			continue
		}
		for _, a := range byNamespace {
			n := 0
			for _, b := range byNamespace {
				if !b.Kubernetes() && b.Created.Equal(a.Created) {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return min(most, mostPicks)
}

// SetPick makes another of these choices, from 0, in scopes that are computed
// afterwards.
func (p *PushContext) SetPick(i int) { p.pick = i }
