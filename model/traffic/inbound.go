package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// maxProxies bounds the gateways and waypoints that a flow passes one after the
// other: what is rewritten each time never comes back as it was.
const maxProxies = 8

// gatewayInbound decides what a gateway does with a connection that reaches its
// pod.
func (w *walker) gatewayInbound(to *model.Workload, conn connection) *flow.Trace {
	p := w.sim.gateway(to, w.v6)
	w.sharing(to)
	hop := flow.Hop{At: flow.AtGateway, Proxy: to.ID(), SNI: conn.sni()}
	stop := func(decision string, because []flow.Because, t *flow.Trace) *flow.Trace {
		hop.Decision, hop.Because = decision, because
		t.Via = flow.ViaGateway
		return after([]flow.Hop{hop}, t)
	}
	place := fmt.Sprint(to.ID(), conn.dst.Port(), conn.layers)
	if conn.request != nil {
		place += conn.request.fingerprint()
	}
	if contains(w.seen, place) {
		return stop("the gateway has forwarded this before: it goes round in a loop", nil, blocked(flow.Loop, 0))
	}
	if len(w.seen) >= maxProxies {
		return stop(fmt.Sprintf("it has passed %d proxies, changed by each: it goes round in a loop", len(w.seen)), nil, blocked(flow.Loop, 0))
	}
	w.seen = append(w.seen, place)
	w.openEntrance(p, &conn)

	if u := w.push.UnmodelledGateway(to); u != nil {
		return stop(u.Why, unmodelledBecause(u), unknown(flow.ViaGateway, flow.OpaqueFilter, u.Why))
	}
	if p.takesProxyProtocol() {
		// Nothing here sends such a line: a DestinationRule that does makes the
		// answer unknown before (applyTLS).
		return stop("the gateway takes only connections that begin with a line of the PROXY protocol (gatewayTopology.proxyProtocol), and closes this one", p.topologyBecause("proxyProtocol"), blocked(flow.ProtocolError, 0))
	}
	port := int(conn.dst.Port())
	l := p.listeners[bindPort{conn.dst.Addr().String(), port}]
	if l == nil {
		l = p.listeners[bindPort{p.wildcard, port}]
	}
	switch {
	case l == nil:
		text, because := p.whyNoListener(port)
		return stop(text, because, blocked(flow.NoListener, 0))
	case l.refused != "":
		return stop(fmt.Sprintf("the gateway's listener for port %d would be refused by Envoy: %s", port, l.refused), chainsBecause(l),
			unknown(flow.ViaGateway, flow.ListenerRejected, l.refused))
	}
	hop.Listener = l.name()
	ch := l.find(&conn)
	if ch == nil {
		return stop(fmt.Sprintf("%s fits no server of the gateway on pod port %d", connectionText(&conn), port), chainsBecause(l), blocked(flow.NoFilterChain, 0))
	}
	hop.FilterChain = ch.name
	if t := p.filtered(l, ch, &conn); t != nil {
		return stop(t.Detail, ch.because, t)
	}
	if ch.opaque != "" {
		return stop(ch.opaque, ch.because, unknown(flow.ViaGateway, flow.OpaqueFilter, ch.opaque))
	}
	who := &subject{port: port}
	if l.inspectsTLS() {
		who.sni = conn.sni()
	}
	if ch.opens {
		if len(ch.server.GetTls().GetSubjectAltNames()) > 0 {
			w.askWho()
		}
		opened, t := p.open(ch, conn, who)
		if t != nil {
			return stop(t.Detail, ch.because, t)
		}
		conn = opened
		if ch.http() && !conn.plaintextHTTP() {
			return stop(fmt.Sprintf("%s; inside is not plaintext HTTP but %s", ch.what, connectionText(&conn)), ch.because, blocked(flow.ProtocolError, 0))
		}
	} else if outer := conn.outer(); ch.http() && outer != nil {
		reason := flow.TLSMismatch
		if outer.origin == applicationTLS {
			reason = flow.ProtocolError // no proxy was asked for TLS
		}
		return stop(fmt.Sprintf("%s, but the connection brings TLS", ch.what), ch.because, blocked(reason, 0))
	}
	who.connection = &conn
	hop.Decision, hop.Because = ch.what, ch.because
	if who.identity != "" {
		hop.Decision += fmt.Sprintf("; the client is known as %s", who.identity)
	} else {
		hop.Decision += "; the client's identity is not known"
	}
	if ch.http() {
		return after([]flow.Hop{hop}, w.http(p, ch, conn, who))
	}
	hops := []flow.Hop{hop}
	if t := w.authorize(p, ch, who, true); t != nil {
		if t.Outcome != flow.Allowed {
			return after(hops, t)
		}
		hops = append(hops, t.Hops...)
	}
	return after(hops, w.tcp(p, ch, conn))
}

