package analyzers

import (
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// witness is a request that shows what a finding about a policy says, and the
// workloads for which it holds.
type witness struct {
	*crossing
	// Meant: the rules' conditions on identity are about these clients.
	Meant bool
	// Workloads are the clients for which it holds, sorted.
	Workloads []string
}

// witness looks for requests that rules of a policy speak of and that reach the
// gateway; show returns the request that shows what the finding says (the same
// or one like it), nil if none does. The clients that the rules mean count;
// where none of theirs shows it, the others. Nil if there is none at all.
//
//go:noinline
func (g *egressGateway) witness(p *Pass, rules []authzRule, show func(authzRule, *crossing) *crossing) *witness {
	return g.witnessBy(p, rules, func(r authzRule, _ shownAlike, class []*model.Workload, f flow.Flow) *crossing {
		if c := g.send(p, class, f); c != nil {
			return show(r, c)
		}
		return nil
	})
}

// witnessAlike is witness for a rule where what show says depends on nothing but what
// becomes of the request, and of others that it sends to the gateway: it is asked once
// for clients for whom all of them fare alike.
//
//go:noinline
func (g *egressGateway) witnessAlike(p *Pass, r authzRule, show func(*crossing) *crossing) *witness {
	return g.witnessBy(p, []authzRule{r}, func(_ authzRule, known shownAlike, class []*model.Workload, f flow.Flow) *crossing {
		return g.showOnce(p, known, class, f, show)
	})
}

// showOnce sends a request and returns what it shows, unless that is known of a client
// for whom it fares alike.
func (g *egressGateway) showOnce(p *Pass, known shownAlike, class []*model.Workload, f flow.Flow, show func(*crossing) *crossing) *crossing {
	if shown, ok := known.by(p, p.Reach.Alike(f, class[0]), class); ok {
		return shown
	}
	var sent []flow.Flow
	g.sent = &sent
	defer func() { g.sent = nil }()
	var shown *crossing
	if c := g.send(p, class, f); c != nil {
		shown = show(c)
	}
	known.add(p, class, sent, shown)
	return shown
}

// shownAlike is what was shown for clients, by the likeness of the first request.
type shownAlike map[reach.Likeness]*shownOnce

// shownOnce is what was shown for one client, after some requests.
type shownOnce struct {
	sent  []flow.Flow
	likes []reach.Likeness
	shown *crossing
}

// by returns what was shown for a client for whom all requests fare alike.
func (x shownAlike) by(p *Pass, like reach.Likeness, class []*model.Workload) (*crossing, bool) {
	once := x[like]
	if once == nil {
		return nil, false
	}
	for i, f := range once.sent[1:] {
		if f.From = reach.From(class[0]); p.Reach.Alike(f, class[0]) != once.likes[i+1] {
			return nil, false
		}
	}
	return once.shown, true
}

func (x shownAlike) add(p *Pass, class []*model.Workload, sent []flow.Flow, shown *crossing) {
	once := &shownOnce{sent: sent, shown: shown}
	for _, f := range sent {
		like := p.Reach.Alike(f, class[0])
		if like == (reach.Likeness{}) {
			return
		}
		once.likes = append(once.likes, like)
	}
	if len(sent) > 0 {
		x[once.likes[0]] = once
	}
}

// witnessBy is witness, with a function that says what a request of a class shows.
func (g *egressGateway) witnessBy(p *Pass, rules []authzRule, show func(authzRule, shownAlike, []*model.Workload, flow.Flow) *crossing) *witness {
	for _, meant := range []bool{true, false} {
		out := &witness{Meant: meant}
		var shownBy []*model.Workload
		for _, r := range rules {
			requests, known := g.spoken(r), shownAlike{}
			for _, class := range g.callers(p, r) {
				if p.means(g.push, r, class[0]) != meant {
					continue
				}
				// The first client asks for everything, so that every server
				// shows; of the others one request is enough.
				first := out.crossing == nil
				for f := range requests.of(p, class) {
					shown := show(r, known, class, f)
					if shown == nil {
						continue
					}
					if out.crossing == nil {
						out.crossing = shown
					}
					shownBy = append(shownBy, class...)
					if !first {
						break
					}
				}
			}
		}
		if out.crossing != nil {
			out.Workloads = workloadIDs(shownBy)
			return out
		}
	}
	return nil
}
