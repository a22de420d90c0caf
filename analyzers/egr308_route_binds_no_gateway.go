package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR308", Name: "route-binds-no-gateway", Severity: Error,
	Run: runBindsNoGateway,
	Doc: Doc{
		Title: "A VirtualService for hosts outside refers to a Gateway that does not exist or does not take it",
		What: "A VirtualService that leads to hosts outside is bound to a Gateway that is not there, of which no server has any of its hosts, " +
			"or whose servers take VirtualServices of other namespaces only; or one of its rules is for a gateway (`mesh` is the sidecars) that its `gateways` do not list, or a Gateway to which it or another VirtualService for the host is bound selects other pods than those to which the mesh sends the hosts, " +
			"a VirtualService that is bound to a Gateway alone sends the hosts to that gateway, or the mesh sends them to a gateway that the IstioOperator of the input disables, or to a Service that selects no pod, while a proxy of its namespace has all the labels but one, or one of another namespace all, or to one that the input lacks while it has one of nearly that name, one of that name or namespace before the only pods that the Gateway of the route selects, or one with a prefix of the name as a release of Helm gives it, or that it lacks or that has no selector while the gateway's pods are there (these are warnings). " +
			"Or a route of the Gateway API for such hosts refers to a Gateway, Service or ServiceEntry that does not exist or, by its listeners, does not take it; or the pods of such a gateway, whose container has image auto, are not injected, or not as a gateway.",
		Why:  "The rules for that Gateway exist nowhere then: the gateway answers 404 or resets connections. A name without a namespace means the VirtualService's own namespace, not that of the gateway.",
		Bad:  egressDoc("", "  - mesh\n  - egress\n", "  - mesh\n  - egress-gateway\n"),
		Good: egressDoc(""),
		Fix:  "Write the Gateway's name as `namespace/name`, and give one of its servers the host (`ns/host`, `./host` and `host` without a namespace differ in whose VirtualServices they take).",
		Silent: "Gateways in namespaces of which the input holds nothing (unless one of the same name in another namespace has the host), Gateways that could not be read or that Istio refuses (EGR010, EGR011), " +
			"VirtualServices and Gateways that the input defines twice in different ways (EGR013), " +
			"VirtualServices that lead to Services of the cluster only, hosts of which some are taken (EGR803 follows the requests).",
		Sources: []string{
			"istio pilot/pkg/networking/core/gateway.go (pickMatchingGatewayHosts)",
			"istio pilot/pkg/model/virtualservice.go (ResolveVirtualServiceShortnames)",
			"https://istio.io/latest/docs/reference/config/analysis/ist0132/",
		},
	},
})

func runBindsNoGateway(p *Pass) {
	in := intentOf(p)
	// Which of two definitions is in force nobody can tell, and those of two meshes
	// must not be held against each other.
	twice, told, podless := map[string]bool{}, map[*model.Gateway]bool{}, map[host.Name]bool{}
	for _, x := range p.Mesh.Problems {
		if x.Kind == manifest.Conflict || x.Kind == manifest.Variant {
			twice[x.Object] = true
		}
	}
	in.reportDisabledGateways(twice)
	in.reportNearSelectors()
	in.reportRefusedRoutes(twice)
	in.reportPlaceholders(twice)
	bound := in.gatewaysByHost()
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || twice[vs.Title()] {
			continue
		}
		for i, name := range vs.Gateways {
			if name == model.MeshGateway || !in.leadsOutside(vs) || twice["Gateway "+name] {
				continue
			}
			if f, ok := in.unboundTo(vs, name); ok {
				if f.Object == nil {
					f.Object, f.Field = vs.Object, fmt.Sprintf("spec.gateways[%d]", i)
				} else {
					f.Related = append(f.Related, Related{vs.Object, fmt.Sprintf("spec.gateways[%d]", i), fmt.Sprintf("%s is bound to it", vs)})
				}
				p.Report(f)
			}
		}
		in.reportUnboundRules(vs)
		in.reportOwnGateway(vs)
		in.reportNoPods(vs, podless)
		in.reportOtherPods(vs, bound, told)
	}
}

// leadsOutside reports whether some rule of a VirtualService that is not for
// sidecars alone leads to a host that is no Service of the cluster.
func (in *intent) leadsOutside(vs *model.MergedVirtualService) bool {
	meant := func(gateways []string) bool {
		return len(gateways) == 0 || slices.ContainsFunc(gateways, func(g string) bool { return g != model.MeshGateway })
	}
	outside := func(d *networking.Destination) bool {
		h := host.Name(d.GetHost())
		return h != "" && strings.Contains(string(h), ".") && !inCluster(in.push, h)
	}
	for _, r := range vs.HTTP {
		if (len(r.GetMatch()) == 0 || slices.ContainsFunc(r.GetMatch(), func(m *networking.HTTPMatchRequest) bool { return meant(m.GetGateways()) })) &&
			slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool { return outside(d.GetDestination()) }) {
			return true
		}
	}
	leads := func(routes []*networking.RouteDestination) bool {
		return slices.ContainsFunc(routes, func(d *networking.RouteDestination) bool { return outside(d.GetDestination()) })
	}
	for _, r := range vs.TLS {
		if slices.ContainsFunc(r.GetMatch(), func(m *networking.TLSMatchAttributes) bool { return meant(m.GetGateways()) }) && leads(r.GetRoute()) {
			return true
		}
	}
	for _, r := range vs.TCP {
		if (len(r.GetMatch()) == 0 || slices.ContainsFunc(r.GetMatch(), func(m *networking.L4MatchAttributes) bool { return meant(m.GetGateways()) })) && leads(r.GetRoute()) {
			return true
		}
	}
	return false
}

