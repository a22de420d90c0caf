package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// portKind is the way in which a listener treats a port's protocol (istio
// pilot/pkg/networking/networking.go ModelProtocolToListenerProtocol).
type portKind int

const (
	kindTCP portKind = iota
	kindHTTP
	kindAuto
	kindNone
)

func kindOf(p protocol.Instance) portKind {
	switch {
	case p.IsHTTP():
		return kindHTTP
	case p == protocol.UDP:
		return kindNone
	case p.IsTCP():
		return kindTCP
	default:
		return kindAuto
	}
}

// listenerEntry is an outbound listener while services are added to it.
type listenerEntry struct {
	bind   string
	port   int
	locked bool
	chains []*chain
	// conditions are those of chains.
	conditions map[string]bool
	// protocol is that of the service that came first, Unsupported once
	// several kinds share the listener by sniffing.
	protocol protocol.Instance
}

// listenerBuilder collects the outbound listeners of a sidecar (istio
// pilot/pkg/networking/core/listener.go buildSidecarOutboundListeners).
type listenerBuilder struct {
	*proxy
	entries map[bindPort]*listenerEntry
	order   []bindPort
}

// outbound is one service port to be added.
type outbound struct {
	service  *model.Service
	port     *model.Port
	bind     []string // "" or addresses
	prefixes []string
	egress   *model.EgressListener
}

func (o *outbound) primary() string {
	if len(o.bind) == 0 {
		return ""
	}
	return o.bind[0]
}

func (p *proxy) sidecarListeners() map[bindPort]*listener {
	b := &listenerBuilder{proxy: p, entries: map[bindPort]*listenerEntry{}}
	for _, egress := range p.scope.Listeners {
		b.addEgress(egress)
	}
	out := map[bindPort]*listener{}
	for _, key := range b.order {
		e := b.entries[key]
		l := &listener{bind: e.bind, port: e.port}
		for _, c := range e.chains {
			if c.matchesAll() {
				l.fallback = c
			} else {
				l.chains = append(l.chains, c)
			}
		}
		if l.fallback == nil {
			l.fallback = p.catchAll()
		}
		l.check()
		out[key] = l
	}
	return out
}

func (b *listenerBuilder) addEgress(egress *model.EgressListener) {
	var bind []string
	if egress.Spec.GetBind() != "" {
		bind = []string{egress.Spec.GetBind()}
	} else if egress.Spec.GetCaptureMode() == networking.CaptureMode_NONE {
		bind = []string{"127.0.0.1"}
	}
	if declared := egress.Spec.GetPort(); declared != nil {
		port := &model.Port{
			Number: int(declared.GetNumber()), Name: declared.GetName(), Protocol: protocol.Parse(declared.GetProtocol()),
			Object: b.scope.Sidecar.Object, Field: fmt.Sprintf("spec.egress[%d].port", egress.Index),
		}
		for _, s := range egress.Services {
			b.add(&outbound{service: s, port: port, bind: bind, egress: egress})
		}
		return
	}
	// Ports that earlier listeners declare stay theirs.
	for _, e := range b.entries {
		e.locked = true
	}
	for _, s := range egress.Services {
		for _, port := range s.Ports {
			o := &outbound{service: s, port: port, bind: bind, egress: egress}
			if len(bind) == 0 && s.Resolution == model.Passthrough && b.address(s) == model.UnspecifiedIP && kindOf(port.Protocol) != kindHTTP {
				b.addHeadless(o)
				continue
			}
			b.add(o)
		}
	}
}

// addHeadless adds a TCP port of a service that has endpoints but no address:
// one listener for each endpoint; without endpoints, as any other service.
func (b *listenerBuilder) addHeadless(o *outbound) {
	endpoints := b.push.NumberedEndpoints(o.service, o.port)
	if !o.service.Kubernetes() && len(endpoints) == 0 && o.service.Selector == nil {
		b.add(o)
		return
	}
	for _, e := range endpoints {
		// The pod's own address needs no listener; names cannot have one.
		if _, err := netip.ParseAddr(e.Address); err != nil || e.Workload != nil && e.Workload == b.workload {
			continue
		}
		c := *o
		c.bind = []string{e.Address}
		b.add(&c)
	}
}

