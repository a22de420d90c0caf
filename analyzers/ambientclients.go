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
	free, others [][]*model.Workload
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
			ns.free = append(ns.free, class)
		} else {
			ns.others = append(ns.others, class)
		}
	}
	return a
}

// maxTried bounds the groups of clients that are tried for one finding.
const maxTried = 1024

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
		try(slices.Concat(ns.free...))
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
		if ns.first().Namespace == namespace {
			out.namespaces = append(out.namespaces, ns)
		}
	}
	return out
}

// eachClass are the same clients where policies tell them apart, so that only the
// members of a class fare alike; want leaves out those that do not matter.
func (a *ambientClients) eachClass(want func(*model.Workload) bool) *ambientClients {
	out := &ambientClients{pass: a.pass}
	for _, ns := range a.namespaces {
		var left ambientNamespace
		for _, class := range slices.Concat(ns.free, ns.others) {
			if want(class[0]) {
				left.others = append(left.others, class)
			}
		}
		if len(left.others) > 0 {
			out.namespaces = append(out.namespaces, left)
		}
	}
	return out
}

// first is one of the clients of the namespace.
func (ns *ambientNamespace) first() *model.Workload {
	return slices.Concat(ns.free, ns.others)[0][0]
}
