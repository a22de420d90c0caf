package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/protocol"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// maxForwards bounds the ways that one flow is followed: routes with many
// destinations, one behind the other, multiply.
const maxForwards = 2000

// forward sends a request or connection to a cluster.
func (w *walker) forward(p *proxy, t target, conn connection, http bool) *flow.Trace {
	c := p.cluster(t.cluster)
	w.openForward(p, c)
	if tied := p.scope.ByChance(hostName(t.cluster[strings.LastIndexByte(t.cluster, '|')+1:])); tied != nil {
		w.picked = tied
	}
	if c.contested != nil {
		w.contested = c.contested
	}
	conn.http = http
	if http && c.port != nil && conn.request != nil && c.port.Protocol != protocol.Unsupported {
		// Ports of unknown protocol get what the client speaks (istio
		// cluster_builder.go setUpstreamProtocol).
		conn.request = conn.request.edited("")
		conn.request.http2 = c.port.Protocol.IsHTTP2()
	}
	if w.forwards++; w.forwards > maxForwards {
		detail := fmt.Sprintf("the routes give more than %d ways, and no more are followed", maxForwards)
		return after([]flow.Hop{{At: place(p), Proxy: w.proxyName(p), Cluster: c.name, Decision: detail, Because: t.because}},
			unknown(viaOf(p, flow.ViaNone), flow.Undetermined, detail))
	}
	hop := flow.Hop{At: place(p), Proxy: w.proxyName(p), Cluster: c.name, Because: append(slices.Clone(t.because), c.because...)}
	failed := 0 // what an HTTP client sees when the connection fails
	if http {
		failed = 503
	}
	end := func(decision string, tr *flow.Trace) *flow.Trace {
		hop.Decision = decision
		tr.Via = viaOf(p, tr.Via)
		return after([]flow.Hop{hop}, tr)
	}
	if c.missing == "" && c.unmodelled == nil {
		if tr := w.gatewayToWaypoint(p, c, conn); tr != nil {
			return eachEnd(tr, func(t *flow.Trace) {
				if t.Outcome == flow.Blocked && t.HTTPStatus == 0 {
					t.HTTPStatus = failed
				}
			})
		}
	}
	switch {
	case c.missing != "" && c.unsure != "":
		return end("the route leads to a service of which the input says nothing: "+c.unsure,
			unknown(flow.ViaNone, flow.MissingObject, c.unsure))
	case c.missing != "":
		if http && t.missing > 0 {
			failed = t.missing
		}
		return end("the route leads to nothing: "+c.missing, blocked(flow.NoCluster, failed))
	case c.unmodelled != nil:
		if c.unmodelled.Object != nil {
			hop.Because = append(hop.Because, flow.Because{Object: c.unmodelled.Object, Field: c.unmodelled.Field})
		}
		return end(c.unmodelled.Why, unknown(flow.ViaNone, flow.OpaqueFilter, c.unmodelled.Why))
	case c.kind == toNowhere:
		return end("the connection is closed: the destination is not registered for this sidecar", blocked(flow.Blackhole, 0))
	case c.kind == toEndpoints && len(c.endpoints) == 0 && c.unsure != "":
		return end("nothing is known behind the service: "+c.unsure, unknown(flow.ViaNone, flow.MissingObject, c.unsure))
	case c.chance != "":
		return end(c.chance, unknown(flow.ViaNone, flow.Undetermined, c.chance))
	case c.kind == toEndpoints && len(c.endpoints) == 0:
		return end(p.noEndpointsText(c), blocked(flow.NoEndpoints, failed))
	case t.tunnel != nil:
		hop.Because = append(hop.Because, *t.tunnel)
		return end("a DestinationRule wraps the connection into an HTTP CONNECT request (tunnel), which is not simulated",
			unknown(flow.ViaNone, flow.OpaqueFilter, "a DestinationRule wraps the connection into an HTTP CONNECT request (tunnel), which is not simulated"))
	}
	var alternatives []flow.Branch
	seen := w.seen
	places := w.nextHops(p, c, conn)
	if len(places) == 0 {
		return end("the connection names no host to go to", blocked(flow.NoEndpoints, failed))
	}
	for _, to := range places {
		w.seen = slices.Clone(seen)
		h := hop
		h.TLS, h.SNI = to.tls, to.sni
		h.Decision = to.text
		h.Because = append(slices.Clone(hop.Because), to.because...)
		n := eachEnd(w.network(p, to.conn), func(t *flow.Trace) {
			if t.Outcome == flow.Blocked && t.HTTPStatus == 0 {
				t.HTTPStatus = failed
			}
			label(p, c, t)
		})
		alternatives = append(alternatives, flow.Branch{Weight: to.weight, Trace: *after([]flow.Hop{h}, n)})
	}
	return united(alternatives)
}