// add adds a service port to the listener of its address (istio
// buildSidecarOutboundListener).
func (b *listenerBuilder) add(o *outbound) {
	if o.service.Resolution == model.Alias {
		return
	}
	kind := kindOf(o.port.Protocol)
	if kind == kindNone {
		return
	}
	if o.primary() == "" {
		address := b.address(o.service)
		switch {
		case kind == kindHTTP:
			o.bind = []string{b.wildcard}
		case strings.Contains(address, "/"):
			o.bind, o.prefixes = []string{b.wildcard}, []string{address}
		case address == model.UnspecifiedIP && !o.service.Kubernetes():
			o.bind = append([]string{b.wildcard}, o.service.ExtraAddresses...)
		default:
			o.bind = append([]string{address}, o.service.ExtraAddresses...)
		}
	}
	key := bindPort{o.primary(), o.port.Number}
	current := b.entries[key]
	if current != nil && current.locked {
		return
	}
	entryProtocol := o.port.Protocol
	var chains []*chain
	overridden := false // an earlier HTTP-only listener gives way
	switch {
	case o.port.Protocol == protocol.HTTP_PROXY:
		if current != nil {
			overridden = true
		}
		chains = []*chain{b.httpChain(o, kind)}
	case kind == kindHTTP:
		if current != nil && !current.protocol.IsTCP() {
			return // already there: virtual hosts tell services apart
		}
		c := b.httpChain(o, kind)
		if o.primary() == b.wildcard {
			c.plaintextHTTP = true
			entryProtocol = protocol.Unsupported
		}
		chains = []*chain{c}
	case kind == kindTCP:
		chains = b.tcpChains(o)
	default:
		if current != nil {
			switch {
			case current.protocol.IsHTTP():
				overridden = true
			case !current.protocol.IsTCP():
				return
			}
		}
		c := b.httpChain(o, kind)
		c.plaintextHTTP = true
		chains = append(b.tcpChains(o), c)
	}
	if u := b.readsRedis(o.port.Protocol); u != nil {
		for _, c := range chains {
			c.opaque = u.Why
		}
	}
	if current != nil && !overridden && serverFirst(o.port.Protocol, current.protocol) {
		return
	}
	if current == nil || overridden {
		for _, bind := range o.bind {
			k := bindPort{bind, o.port.Number}
			if b.entries[k] == nil {
				b.order = append(b.order, k)
			}
			b.entries[k] = &listenerEntry{bind: bind, port: o.port.Number, chains: slices.Clone(chains), protocol: entryProtocol}
		}
		return
	}
	current.merge(chains)
	if kind == kindHTTP || kind == kindAuto || current.protocol.IsHTTP() {
		current.protocol = protocol.Unsupported
	}
}

// serverFirst reports whether two protocols cannot share a port because one of
// them lets the server speak first, which sniffing would break (istio
// isConflictWithWellKnownPort).
func serverFirst(incoming, existing protocol.Instance) bool {
	speaksFirst := func(p protocol.Instance) bool { return p == protocol.Mongo || p == protocol.MySQL }
	return incoming != existing && (speaksFirst(incoming) || speaksFirst(existing))
}

// merge appends chains, dropping those whose condition an earlier one has
// (istio mergeTCPFilterChains).
func (e *listenerEntry) merge(incoming []*chain) {
	if e.conditions == nil {
		e.conditions = map[string]bool{}
		for _, c := range e.chains {
			e.conditions[c.condition()] = true
		}
	}
	for _, c := range incoming {
		if key := c.condition(); !e.conditions[key] {
			e.conditions[key] = true
			e.chains = append(e.chains, c)
		}
	}
}

// condition is the same for chains that match exactly the same.
func (c *chain) condition() string {
	names := slices.DeleteFunc(slices.Clone(c.sni), func(s string) bool { return s == "*" })
	slices.Sort(names)
	prefixes := make([]string, 0, len(c.prefixes))
	for _, p := range c.prefixes {
		prefixes = append(prefixes, p.Masked().String())
	}
	slices.Sort(prefixes)
	return fmt.Sprintf("%t %q %q", c.plaintextHTTP, slices.Compact(names), slices.Compact(prefixes))
}

// httpChain is the chain of HTTP services; its routes are looked up by port, or
// for a sniffed port of a service with its own address, by service and port.
func (b *listenerBuilder) httpChain(o *outbound, kind portKind) *chain {
	table := fmt.Sprint(o.port.Number)
	if kind == kindAuto && o.primary() != b.wildcard {
		table = fmt.Sprintf("%s:%d", o.service.Hostname, o.port.Number)
	}
	opaque := ""
	if declared := o.egress.Spec.GetPort(); declared != nil && protocol.Parse(declared.GetProtocol()) == protocol.HTTP_PROXY {
		opaque = fmt.Sprintf("Sidecar %s declares port %d as an HTTP proxy, which is not simulated", b.scope.Sidecar.ID(), o.port.Number)
	}
	return &chain{
		name: "http", table: table, opaque: opaque,
		what:    fmt.Sprintf("port %d carries HTTP services (%s among them)", o.port.Number, o.service.Hostname),
		because: o.because(),
	}
}

