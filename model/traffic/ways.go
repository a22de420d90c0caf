package traffic

import (
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/netpol"
)

// ways is what is known about the ways around a proxy, which are the same for
// many flows. The lock of its simulation guards it.
type ways struct {
	known     bool
	entrances []string
	// routers are gateways, alone those and waypoints.
	routers, alone []*model.Workload
	ports          map[*model.Workload][]int
	closed         map[clientPort]way
	admits, byNode map[clientDoor]netpol.Decision
	doors          map[string][]door
}

func newWays() *ways {
	return &ways{closed: map[clientPort]way{}, admits: map[clientDoor]netpol.Decision{}, byNode: map[clientDoor]netpol.Decision{}, doors: map[string][]door{}, ports: map[*model.Workload][]int{}}
}

// way is whether network policies close the way to the internet.
type way struct{ closed, known bool }

type clientPort struct {
	client *model.Workload
	port   int
}

// door is a port of a gateway's pod.
type door struct {
	gateway *model.Workload
	port    int
}

type clientDoor struct {
	client *model.Workload
	door
}