// united makes one answer of those of endpoints that a connection may be led to:
// that of all, or branches.
func united(alternatives []flow.Branch) *flow.Trace {
	branches := byVerdict(alternatives)
	if len(branches) == 1 {
		return &alternatives[0].Trace
	}
	return merge(branches)
}

// eachEnd changes a trace, or where it has branches each of them.
func eachEnd(t *flow.Trace, change func(*flow.Trace)) *flow.Trace {
	if len(t.Branches) == 0 {
		change(t)
		return t
	}
	branches := slices.Clone(t.Branches)
	for i := range branches {
		branches[i].Trace = *eachEnd(&branches[i].Trace, change)
	}
	out := merge(branches)
	out.Hops, out.Assumptions = t.Hops, t.Assumptions
	return out
}

// byVerdict turns endpoints that fare differently into branches, weighted by
// their number in lowest terms.
func byVerdict(alternatives []flow.Branch) []flow.Branch {
	var out []flow.Branch
	for _, a := range alternatives {
		if i := slices.IndexFunc(out, func(b flow.Branch) bool { return sameVerdict(&b.Trace, &a.Trace) }); i >= 0 {
			out[i].Weight += a.Weight
		} else {
			out = append(out, a)
		}
	}
	divisor := 0
	for _, b := range out {
		for rest := b.Weight; rest != 0; {
			divisor, rest = rest, divisor%rest
		}
	}
	for i := range out {
		out[i].Weight /= max(divisor, 1)
	}
	return out
}

// label says by which way a flow left that this proxy sent.
func label(p *proxy, c *cluster, t *flow.Trace) {
	switch {
	case p.alone():
		// What another gateway or waypoint further on says counts.
		if t.Via != flow.ViaGateway && t.Via != flow.ViaWaypoint {
			t.Via = viaOf(p, t.Via)
		}
	case t.Via == flow.ViaGateway || t.Via == flow.ViaWaypoint || t.Outcome != flow.Allowed:
	case c.name == passthroughCluster || c.name == dynamicDNSCluster:
		t.Via = flow.ViaPassthrough
	default:
		t.Via = flow.ViaDirect
	}
}

func (p *proxy) noEndpointsText(c *cluster) string {
	if c.forwards {
		return fmt.Sprintf("%s has no endpoint that is known to take mesh TLS, and nothing else is forwarded unopened", c.service.Object)
	}
	if c.service.Resolution == model.Passthrough && p.role == gatewayRole {
		return fmt.Sprintf("%s has resolution NONE: a gateway cannot go to the address that the application dialled, so it has nowhere to go", c.service.Object)
	}
	return fmt.Sprintf("%s has no endpoint", c.service.Object)
}

// nextHop is one place that a cluster leads to.
type nextHop struct {
	conn connection
	// weight is the number of endpoints that it stands for.
	weight   int
	text     string
	tls, sni string
	because  []flow.Because
}

// maxNextHops bounds the endpoints of a cluster that are looked at.
const maxNextHops = 16