// unboundTo says why a VirtualService is bound to nothing by the name of a
// Gateway. The object is nil where it is the name.
func (in *intent) unboundTo(vs *model.MergedVirtualService, name string) (Finding, bool) {
	f := Finding{Severity: Error, Label: "bound to nothing"}
	g, known := in.gatewayNamed(name)
	if g == nil {
		namespace, short, _ := strings.Cut(name, "/")
		if in.unread(name) || !known && (namespace != vs.Namespace || !slices.ContainsFunc(in.push.Mesh.Gateways, func(other *model.Gateway) bool {
			return other.Name == short && slices.ContainsFunc(vs.Hosts, func(h host.Name) bool { return takesHost(other, h) })
		})) {
			return f, false
		}
		todo := "create it, or name another one"
		for _, other := range in.push.Mesh.Gateways {
			if other.Name == short {
				todo = fmt.Sprintf("write %q", other.ID())
				f.Related = append(f.Related, Related{other.Object, "metadata.namespace", fmt.Sprintf("%s has that name", other)})
				f.Fix = fmt.Sprintf("gateways:\n- %s\n", other.ID())
			}
		}
		f.Message = fmt.Sprintf("%s refers to Gateway %s, which does not exist: its rules for that gateway hold nowhere; %s", vs.Title(), name, todo)
		f.Help = todo
		return f, true
	}
	var listed []string
	elsewhere := false
	for i, server := range g.Spec.GetServers() {
		for _, h := range server.GetHosts() {
			ns, bare, found := strings.Cut(h, "/")
			if !found {
				bare = h
			}
			if !overlap(vs.Hosts, []host.Name{host.Name(strings.ToLower(bare))}) {
				listed = append(listed, h)
				continue
			}
			if !found || ns == "*" || ns == vs.Namespace || ns == "." && g.Namespace == vs.Namespace {
				return f, false
			}
			elsewhere = true
			f.Related = append(f.Related, Related{g.Object, fmt.Sprintf("spec.servers[%d].hosts", i), fmt.Sprintf("%q takes VirtualServices of another namespace only", h)})
		}
	}
	if len(g.Spec.GetServers()) == 0 || len(vs.Hosts) == 0 {
		return f, false
	}
	if i := serverMeant(vs, g, name); i >= 0 {
		f.Object, f.Field = g.Object, fmt.Sprintf("spec.servers[%d].hosts", i)
	}
	first := string(vs.Hosts[0])
	if elsewhere {
		f.Help = fmt.Sprintf("list the host as %q there", vs.Namespace+"/"+first)
		f.Message = fmt.Sprintf("%s is bound to %s, whose servers take %s only from VirtualServices of other namespaces than %q: its rules for that gateway hold nowhere; %s",
			vs.Title(), g, first, vs.Namespace, f.Help)
		return f, true
	}
	f.Help = fmt.Sprintf("add %q to the hosts of the server that is meant", first)
	f.Message = fmt.Sprintf("%s is bound to %s, no server of which has %s (but %s): its rules for that gateway hold nowhere; %s",
		vs.Title(), g, upTo3(hostNames(vs.Hosts)), upTo3(listed), f.Help)
	return f, true
}

// serverMeant returns the only server that the rules of a VirtualService can mean:
// the Gateway has one, or they ask for its port; -1 if there is none.
func serverMeant(vs *model.MergedVirtualService, g *model.Gateway, name string) int {
	if len(g.Spec.GetServers()) == 1 {
		return 0
	}
	found := -1
	for i, server := range g.Spec.GetServers() {
		for _, block := range []string{"http", "tls", "tcp"} {
			for _, c := range conditionsOf(vs, block) {
				if slices.Contains(c.gateways, name) && c.port == server.GetPort().GetNumber() {
					if found >= 0 && found != i {
						return -1
					}
					found = i
				}
			}
		}
	}
	return found
}

// unread reports whether a Gateway may be in a part of the input that was not
// analysed.
func (in *intent) unread(name string) bool {
	return slices.ContainsFunc(in.pass.Mesh.Problems, func(p manifest.Problem) bool {
		return p.Kind.Partial() && (p.Object == "" || p.Object == "Gateway "+name)
	})
}
