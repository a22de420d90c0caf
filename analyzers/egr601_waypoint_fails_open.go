package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR601", Name: "waypoint-binding-fails-open", Severity: Error, SecuritySeverity: 8.2,
	Run: runWaypointFailsOpen,
	Doc: Doc{
		Title: "A waypoint is asked for and does not take part, so that requests go straight out",
		What: "The label `istio.io/use-waypoint` of a ServiceEntry, or of its namespace, names a waypoint that does not exist, that does not admit " +
			"objects of that namespace (`allowedRoutes`), or that is not for services (`istio.io/waypoint-for`). " +
			"Also a ServiceEntry that declines the waypoint of its namespace (`none`), and one without waypoint in the namespace of the clients " +
			"for a host that another ServiceEntry sends through a waypoint: clients use the one of their own namespace.",
		Why: "Without a waypoint ztunnel sends the connection straight to the host. Nothing fails, no log of the waypoint misses anything, " +
			"and no policy of the waypoint is asked. A label of the ServiceEntry itself that leads nowhere does not fall back to the namespace's waypoint.",
		Bad:  ambientDoc([]string{"use-waypoint: waypoint", "use-waypoint: egress"}),
		Good: ambientDoc(nil),
		Fix: "Name a waypoint that exists, let the `allowedRoutes` of its HBONE listener admit the namespace of the ServiceEntry, and label it " +
			"`istio.io/waypoint-for: service` or `all`. Close the clients' way straight out with a NetworkPolicy, so that a mistake like this blocks.",
		Silent: "The waypoint may lie in a namespace of which the input holds nothing; the labels that decide are not in the input; " +
			"the class of the waypoint is not one of Istio's. Without clients in ambient mode it is a warning.",
		Sources: []string{
			"istio pilot/pkg/serviceregistry/ambient/waypoints.go (fetchWaypointForService, fetchWaypointForTarget)",
			"https://istio.io/latest/docs/ambient/usage/waypoint/",
		},
	},
})

func runWaypointFailsOpen(p *Pass) {
	hosts := waypointHosts(p)
	var order []model.Place
	failed := map[model.Place][]waypointHost{}
	for _, h := range hosts {
		if !h.Binding.Failed && !h.declined(p) {
			continue
		}
		place := model.Place{Object: h.Binding.Object, Field: h.Binding.Field}
		if place.Object == nil {
			place = model.Place{Object: h.Service.Object, Field: h.Service.HostField}
		}
		if failed[place] == nil {
			order = append(order, place)
		}
		failed[place] = append(failed[place], h)
	}
	var clients *ambientClients
	if len(order) > 0 || len(served(hosts)) > 0 || len(p.Mesh.KubeGateways) > 0 {
		clients = ambientClientsOf(p)
	}
	for _, place := range order {
		list := failed[place]
		h := list[0]
		var names []string
		for _, h := range list {
			names = append(names, h.name())
		}
		slices.Sort(names)
		names = slices.Compact(names)
		f := Finding{Object: place.Object, Field: place.Field, Label: "no waypoint takes part"}
		why, todo := h.failure(p, &f)
		atService := func(t *flow.Trace) bool { return refersTo(t, flow.AtZtunnel, h.Service.Object) }
		first, affected := clients.faring(h, func(t *flow.Trace) bool { return leavesDirectly(t) && atService(t) })
		if first == nil && h.Binding.Failed {
			if stopped, by := clients.faring(h, func(t *flow.Trace) bool { return stoppedByNetwork(t) && atService(t) }); stopped != nil {
				f.Severity, f.Workloads, f.Flow, f.Trace = Error, workloadIDs(by), &stopped.Flow, stopped.Trace
				f.Message = fmt.Sprintf("%s: requests of %s to %s are not sent through it but straight out, where a network policy stops them; %s", why, upTo3(f.Workloads), upTo3(names), todo)
				p.Report(f)
				continue
			}
		}
		if first == nil {
			if !h.Binding.Failed || len(clients.namespaces) > 0 {
				continue // nobody gets out by it
			}
			f.Severity, f.SecuritySeverity = Warning, 5.0
			f.Message = fmt.Sprintf("%s: clients in ambient mode reach %s directly; %s", why, upTo3(names), todo)
			p.Report(f)
			continue
		}
		f.Severity, f.SecuritySeverity = Error, 8.2
		if !h.Binding.Failed {
			f.Severity, f.SecuritySeverity = Warning, 5.5
		}
		f.Workloads, f.Flow, f.Trace = workloadIDs(affected), &first.Flow, first.Trace
		f.Message = fmt.Sprintf("%s: %s %s %s directly; %s", why, upTo3(f.Workloads), plural(len(f.Workloads), "reaches", "reach"), upTo3(names), todo)
		p.Report(f)
	}
	reportIdle(p, hosts, clients)
	classes := map[*manifest.Object]bool{}
	for _, h := range hosts {
		h.reportClass(p, classes)
	}
	for _, h := range shadows(p, hosts) {
		reportShadow(p, clients, h[0], h[1])
	}
}