// nextHops returns the places that a cluster leads to; those between which
// nothing can make a difference are one.
func (w *walker) nextHops(p *proxy, c *cluster, conn connection) []nextHop {
	from := w.sender(p)
	conn.sourceIP, conn.fromClient = w.push.PodAddress(from), from == w.client
	switch c.kind {
	case toOriginal:
		to := conn
		if c.overridePort > 0 {
			to.dst = netip.AddrPortFrom(conn.dst.Addr(), uint16(c.overridePort)) //nolint:gosec // a port
		}
		to.name = w.flow.Host
		text := fmt.Sprintf("it goes on to the address that the application dialled, port %d", to.dst.Port())
		return []nextHop{p.originate(c, to, text, nil, from)}
	case toNamed:
		to := conn
		to.name = conn.sni()
		if conn.http && conn.request != nil {
			to.name = conn.request.host()
		}
		if to.name == "" {
			return nil
		}
		port := conn.dst.Port()
		if c.port != nil {
			port = uint16(c.port.Number) //nolint:gosec // a port
		}
		r := w.push.Resolve(p.namespace, to.name, false)
		to.dst, to.standIn = netip.AddrPortFrom(r.Addr, port), r.Service == nil
		return []nextHop{p.originate(c, to, fmt.Sprintf("it goes to %s, as the request names it", to.name), nil, from)}
	}
	type place struct {
		dst  netip.AddrPort
		unix bool
		mesh bool // marked for mesh TLS
	}
	var out []nextHop
	seen := map[place]int{}
	for i := range c.endpoints {
		e := &c.endpoints[i]
		to := conn
		to.name = e.Address
		to.unix, to.standIn = e.IsUnixSocket(), false
		if addr, err := netip.ParseAddr(e.Address); err == nil {
			to.dst = netip.AddrPortFrom(addr.Unmap(), uint16(e.Port)) //nolint:gosec // a port
		} else if !to.unix {
			r := p.push.Resolve(p.namespace, e.Address, false)
			to.dst = netip.AddrPortFrom(r.Addr, uint16(e.Port)) //nolint:gosec // a port
			if r.Service == nil {
				// Outside, whatever the address: a ServiceEntry's listed
				// address is for clients, not for this proxy.
				to.dst = netip.AddrPortFrom(p.push.PublicAddress(e.Address), uint16(e.Port)) //nolint:gosec // a port
				to.standIn = true
				w.openAddress(e.Address) // also of those that are counted as one below
			}
		}
		key := place{to.dst, to.unix, p.marked(c, e)}
		if to.standIn {
			key.dst = netip.AddrPortFrom(netip.Addr{}, to.dst.Port())
		}
		if n := seen[key]; n > 0 {
			out[n-1].weight++
			continue
		}
		if len(out) == maxNextHops {
			continue
		}
		seen[key] = len(out) + 1
		text := fmt.Sprintf("it goes to %s on port %d", e.Address, e.Port)
		if e.Workload != nil {
			text = fmt.Sprintf("it goes to %s on pod port %d, behind %s", e.Workload.ID(), e.Port, c.service.Object)
		}
		if p.tunnels(c, e) {
			out = append(out, p.tunnelled(c, to, text, e, from))
			continue
		}
		out = append(out, p.originate(c, to, text, e, from))
	}
	return out
}

// originate wraps a connection into the TLS that the cluster adds. from is the
// workload whose identity the proxy has: sidecars share their configuration.
func (p *proxy) originate(c *cluster, conn connection, text string, e *model.Endpoint, from *model.Workload) nextHop {
	n := nextHop{conn: conn, text: text, weight: 1}
	settings := c.tls
	if settings == nil && c.autoMTLS && e != nil && p.marked(c, e) {
		settings = &upstreamTLS{mode: networking.ClientTLSSettings_ISTIO_MUTUAL, sni: strings.ReplaceAll(c.name, "|", "_."), sans: p.push.ServiceIdentities(c.service)}
	}
	n.conn.added = flow.UpstreamNone
	if settings == nil {
		n.text += ", without TLS from this proxy"
		return n
	}
	n.because = settings.because
	n.tls, n.sni = settings.mode.String(), settings.sni
	// Only requests have a host to send (istio cluster_tls.go sets auto_sni, which
	// Envoy reads where it forwards HTTP).
	if settings.autoSNI && conn.http && conn.request != nil {
		n.sni = conn.request.host()
	}
	layer := tlsLayer{sni: n.sni, expects: settings.sans, http: conn.http && p.enabled("PILOT_ENABLE_ALPN_FILTER")}
	switch settings.mode {
	case networking.ClientTLSSettings_ISTIO_MUTUAL:
		layer.origin, layer.identity, layer.ofClient = meshTLS, p.push.Identity(from), !p.alone()
		n.text += ", with mesh TLS"
	case networking.ClientTLSSettings_MUTUAL:
		layer.origin, n.conn.added = proxyMutual, flow.UpstreamMutual
		layer.announced = settings.announced && layer.http
		n.text += ", with TLS and a client certificate from this proxy"
	default:
		layer.origin, n.conn.added = proxySimple, flow.UpstreamSimple
		n.text += ", with TLS from this proxy"
	}
	if n.sni != "" {
		n.text += fmt.Sprintf(" (server name %s)", n.sni)
	}
	n.conn = n.conn.wrapped(layer)
	return n
}

