package analyzers

import (
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// ambientClients are the clients in ambient mode. What ztunnel does with a
// connection depends on the namespace of the client, and apart from that only
// network policies tell clients apart.
type ambientClients struct {
	pass       *Pass
	namespaces []ambientNamespace
}

// ambientNamespace are the clients of a namespace: those that nothing keeps from
// the internet fare alike, the classes of the others each for itself.
type ambientNamespace struct {
	free   []*model.Workload
	others [][]*model.Workload
}

func ambientClientsOf(p *Pass) *ambientClients {
	a := &ambientClients{pass: p}
	index := map[string]int{}
	for _, class := range p.classesIn(capture.Ambient) {
		i, ok := index[class[0].Namespace]
		if !ok {
			i = len(a.namespaces)
			index[class[0].Namespace] = i
			a.namespaces = append(a.namespaces, ambientNamespace{})
		}
		// Clients that resolve names otherwise dial other addresses.
		if ns := &a.namespaces[i]; p.network.free(class[0]) && p.Reach.Sim.Capture(class[0]).DNSCapture {
			ns.free = append(ns.free, class...)
		} else {
			ns.others = append(ns.others, class)
		}
	}
	return a
}

// maxTried bounds the groups of clients that are tried for one finding.
const maxTried = 256

// faring returns the clients whose request for a host fares as wanted, and such a
// request of the first of them; nil if there is none.
func (a *ambientClients) faring(h waypointHost, want func(*flow.Trace) bool) (first *proof, clients []*model.Workload) {
	tried := 0
	try := func(group []*model.Workload) {
		if len(group) == 0 || tried == maxTried {
			return
		}
		tried++
		if found := h.attempt(a.pass, group[0], want); found != nil {
			if first == nil {
				first = found
			}
			clients = append(clients, group...)
		}
	}
	for _, ns := range a.namespaces {
		try(ns.free)
		for _, class := range ns.others {
			try(class)
		}
	}
	return first, clients
}

// in returns the groups of clients of a namespace that fare alike.
func (a *ambientClients) in(namespace string) *ambientClients {
	out := &ambientClients{pass: a.pass}
	for _, ns := range a.namespaces {
		if w := slices.Concat(append([][]*model.Workload{ns.free}, ns.others...)...)[0]; w.Namespace == namespace {
			out.namespaces = append(out.namespaces, ns)
		}
	}
	return out
}