// because points to what opens the port of a chain: the service's port, or the
// one that a Sidecar declares.
func (o *outbound) because() []flow.Because {
	return []flow.Because{{Object: o.port.Object, Field: o.port.Field}}
}

// tcpChains are the chains of a TCP, TLS or sniffed port: by server name where
// the port is TLS, and by address (istio pilot/pkg/networking/core/tls.go).
func (b *listenerBuilder) tcpChains(o *outbound) []*chain {
	routes := o.egress.Routes.Overlapping(o.service.Hostname)
	if o.port.Protocol.IsTLS() {
		return b.tlsChains(o, routes)
	}
	return b.plainTCPChains(o, routes)
}

func parsePrefixes(in []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		} else if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	// An unspecified address is no condition (istio toFilterChainMatch).
	return slices.DeleteFunc(out, func(p netip.Prefix) bool { return p.Addr().String() == model.UnspecifiedIP })
}

// staticMatch evaluates what is known when configuration is generated. Unlike
// in HTTP matches, gateways, labels and namespace must all hold.
func (p *proxy) staticMatch(gateways []string, labels map[string]string, namespace string, want uint32, port int) bool {
	return (len(gateways) == 0 || contains(gateways, model.MeshGateway)) &&
		labelsMatch(labels, p.labels) && (namespace == "" || namespace == p.namespace) && (want == 0 || int(want) == port)
}

