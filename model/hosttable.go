package model

import (
	"cmp"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
)

// HostTable finds things by the hosts that they are about. Hosts are compared as
// they are given: add and ask for them in one case. The zero value is empty.
type HostTable[T any] struct {
	all   []T
	exact map[host.Name][]int
	wild  []wildcardPlace
}

type wildcardPlace struct {
	host  host.Name
	place int
}

// Add adds a thing with the hosts that it is about, wildcards among them.
func (x *HostTable[T]) Add(thing T, hosts []host.Name) {
	if x.exact == nil {
		x.exact = map[host.Name][]int{}
	}
	i := len(x.all)
	x.all = append(x.all, thing)
	for _, h := range hosts {
		x.exact[h] = append(x.exact[h], i)
		if h.IsWildCarded() {
			x.wild = append(x.wild, wildcardPlace{h, i})
		}
	}
}

// Empty reports whether nothing was added.
func (x *HostTable[T]) Empty() bool { return len(x.all) == 0 }

// Covering returns the things with a host of which h is a subset, each once, in
// the order in which they were added.
func (x *HostTable[T]) Covering(h host.Name) []T {
	places := slices.Clone(x.exact[h])
	for _, w := range x.wild {
		if h.SubsetOf(w.host) {
			places = append(places, w.place)
		}
	}
	slices.SortFunc(places, cmp.Compare[int])
	var out []T
	for _, i := range slices.Compact(places) {
		out = append(out, x.all[i])
	}
	return out
}

// LowerHosts returns the hosts in lower case.
func LowerHosts(hosts []host.Name) []host.Name {
	out := make([]host.Name, len(hosts))
	for i, h := range hosts {
		out[i] = host.Name(strings.ToLower(string(h)))
	}
	return out
}
