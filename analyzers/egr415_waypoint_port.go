package analyzers

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// strangePort is a list of ports in a rule at a waypoint, none of which any host that
// it is about has there.
type strangePort struct {
	rule    authzRule
	list    portList
	fits    bool
	ports   []int
	hosts   []string
	proof   *proof
	clients []*model.Workload
}

// reportWaypointPorts reports rules that name ports on which the waypoint takes nothing:
// it knows requests by the port of the ServiceEntry (istio
// pilot/pkg/networking/core/listener_waypoint.go), not by its targetPort.
func reportWaypointPorts(p *Pass) {
	push := p.Reach.Sim.Push()
	var order []*strangePort
	byField := map[model.Place]*strangePort{}
	var clients *ambientClients
	for _, h := range served(waypointHosts(p)) {
		for _, r := range h.rules(push) {
			for _, list := range r.portLists() {
				if list.not || len(list.values) == 0 {
					continue
				}
				at := model.Place{Object: r.Policy.Object, Field: list.field}
				x := byField[at]
				if x == nil {
					x = &strangePort{rule: r, list: list}
					byField[at], order = x, append(order, x)
				}
				if clients == nil {
					clients = ambientClientsOf(p)
				}
				x.about(clients, push, h)
				if len(r.hosts()) == 0 { // a Service of the cluster may be meant
					x.fits = x.fits || slices.ContainsFunc(push.WaypointServices(h.Binding.Waypoint), func(s *model.Service) bool {
						return s.Kubernetes() && slices.ContainsFunc(s.Ports, func(port *model.Port) bool { return slices.Contains(list.values, strconv.Itoa(port.Number)) })
					})
				}
			}
		}
	}
	for _, x := range order {
		if !x.fits && x.proof != nil {
			x.report(p)
		}
	}
}

// about takes in a host that the rule is about.
func (x *strangePort) about(clients *ambientClients, push *model.PushContext, h waypointHost) {
	for _, port := range h.Service.Ports {
		x.fits = x.fits || slices.Contains(x.list.values, strconv.Itoa(port.Number))
		if !slices.Contains(x.ports, port.Number) {
			x.ports = append(x.ports, port.Number)
		}
	}
	first, workloads := clients.eachClass(func(w *model.Workload) bool { return x.rule.means(push, w) }).faring(h, func(t *flow.Trace) bool {
		if denies(x.rule.Policy) {
			return t.Outcome == flow.Allowed && t.Via == flow.ViaWaypoint
		}
		return t.Via == flow.ViaWaypoint && deniedBy(t, x.rule.Policy)
	})
	if first == nil {
		return
	}
	if x.proof == nil {
		x.proof = first
	}
	x.hosts, x.clients = append(x.hosts, h.name()), append(x.clients, workloads...)
}

func (x *strangePort) report(p *Pass) {
	f := Finding{Severity: Error, Object: x.rule.Policy.Object, Field: x.list.field + "[0]", Label: "no port that the waypoint knows", Workloads: workloadIDs(x.clients), Flow: &x.proof.Flow, Trace: x.proof.Trace}
	fate := "denied"
	if denies(x.rule.Policy) {
		fate, f.SecuritySeverity = "allowed", 7.8
	}
	mend := "name the port of the ServiceEntry"
	if len(x.ports) == 1 {
		mend = fmt.Sprintf("write %q", strconv.Itoa(x.ports[0]))
		f.Edits = []Edit{{x.rule.Policy.Object, f.Field, strconv.Quote(strconv.Itoa(x.ports[0]))}}
	}
	f.Message = fmt.Sprintf("%s gives port %q, and the waypoint knows requests for %s by %s: it never matches. Requests of %s are %s; %s",
		x.rule, x.list.values[0], upTo3(x.hosts), portsText(x.ports), upTo3(f.Workloads), fate, mend)
	p.Report(f)
}