// reportClass reports a waypoint of the class of Istio's other gateways: istiod
// refuses its HBONE listener (istio pilot/pkg/config/kube/gateway/conversion.go
// listenerProtocolToIstio), so that nothing takes what ztunnel sends there.
func (h waypointHost) reportClass(p *Pass, told map[*manifest.Object]bool) {
	if h.Binding.Unknown == "" || h.Binding.Object == nil {
		return
	}
	name, namespace := h.Binding.Object.Labels[useWaypoint], h.Binding.Object.Labels[useWaypoint+"-namespace"]
	if namespace == "" {
		namespace = h.Service.Namespace
	}
	for _, g := range p.Mesh.KubeGateways {
		if g.Name != name || g.Namespace != namespace || g.Spec.Spec.GatewayClassName != "istio" {
			continue
		}
		for i, l := range g.Spec.Spec.Listeners {
			if l.Protocol != "HBONE" || told[g.Object] {
				continue
			}
			told[g.Object] = true
			p.Report(Finding{
				Object: g.Object, Field: "spec.gatewayClassName", Severity: Error, Label: "not a waypoint's class",
				Help: `write "istio-waypoint"`, Fix: "gatewayClassName: istio-waypoint\n", Edits: []Edit{{g.Object, "spec.gatewayClassName", "istio-waypoint"}},
				Message: fmt.Sprintf("Gateway %s, which is to be the waypoint of %s, is of class \"istio\", whose gateways take no HBONE: nothing is there to take what ztunnel sends; write istio-waypoint", g.ID(), h.name()),
				Related: []Related{
					{h.Binding.Object, h.Binding.Field, "names it as waypoint"},
					{g.Object, fmt.Sprintf("spec.listeners[%d].protocol", i), "only waypoints have such listeners"},
				},
			})
		}
	}
}

// declined reports whether a ServiceEntry opts out of its namespace's waypoint.
func (h waypointHost) declined(p *Pass) bool {
	if h.Binding.Waypoint != nil || h.Binding.Failed || h.Binding.Unknown != "" || h.Binding.Object != h.Service.Object {
		return false
	}
	ns := p.Mesh.Namespaces[h.Service.Namespace]
	return ns != nil && h.Service.Object.Labels[useWaypoint] == "none" && ns.Labels[useWaypoint] != "" && ns.Labels[useWaypoint] != "none"
}

// useWaypoint is the label that binds services to waypoints.
const useWaypoint = "istio.io/use-waypoint"

