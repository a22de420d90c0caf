package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// contest is a place where istiod goes through a Go map and the first that it
// meets counts.
type contest struct {
	// size is the number of those of which any may be first.
	size int
	// what says what they contend for, settle what would end it.
	what, settle string
	because      []flow.Because
}

// rivals is the number of those of which any may be first, 0 without a contest.
func (c *contest) rivals() int {
	if c == nil {
		return 0
	}
	return c.size
}

// mostTurns bounds the rivals that are tried, mostTurned the simulations that are
// kept for such tries: one a rival and choice of a tie.
const (
	mostTurns  = 16
	mostTurned = 128
)

// claims are the services without VirtualService that list one domain, an address
// most of the time, by that domain in lower case, where there are several. istiod
// makes their virtual hosts in the order of a map, and the first keeps the domain (istio
// pilot/pkg/networking/core/route/route.go BuildSidecarVirtualHostWrapper,
// httproute.go dedupeDomains).
func (p *proxy) claims(groups []hostGroup) map[string][]*model.Service {
	known := map[string]bool{}
	for _, g := range groups {
		for _, s := range g.services {
			known[string(s.Hostname)] = true
		}
	}
	out := map[string][]*model.Service{}
	first := map[string]*model.Service{}
	for _, g := range groups {
		if g.vs != nil {
			continue
		}
		for _, s := range g.services {
			shared := p.sharedHost(g, s)
			for _, d := range shared.domains {
				key := strings.ToLower(d)
				if one := first[key]; one == s || contains(shared.alternatives, d) && known[d] {
					continue
				} else if one == nil {
					first[key] = s
					continue
				}
				if out[key] == nil {
					out[key] = []*model.Service{first[key]}
				}
				if !slices.Contains(out[key], s) {
					out[key] = append(out[key], s)
				}
			}
		}
	}
	return out
}

// contest notes that a domain of the virtual host might as well be another's.
func (vh *virtualHost) contest(domain string, rivals []*model.Service) {
	c := &contest{size: len(rivals), settle: "addresses of their own, or a VirtualService for one of the hosts, would settle it"}
	var names []string
	for _, s := range rivals {
		names = append(names, fmt.Sprintf("%s of %s", s.Hostname, s.Object))
		c.because = append(c.because, flow.Because{Object: s.Object, Field: cmp.Or(s.AddressField, s.HostField)})
	}
	c.what = fmt.Sprintf("the request names %s as its host, which %s claim, and istiod may give it to any of them", domain, strings.Join(names, " and "))
	if vh.contested == nil {
		vh.contested = map[string]*contest{}
	}
	vh.contested[domain] = c
}

// contestEndpoints puts another of several WorkloadEntries of one address first,
// where one of them takes mesh TLS and another does not: istiod keeps them in maps
// (istio pilot/pkg/serviceregistry/util/workloadinstances/index.go), and a proxy
// takes the first endpoint of an address.
func (p *proxy) contestEndpoints(c *cluster) {
	type at struct {
		address string
		port    int
	}
	rivals := map[at][]int{}
	for i := range c.endpoints {
		e := &c.endpoints[i]
		key := at{e.Address, e.Port}
		takesAs := func(j int) bool {
			other := &c.endpoints[j]
			return p.labelled(other) == p.labelled(e) && p.takesMTLS(other) == p.takesMTLS(e)
		}
		if e.Object.Kind == "WorkloadEntry" && !slices.ContainsFunc(rivals[key], takesAs) {
			rivals[key] = append(rivals[key], i)
		}
	}
	for i := range c.endpoints {
		list := rivals[at{c.endpoints[i].Address, c.endpoints[i].Port}]
		if len(list) < 2 || list[0] != i {
			continue
		}
		c.contested = &contest{
			size: len(list),
			what: fmt.Sprintf("several WorkloadEntries have the address %s, only some of which say that it takes mesh TLS, and istiod may take any of them",
				c.endpoints[i].Address),
			settle: "the same label security.istio.io/tlsMode on all would settle it",
		}
		for _, k := range list {
			c.contested.because = append(c.contested.because, flow.Because{Object: c.endpoints[k].Object, Field: c.endpoints[k].Field})
		}
		chosen := list[p.sim.chance.turn%len(list)]
		c.endpoints[i], c.endpoints[chosen] = c.endpoints[chosen], c.endpoints[i]
	}
}

// turned returns this simulation with another winner of contests.
func (s *Simulation) turned(turn int) *Simulation {
	c := s.chance
	c.turn = turn
	s.turning.Lock()
	defer s.turning.Unlock()
	o := s.turns[c]
	if o == nil {
		o = newSimulation(s.mesh, c)
		o.alternatives = s.alternatives
		if len(s.turns) < mostTurned {
			s.turns[c] = o
		}
	}
	return o
}
