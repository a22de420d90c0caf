package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// fault is why a gateway does not take or does not forward what is sent to it.
type fault struct {
	object *manifest.Object
	field  string
	// text is a clause, todo what to do about it.
	text, todo string
}

// fault says why a request that a steering took fails at the gateway or on the
// way to it; nil where another rule tells it, or where it cannot be told.
func (in *intent) fault(a *attempt) *fault {
	l := in.legOf(a.Trace)
	if l == nil {
		return nil
	}
	if l.pod == nil && a.Trace.Reason == flow.NoCluster {
		return in.noService(l, a)
	}
	servers, _ := in.serversAt(l)
	if a.By.Route.OfGatewayAPI != "" || slices.ContainsFunc(servers, func(s *model.GatewayServer) bool { return s.Origin != nil }) {
		return in.listenerFault(l, a)
	}
	switch {
	case l.pod == nil:
		return nil
	case a.Trace.Reason == flow.NoListener:
		if f := in.boundElsewhere(l, a); f != nil {
			return f
		}
		return in.noListener(l, a)
	case a.Trace.Reason == flow.NoFilterChain:
		if f := in.boundElsewhere(l, a); f != nil {
			return f
		}
		return in.noServerName(l, a)
	case a.Trace.Reason == flow.NoRoute:
		return in.noHost(l, a)
	case a.Trace.Reason == flow.NoCluster:
		return in.notRegistered(l, a)
	default:
		return nil
	}
}

// listenerFault is fault where routes of the Gateway API or its listeners are on the
// way. What routes are not bound to is EGR308, and what is wrong with listeners
// themselves is in their status.
func (in *intent) listenerFault(l *leg, a *attempt) *fault {
	switch {
	case l.pod == nil:
		return nil
	case a.Trace.Reason == flow.NoFilterChain && l.client.SNI != "" && !strings.EqualFold(l.client.SNI, a.To.Host):
		return in.noServerName(l, a)
	case a.Trace.Reason == flow.NoFilterChain, a.Trace.Reason == flow.NoRoute:
		return in.noListenerFor(l, a)
	case a.Trace.Reason == flow.NoCluster:
		return in.notRegistered(l, a)
	}
	return nil
}

// noListenerFor: the listeners of a Gateway on the port are for other hosts, and so are
// the routes that it takes.
func (in *intent) noListenerFor(l *leg, a *attempt) *fault {
	h := host.Name(strings.ToLower(a.To.Host))
	servers, _ := in.serversAt(l)
	if len(servers) == 0 || slices.ContainsFunc(servers, func(s *model.GatewayServer) bool { return s.Origin == nil || serves(s, h) }) ||
		slices.ContainsFunc(in.push.RefusedReferences(), func(r model.RefusedReference) bool { return slices.ContainsFunc(in.concerned(r), h.SubsetOf) }) {
		return nil
	}
	o := servers[0].Origin
	hostname := o.Parent.Spec.Spec.Listeners[o.Listener].Hostname
	if hostname == nil {
		return nil
	}
	return &fault{
		o.Parent.Object, fmt.Sprintf("spec.listeners[%d].hostname", o.Listener),
		fmt.Sprintf("no listener on port %d has the host (but %q)", l.port, *hostname), "add a listener for it, and a route from there to the host",
	}
}

// boundElsewhere: the server for the host listens on an address of its own, which is
// not the pod's.
func (in *intent) boundElsewhere(l *leg, a *attempt) *fault {
	merged := in.gatewayOf(l.pod)
	if merged == nil {
		return nil
	}
	for _, p := range merged.Ports {
		for _, s := range p.Servers {
			if bind := s.GetBind(); serves(s, host.Name(a.To.Host)) && bind != "" && bind != "0.0.0.0" && bind != "::" {
				return &fault{s.Gateway.Object, s.Field + ".bind", fmt.Sprintf("%s listens on %s alone, and the requests come to the address of the pod", s.Title(), bind), "remove bind"}
			}
		}
	}
	return nil
}