// open terminates TLS at a gateway server. It returns the inside, or why that
// fails.
func (p *proxy) open(ch *chain, conn connection, who *subject) (connection, *flow.Trace) {
	fail := func(detail string) (connection, *flow.Trace) {
		t := blocked(flow.TLSMismatch, 0)
		t.Detail = detail
		return conn, t
	}
	outer := conn.outer()
	mode := ch.server.GetTls().GetMode()
	switch {
	case outer == nil:
		return fail(fmt.Sprintf("%s, but the connection is plaintext", ch.what))
	case mode == networking.ServerTLSSettings_MUTUAL && outer.origin == proxySimple:
		// Whatever the files hold: TLS of mode SIMPLE presents no certificate
		// (istio pilot/pkg/networking/core/cluster_tls.go), and a server of mode
		// MUTUAL requires one (listener.go BuildListenerTLSContext).
		return fail(fmt.Sprintf("%s, but the proxy that sends it presents no client certificate", ch.what))
	case mode != networking.ServerTLSSettings_ISTIO_MUTUAL:
		return conn, unknown(flow.ViaGateway, flow.CustomCert,
			fmt.Sprintf("%s uses certificates of its own (%s): whether the client takes them, and the server the client's, depends on files that the manifests do not hold",
				ch.server.Title(), mode))
	case outer.origin == proxyMutual:
		return conn, unknown(flow.ViaGateway, flow.CustomCert,
			fmt.Sprintf("%s asks for a certificate of the mesh: whether the one that the sender presents is one, is in files that the manifests do not hold", ch.server.Title()))
	case outer.origin != meshTLS:
		return fail(fmt.Sprintf("%s, but the connection brings TLS without a mesh certificate", ch.what))
	case len(outer.expects) > 0 && !contains(outer.expects, p.push.Identity(p.workload)):
		return fail(fmt.Sprintf("the client expects the identity %v, and the gateway is %s", outer.expects, p.push.Identity(p.workload)))
	}
	// Istio pilot/pkg/security/model/authentication.go ApplyToCommonTLSContext.
	if names := ch.server.GetTls().GetSubjectAltNames(); len(names) > 0 && !contains(names, outer.identity) {
		return fail(fmt.Sprintf("%s lets in %v only, and the client is %s", ch.server.Title(), names, outer.identity))
	}
	who.identity, who.identityOfClient = outer.identity, outer.ofClient
	return conn.opened(), nil
}

