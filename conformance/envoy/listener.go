package envoy

import (
	"net/netip"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

type compiledListener struct {
	proto  *listener.Listener
	bind   []netip.AddrPort
	chains *chainTable
	// matcher finds chains in place of their own criteria, nil where there is none.
	matcher  *chainMatcher
	inspects []inspector
	// unknownFilter names a listener filter that is not modelled.
	unknownFilter string
}

// inspector is a listener filter that looks at the first bytes.
type inspector struct {
	tls, http bool
	disabled  *listener.ListenerFilterChainMatchPredicate
}

type compiledChain struct {
	name    string
	tls     *downstreamTLS
	filters []networkFilter
}

func compileListener(l *listener.Listener) *compiledListener {
	c := &compiledListener{proto: l}
	addresses := []*core.Address{l.GetAddress()}
	for _, more := range l.GetAdditionalAddresses() {
		addresses = append(addresses, more.GetAddress())
	}
	for _, address := range addresses {
		if at, ok := toAddrPort(address); ok {
			c.bind = append(c.bind, at)
		}
	}
	for _, filter := range l.GetListenerFilters() {
		switch filter.GetName() {
		case "envoy.filters.listener.tls_inspector":
			c.inspects = append(c.inspects, inspector{tls: true, disabled: filter.GetFilterDisabled()})
		case "envoy.filters.listener.http_inspector":
			c.inspects = append(c.inspects, inspector{http: true, disabled: filter.GetFilterDisabled()})
		case "envoy.filters.listener.original_dst", "envoy.filters.listener.original_src":
			// They tell addresses, which are known here.
		default:
			c.unknownFilter = filter.GetName()
		}
	}
	if l.GetFilterChainMatcher() != nil {
		c.matcher = newChainMatcher(l)
		return c
	}
	c.chains = newChainTable(l, compileChain)
	return c
}

func toAddrPort(address *core.Address) (netip.AddrPort, bool) {
	socket := address.GetSocketAddress()
	if socket == nil {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(socket.GetAddress())
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(socket.GetPortValue())), true
}

func compileChain(chain *listener.FilterChain) *compiledChain {
	c := &compiledChain{name: chain.GetName(), tls: compileDownstreamTLS(chain.GetTransportSocket())}
	for _, filter := range chain.GetFilters() {
		c.filters = append(c.filters, compileNetworkFilter(filter))
	}
	return c
}

// Redirected decides a connection that the pod's iptables sent to the
// listener of the given name ("virtualOutbound", "virtualInbound"): one that
// gives connections back by their original destination hands it to the
// listener of that address, else of that port on the wildcard address.
func (p *Proxy) Redirected(to string, conn Connection) *Verdict {
	var first *compiledListener
	for _, l := range p.listeners {
		if l.proto.GetName() == to {
			first = l
			break
		}
	}
	if first == nil {
		return (&Verdict{}).stop(&Stop{Reason: NoListener})
	}
	if first.proto.GetUseOriginalDst().GetValue() {
		if l := p.bound(conn.Destination, false); l != nil && l != first {
			return p.accept(l, conn)
		}
	}
	return p.accept(first, conn)
}

// Accept decides a connection that arrives at a port that the proxy itself
// listens on.
func (p *Proxy) Accept(conn Connection) *Verdict {
	l := p.bound(conn.Destination, true)
	if l == nil {
		return (&Verdict{}).stop(&Stop{Reason: NoListener})
	}
	return p.accept(l, conn)
}

// bound finds the listener of an address, else the one of its port on the
// wildcard address of the family (ConnectionHandlerImpl::
// getBalancedHandlerByAddress). With open, only listeners that bind to their
// port are found.
func (p *Proxy) bound(destination netip.AddrPort, open bool) *compiledListener {
	wildcard := netip.IPv4Unspecified()
	if destination.Addr().Is6() {
		wildcard = netip.IPv6Unspecified()
	}
	for _, want := range []netip.AddrPort{destination, netip.AddrPortFrom(wildcard, destination.Port())} {
		for _, l := range p.listeners {
			if open && l.proto.GetBindToPort() != nil && !l.proto.GetBindToPort().GetValue() {
				continue
			}
			for _, at := range l.bind {
				if at == want {
					return l
				}
			}
		}
	}
	return nil
}

func (p *Proxy) accept(l *compiledListener, conn Connection) *Verdict {
	v := &Verdict{Listener: l.proto.GetName()}
	if rejected := l.rejected(); rejected != "" {
		return v.stop(&Stop{Reason: RejectedConfig, Detail: rejected})
	}
	if l.unknownFilter != "" {
		return v.stop(&Stop{Reason: UnknownFilter, Detail: "listener filter " + l.unknownFilter})
	}
	in := l.inspect(conn)
	chain, unknown := l.find(in)
	if unknown != "" {
		return v.stop(&Stop{Reason: UnknownFilter, Detail: unknown})
	}
	if chain == nil {
		return v.stop(&Stop{Reason: NoFilterChain})
	}
	v.FilterChain = chain.name
	session := &session{proxy: p, conn: conn, message: conn.Message, serverName: in.serverName}
	if stop := chain.tls.handshake(session); stop != nil {
		return v.stop(stop)
	}
	for _, filter := range chain.filters {
		if done := filter.apply(session, v); done {
			if last, ok := chain.filters[len(chain.filters)-1].(*tcpProxy); ok && v.Stop != nil {
				v.Stop.Cluster = (*tcp.TcpProxy)(last).GetCluster()
			}
			return v
		}
	}
	return v.stop(&Stop{Reason: UnknownFilter, Detail: "filter chain without terminal filter"})
}

// Internal decides a connection that another listener of the proxy hands to one that
// has no address.
func (p *Proxy) Internal(to string, conn Connection) *Verdict {
	for _, l := range p.listeners {
		if l.proto.GetName() == to {
			return p.accept(l, conn)
		}
	}
	return (&Verdict{}).stop(&Stop{Reason: NoListener})
}

// rejected says why Envoy refuses the listener, "" if it does not.
func (l *compiledListener) rejected() string {
	if l.matcher != nil {
		return l.matcher.rejected
	}
	return l.chains.rejected
}

// find returns the filter chain of a connection, nil for none; unknown names what about
// the choice is not modelled, "" for nothing.
func (l *compiledListener) find(in inspected) (chain *compiledChain, unknown string) {
	if l.matcher != nil {
		return l.matcher.find(in)
	}
	return l.chains.find(in), ""
}

// session is a connection on its way through the filters.
type session struct {
	proxy *Proxy
	conn  Connection
	// message is what is left after the TLS that was terminated here.
	message    Message
	serverName string
	// terminated is the layer of TLS that ended here, nil for none.
	terminated *Layer
	// metadata is what filters leave for later ones.
	metadata map[string]string
}

// inspect runs the listener filters. Without a TLS inspector the proxy knows
// neither server name nor that it is TLS; the transport is then raw_buffer.
func (l *compiledListener) inspect(conn Connection) inspected {
	in := inspected{destination: conn.Destination, transport: "raw_buffer"}
	for _, inspector := range l.inspects {
		if inspector.disabled != nil && evaluate(inspector.disabled, conn.Destination.Port()) {
			continue
		}
		switch {
		case inspector.tls && len(conn.Message.TLS) > 0:
			in.transport = "tls"
			// The socket keeps it in lower case.
			in.serverName = strings.ToLower(conn.Message.TLS[0].SNI)
			in.applications = conn.Message.TLS[0].ALPN
		case inspector.http && in.transport == "raw_buffer" && conn.Message.plaintextHTTP():
			if conn.Message.HTTP.HTTP2 {
				in.applications = []string{"h2c"}
			} else {
				in.applications = []string{"http/1.1"}
			}
		}
	}
	return in
}

func evaluate(p *listener.ListenerFilterChainMatchPredicate, port uint16) bool {
	switch rule := p.GetRule().(type) {
	case *listener.ListenerFilterChainMatchPredicate_OrMatch:
		for _, r := range rule.OrMatch.GetRules() {
			if evaluate(r, port) {
				return true
			}
		}
		return false
	case *listener.ListenerFilterChainMatchPredicate_AndMatch:
		for _, r := range rule.AndMatch.GetRules() {
			if !evaluate(r, port) {
				return false
			}
		}
		return true
	case *listener.ListenerFilterChainMatchPredicate_NotMatch:
		return !evaluate(rule.NotMatch, port)
	case *listener.ListenerFilterChainMatchPredicate_AnyMatch:
		return rule.AnyMatch
	case *listener.ListenerFilterChainMatchPredicate_DestinationPortRange:
		return int32(port) >= rule.DestinationPortRange.GetStart() && int32(port) < rule.DestinationPortRange.GetEnd()
	default:
		return false
	}
}