// noService: the sidecar has no cluster for the gateway.
func (in *intent) noService(l *leg, a *attempt) *fault {
	f := &fault{object: a.By.Object, field: a.By.To}
	switch {
	case l.service == nil:
		return nil // an operator may have made the Service without any manifest here
	case l.service.PortByNumber(l.port) == nil:
		switch {
		case a.By.Route.OfGatewayAPI == "" && a.By.Destination.GetPort() != nil:
			f.field += ".port.number"
		case strings.HasSuffix(f.field, "]"): // of backendRefs
			f.field += ".port"
		}
		var ports []int
		for _, p := range l.service.Ports {
			ports = append(ports, p.Number)
		}
		f.text = fmt.Sprintf("%s has no port %d but %s", l.service.Object, l.port, portsText(ports))
		f.todo = "send it to a port of the Service, which is also the one that a Gateway server names"
	default:
		return nil // a subset, or a Sidecar that hides the Service
	}
	return f
}

// noListener: no server on the port of the pod is of any use.
func (in *intent) noListener(l *leg, a *attempt) *fault {
	h := host.Name(a.To.Host)
	servers, skipped := in.serversAt(l)
	for _, s := range skipped {
		if serves(s.GatewayServer, h) {
			return in.skippedServer(s)
		}
	}
	if len(servers) > 0 {
		i := max(0, slices.IndexFunc(servers, func(s *model.GatewayServer) bool { return serves(s, h) }))
		return in.routeFault(l, a, servers[i])
	}
	merged := in.gatewayOf(l.pod)
	if merged == nil {
		return in.noGateway(l, a)
	}
	if f := in.onOtherPort(l, h); f != nil {
		return f
	}
	return &fault{a.By.Object, a.By.To, fmt.Sprintf("no Gateway has a server on port %d", l.port), "add a server for it, or send it to a port that has one"}
}

// onOtherPort: a server at the gateway has the host on another port than that to which the
// requests come, perhaps one that its Service does not have; nil if there is none.
func (in *intent) onOtherPort(l *leg, h host.Name) *fault {
	for _, g := range in.push.Mesh.Gateways {
		if len(g.Spec.GetSelector()) == 0 || !hasLabels(l.pod.Labels, g.Spec.GetSelector()) {
			continue
		}
		for i, s := range g.Spec.GetServers() {
			number := int(s.GetPort().GetNumber())
			if number == l.port || !takesHost(&model.Gateway{Spec: &networking.Gateway{Servers: []*networking.Server{s}}}, h) {
				continue
			}
			f := &fault{g.Object, fmt.Sprintf("spec.servers[%d].port.number", i),
				fmt.Sprintf("server %s of %s has the host, but on port %d, while the requests come to port %d of the Service", s.GetPort().GetName(), g, number, l.port),
				fmt.Sprintf("give the server port number %d", l.port)}
			if l.service.PortByNumber(number) != nil {
				f.todo += fmt.Sprintf(", or send the requests to port %d", number)
			}
			return f
		}
	}
	return nil
}

func (in *intent) skippedServer(s model.SkippedServer) *fault {
	f := &fault{s.Gateway.Object, s.Field + ".hosts", fmt.Sprintf("istiod leaves out %s: %s", s.Title(), s.Reason), "resolve the conflict"}
	if s.By != nil {
		f.text += fmt.Sprintf(" (by %s)", s.By.Title())
	}
	return f
}

// noGateway: no Gateway selects the pod.
func (in *intent) noGateway(l *leg, a *attempt) *fault {
	if f, known := in.otherPods(l, a); f != nil || !known {
		return f
	}
	return &fault{a.By.Object, a.By.To, fmt.Sprintf("no Gateway selects the pods of %s", l.pod.ID()), "add a Gateway with a server for the host"}
}