// marked reports whether EDS marks an endpoint for mesh TLS: a rule can only
// take the mark away, or keep it against a PeerAuthentication (istio
// pilot/pkg/xds/endpoints/endpoint_builder.go buildEnvoyLbEndpoint).
func (p *proxy) marked(c *cluster, e *model.Endpoint) bool {
	if c.endpointMode != nil {
		return *c.endpointMode == networking.ClientTLSSettings_ISTIO_MUTUAL && p.labelled(e)
	}
	return p.takesMTLS(e)
}

// network decides who is at the address that a connection goes to. p is the
// proxy that sends it, nil for the application itself.
func (w *walker) network(p *proxy, conn connection) *flow.Trace {
	if conn.unix {
		return unknown(viaOf(p, flow.ViaNone), flow.OpaqueFilter, "a unix domain socket leads to a process that the manifests do not describe")
	}
	if wl := w.push.WorkloadAt(conn.dst.Addr()); wl != nil {
		return w.cross(p, wl, conn)
	}
	svc := w.push.ServiceAt(conn.dst.Addr())
	if svc == nil {
		return w.outside(p, conn)
	}
	if t := w.sameNode(p, svc); t != nil {
		return t
	}
	w.openService(svc)
	// Several ports may have one number, for different protocols.
	var port *model.Port
	for i, kp := range svc.Kube.Spec.Spec.Ports {
		if int(kp.Port) == int(conn.dst.Port()) && (kp.Protocol == w.protocol() || kp.Protocol == "" && w.protocol() == corev1.ProtocolTCP) && i < len(svc.Ports) {
			port = svc.Ports[i]
			break
		}
	}
	hop := flow.Hop{At: flow.AtNetwork, Because: []flow.Because{{Object: svc.Object, Field: "spec.ports"}}}
	if port == nil {
		hop.Decision = fmt.Sprintf("%s has no port %d: nothing answers", svc.Object, conn.dst.Port())
		return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
	}
	// WorkloadEntries are Istio's; the cluster's network does not know them, and
	// that there is one does not tell whether there are pods.
	machine := func(e model.Endpoint) bool { return e.Object.Kind == "WorkloadEntry" }
	endpoints := slices.DeleteFunc(w.push.OwnEndpoints(svc, port), machine)
	if len(endpoints) == 0 {
		if len(svc.Selector) > 0 && len(slices.DeleteFunc(w.push.OwnEndpoints(svc, nil), machine)) > 0 {
			hop.Decision = fmt.Sprintf("the cluster's network knows no pod behind port %d of %s", port.Number, svc.Object)
			return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
		}
		if len(svc.Selector) > 0 {
			hop.Decision = fmt.Sprintf("no workload in the input has the labels that %s selects", svc.Object)
			hop.Because[0].Field = "spec.selector"
			return after([]flow.Hop{hop}, unknown(viaOf(p, flow.ViaNone), flow.MissingObject, hop.Decision))
		}
		hop.Decision = fmt.Sprintf("%s has no endpoint", svc.Object)
		return after([]flow.Hop{hop}, blocked(flow.NoEndpoints, 0))
	}
	var alternatives []flow.Branch
	seen := w.seen
	for i := range min(len(endpoints), maxNextHops) {
		e := &endpoints[i]
		w.seen = slices.Clone(seen)
		to := conn
		if addr, err := netip.ParseAddr(e.Address); err == nil {
			to.dst = netip.AddrPortFrom(addr.Unmap(), uint16(e.Port)) //nolint:gosec // a port
		}
		h := hop
		h.Because = []flow.Because{{Object: svc.Object, Field: port.Field}}
		if e.Workload == nil {
			h.Decision = fmt.Sprintf("the cluster's network leads %s port %d to %s port %d", svc.Object, conn.dst.Port(), e.Address, e.Port)
			alternatives = append(alternatives, flow.Branch{Weight: 1, Trace: *after([]flow.Hop{h}, w.outside(p, to))})
			continue
		}
		h.Decision = fmt.Sprintf("the cluster's network leads %s port %d to %s, pod port %d", svc.Object, conn.dst.Port(), e.Workload.ID(), e.Port)
		alternatives = append(alternatives, flow.Branch{Weight: 1, Trace: *after([]flow.Hop{h}, w.cross(p, e.Workload, to))})
	}
	return united(alternatives)
}