// whyNoListener says why a gateway does not listen on a port.
func (p *proxy) whyNoListener(port int) (string, []flow.Because) {
	if p.gateway == nil {
		return fmt.Sprintf("no Gateway selects %s, so it listens on nothing", p.workload.ID()), []flow.Because{{Object: p.workload.Object, Field: p.workload.Field("metadata.labels")}}
	}
	var because []flow.Because
	text := fmt.Sprintf("no Gateway has a server on pod port %d of %s", port, p.workload.ID())
	for _, gp := range p.gateway.Ports {
		if gp.Port != port {
			continue
		}
		for _, s := range gp.Servers {
			text = fmt.Sprintf("no VirtualService gives %s a route that it can use, so the gateway does not listen on pod port %d", s.Title(), port)
			because = append(because, serverBecause(s, "port")...)
		}
	}
	for _, s := range p.gateway.Skipped {
		if s.Port == port {
			text += fmt.Sprintf("; %s is left out: %s", s.Title(), s.Reason)
			because = append(because, serverBecause(s.GatewayServer, "hosts")...)
		}
	}
	if len(because) == 0 {
		for _, gp := range p.gateway.Ports {
			because = append(because, serverBecause(gp.Servers[0], "port")...)
		}
	}
	return text, because
}

// inbound decides what the sidecar of a destination does.
func (w *walker) inbound(to *model.Workload, conn connection) *flow.Trace {
	w.openInbound(to, &conn)
	through := conn.hbone
	if through != nil {
		if u := w.push.Config.Switch("PILOT_ENABLE_SIDECAR_LISTENING_HBONE"); u != nil {
			return unsimulated(u.Unmodelled(fmt.Sprintf("the sidecar of %s takes no tunnel, although its label says so", to.ID())), flow.AtSidecar, to.ID(), flow.ViaNone)
		}
		conn.dst, conn.hbone = through.target, nil
	}
	kinds := w.inboundKinds(to, int(conn.dst.Port()))
	if len(kinds) > w.contested.rivals() && len(kinds) > 1 {
		w.contested = &contest{
			size: len(kinds),
			what: fmt.Sprintf("several ports of ServiceEntries of one age lead to port %d of %s with different protocols, and istiod may take any of them",
				conn.dst.Port(), to.ID()),
			settle:  "one protocol for all, or target ports that differ, would settle it",
			because: []flow.Because{{Object: to.Object}},
		}
	}
	return w.inboundAs(kinds[w.sim.chance.turn%len(kinds)], to, conn, through)
}

