package reach

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// The guarantee of an answer rests on the ways around the client's proxy. Where
// network policies do not close them nothing else matters, and that is the same
// for all workloads that the policies hold alike and all hosts to which gateways
// open the same doors. Elsewhere the ways are tried, once for workloads and names
// between which nothing on these ways can tell.

// guarantees are what is known about the ways around proxies.
type guarantees struct {
	// networks number the classes that network policies hold alike, doors the
	// hosts to which gateways lead alike.
	networks  map[*model.Workload]int32
	networkOf map[string]int32
	doors     map[string]int32
	doorsOf   map[string]int32
	open      map[openKey]bool
	// outside says for the first of a class what the ways around its proxy are
	// like; around are guarantees that were found.
	outside   map[*model.Workload]int32
	outsideOf map[string]int32
	around    map[aroundKey]string
	// given says of which destinations manifests give addresses to go to.
	given map[Destination]bool
	// senders and blocks are what policies on these ways say about who sends.
	senders *accounts
	blocks  []netip.Prefix
	// rows are groups that differ in their guarantees too.
	rows map[*model.Workload][]group
}

func newGuarantees() guarantees {
	return guarantees{
		networks: map[*model.Workload]int32{}, networkOf: map[string]int32{}, doors: map[string]int32{}, doorsOf: map[string]int32{}, open: map[openKey]bool{},
		outside: map[*model.Workload]int32{}, outsideOf: map[string]int32{}, around: map[aroundKey]string{}, given: map[Destination]bool{}, rows: map[*model.Workload][]group{},
	}
}

// openKey is what it depends on whether anything holds a process back.
type openKey struct {
	network, doors int32
	port           int
}

// aroundKey is what the guarantee of a blocked request for an unknown name depends
// on.
type aroundKey struct {
	outside int32
	host    string
	port    int
	scheme  flow.Scheme
}

// number gives equal texts equal numbers.
func number(of map[string]int32, text string) int32 {
	n, ok := of[text]
	if !ok {
		n = int32(len(of)) //nolint:gosec // one for each class or host
		of[text] = n
	}
	return n
}

// guaranteesOf returns what holds an answer without conditions up, for the address
// that it is about, and where it is about both and manifests list one also for
// another one.
func (r *Reach) guaranteesOf(first *model.Workload, d Destination, a *Answer) (listed, other string) {
	if !steered(a) {
		g := traffic.Unsteered(a.Outcome)
		return g, g
	}
	listed = r.guarantee(first, d, a, a.Flow.DstIP)
	if other = listed; a.Address == "" && r.listed(d) {
		other = r.guarantee(first, d, a, r.Sim.Push().PublicAddress(d.Host).String())
	}
	return listed, other
}

// steered reports whether the guarantee of an answer rests on the ways around the
// proxy.
func steered(a *Answer) bool {
	return a.Outcome == flow.Blocked || a.Outcome != flow.Unknown && (a.Via == flow.ViaGateway || a.Via == flow.ViaWaypoint || a.Via == flow.ViaMixed)
}

func (r *Reach) guarantee(first *model.Workload, d Destination, a *Answer, dst string) string {
	i, ok := r.place[d]
	request := func() flow.Flow {
		f := flow.Flow{From: From(first), Host: d.Host, Port: d.Port, Scheme: a.Protocol, DstIP: dst}
		if a.Protocol == flow.HTTP {
			f = r.requestsFor(d).plainest(f)
		}
		return f
	}
	if !ok || r.resolvingFor(first).has(i) {
		return r.Sim.Around(request(), a.Outcome == flow.Blocked)
	}
	if r.unheld(first, d) {
		return traffic.BestEffort
	}
	if a.Outcome != flow.Blocked || r.row(first).known.has(i) || d.Stands == AnyName {
		return r.Sim.Around(request(), a.Outcome == flow.Blocked)
	}
	key := aroundKey{r.outsideWay(first), "", d.Port, a.Protocol}
	if r.gateways.has(i) || r.addressed(first, d) {
		key.host = d.Host
	}
	g, ok := r.around[key]
	if !ok {
		g = r.Sim.Around(request(), true)
		r.around[key] = g
	}
	return g
}