// otherPods: the Gateway that a route for the host is bound to has a server for it,
// and does not select the pod. known is false where it may be in what the input
// lacks.
func (in *intent) otherPods(l *leg, a *attempt) (f *fault, known bool) {
	h := host.Name(a.To.Host)
	for _, vs := range in.push.VirtualServices() {
		if !overlap(vs.Hosts, []host.Name{h}) {
			continue
		}
		for _, name := range vs.Gateways {
			if name == model.MeshGateway {
				continue
			}
			g, known := in.gatewayNamed(name)
			if !known || g == nil && in.unread(name) {
				return nil, false
			}
			if g != nil && !hasLabels(l.pod.Labels, g.Spec.GetSelector()) && takesHost(g, h) {
				return &fault{g.Object, selectorLabel(g.Spec.GetSelector(), l.pod.Labels),
					fmt.Sprintf("%s, to which the route is bound, selects other pods than those of the gateway: %s", g, labelText(g.Spec.GetSelector())),
					"select the labels of the gateway's pods"}, true
			}
		}
	}
	return nil, true
}

// takesHost reports whether some server of a Gateway has a host.
func takesHost(g *model.Gateway, h host.Name) bool {
	return slices.ContainsFunc(g.Spec.GetServers(), func(s *networking.Server) bool {
		return slices.ContainsFunc(s.GetHosts(), func(x string) bool {
			if _, bare, found := strings.Cut(x, "/"); found {
				x = bare
			}
			return h.SubsetOf(host.Name(strings.ToLower(x)))
		})
	})
}

// selectorLabel is the first label of a Gateway's selector that a pod does not have.
func selectorLabel(selector, labels map[string]string) string {
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if v, ok := labels[k]; !ok || v != selector[k] {
			return manifest.FieldPath("spec", "selector", k)
		}
	}
	return "spec.selector"
}

// gatewayNamed returns a Gateway by "namespace/name", nil if there is none. known
// is false where the input holds nothing of that namespace, so that it may
// exist.
func (in *intent) gatewayNamed(name string) (g *model.Gateway, known bool) {
	if g := in.named.byName[name]; g != nil {
		return g, true
	}
	namespace, _, _ := strings.Cut(name, "/")
	return nil, in.named.namespaces[namespace] || in.pass.Mesh.HoldsWorkloadsOf(namespace)
}

// noServerName: TLS servers listen, but none for the server name that comes.
func (in *intent) noServerName(l *leg, a *attempt) *fault {
	sni := l.client.SNI
	if l.client.TLS == "" {
		sni = a.Flow.Host // the application's
	}
	if sni == "" || l.client.TLS == "" && a.Flow.Scheme != flow.TLS {
		return nil // plaintext: EGR806
	}
	servers, skipped := in.serversAt(l)
	h := host.Name(strings.ToLower(sni))
	if i := slices.IndexFunc(servers, func(s *model.GatewayServer) bool { return serves(s, h) }); i >= 0 {
		return in.routeFault(l, a, servers[i])
	}
	for _, s := range skipped {
		if serves(s.GatewayServer, h) {
			return in.skippedServer(s)
		}
	}
	if !strings.EqualFold(sni, a.To.Host) {
		place := in.namePlace(l, a)
		return &fault{place.Object, place.Field, fmt.Sprintf("the sidecar announces server name %q, which no server on port %d has", sni, l.port),
			fmt.Sprintf("set sni %q", a.To.Host)}
	}
	return in.noServer(l, a, servers)
}

// namePlace is the node that decides which server name the sidecar announces.
func (in *intent) namePlace(l *leg, a *attempt) model.Place {
	place, _ := in.tlsPlace(l, a.Class[0])
	if place.Object == nil {
		return model.Place{Object: a.By.Object, Field: a.By.To}
	}
	if field, ok := strings.CutSuffix(place.Field, ".mode"); ok {
		place.Field = field + ".sni"
	}
	return place
}

// otherName: the server name that the sidecar announces leads to a server without the
// host, while another one on the port has it; nil otherwise.
func (in *intent) otherName(l *leg, a *attempt, took *model.GatewayServer, servers []*model.GatewayServer) *fault {
	h := host.Name(a.To.Host)
	if serves(took, h) || l.client.SNI == "" || strings.EqualFold(l.client.SNI, a.To.Host) ||
		!slices.ContainsFunc(servers, func(s *model.GatewayServer) bool { return serves(s, h) }) {
		return nil
	}
	place := in.namePlace(l, a)
	return &fault{place.Object, place.Field, fmt.Sprintf("the sidecar announces server name %q, by which %s takes it, and that has not the host", l.client.SNI, took.Title()),
		fmt.Sprintf("set sni %q", a.To.Host)}
}