// inboundAs decides what the sidecar does if it treats the port in a way. What comes
// through a tunnel brings its identity, and nothing asks for mesh TLS (istio
// pilot/pkg/networking/core/listener_inbound.go buildInboundHBONEListeners).
func (w *walker) inboundAs(kind portKind, to *model.Workload, conn connection, through *tunnel) *flow.Trace {
	port := int(conn.dst.Port())
	hop := flow.Hop{At: flow.AtSidecar, Proxy: to.ID(), Because: []flow.Because{{Object: to.Object}}}
	mode, policy, field := w.push.WorkloadMTLS(to.Namespace, to.Labels, port)
	if through != nil {
		mode, policy = model.MTLSDisable, nil
	}
	why := ""
	if policy != nil {
		hop.Because = []flow.Because{{Object: policy.Object, Field: field}}
		why = fmt.Sprintf(" (PeerAuthentication %s)", policy.ID())
	}
	if u := w.ingressTLS(ingressOn(w.push.SidecarFor(to.Namespace, to.Labels), port), mode); u != nil && through == nil {
		return unsimulated(u, flow.AtSidecar, to.ID(), flow.ViaNone)
	}
	ch := inboundChain(mode, kind, &conn)
	stop := func(decision string, reason flow.Reason) *flow.Trace {
		hop.Decision = fmt.Sprintf("the sidecar of %s %s%s", to.ID(), decision, why)
		return after([]flow.Hop{hop}, blocked(reason, 0))
	}
	who := &subject{port: port}
	if mode != model.MTLSDisable {
		// Where no chain of the port asks for TLS, nothing reads the server
		// name (istio listener_inbound.go buildTLSInspector).
		who.sni = conn.sni()
	}
	if through != nil {
		who.identity = through.identity
	}
	outer := conn.outer()
	switch {
	case ch.none && outer == nil:
		return stop("takes only TLS, but the connection is plaintext", flow.NoFilterChain)
	case ch.none:
		return stop("takes plaintext or mesh TLS, but the connection brings TLS without a mesh certificate", flow.NoFilterChain)
	case ch.opens && outer.origin == proxyMutual:
		hop.Decision = fmt.Sprintf("the sidecar of %s asks for a certificate of the mesh%s: whether the one that the sender presents is one, is in files that the manifests do not hold", to.ID(), why)
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.CustomCert, hop.Decision))
	case ch.opens && outer.origin != meshTLS:
		return stop("takes only mesh TLS, but the connection brings TLS without a mesh certificate", flow.TLSMismatch)
	case ch.opens && len(outer.expects) > 0 && !contains(outer.expects, w.push.Identity(to)):
		return stop(fmt.Sprintf("is %s, but the client expects one of %s", w.push.Identity(to), strings.Join(outer.expects, ", ")), flow.TLSMismatch)
	case ch.opens:
		who.identity, who.identityOfClient = outer.identity, outer.ofClient
		conn = conn.opened()
	}
	if ch.http && !conn.plaintextHTTP() {
		reason := flow.ProtocolError
		if l := conn.outer(); l != nil && l.origin != applicationTLS {
			reason = flow.TLSMismatch
		}
		return stop("expects plaintext HTTP, but the connection brings something else", reason)
	}
	who.connection = &conn
	hop.Decision = fmt.Sprintf("it reaches the sidecar of %s", to.ID())
	hops := []flow.Hop{hop}
	p := &proxy{sim: w.sim, push: w.push, namespace: to.Namespace, labels: to.Labels, workload: to}
	if ch.http {
		who.request = conn.request.edited("")
		path, ok := p.normalizePath(who.request.path)
		if !ok {
			t := stop("answers 400: the path cannot be normalised", flow.ProtocolError)
			t.HTTPStatus = 400
			return t
		}
		p.setScheme(who.request, ch.opens)
		who.request.path, who.remote = path, p.remoteAddress(&conn)
	}
	if t := w.authorizeInbound(p, who, !ch.http); t != nil {
		return after(hops, t)
	}
	return after(hops, accepted(to, conn))
}

// inboundMatch is what the inbound filter chain for a connection does.
type inboundMatch struct {
	none  bool // no chain matches
	opens bool // terminates TLS, of which it demands a mesh certificate
	http  bool
}

// inboundChain chooses the inbound filter chain of a sidecar (istio
// pilot/pkg/networking/core/filterchain_options.go). Where no chain of a port
// asks for TLS, nothing looks for it and TLS passes as any other bytes
// (listener_inbound.go buildTLSInspector).
func inboundChain(mode model.MutualTLSMode, kind portKind, c *connection) inboundMatch {
	outer := c.outer()
	mesh := outer != nil && outer.announcesMesh()
	http := kind == kindHTTP
	switch mode {
	case model.MTLSStrict:
		return inboundMatch{none: outer == nil, opens: true, http: http || kind == kindAuto && mesh && outer.http}
	case model.MTLSDisable:
		return inboundMatch{http: http || kind == kindAuto && c.plaintextHTTP()}
	}
	switch {
	case mesh:
		return inboundMatch{opens: true, http: http || kind == kindAuto && outer.http}
	case outer != nil:
		return inboundMatch{none: http}
	default:
		return inboundMatch{http: http || kind == kindAuto && c.plaintextHTTP()}
	}
}