// failure says why no waypoint takes the host, and what to do about it.
func (h waypointHost) failure(p *Pass, f *Finding) (why, todo string) {
	why = h.Binding.Why
	if h.declined(p) {
		return fmt.Sprintf("%s declines waypoint %s of its namespace", h.Service.Object, p.Mesh.Namespaces[h.Service.Namespace].Labels[useWaypoint]), "remove the label"
	}
	name, namespace := f.Object.Labels[useWaypoint], f.Object.Labels[useWaypoint+"-namespace"]
	if namespace == "" {
		namespace = h.Service.Namespace
	}
	for _, g := range p.Mesh.KubeGateways {
		if g.Name == name && g.Namespace == namespace {
			f.Related = append(f.Related, Related{g.Object, "spec.listeners", "the waypoint"})
		}
	}
	switch {
	case len(f.Related) == 0:
		todo = "create the waypoint or correct the label"
	case strings.Contains(why, "allowedRoutes"):
		todo = fmt.Sprintf("let allowedRoutes of its HBONE listener admit namespace %s", h.Service.Namespace)
	case strings.Contains(why, "waypoint-for"):
		todo = "label the waypoint istio.io/waypoint-for: service"
	default:
		todo = "use a waypoint of the same namespace"
	}
	if ns := p.Mesh.Namespaces[h.Service.Namespace]; f.Object == h.Service.Object && ns != nil && ns.Labels[useWaypoint] != "" && ns.Labels[useWaypoint] != "none" {
		f.Help = fmt.Sprintf("the waypoint %s of the namespace is not used instead: the label of the object beats that of the namespace", ns.Labels[useWaypoint])
	}
	return why, todo
}

// shadows returns the definitions of hosts without any waypoint, each with one of
// another namespace that has one.
func shadows(p *Pass, hosts []waypointHost) [][2]waypointHost {
	push := p.Reach.Sim.Push()
	bound := map[host.Name]waypointHost{}
	for _, h := range served(hosts) {
		if _, ok := bound[h.Service.Hostname]; !ok {
			bound[h.Service.Hostname] = h
		}
	}
	var out [][2]waypointHost
	for _, s := range push.Services() {
		b, ok := bound[s.Hostname]
		if !ok || s.Entry == nil || s.Namespace == b.Service.Namespace || push.ServiceIn(s.Hostname, s.Namespace) != s {
			continue
		}
		if own := push.WaypointOf(s); own.Waypoint == nil && !own.Failed && own.Unknown == "" {
			out = append(out, [2]waypointHost{{s, own}, b})
		}
	}
	return out
}

// reportShadow reports a definition of a host that hides another one from the
// clients of its namespace.
func reportShadow(p *Pass, clients *ambientClients, own, bound waypointHost) {
	s := own.Service
	if own.declined(p) {
		return // reported as such
	}
	first, affected := clients.in(s.Namespace).faring(own, func(t *flow.Trace) bool {
		return (leavesDirectly(t) || stoppedByNetwork(t)) && refersTo(t, flow.AtZtunnel, s.Object)
	})
	if first == nil {
		return
	}
	security, effect := 8.2, fmt.Sprintf("%s %s it directly, around waypoint %s", upTo3(workloadIDs(affected)), plural(len(affected), "reaches", "reach"), bound.Binding.Waypoint.ID())
	if !leavesDirectly(first.Trace) {
		security = 0
		effect = fmt.Sprintf("requests of %s do not come to waypoint %s but go straight out, where a network policy stops them", upTo3(workloadIDs(affected)), bound.Binding.Waypoint.ID())
	}
	f := Finding{
		Severity: Error, SecuritySeverity: security, Object: s.Object, Field: s.HostField, Label: "hides the definition that has a waypoint",
		Workloads: workloadIDs(affected), Flow: &first.Flow, Trace: first.Trace,
		Related: []Related{{bound.Service.Object, bound.Service.HostField, fmt.Sprintf("%s has waypoint %s", bound.Service.Object, bound.Binding.Waypoint.ID())}},
	}
	f.Message = fmt.Sprintf("%s defines %s without a waypoint for the clients of its namespace: %s; remove it or bind it to the waypoint", s.Object, own.name(), effect)
	p.Report(f)
}
