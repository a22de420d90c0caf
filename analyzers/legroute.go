package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

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
	if s.GetTls().GetMode() == networking.ServerTLSSettings_AUTO_PASSTHROUGH {
		// By server names of their own, as outbound_.443_._.host (istio
		// pilot/pkg/networking/core/gateway.go builtAutoPassthroughFilterChains).
		return &fault{s.Gateway.Object, s.Field + ".tls.mode", fmt.Sprintf("%s has tls.mode AUTO_PASSTHROUGH, which leads to Services of the mesh alone and takes no VirtualService", s.Title()), "write PASSTHROUGH"}
	}
	bound := in.boundTo(s, h)
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

// boundTo returns the VirtualServices with a host that are bound to the Gateway of a
// server.
func (in *intent) boundTo(s *model.GatewayServer, h host.Name) []*model.MergedVirtualService {
	var out []*model.MergedVirtualService
	for _, vs := range in.push.VirtualServices() {
		if overlap(vs.Hosts, []host.Name{h}) && contains(vs.Gateways, s.Name()) {
			out = append(out, vs)
		}
	}
	return out
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
	return len(c.gateways) == 0 || contains(c.gateways, gateway)
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
