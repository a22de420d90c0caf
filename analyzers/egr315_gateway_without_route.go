package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR315", Name: "gateway-without-route", Severity: Error, SecuritySeverity: 8.0,
	Run: runGatewayWithoutRoute,
	Doc: Doc{
		Title: "A Gateway takes a host at the egress gateway, and nothing sends it there",
		What: "A server of a Gateway at an egress gateway has a host that a ServiceEntry registers as external, no VirtualService of the mesh has a rule for that host, " +
			"and clients connect to it directly, or are stopped by a network policy when they do.",
		Why: "A Gateway takes what comes; it fetches nothing. Only a VirtualService for `mesh` makes sidecars send a host there. " +
			"Without one the host is a registered host like any other: its clients go around the gateway, and around every policy there.",
		Bad: egressDoc("", "  - match:\n    - gateways:\n      - mesh\n      port: 80\n    route:\n    - destination:\n        host: egress.istio-egress.svc.cluster.local\n        port:\n          number: 443\n",
			""),
		Good: egressDoc(""),
		Fix:  "Add a VirtualService (or a rule for `mesh` to the one that is bound to the Gateway) that leads from the sidecars to the gateway's Service, or take the host out of the Gateway.",
		Silent: "Gateways that select no egress gateway (pods to which some route of the mesh sends a host outside, or whose Service has a DestinationRule, or a selector that says \"egress\"), " +
			"hosts for which a rule of the mesh exists, also one that does not work, hosts that no ServiceEntry registers or that are inside the mesh, servers for every host, unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (initVirtualServices)",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/",
		},
	},
})

// unrouted is a host of a Gateway's server that no rule of the mesh is about.
type unrouted struct {
	gateway *model.Gateway
	field   string
	host    host.Name
	// bound is a VirtualService that sends the host on from the Gateway, nil if there is
	// none.
	bound *model.MergedVirtualService
}

func runGatewayWithoutRoute(p *Pass) {
	in := intentOf(p)
	unmet := in.unroutedHosts()
	if len(unmet) == 0 {
		return
	}
	var hosts []host.Name
	for _, u := range unmet {
		hosts = append(hosts, u.host)
	}
	index := indexHosts(hosts)
	var found byKey[hiddenRoute]
	of := map[hiddenRoute]*unrouted{}
	for a := range in.attempts(func(d reach.Destination) bool { return index.covers(d.Host) }, func(via flow.Via, reason flow.Reason) bool {
		return via == flow.ViaDirect || reason == flow.NetworkPolicy
	}) {
		if !a.direct() && (a.By != nil || !stoppedByNetwork(a.Trace)) || a.Flow.Scheme == flow.TCP {
			continue
		}
		if entry, _, _ := a.entry(); entry == nil {
			continue
		}
		for _, u := range unmet {
			if !host.Name(strings.ToLower(a.To.Host)).SubsetOf(u.host) {
				continue
			}
			k := hiddenRoute{object: u.gateway.Object, field: u.field, stopped: !a.direct()}
			if u.bound != nil {
				k.route = u.bound.Object
			}
			if of[k] == nil {
				of[k] = u
			}
			found.add(k, a)
			break
		}
	}
	for _, k := range found.keys {
		c, u := found.of[k], of[k]
		open := k
		if open.stopped = false; k.stopped && found.of[open] != nil {
			continue // some get out: that says it
		}
		entry, hostField, _ := c.first.entry()
		f := Finding{
			Object: k.object, Field: k.field, Severity: Error, SecuritySeverity: 8.0, Label: "nothing sends this host here",
			Related: []Related{{entry, hostField, entry.String() + " registers the host for these clients"}},
		}
		effect := "go straight out, around the gateway"
		if k.stopped {
			f.SecuritySeverity, effect = 0, "go straight out, where a network policy stops them"
		}
		f.Help = fmt.Sprintf("add a VirtualService for gateways mesh and %s", u.gateway.ID())
		if u.bound != nil {
			f.Help = fmt.Sprintf("add a rule for mesh to %s", u.bound.Title())
			f.Related = append(f.Related, Related{u.bound.Object, "spec", "leads from the Gateway to the host, and has no rule for the sidecars"})
		}
		f.Message = fmt.Sprintf("%s takes %s at an egress gateway, and no rule of the mesh sends %s there: requests of %s %s; %s",
			u.gateway, upTo3(c.hosts), pronoun(c), upTo3(c.workloads()), effect, f.Help)
		p.Report(c.finding(f))
	}
}