// outside ends a flow at an address that is nobody's in the mesh.
func (w *walker) outside(p *proxy, conn connection) *flow.Trace {
	w.openAddress(conn.name)
	if t := w.externalIP(p, conn.dst.Addr()); t != nil {
		return t
	}
	if t := w.leaveCluster(p, conn); t != nil {
		return t
	}
	hop := flow.Hop{At: flow.AtNetwork, Decision: fmt.Sprintf("it leaves the cluster for port %d", conn.dst.Port())}
	if conn.name != "" && !isAddress(conn.name) {
		hop.Decision = fmt.Sprintf("it leaves the cluster for %s port %d", conn.name, conn.dst.Port())
	}
	stop := func(decision string, reason flow.Reason) *flow.Trace {
		hop.Decision += ", but " + decision
		t := blocked(reason, 0)
		t.Via = viaOf(p, t.Via)
		return after([]flow.Hop{hop}, t)
	}
	switch {
	case conn.carries(meshTLS):
		return stop("wrapped in mesh TLS, which no server outside understands", flow.TLSMismatch)
	case len(conn.layers) > 1:
		return stop("as TLS within TLS: the proxy adds its own to that of the application, and the server outside expects one", flow.DoubleTLS)
	}
	t := &flow.Trace{Outcome: flow.Allowed, Via: flow.ViaDirect, Reason: flow.OK, UpstreamTLS: conn.added}
	return after([]flow.Hop{hop}, t)
}

// arrive hands a connection to a workload of the cluster.
func (w *walker) arrive(to *model.Workload, conn connection) *flow.Trace {
	c := w.sim.capture(to)
	if proxied := c.Mode == capture.Router || c.Mode == capture.Sidecar; proxied && w.flow.Scheme == flow.UDP {
		hop := flow.Hop{At: flow.AtNetwork, Proxy: to.ID(), Because: []flow.Because{{Object: to.Object}}}
		if u := w.sim.push(w.sim.mesh.ConfigFor(to)).Config.Switch("PILOT_ENABLE_QUIC_LISTENERS"); u != nil && c.Mode == capture.Router {
			return unsimulated(u.Unmodelled(fmt.Sprintf("gateway %s may take UDP, and what it does with QUIC is not simulated", to.ID())), flow.AtNetwork, to.ID(), flow.ViaGateway)
		}
		if c.Mode == capture.Router {
			hop.Decision = fmt.Sprintf("gateway %s takes no UDP", to.ID())
			t := blocked(flow.NoListener, 0)
			t.Via = flow.ViaGateway
			return after([]flow.Hop{hop}, t)
		}
		hop.Decision = fmt.Sprintf("it reaches %s; its sidecar takes no UDP", to.ID())
		return after([]flow.Hop{hop}, accepted(to, conn))
	}
	switch c.Mode {
	case capture.Router:
		return w.gatewayInbound(to, conn)
	case capture.Sidecar:
		return w.inbound(to, conn)
	case capture.Waypoint:
		return w.waypointInbound(to, conn)
	case capture.Ambient:
		return w.ztunnelInbound(to, conn)
	case capture.Undecided:
		detail := fmt.Sprintf("whether a proxy receives for %s is not known: %s", to.ID(), c.Why)
		return after([]flow.Hop{{At: flow.AtNetwork, Proxy: to.ID(), Decision: detail, Because: c.Because}}, unknown(flow.ViaNone, flow.Capture, detail))
	}
	hop := flow.Hop{At: flow.AtNetwork, Proxy: to.ID(), Because: []flow.Because{{Object: to.Object}},
		Decision: fmt.Sprintf("it reaches %s, which has no proxy", to.ID())}
	return after([]flow.Hop{hop}, accepted(to, conn))
}

func inMesh() *flow.Trace {
	return &flow.Trace{Outcome: flow.Allowed, Via: flow.ViaDirect, Reason: flow.InMesh, UpstreamTLS: flow.UpstreamNone}
}