// noHost: an HTTP server takes the request, but has no route for it.
func (in *intent) noHost(l *leg, a *attempt) *fault {
	last := a.Trace.Hops[len(a.Trace.Hops)-1]
	if last.At != flow.AtGateway || last.VirtualHost != "" {
		return nil // routes there are, with conditions that nobody meets
	}
	servers, skipped := in.serversAt(l)
	h := host.Name(a.To.Host)
	if l.client.TLS != "" {
		if s := in.server(l, a.Trace, a.To.Host); s != nil {
			if f := in.otherName(l, a, s, servers); f != nil {
				return f
			}
			servers = []*model.GatewayServer{s}
		}
	}
	servers = slices.DeleteFunc(slices.Clone(servers), func(s *model.GatewayServer) bool { return !s.HTTP() })
	if i := slices.IndexFunc(servers, func(s *model.GatewayServer) bool { return serves(s, h) }); i >= 0 {
		return in.routeFault(l, a, servers[i])
	}
	for _, s := range skipped {
		if serves(s.GatewayServer, h) {
			return in.skippedServer(s)
		}
	}
	return in.noServer(l, a, servers)
}

// noServer: servers listen on the port, and none has the host. Another Gateway may
// be meant to have it.
func (in *intent) noServer(l *leg, a *attempt, servers []*model.GatewayServer) *fault {
	if len(servers) == 0 {
		return nil
	}
	if f := in.onOtherPort(l, host.Name(a.To.Host)); f != nil {
		return f
	}
	if f, known := in.otherPods(l, a); f != nil || !known {
		return f
	}
	return &fault{servers[0].Gateway.Object, servers[0].Field + ".hosts", fmt.Sprintf("no server on port %d has the host", l.port), "add it to the hosts of the server"}
}

// notRegistered: the gateway's route leads to a host that the gateway does not
// know.
func (in *intent) notRegistered(l *leg, a *attempt) *fault {
	last := &a.Trace.Hops[len(a.Trace.Hops)-1]
	port, subset, h, ok := cluster(last.Cluster)
	if !ok || last.At != flow.AtGateway {
		return nil
	}
	var route flow.Because
	for _, b := range last.Because {
		if b.Object.Kind == "VirtualService" || strings.HasSuffix(b.Object.Kind, "Route") {
			route = b
		}
	}
	if route.Object == nil {
		return nil
	}
	number, name := ".port.number", ".host"
	if route.Object.Kind != "VirtualService" {
		if number, name = "", ""; strings.HasSuffix(route.Field, "]") {
			number, name = ".port", ".name"
		}
	}
	push := in.pushFor(l.pod)
	var hidden *model.Service
	for _, s := range push.Services() {
		switch {
		case s.Hostname != h:
		case push.Visible(s, l.pod.Namespace):
			if s.PortByNumber(port) == nil {
				return &fault{route.Object, route.Field + number, fmt.Sprintf("%s has no port %d", s.Object, port), "send it to a port that is registered, or register this one"}
			}
			return nil // a subset, or endpoints
		case hidden == nil:
			hidden = s
		}
	}
	if subset != "" {
		return nil
	}
	if s := in.nearEntry(string(h)); hidden == nil && s != nil {
		return &fault{s.Object, s.HostField, fmt.Sprintf("the gateway's route leads to %s, which nothing registers, and %s registers %q", h, s.Object, s.Hostname),
			fmt.Sprintf("is %q meant?", h)}
	}
	if hidden == nil {
		return &fault{route.Object, route.Field + name, fmt.Sprintf("the gateway's route leads to %s, which nothing registers", h), "add a ServiceEntry for it that the gateway's namespace sees"}
	}
	f := &fault{object: hidden.Object, field: "spec.exportTo",
		text: fmt.Sprintf("%s registers the host, but not for the gateway's namespace %q", hidden.Object, l.pod.Namespace),
		todo: fmt.Sprintf("add %q to its exportTo", l.pod.Namespace)}
	if hidden.Entry == nil || len(hidden.ExportTo) == 0 {
		f.field = "spec"
	}
	return f
}
