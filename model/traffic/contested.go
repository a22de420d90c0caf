package traffic

import (
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// mostTurns bounds the services that are tried for one domain, and the simulations
// that are kept for such tries.
const mostTurns = 16

// claims are the services without VirtualService that list one domain, an address
// most of the time, by that domain in lower case, where there are several. istiod makes their virtual hosts
// in the order of a Go map, and the first keeps the domain (istio
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
				if one := first[key]; one == s || slices.Contains(shared.alternatives, d) && known[d] {
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
	if vh.contested == nil {
		vh.contested = map[string][]*model.Service{}
	}
	vh.contested[domain] = rivals
}

// turned returns this simulation with another service getting what several claim.
func (s *Simulation) turned(turn int) *Simulation {
	c := s.chance
	c.turn = turn
	s.turning.Lock()
	defer s.turning.Unlock()
	o := s.turns[c]
	if o == nil {
		o = newSimulation(s.mesh, c)
		o.alternatives = s.alternatives
		if len(s.turns) < mostTurns {
			s.turns[c] = o
		}
	}
	return o
}