// unheld reports whether it is certain that nothing but its proxy holds back a
// process of a class that wants to a destination outside.
func (r *Reach) unheld(first *model.Workload, d Destination) bool {
	network, ok := r.networks[first]
	if !ok {
		network = number(r.networkOf, r.Sim.Network(first, r.ports))
		r.networks[first] = network
	}
	doors, ok := r.doors[d.Host]
	if !ok {
		doors = number(r.doorsOf, r.Sim.Doors(d.Host))
		r.doors[d.Host] = doors
	}
	key := openKey{network, doors, d.Port}
	open, ok := r.open[key]
	if !ok {
		open = r.Sim.Unheld(first, d.Host, d.Port)
		r.open[key] = open
	}
	return open
}

// addressed reports whether manifests give addresses for a destination.
func (r *Reach) addressed(first *model.Workload, d Destination) bool {
	given, ok := r.given[d]
	if !ok {
		given = r.Sim.Addressed(first, d.Host, d.Port)
		r.given[d] = given
	}
	return given
}

func (r *Reach) outsideWay(first *model.Workload) int32 {
	n, ok := r.outside[first]
	if !ok {
		if r.senders == nil {
			named, blocks := sources(r.Mesh, r.onTheWay())
			r.senders, r.blocks = &named, blocks
		}
		key := r.Sim.Outside(first, r.ports) + fmt.Sprint(r.Sim.SourceBlocks(first, r.blocks))
		if r.senders.asked {
			// Policies look at who sends, if only at his namespace.
			key += " " + first.Namespace
			if r.senders.has(first.ServiceAccount) {
				key += " " + first.ServiceAccount
			}
		}
		n = number(r.outsideOf, key)
		r.outside[first] = n
	}
	return n
}

// onTheWay returns the namespaces whose policies may see who a client is that
// comes to a gateway by itself; nil for all.
func (r *Reach) onTheWay() map[string]bool {
	out := map[string]bool{}
	for _, w := range r.Mesh.Workloads {
		switch r.Sim.Capture(w).Mode {
		case capture.Router:
			out[w.Namespace] = true
			out[r.Mesh.ConfigFor(w).GetRootNamespace()] = true
		case capture.None, capture.Sidecar:
		default:
			return nil
		}
	}
	return out
}

// guaranteed returns the destinations of the universe in groups that fare alike
// for a class, guarantees and all, in the order in which they were found.
func (r *Reach) guaranteed(first *model.Workload) []group {
	if out, ok := r.guarantees.rows[first]; ok {
		return out
	}
	universe := r.Universe()
	alike := newGrouping(len(universe))
	for _, g := range r.row(first).groups {
		fate := r.fates[g.fate]
		if !slices.ContainsFunc(fate, func(a Answer) bool { return len(a.When) > 0 || steered(&a) }) {
			answers := slices.Clone(fate)
			for i := range answers {
				answers[i].Guarantee = traffic.Unsteered(answers[i].Outcome)
			}
			alike.at(r.fate(answers)).unite(g.set)
			continue
		}
		byGuarantee := map[string]int32{} // most members have the same
		g.set.members(func(i int) bool {
			d := universe[i]
			if slices.ContainsFunc(fate, func(a Answer) bool { return len(a.When) > 0 }) {
				alike.at(r.fate(r.Answers(first, d))).add(i)
				return true
			}
			key := ""
			for k := range fate {
				a := fate[k]
				if a.Address == Other {
					a.Flow.DstIP = r.Sim.Push().PublicAddress(d.Host).String()
				} else {
					a.Flow.DstIP = ""
				}
				listed, other := r.guaranteesOf(first, d, &a)
				key += listed + "|" + other + "|"
			}
			n, ok := byGuarantee[key]
			if !ok {
				n = r.fate(r.Answers(first, d))
				byGuarantee[key] = n
			}
			alike.at(n).add(i)
			return true
		})
	}
	r.guarantees.rows[first] = alike.groups
	return alike.groups
}