func labelsMatch(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (b *listenerBuilder) tlsChains(o *outbound, routes []*model.MergedVirtualService) []*chain {
	var out []*chain
	prefixes := o.prefixes
	handled := map[string]bool{}
	for _, vs := range routes {
		for i, tls := range vs.TLS {
			if len(tls.GetRoute()) == 0 {
				continue
			}
			for j, m := range tls.GetMatch() {
				if !b.staticMatch(m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace(), m.GetPort(), o.port.Number) {
					continue
				}
				// istiod keeps the subnets for the following matches too
				// (tls.go assigns to its parameter).
				if len(m.GetDestinationSubnets()) > 0 && o.port.Number > 0 {
					prefixes = m.GetDestinationSubnets()
				}
				key := strings.Join(m.GetSniHosts(), ",") + "|" + strings.Join(m.GetDestinationSubnets(), ",")
				if handled[key] {
					continue
				}
				handled[key] = true
				field := fmt.Sprintf("spec.tls[%d]", i)
				out = append(out, &chain{
					name: "tls", sni: m.GetSniHosts(), prefixes: parsePrefixes(prefixes),
					targets: b.routeTargets(tls.GetRoute(), o.port.Number, vs, field),
					what:    fmt.Sprintf("%s routes TLS with server name %s", vs.Title(), strings.Join(m.GetSniHosts(), ", ")),
					because: []flow.Because{ruleBecause(vs, fmt.Sprintf("%s.match[%d]", field, j))},
				})
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	c := b.defaultChain(o, prefixes)
	address := b.address(o.service)
	if strings.Contains(address, "/") {
		address = ""
	}
	if len(prefixes) > 0 || address == "" || address == model.UnspecifiedIP && o.primary() == b.wildcard ||
		o.service.Hostname.IsWildCarded() && o.service.Resolution == model.DynamicDNS {
		c.sni = []string{string(o.service.Hostname)}
		for _, alias := range o.service.Aliases {
			c.sni = append(append(c.sni, string(alias)), b.altHosts(string(alias))...)
		}
		c.what = fmt.Sprintf("TLS with server name %s is registered", strings.Join(c.sni, ", "))
	}
	return []*chain{c}
}

// defaultChain forwards to the service itself.
func (b *listenerBuilder) defaultChain(o *outbound, prefixes []string) *chain {
	// A Sidecar's declared port stands for the only port of the service.
	port := o.port.Number
	if len(o.service.Ports) == 1 {
		port = o.service.Ports[0].Number
	}
	c := &chain{
		name: "tcp", prefixes: parsePrefixes(prefixes),
		targets: []target{{cluster: clusterName(port, "", string(o.service.Hostname))}},
		what:    fmt.Sprintf("%s registers %s on port %d as %s", o.service.Object, o.service.Hostname, o.port.Number, o.port.Protocol),
		because: append([]flow.Because{{Object: o.service.Object, Field: o.service.HostField}}, o.because()...),
	}
	if o.service.AddressField != "" && o.service.Address != model.UnspecifiedIP && !o.service.Kubernetes() {
		c.because = append(c.because, flow.Because{Object: o.service.Object, Field: o.service.AddressField})
	}
	c.targets[0].tunnel = b.tunnelTo(o.service, "")
	if b.dynamicForward(o.service) {
		c.policies = o.service
	}
	return c
}

// tunnelTo returns the field that wraps connections to a service, or to a subset
// of it, into a CONNECT request, nil if there is none (istio
// pilot/pkg/networking/core/tunnelingconfig).
func (p *proxy) tunnelTo(s *model.Service, subset string) *flow.Because {
	if s == nil {
		return nil
	}
	rule := p.push.DestinationRule(p.namespace, p.labels, s)
	switch {
	case rule == nil:
	case subset != "":
		if chosen := rule.SubsetByName(subset); chosen != nil && chosen.GetTrafficPolicy().GetTunnel() != nil {
			return &flow.Because{Object: chosen.From.Object, Field: chosen.Field + ".trafficPolicy.tunnel"}
		}
	case rule.Policy.GetTunnel() != nil:
		return &flow.Because{Object: rule.PolicyFrom.Object, Field: "spec.trafficPolicy.tunnel"}
	}
	return nil
}

// routeTunnel is the tunnel of a route: that of its first destination, of whose
// subset only where there is no other (istio networkfilter.go
// buildOutboundNetworkFilters).
func (p *proxy) routeTunnel(routes []*networking.RouteDestination) *flow.Because {
	subset := ""
	if len(routes) == 1 {
		subset = routes[0].GetDestination().GetSubset()
	}
	return p.tunnelTo(p.scope.Service(hostName(routes[0].GetDestination().GetHost())), subset)
}

func (b *listenerBuilder) plainTCPChains(o *outbound, routes []*model.MergedVirtualService) []*chain {
	var out []*chain
	for _, vs := range routes {
		for i, tcp := range vs.TCP {
			if len(tcp.GetRoute()) == 0 {
				continue
			}
			field := fmt.Sprintf("spec.tcp[%d]", i)
			route := func(prefixes []string, at string) *chain {
				return &chain{
					name: "tcp", prefixes: parsePrefixes(prefixes),
					targets: b.routeTargets(tcp.GetRoute(), o.port.Number, vs, field),
					what:    fmt.Sprintf("%s routes TCP port %d", vs.Title(), o.port.Number),
					because: append([]flow.Because{ruleBecause(vs, at)}, o.because()...),
				}
			}
			if len(tcp.GetMatch()) == 0 {
				return append(out, route(o.prefixes, field))
			}
			var subnets []string
			for j, m := range tcp.GetMatch() {
				if !b.staticMatch(m.GetGateways(), m.GetSourceLabels(), m.GetSourceNamespace(), m.GetPort(), o.port.Number) {
					continue
				}
				if len(m.GetDestinationSubnets()) == 0 || o.port.Number == 0 {
					return append(out, route(o.prefixes, fmt.Sprintf("%s.match[%d]", field, j)))
				}
				subnets = append(subnets, m.GetDestinationSubnets()...)
			}
			if len(subnets) > 0 {
				out = append(out, route(subnets, field))
				a, b := slices.Sorted(slices.Values(subnets)), slices.Sorted(slices.Values(o.prefixes))
				if slices.Equal(a, b) {
					return out
				}
			}
		}
	}
	return append(out, b.defaultChain(o, o.prefixes))
}

// routeTargets turns the destinations of a TLS or TCP route into targets. With
// one destination the weight is irrelevant, with several those without weight
// are dropped (istio networkfilter.go buildOutboundNetworkFilters).
func (p *proxy) routeTargets(routes []*networking.RouteDestination, port int, vs *model.MergedVirtualService, field string) []target {
	var out []target
	tunnel := p.routeTunnel(routes)
	for i, r := range routes {
		if len(routes) > 1 && r.GetWeight() == 0 {
			continue
		}
		service := p.scope.Service(hostName(r.GetDestination().GetHost()))
		out = append(out, target{
			cluster: destinationCluster(r.GetDestination(), service, port), weight: int(r.GetWeight()), tunnel: tunnel,
			because: []flow.Because{ruleBecause(vs, fmt.Sprintf("%s.route[%d].destination", field, i))},
		})
	}
	return out
}