// inboundKinds says how a workload's sidecar treats a port of its pod: as the
// oldest service declares that leads there, or as its Sidecar does; by sniffing
// where none does (istio pilot/pkg/networking/core/listener_inbound.go
// buildInboundChainConfigs, pilot/pkg/model/context.go SetServiceTargets). Of
// the ports of ServiceEntries of one age and host any may be taken, as they come
// out of a map: there may be several kinds.
func (w *walker) inboundKinds(to *model.Workload, port int) []portKind {
	if sidecar := w.push.SidecarFor(to.Namespace, to.Labels); len(sidecarIngress(sidecar)) > 0 {
		if in := ingressOn(sidecar, port); in != nil {
			p := protocol.Parse(in.GetPort().GetProtocol())
			if in.GetTls() != nil && w.push.Config.Enabled("ENABLE_TLS_ON_SIDECAR_INGRESS") {
				p = p.AfterTLSTermination()
			}
			return []portKind{inboundPortKind(p)}
		}
		if !w.push.Config.Enabled("PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE") {
			return []portKind{kindAuto}
		}
	}
	var kinds []portKind
	var oldest *model.Service
	for _, s := range w.push.Services() {
		if s.Namespace != to.Namespace || !selects(s, to) {
			continue
		}
		if oldest != nil {
			// The registry of ServiceEntries answers first.
			order := cmp.Or(oldest.Created.Compare(s.Created), cmp.Compare(oldest.Hostname, s.Hostname), cmp.Compare(truth(oldest.Kubernetes()), truth(s.Kubernetes())))
			if order < 0 || order == 0 && s.Kubernetes() {
				continue
			}
			if order > 0 && len(w.inboundPorts(s, to, port)) > 0 {
				kinds = nil
			}
		}
		for _, sp := range w.inboundPorts(s, to, port) {
			oldest = s
			if kind := inboundPortKind(sp.Protocol); !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
			if s.Kubernetes() {
				break
			}
		}
	}
	if len(kinds) == 0 {
		return []portKind{kindAuto}
	}
	return kinds
}

// inboundPorts returns the ports of a service that lead to a port of a pod.
func (w *walker) inboundPorts(s *model.Service, to *model.Workload, port int) []*model.Port {
	var out []*model.Port
	for _, sp := range s.Ports {
		if slices.ContainsFunc(w.push.OwnEndpoints(s, sp), func(e model.Endpoint) bool { return e.Workload == to && e.Port == port }) {
			out = append(out, sp)
		}
	}
	return out
}

// selects reports whether a service selects a workload of its namespace.
func selects(s *model.Service, w *model.Workload) bool {
	if s.Entry != nil && s.Entry.Spec.GetWorkloadSelector() == nil || s.Kubernetes() && len(s.Selector) == 0 {
		return false
	}
	return labelsMatch(s.Selector, w.Labels)
}

func sidecarIngress(s *model.Sidecar) []*networking.IstioIngressListener {
	if s == nil {
		return nil
	}
	return s.Spec.GetIngress()
}

func inboundPortKind(p protocol.Instance) portKind {
	if kind := kindOf(p); kind != kindNone {
		return kind
	}
	return kindTCP
}

// accepted says whether the application behind a proxy, or without one, takes a
// connection. It is taken to speak what its clients want, with or without TLS,
// but not TLS within TLS, and only a proxy understands mesh TLS.
func accepted(to *model.Workload, conn connection) *flow.Trace {
	hop := flow.Hop{At: flow.AtNetwork, Proxy: to.ID(), Because: []flow.Because{{Object: to.Object}}}
	switch {
	case conn.carries(meshTLS):
		hop.Decision = fmt.Sprintf("the application of %s does not understand mesh TLS", to.ID())
		return after([]flow.Hop{hop}, blocked(flow.TLSMismatch, 0))
	case len(conn.layers) > 1:
		hop.Decision = fmt.Sprintf("the application of %s gets TLS within TLS, of which it expects one", to.ID())
		return after([]flow.Hop{hop}, blocked(flow.DoubleTLS, 0))
	}
	return inMesh()
}

// authorizeInbound evaluates the policies of a destination's sidecar.
func (w *walker) authorizeInbound(p *proxy, who *subject, tcp bool) *flow.Trace {
	client := w.client
	w.client = p.workload // hops name the proxy that decides
	t := w.authorize(p, nil, who, tcp)
	w.client = client
	if t != nil && t.Outcome == flow.Allowed {
		return nil
	}
	return t
}
