package analyzers

import (
	"cmp"
	"slices"

	"istio.io/istio/pkg/config/host"
)

// hostTable finds things by the hosts that they are about.
type hostTable[T any] struct {
	all   []T
	exact map[host.Name][]int
	wild  []wildcard
}

type wildcard struct {
	host  host.Name
	place int
}

func newHostTable[T any]() *hostTable[T] { return &hostTable[T]{exact: map[host.Name][]int{}} }

func (x *hostTable[T]) add(thing T, hosts []host.Name) {
	i := len(x.all)
	x.all = append(x.all, thing)
	for _, h := range hosts {
		x.exact[h] = append(x.exact[h], i)
		if h.IsWildCarded() {
			x.wild = append(x.wild, wildcard{h, i})
		}
	}
}

// covering returns the things with a host of which h is a subset, each once, in
// the order in which they were added.
func (x *hostTable[T]) covering(h host.Name) []T {
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