// unroutedHosts returns the hosts of Gateways at egress gateways that ServiceEntries
// register as external and that no rule for sidecars is about.
func (in *intent) unroutedHosts() []*unrouted {
	var out []*unrouted
	for _, g := range in.push.Mesh.Gateways {
		if !in.atEgress(g) {
			continue
		}
		for i, server := range g.Spec.GetServers() {
			for _, name := range server.GetHosts() {
				if _, bare, ok := strings.Cut(name, "/"); ok {
					name = bare
				}
				h := host.Name(strings.ToLower(name))
				if !slices.ContainsFunc(in.declaring(in.push, h), func(s *model.Service) bool { return s.MeshExternal }) {
					continue
				}
				u := &unrouted{gateway: g, field: fmt.Sprintf("spec.servers[%d].hosts", i), host: h}
				if !in.ruledForMesh(u) {
					out = append(out, u)
				}
			}
		}
	}
	return out
}

// atEgress reports whether a Gateway is meant for an egress gateway: it selects one to
// which routes of the mesh lead, or gateways whose Service has a DestinationRule, which
// only clients of the mesh use, or its selector says so.
func (in *intent) atEgress(g *model.Gateway) bool {
	selector := g.Spec.GetSelector()
	if len(selector) == 0 {
		return false
	}
	for _, v := range selector {
		if strings.Contains(strings.ToLower(v), "egress") {
			return true
		}
	}
	selects := func(w *model.Workload) bool { return hasLabels(w.Labels, selector) }
	return slices.ContainsFunc(in.gateways, func(x *egressGateway) bool { return selects(x.Workload) }) ||
		slices.ContainsFunc(in.push.Mesh.DestinationRules, func(r *model.DestinationRule) bool {
			return slices.ContainsFunc(in.routers(model.ResolveHost(r.Spec.GetHost(), r.Namespace)), selects)
		})
}

// ruledForMesh reports whether some VirtualService has a rule for sidecars about the
// host, and keeps the one that sends it on from the Gateway.
func (in *intent) ruledForMesh(u *unrouted) bool {
	if in.routed.Empty() {
		for _, vs := range in.push.VirtualServices() {
			in.routed.Add(vs, model.LowerHosts(vs.Hosts))
		}
	}
	for _, vs := range in.routed.Overlapping(u.host) {
		if vs.OfGatewayAPI != "" {
			return true
		}
		for _, r := range vs.Spec.GetHttp() {
			if r.GetDelegate() != nil && slices.Contains(vs.Gateways, model.MeshGateway) && (len(r.GetMatch()) == 0 ||
				slices.ContainsFunc(r.GetMatch(), func(m *networking.HTTPMatchRequest) bool { return meansMesh(m.GetGateways()) })) {
				return true // whose delegate may be missing: EGR802
			}
		}
		for _, d := range destinationsOf(vs) {
			if slices.Contains(d.gateways, model.MeshGateway) || len(d.gateways) == 0 && slices.Contains(vs.Gateways, model.MeshGateway) ||
				len(in.routers(d.to)) > 0 { // meant for sidecars, and given to the Gateway: EGR308
				return true
			}
		}
		if u.bound == nil && slices.Contains(vs.Gateways, u.gateway.ID()) {
			u.bound = vs
		}
	}
	return false
}
