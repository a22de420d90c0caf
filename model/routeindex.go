package model

import (
	"cmp"
	"slices"

	"istio.io/istio/pkg/config/host"
)

// RouteIndex finds among VirtualServices those that may be about a host.
type RouteIndex struct {
	all    []*MergedVirtualService
	exact  map[host.Name][]int
	others []int // that have a wildcard among their hosts
}

// IndexRoutes indexes a list, whose order it keeps.
func IndexRoutes(list []*MergedVirtualService) *RouteIndex {
	x := &RouteIndex{all: list, exact: map[host.Name][]int{}}
	for i, vs := range list {
		wild := false
		for _, h := range vs.Hosts {
			if h.IsWildCarded() {
				wild = true
			}
			x.exact[h] = append(x.exact[h], i)
		}
		if wild {
			x.others = append(x.others, i)
		}
	}
	return x
}

// About returns the VirtualServices with a host that matches h, or that h
// matches, in the order of the list; there may be others among them.
func (x *RouteIndex) About(h host.Name) []*MergedVirtualService {
	if h.IsWildCarded() {
		return x.all
	}
	places := x.exact[h]
	if len(x.others) > 0 {
		places = slices.Concat(places, x.others)
		slices.SortFunc(places, cmp.Compare[int])
		places = slices.Compact(places)
	}
	out := make([]*MergedVirtualService, 0, len(places))
	for i, place := range places {
		if i == 0 || place != places[i-1] {
			out = append(out, x.all[place])
		}
	}
	return out
}
