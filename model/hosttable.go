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
	// overlaps are the places found for hosts with a wildcard: see Overlapping; within
	// are the places of hosts by what they end in, from each of their dots on.
	overlaps map[host.Name][]int
	within   map[string][]int
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
	x.overlaps, x.within = nil, nil
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

// Exactly returns the things with this very host, in the order in which they were
// added.
func (x *HostTable[T]) Exactly(h host.Name) []T { return x.at(inOrder(slices.Clone(x.exact[h]))) }

// Covering returns the things with a host of which h is a subset, each once, in
// the order in which they were added.
func (x *HostTable[T]) Covering(h host.Name) []T { return x.at(inOrder(x.covering(h))) }

func (x *HostTable[T]) covering(h host.Name) []int {
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
	return places
}

// endingIn returns the places of the hosts that end in a text which begins with a dot.
func (x *HostTable[T]) endingIn(rest string) []int {
	if x.within == nil {
		x.within = map[string][]int{}
		for h, list := range x.exact {
			for i := 1; i < len(h); i++ {
				if h[i] == '.' {
					x.within[string(h[i:])] = append(x.within[string(h[i:])], list...)
				}
			}
		}
	}
	return x.within[rest]
}

// Overlapping returns the things with a host that has a name in common with h, each
// once, in the order in which they were added. It remembers what it finds for a
// wildcard: do not ask from several places at once.
func (x *HostTable[T]) Overlapping(h host.Name) []T {
	if !h.IsWildCarded() {
		return x.Covering(h)
	}
	places, known := x.overlaps[h]
	if !known {
		if strings.HasPrefix(string(h), "*.") {
			places = slices.Concat(x.covering(h), x.endingIn(string(h[1:])))
		} else {
			for other, list := range x.exact {
				if other.Matches(h) {
					places = append(places, list...)
				}
			}
		}
		if x.overlaps == nil {
			x.overlaps = map[host.Name][]int{}
		}
		places = inOrder(places)
		x.overlaps[h] = places
	}
	return x.at(places)
}

// inOrder sorts places, each once; it uses their memory.
func inOrder(places []int) []int {
	slices.Sort(places)
	return slices.Compact(places)
}

func (x *HostTable[T]) at(places []int) []T {
	out := make([]T, len(places))
	for i, place := range places {
		out[i] = x.all[place]
	}
	return out
}

// LowerHost returns a host in lower case.
//
//go:noinline
func LowerHost(h host.Name) host.Name { return host.Name(strings.ToLower(string(h))) }

// LowerHosts returns the hosts in lower case.
func LowerHosts(hosts []host.Name) []host.Name {
	out := make([]host.Name, len(hosts))
	for i, h := range hosts {
		out[i] = LowerHost(h)
	}
	return out
}
