package model

import (
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
)

// HostTable finds things by the hosts that they are about. Hosts are compared as
// they are given: add and ask for them in one case. The zero value is empty.
type HostTable[T any] struct {
	all   []T
	exact map[host.Name][]int
	// wild are the places of hosts "*.rest" by ".rest", odd those of other wildcards.
	wild map[string][]int
	odd  []wildcardPlace
}

type wildcardPlace struct {
	host  host.Name
	place int
}

// Add adds a thing with the hosts that it is about, wildcards among them.
func (x *HostTable[T]) Add(thing T, hosts []host.Name) {
	if x.exact == nil {
		x.exact, x.wild = map[host.Name][]int{}, map[string][]int{}
	}
	i := len(x.all)
	x.all = append(x.all, thing)
	for _, h := range hosts {
		x.exact[h] = append(x.exact[h], i)
		switch {
		case strings.HasPrefix(string(h), "*."):
			x.wild[string(h[1:])] = append(x.wild[string(h[1:])], i)
		case h.IsWildCarded():
			x.odd = append(x.odd, wildcardPlace{h, i})
		}
	}
}

// Empty reports whether nothing was added.
func (x *HostTable[T]) Empty() bool { return len(x.all) == 0 }

// Covering returns the things with a host of which h is a subset, each once, in
// the order in which they were added.
func (x *HostTable[T]) Covering(h host.Name) []T {
	places := slices.Clone(x.exact[h])
	if len(x.wild) > 0 {
		for rest := strings.TrimPrefix(string(h), "*"); ; {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			places = append(places, x.wild[rest[dot:]]...)
			rest = rest[dot+1:]
		}
	}
	for _, w := range x.odd {
		if h.SubsetOf(w.host) {
			places = append(places, w.place)
		}
	}
	return x.at(places)
}

// Overlapping returns the things with a host that has a name in common with h, each
// once, in the order in which they were added.
func (x *HostTable[T]) Overlapping(h host.Name) []T {
	if !h.IsWildCarded() {
		return x.Covering(h)
	}
	var places []int
	for other, list := range x.exact {
		if other.Matches(h) {
			places = append(places, list...)
		}
	}
	return x.at(places)
}

func (x *HostTable[T]) at(places []int) []T {
	slices.Sort(places)
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
