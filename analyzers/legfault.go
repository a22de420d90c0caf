package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

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
	if l == nil || a.By.Route.OfGatewayAPI != "" {
		return nil
	}
	if servers, _ := in.serversAt(l); slices.ContainsFunc(servers, func(s *model.GatewayServer) bool { return s.Origin != nil }) {
		return nil // what is wrong with listeners of the Gateway API is in their status
	}
	switch {
	case l.pod == nil && a.Trace.Reason == flow.NoCluster:
		return in.noService(l, a)
	case l.pod == nil:
		return nil
	case a.Trace.Reason == flow.NoListener:
		return in.noListener(l, a)
	case a.Trace.Reason == flow.NoFilterChain:
		return in.noServerName(l, a)
	case a.Trace.Reason == flow.NoRoute:
		return in.noHost(l, a)
	case a.Trace.Reason == flow.NoCluster:
		return in.notRegistered(l, a)
	default:
		return nil
	}
}

// namespaceOf is the namespace in the full name of a Service.
func namespaceOf(h host.Name) string {
	_, rest, _ := strings.Cut(string(h), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	return namespace
}

// noService: the sidecar has no cluster for the gateway.
func (in *intent) noService(l *leg, a *attempt) *fault {
	f := &fault{object: a.By.Object, field: a.By.To}
	switch {
	case l.service == nil:
		return nil // an operator may have made the Service without any manifest here
	case l.service.PortByNumber(l.port) == nil:
		if a.By.Destination.GetPort() != nil {
			f.field += ".port.number"
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
	for _, p := range merged.Ports {
		for _, s := range p.Servers {
			if serves(s, h) {
				f := &fault{s.Gateway.Object, s.Field + ".port.number",
					fmt.Sprintf("%s has the host, but on port %d, while the requests come to port %d of the Service", s.Title(), s.GetPort().GetNumber(), l.port),
					fmt.Sprintf("give the server port number %d", l.port)}
				if l.service.PortByNumber(int(s.GetPort().GetNumber())) != nil {
					f.todo += fmt.Sprintf(", or send the requests to port %d", s.GetPort().GetNumber())
				}
				return f
			}
		}
	}
	return &fault{a.By.Object, a.By.To, fmt.Sprintf("no Gateway has a server on port %d", l.port), "add a server for it, or send it to a port that has one"}
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
	for _, vs := range in.push.VirtualServices() {
		if !overlap(vs.Hosts, []host.Name{host.Name(a.To.Host)}) {
			continue
		}
		for _, name := range vs.Gateways {
			if name == model.MeshGateway {
				continue
			}
			g, known := in.gatewayNamed(name)
			if !known {
				return nil // it may be elsewhere
			}
			if g != nil {
				return &fault{g.Object, "spec.selector", fmt.Sprintf("%s selects other pods than those of the gateway", g), "select the labels of the gateway's pods"}
			}
		}
	}
	return &fault{a.By.Object, a.By.To, fmt.Sprintf("no Gateway selects the pods of %s", l.pod.ID()), "add a Gateway with a server for the host"}
}

// gatewayNamed returns a Gateway by "namespace/name", nil if there is none. known
// is false where the input holds nothing of that namespace, so that it may
// exist.
func (in *intent) gatewayNamed(name string) (g *model.Gateway, known bool) {
	namespace, _, _ := strings.Cut(name, "/")
	for _, g := range in.push.Mesh.Gateways {
		if g.ID() == name {
			return g, true
		}
		known = known || g.Namespace == namespace
	}
	return nil, known || in.pass.Mesh.HoldsWorkloadsOf(namespace)
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
		place, _ := in.tlsPlace(l, a.Class[0])
		if place.Object == nil {
			place = model.Place{Object: a.By.Object, Field: a.By.To}
		}
		if field, ok := strings.CutSuffix(place.Field, ".mode"); ok {
			place.Field = field + ".sni"
		}
		return &fault{place.Object, place.Field, fmt.Sprintf("the sidecar announces server name %q, which no server on port %d has", sni, l.port),
			fmt.Sprintf("set sni %q", a.To.Host)}
	}
	if len(servers) == 0 {
		return nil
	}
	return &fault{servers[0].Gateway.Object, servers[0].Field + ".hosts", fmt.Sprintf("no server on port %d has the host", l.port), "add it to the hosts of the server"}
}

// noHost: an HTTP server takes the request, but has no route for it.
func (in *intent) noHost(l *leg, a *attempt) *fault {
	last := a.Trace.Hops[len(a.Trace.Hops)-1]
	if last.At != flow.AtGateway || last.VirtualHost != "" {
		return nil // routes there are, with conditions that nobody meets
	}
	servers, skipped := in.serversAt(l)
	if l.client.TLS != "" {
		if s := in.server(l, a.Trace, a.To.Host); s != nil {
			servers = []*model.GatewayServer{s}
		}
	}
	servers = slices.DeleteFunc(slices.Clone(servers), func(s *model.GatewayServer) bool { return !s.HTTP() })
	h := host.Name(a.To.Host)
	if i := slices.IndexFunc(servers, func(s *model.GatewayServer) bool { return serves(s, h) }); i >= 0 {
		return in.routeFault(l, a, servers[i])
	}
	for _, s := range skipped {
		if serves(s.GatewayServer, h) {
			return in.skippedServer(s)
		}
	}
	if len(servers) == 0 {
		return nil
	}
	return &fault{servers[0].Gateway.Object, servers[0].Field + ".hosts", fmt.Sprintf("no server on port %d has the host", l.port), "add it to the hosts of the server"}
}

// block is the part of a VirtualService that a server reads (istio
// pilot/pkg/networking/core/gateway.go).
func block(s *model.GatewayServer) string {
	switch {
	case s.HTTP():
		return "http"
	case s.Passthrough():
		return "tls"
	default:
		return "tcp"
	}
}

// routeFault says why no VirtualService gives a server a route for a host that it
// has.
func (in *intent) routeFault(l *leg, a *attempt, s *model.GatewayServer) *fault {
	h := host.Name(a.To.Host)
	var bound []*model.MergedVirtualService
	for _, vs := range in.push.VirtualServices() {
		if overlap(vs.Hosts, []host.Name{h}) && slices.Contains(vs.Gateways, s.Name()) {
			bound = append(bound, vs)
		}
	}
	if len(bound) == 0 {
		return in.unbound(a, s)
	}
	var first *fault
	for _, vs := range bound {
		var f *fault
		switch {
		case !vs.ExportTo().VisibleTo(vs.Namespace, l.pod.Namespace):
			u := notExported(in.push, vs, l.pod.Namespace)
			f = &fault{u.object, u.field, fmt.Sprintf("%s is bound to its Gateway, but not visible in the gateway's namespace %q", vs, l.pod.Namespace), u.todo}
		case len(s.HostsFor(vs.Namespace).Intersection(host.Names(vs.Hosts))) == 0:
			f = &fault{s.Gateway.Object, s.Field + ".hosts", fmt.Sprintf("the hosts of %s take no VirtualService of namespace %q", s.Title(), vs.Namespace),
				fmt.Sprintf("list the host as %q there", vs.Namespace+"/"+string(h))}
		default:
			f = conditionFault(vs, s, h)
		}
		if first == nil {
			first = f
		}
	}
	return first
}

// unbound: no VirtualService with the host is bound to the server's Gateway.
func (in *intent) unbound(a *attempt, s *model.GatewayServer) *fault {
	todo := fmt.Sprintf("bind it to %q and add a route from there to the host", s.Name())
	for _, vs := range in.push.VirtualServices() {
		if !overlap(vs.Hosts, []host.Name{host.Name(a.To.Host)}) {
			continue
		}
		for i, name := range vs.Gateways {
			if name == model.MeshGateway {
				continue
			}
			if _, known := in.gatewayNamed(name); !known {
				return nil // it may be elsewhere, on this gateway
			}
			return &fault{vs.Object, fmt.Sprintf("spec.gateways[%d]", i), fmt.Sprintf("%s takes the requests, and %s is bound to Gateway %s", s.Title(), vs, name), todo}
		}
	}
	return &fault{a.By.Route.Object, "spec.gateways", fmt.Sprintf("%s takes the requests, and no VirtualService for the host is bound to its Gateway", s.Title()), todo}
}

// condition is what a rule asks of a server, with the field that does.
type condition struct {
	field    string
	port     uint32
	gateways []string
	sni      []string
}

// meant reports whether the condition is meant for a Gateway.
func (c condition) meant(gateway string) bool {
	return len(c.gateways) == 0 || slices.Contains(c.gateways, gateway)
}

// conditionFault says why a VirtualService that is bound to a server has no rule
// for it; nil where that is a condition on the source or a repeated server name.
func conditionFault(vs *model.MergedVirtualService, s *model.GatewayServer, h host.Name) *fault {
	want, number := block(s), s.GetPort().GetNumber()
	others := func(c condition) bool { return !c.meant(s.Name()) }
	conditions := slices.DeleteFunc(conditionsOf(vs, want), others)
	for _, c := range conditions {
		switch {
		case c.port != 0 && c.port != number:
			return &fault{vs.Object, c.field + ".port", fmt.Sprintf("%s asks for port %d, and %s has port number %d", vs, c.port, s.Title(), number), fmt.Sprintf("match port %d", number)}
		case len(c.sni) > 0 && !slices.ContainsFunc(c.sni, func(x string) bool { return h.SubsetOf(host.Name(x)) }):
			return &fault{vs.Object, c.field + ".sniHosts", fmt.Sprintf("%s matches only server names %s", vs, quoted(c.sni)), "add the host to sniHosts"}
		}
	}
	if len(conditions) > 0 {
		return nil
	}
	for _, other := range []string{"http", "tls", "tcp"} {
		if c := slices.DeleteFunc(conditionsOf(vs, other), others); len(c) > 0 {
			field, _, _ := strings.Cut(c[0].field, ".match[")
			return &fault{vs.Object, field, fmt.Sprintf("%s has %s and reads %s routes, and %s has only %s routes for it", s.Title(), modeText(s), want, vs, other),
				fmt.Sprintf("write the route as %s, or change the server's protocol and TLS mode", want)}
		}
	}
	return &fault{vs.Object, "spec." + want, fmt.Sprintf("no rule of %s is meant for Gateway %s", vs, s.Name()), fmt.Sprintf("add a rule with gateways: [%q] that leads to the host", s.Name())}
}

// conditionsOf returns the conditions of one block of a VirtualService: http, tls
// or tcp. Rules of delegates count as without condition.
func conditionsOf(vs *model.MergedVirtualService, block string) []condition {
	var out []condition
	switch block {
	case "http":
		for _, r := range vs.HTTP {
			if len(r.GetMatch()) == 0 || r.Object != vs.Object {
				out = append(out, condition{field: r.Field})
				continue
			}
			for i, m := range r.GetMatch() {
				out = append(out, condition{field: r.Matches[i].Field, port: m.GetPort(), gateways: m.GetGateways()})
			}
		}
	case "tls":
		for i, r := range vs.TLS {
			for j, m := range r.GetMatch() {
				out = append(out, condition{fmt.Sprintf("spec.tls[%d].match[%d]", i, j), m.GetPort(), m.GetGateways(), m.GetSniHosts()})
			}
		}
	case "tcp":
		for i, r := range vs.TCP {
			if len(r.GetMatch()) == 0 {
				out = append(out, condition{field: fmt.Sprintf("spec.tcp[%d]", i)})
			}
			for j, m := range r.GetMatch() {
				out = append(out, condition{field: fmt.Sprintf("spec.tcp[%d].match[%d]", i, j), port: m.GetPort(), gateways: m.GetGateways()})
			}
		}
	}
	return out
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
		if b.Object.Kind == "VirtualService" {
			route = b
		}
	}
	if route.Object == nil {
		return nil
	}
	push := in.pushFor(l.pod)
	var hidden *model.Service
	for _, s := range push.Services() {
		switch {
		case s.Hostname != h:
		case push.Visible(s, l.pod.Namespace):
			if p := s.PortByNumber(port); p == nil || p.Protocol == protocol.UDP {
				return &fault{route.Object, route.Field + ".port.number", fmt.Sprintf("%s has no port %d", s.Object, port), "send it to a port that is registered, or register this one"}
			}
			return nil // a subset, or endpoints
		case hidden == nil:
			hidden = s
		}
	}
	if subset != "" {
		return nil
	}
	if hidden == nil {
		return &fault{route.Object, route.Field + ".host", fmt.Sprintf("the gateway's route leads to %s, which nothing registers", h), "add a ServiceEntry for it that the gateway's namespace sees"}
	}
	f := &fault{object: hidden.Object, field: "spec.exportTo",
		text: fmt.Sprintf("%s registers the host, but not for the gateway's namespace %q", hidden.Object, l.pod.Namespace),
		todo: fmt.Sprintf("add %q to its exportTo", l.pod.Namespace)}
	if hidden.Entry == nil || len(hidden.ExportTo) == 0 {
		f.field = "spec"
	}
	return f
}
