package model

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/internal/testseed"
)

// A table finds what going through all hosts would, whatever it was asked before.
func TestHostTableFindsWhatMatches(t *testing.T) {
	seed := testseed.New(t)
	random := rand.New(rand.NewPCG(seed, 0))
	name := func() host.Name {
		parts := make([]string, 1+random.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + random.IntN(3)))
		}
		return host.Name([]string{"", "", "*.", "*", "*-"}[random.IntN(5)] + strings.Join(parts, "."))
	}
	for range 200 {
		var table HostTable[int]
		hosts := make([][]host.Name, random.IntN(8))
		for i := range hosts {
			for range 1 + random.IntN(3) {
				hosts[i] = append(hosts[i], name())
			}
			table.Add(i, hosts[i])
		}
		among := func(what func(host.Name) bool) []int {
			var out []int
			for i, list := range hosts {
				if slices.ContainsFunc(list, what) {
					out = append(out, i)
				}
			}
			return out
		}
		for range 20 {
			h := name()
			for _, test := range []struct {
				how       string
				got, want []int
			}{
				{"exactly", table.Exactly(h), among(func(o host.Name) bool { return o == h })},
				{"covering", table.Covering(h), among(h.SubsetOf)},
				{"overlapping", table.Overlapping(h), among(h.Matches)},
				{"overlapping again", table.Overlapping(h), among(h.Matches)},
			} {
				if !slices.Equal(test.got, test.want) {
					t.Fatalf("%s %s among %v: %v, want %v", test.how, h, hosts, test.got, test.want)
				}
			}
		}
	}
}
