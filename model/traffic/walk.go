package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
)

// walker follows one flow from proxy to proxy.
type walker struct {
	sim    *Simulation
	flow   flow.Flow
	client *model.Workload
	push   *model.PushContext
	// seen are the places the flow has been at, to notice loops.
	seen []string
	// forwards counts the clusters that the flow was sent to, on all ways.
	forwards int
	// dialled is the address of the first connection, asked the host of its
	// request; shared is a gateway passed whose view of the mesh is chance.
	dialled netip.Addr
	asked   string
	shared  *model.Workload
	// picked are the services any of which istiod may take for a host that the
	// flow was sent to.
	picked []*model.Service
	// contested is what istiod chose between on the way, nil if nothing.
	contested *contest
	// v6: what the client dials is an address of IPv6, so its pod and those of
	// gateways are taken to have such addresses, too.
	v6 bool
	// open are the objects with placeholders that may have a say on the way.
	open opened
	// questions are those about the client, noted if examined.
	examined  bool
	questions []Question
}

// unknown answers that the outcome is not known.
//
//go:noinline
func unknown(via flow.Via, reason flow.Reason, detail string) *flow.Trace {
	return &flow.Trace{Outcome: flow.Unknown, Via: via, Reason: reason, Detail: detail, UpstreamTLS: flow.UpstreamNone}
}

// blocked answers that the flow ends here; status is what an HTTP client sees,
// 0 for a reset.
//
//go:noinline
func blocked(reason flow.Reason, status int) *flow.Trace {
	return &flow.Trace{Outcome: flow.Blocked, Via: flow.ViaNone, Reason: reason, UpstreamTLS: flow.UpstreamNone, HTTPStatus: status}
}

// after puts hops in front of what follows. A walk builds its traces from their ends:
// until it is over their hops stand in the opposite order, see inOrder.
func after(hops []flow.Hop, t *flow.Trace) *flow.Trace {
	if t.Hops == nil {
		t.Hops = make([]flow.Hop, 0, usualHops)
	}
	for _, h := range slices.Backward(hops) {
		t.Hops = append(t.Hops, h)
	}
	return t
}

// usualHops is what most traces do with: most of what a walk allocates are hops.
const usualHops = 6

// inOrder puts the hops of a finished walk in their order.
func inOrder(t *flow.Trace) *flow.Trace {
	slices.Reverse(t.Hops)
	for i := range t.Branches {
		inOrder(&t.Branches[i].Trace)
	}
	return t
}

// start checks the question and sends the flow off.
func (w *walker) start() *flow.Trace {
	f := &w.flow
	if detail := badFlow(f); detail != "" {
		return unknown(flow.ViaNone, flow.BadFlow, detail)
	}
	client, detail := w.sim.find(f.From)
	if client == nil {
		return unknown(flow.ViaNone, flow.NoSuchWorkload, detail)
	}
	w.client = client
	w.push = w.sim.push(w.sim.mesh.ConfigFor(client))
	c := w.sim.capture(client)

	conn, dialled, detail := w.dial(c)
	if detail != "" {
		return unknown(flow.ViaNone, flow.BadFlow, detail)
	}
	if u := clusterSet(w.push.Config, f.Host); u != nil && f.ConnectTo == "" && c.Mode != capture.None && !f.Bypass {
		return unsimulated(u, flow.AtNetwork, client.ID(), flow.ViaNone)
	}
	w.openDial()
	if why, because := w.openAlias(); why != "" {
		return after([]flow.Hop{{At: flow.AtNetwork, Proxy: client.ID(), Decision: why, Because: []flow.Because{because}}}, unknown(flow.ViaNone, flow.Template, why))
	}
	if why := w.unseenService(); why != "" {
		return after([]flow.Hop{{At: flow.AtNetwork, Proxy: client.ID(), Decision: why}}, unknown(flow.ViaNone, flow.MissingObject, why))
	}
	w.dialled, w.v6 = conn.dst.Addr(), conn.dst.Addr().Is6()
	if conn.request != nil {
		w.asked = conn.request.authority
	}
	t := after(dialled, w.leave(c, conn))
	if c.Assumption != "" && !f.Bypass {
		t.Assumptions = append(t.Assumptions, c.Assumption)
	}
	if c.Mode != capture.None && !f.Bypass {
		t.Assumptions = append(t.Assumptions, w.push.Config.Assumptions...)
	}
	if conn.dst.Addr().Is6() && c.Mode == capture.Sidecar && c.IPv4Only == nil && !f.Bypass {
		t.Assumptions = append(t.Assumptions, "the pod's address is taken as IPv6, so that the redirect to its sidecar covers IPv6")
	}
	if f.Scheme != flow.HTTP {
		clearStatus(t) // the client's TLS hides it
	}
	return w.unfilled(t)
}

// unseenService says that a host is the name of a Service of the cluster of which
// the input shows nothing: its namespace is not part of the input, or it is the
// API server's, which every cluster has. "" where that is not so.
func (w *walker) unseenService() string {
	f := &w.flow
	if _, own := hostAlias(w.client, f.Host); f.DstIP != "" || f.ConnectTo != "" || own != nil {
		return ""
	}
	name, isService := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(strings.TrimSuffix(f.Host, ".")), "."+model.DomainSuffix), ".svc")
	i := strings.LastIndexByte(name, '.')
	if !isService || i < 0 {
		return ""
	}
	service, namespace := name[:i], name[i+1:]
	api := service == "kubernetes" && namespace == "default"
	if w.push.KubeServiceIn(service, namespace) != nil || len(w.push.Registered(model.ServiceHost(service, namespace))) > 0 ||
		!api && w.sim.mesh.HoldsWorkloadsOf(namespace) {
		return ""
	}
	if api {
		return "Service default/kubernetes is the API server's, and the input does not show it"
	}
	return fmt.Sprintf("%s is a Service of namespace %s, of which the input holds no workload and no Service", f.Host, namespace)
}

func clearStatus(t *flow.Trace) {
	t.HTTPStatus = 0
	for i := range t.Branches {
		clearStatus(&t.Branches[i].Trace)
	}
}

func badFlow(f *flow.Flow) string {
	switch f.Scheme {
	case flow.HTTP, flow.HTTPS, flow.TLS, flow.TCP, flow.UDP:
	default:
		return fmt.Sprintf("scheme %q is none of http, https, tls, tcp, udp", f.Scheme)
	}
	switch {
	case f.Host == "" && f.ConnectTo == "":
		return "host is missing"
	case f.Port < 1 || f.Port > 65535:
		return fmt.Sprintf("port %d is not between 1 and 65535", f.Port)
	case f.Path != "" && !strings.HasPrefix(f.Path, "/") && f.Path != "*":
		return fmt.Sprintf("path %q does not begin with a slash", f.Path)
	}
	if f.DstIP != "" {
		if _, err := netip.ParseAddr(f.DstIP); err != nil {
			return fmt.Sprintf("dst_ip %q is not an IP address", f.DstIP)
		}
	}
	return ""
}

// dial builds the connection that the application opens, and says where to.
func (w *walker) dial(c *capture.Capture) (connection, []flow.Hop, string) {
	f := &w.flow
	conn := connection{source: w.client.ID(), sourceIP: w.push.PodAddress(w.client), fromClient: true, added: flow.UpstreamNone}
	dst, standIn, hops, detail := w.destination(c)
	if detail != "" {
		return conn, nil, detail
	}
	conn.dst, conn.standIn = dst, standIn
	switch f.Scheme {
	case flow.HTTP:
		conn.request = w.request()
	case flow.HTTPS, flow.TLS:
		sni := f.SNI
		if sni == "" && !isAddress(f.Host) {
			sni = strings.TrimSuffix(f.Host, ".")
		}
		conn.layers = []tlsLayer{{origin: applicationTLS, sni: sni}}
	}
	return conn, hops, ""
}

// request builds the HTTP request of a plaintext flow.
func (w *walker) request() *request {
	f := &w.flow
	r := &request{method: f.Method, path: f.Path, authority: ipv6(f.Host), headers: map[string]string{}}
	if r.method == "" {
		r.method = "GET"
	}
	if r.path == "" {
		r.path = "/"
	}
	if f.Port != 80 {
		r.authority += ":" + strconv.Itoa(f.Port)
	}
	for name, value := range f.Headers {
		if name = strings.ToLower(name); name == "host" || name == ":authority" {
			r.authority = value
		} else {
			r.headers[name] = value
		}
	}
	return r
}

// destination resolves the address that the client dials; standIn says that it
// only stands for whatever the name resolves to.
func (w *walker) destination(c *capture.Capture) (dst netip.AddrPort, standIn bool, hops []flow.Hop, bad string) {
	f := &w.flow
	port := uint16(f.Port) //nolint:gosec // checked by badFlow
	if f.ConnectTo != "" {
		name, number, _ := strings.Cut(f.ConnectTo, ":")
		ns, svc, ok := strings.Cut(name, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil {
			return dst, false, nil, fmt.Sprintf("connect_to %q is not of the form namespace/service:port", f.ConnectTo)
		}
		service := w.push.KubeServiceIn(svc, ns)
		if service == nil {
			return dst, false, nil, fmt.Sprintf("connect_to: no Service %s/%s in the input", ns, svc)
		}
		r := w.push.Resolve(ns, string(service.Hostname), false)
		return netip.AddrPortFrom(r.Addr, uint16(n)), false, []flow.Hop{{At: flow.AtNetwork,
			Decision: fmt.Sprintf("the client connects straight to Service %s/%s on port %d", ns, svc, n),
			Because:  []flow.Because{{Object: service.Object, Field: "spec.ports"}}}}, ""
	}
	if f.DstIP != "" {
		return netip.AddrPortFrom(netip.MustParseAddr(f.DstIP).Unmap(), port), false, nil, ""
	}
	if address, hop := hostAlias(w.client, f.Host); hop != nil {
		return netip.AddrPortFrom(address, port), false, []flow.Hop{*hop}, ""
	}
	r := w.another(w.push.Resolve(w.client.Namespace, f.Host, false))
	switch {
	case !c.DNSCapture || f.Scheme == flow.UDP:
		// Automatic addresses lead somewhere by TCP alone; by UDP the host's own
		// address counts, wherever the client has it from.
	case c.Mode == capture.Sidecar:
		r = w.lookedUp(r)
	case c.Mode == capture.Ambient && !f.Bypass:
		r = w.push.AmbientResolve(w.client.Namespace, f.Host)
	}
	switch {
	case r.Service != nil:
		hops = append(hops, flow.Hop{At: flow.AtNetwork,
			Decision: fmt.Sprintf("%s is %s of the cluster; the client dials its address", f.Host, r.Service.Object),
			Because:  []flow.Because{{Object: r.Service.Object}}})
	case r.Listed != nil:
		because := flow.Because{Object: r.Listed.Object, Field: r.Listed.AddressField}
		decision := fmt.Sprintf("the client is assumed to find the address %s that %s lists for %s", r.Addr, r.Listed.Object, f.Host)
		if r.Listed.AddressField == "" {
			because.Field = r.Listed.HostField
			decision = fmt.Sprintf("the client's proxy answers the lookup of %s with the automatic address of %s", f.Host, r.Listed.Object)
		}
		hops = append(hops, flow.Hop{At: flow.AtNetwork, Decision: decision, Because: []flow.Because{because}})
	}
	standIn = r.Service == nil && r.Listed == nil && !isAddress(f.Host)
	return netip.AddrPortFrom(r.Addr, port), standIn, hops, ""
}

// another is what a name of the cluster resolves to, be it another pod than the client's
// where it leads to several: a connection to the pod's own address goes around its proxy.
func (w *walker) another(r model.Resolved) model.Resolved {
	if r.Pod == nil || r.Pod != w.client {
		return r
	}
	for _, e := range w.push.Endpoints(r.Service, nil) {
		if addr, err := netip.ParseAddr(e.Address); err == nil && e.Workload != w.client {
			r.Addr, r.Pod = addr, e.Workload
			break
		}
	}
	return r
}

// leave decides whether the client's proxy sees the connection.
func (w *walker) leave(c *capture.Capture, conn connection) *flow.Trace {
	hop := flow.Hop{At: flow.AtNetwork, Proxy: w.client.ID()}
	uncaptured := func(reason flow.Reason, why string, because []flow.Because) *flow.Trace {
		hop.Decision, hop.Because = why+": the connection goes out as the application makes it", because
		return after([]flow.Hop{hop}, eachEnd(w.network(nil, conn), func(t *flow.Trace) {
			if t.Outcome == flow.Allowed && t.Via != flow.ViaGateway && t.Via != flow.ViaWaypoint {
				t.Via, t.Reason, t.UpstreamTLS = flow.ViaUncaptured, reason, ""
			}
		}))
	}
	name := w.client.Kind + " " + w.client.ID()
	if c.Mode == capture.Ambient || conn.dst.Addr().Is6() {
		w.askWho()
	}
	switch {
	case c.Mode == capture.Undecided:
		hop.Decision, hop.Because = fmt.Sprintf("whether a proxy sees what %s sends is not known: %s", name, c.Why), c.Because
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.Capture, hop.Decision))
	case c.Mode == capture.Router || c.Mode == capture.Waypoint:
		hop.Decision, hop.Because = fmt.Sprintf("%s is a gateway; what its own processes send is not simulated", name), c.Because
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.SourceIsGateway, hop.Decision))
	case c.Mode == capture.Ambient:
		switch {
		case w.flow.Bypass:
			return uncaptured(flow.NotCaptured, "the process goes around ztunnel", nil)
		case w.flow.Scheme == flow.UDP:
			return uncaptured(flow.NotCaptured, "ztunnel takes no UDP", nil)
		case conn.dst.Addr() == conn.sourceIP:
			return uncaptured(flow.NotCaptured, "connections to the pod's own address do not leave it", nil)
		case conn.dst.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || conn.dst.Addr() == netip.IPv6Loopback():
			return uncaptured(flow.NotCaptured, "connections to the pod's own loopback are not redirected to ztunnel", nil)
		}
		if t := w.opaqueMesh(); t != nil {
			return t
		}
		return w.ztunnel(c, conn)
	case c.Mode == capture.None:
		return uncaptured(flow.NoProxy, fmt.Sprintf("%s has no sidecar (%s)", name, c.Why), c.Because)
	case w.flow.Bypass:
		return uncaptured(flow.NotCaptured, "the process goes around its sidecar", nil)
	case w.flow.Scheme == flow.UDP:
		return uncaptured(flow.NotCaptured, "sidecars take no UDP", nil)
	case conn.dst.Addr() == conn.sourceIP:
		return uncaptured(flow.NotCaptured, "connections to the pod's own address are not redirected", nil)
	}
	w.ask(Question{kind: captureAsked, dst: conn.dst})
	v := c.Outbound(conn.dst)
	if !v.Captured {
		seen := w.seen
		t := uncaptured(flow.NotCaptured, fmt.Sprintf("the sidecar of %s does not see it: %s", name, v.Why), v.Because)
		others := c.Others(conn.dst)
		if !v.Some || !others.Captured || t.Outcome == flow.Allowed {
			return t
		}
		// What stops some containers does not stop the others.
		w.seen = seen
		if o := w.captured(c, conn, others, hop); o.Outcome != flow.Blocked || t.Outcome == flow.Blocked {
			o.Assumptions = append(o.Assumptions, "a container sends it that the sidecar captures: "+v.Why)
			return o
		}
		return t
	}
	return w.captured(c, conn, v, hop)
}

// captured follows a connection that the client's sidecar takes.
func (w *walker) captured(c *capture.Capture, conn connection, v capture.Verdict, hop flow.Hop) *flow.Trace {
	if s := c.IPv4Only; s != nil && conn.dst.Addr().Is6() {
		hop.Decision = fmt.Sprintf("%s shows a cluster of both families, and without ISTIO_DUAL_STACK the redirect to a sidecar covers that of the pod's first address only, which is not in the manifests", s.Object)
		hop.Because = []flow.Because{{Object: s.Object, Field: "spec"}}
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.Capture, hop.Decision))
	}
	if t := w.opaqueMesh(); t != nil {
		return t
	}
	hop.At = flow.AtSidecar
	hop.Decision = takes(w.client, c.Why)
	hop.Because = append(slices.Clone(c.Because), v.Because...)
	return after([]flow.Hop{hop}, w.outbound(w.sim.sidecarFor(w.client, w.v6, &conn), conn))
}

// chosen finds the listener and the chain of a sidecar that take a connection, with the
// hop that says so, or how it ends there. l is nil for the catch-all.
func (w *walker) chosen(p *proxy, conn *connection) (hop flow.Hop, l *listener, ch *chain, end *flow.Trace) {
	hop = flow.Hop{At: flow.AtSidecar, Proxy: w.client.ID()}
	l = p.listener(conn.dst)
	if l == nil || l.bind == p.wildcard {
		// The proxy's own listeners come before any other on their ports (istio
		// pilot/pkg/networking/core/listener_builder.go buildVirtualOutboundListener,
		// buildVirtualInboundListener).
		switch port := conn.dst.Port(); port {
		case uint16(p.push.Config.GetProxyListenPort()), uint16(p.push.Config.GetProxyInboundListenPort()): //nolint:gosec // ports, by istiod's validation
			hop.Decision = fmt.Sprintf("port %d is one of the sidecar's own: it closes the connection", port)
			hop.Because = p.configBecause("proxyListenPort", "proxyInboundListenPort")
			return hop, l, nil, blocked(flow.Blackhole, 0)
		case 15021, 15090:
			hop.Decision = fmt.Sprintf("port %d is one of the sidecar's own, which answers itself (health, metrics)", port)
			return hop, l, nil, unknown(flow.ViaNone, flow.OpaqueFilter, hop.Decision)
		}
	}
	switch {
	case l == nil:
		ch = p.catchAll()
		hop.Listener, hop.FilterChain = "virtualOutbound", ch.name
		hop.Decision = fmt.Sprintf("no service that the sidecar knows has port %d, so %s decides", conn.dst.Port(), ch.what)
		hop.Because = ch.because
		if p.dynamicDNS() && conn.plaintextHTTP() {
			ch = &chain{name: "fallthrough", table: dynamicDNSTable, what: ch.what, because: ch.because}
		}
	case l.refused != "":
		hop.Listener = l.name()
		hop.Decision = fmt.Sprintf("the sidecar's listener for port %d would be refused by Envoy: %s", l.port, l.refused)
		hop.Because = chainsBecause(l)
		return hop, l, nil, unknown(flow.ViaNone, flow.ListenerRejected, hop.Decision)
	default:
		ch = l.find(conn)
		hop.Listener, hop.FilterChain, hop.SNI = l.name(), ch.name, conn.sni()
		hop.Because = ch.because
		if ch.name == "fallthrough" {
			hop.Decision = fmt.Sprintf("%s matches no service that the sidecar knows on port %d, so %s decides", connectionText(conn), conn.dst.Port(), ch.what)
		} else {
			hop.Decision = fmt.Sprintf("%s on port %d: %s", connectionText(conn), conn.dst.Port(), ch.what)
		}
	}
	return hop, l, ch, nil
}

// outbound decides what a sidecar does with a connection.
func (w *walker) outbound(p *proxy, conn connection) *flow.Trace {
	hop, l, ch, end := w.chosen(p, &conn)
	w.openSidecar(p, l, ch, &conn)
	if end != nil {
		return after([]flow.Hop{hop}, end)
	}
	if t := p.filtered(l, ch, &conn); t != nil {
		return after([]flow.Hop{hop}, t)
	}
	if ch.opaque != "" {
		return after([]flow.Hop{hop}, unknown(flow.ViaNone, flow.OpaqueFilter, ch.opaque))
	}
	if ch.http() {
		return after([]flow.Hop{hop}, w.http(p, ch, conn, nil))
	}
	if ch.policies != nil {
		// The one place where policies on the client filter what it sends
		// (istio pilot/pkg/networking/core/networkfilter.go
		// buildCompleteNetworkFilters).
		who := &subject{connection: &conn, sni: conn.sni(), port: int(conn.dst.Port()), service: ch.policies}
		if t := w.authorize(p, ch, who, true); t != nil && t.Outcome != flow.Allowed {
			return after([]flow.Hop{hop}, t)
		}
	}
	return after([]flow.Hop{hop}, w.tcp(p, ch, conn))
}

func chainsBecause(l *listener) []flow.Because {
	if l.because == nil {
		for _, c := range l.chains {
			l.because = append(l.because, c.because...)
		}
		l.because = slices.Clip(l.because)
	}
	return l.because
}

// connectionText describes a connection in a few words.
func connectionText(c *connection) string {
	switch l := c.outer(); {
	case l != nil && l.sni != "":
		return fmt.Sprintf("TLS with server name %s", l.sni)
	case l != nil:
		return "TLS without server name"
	case c.request != nil:
		return fmt.Sprintf("a plaintext request for %s", c.request.authority)
	default:
		return "an opaque TCP connection"
	}
}

// tcp forwards a connection unopened.
func (w *walker) tcp(p *proxy, ch *chain, conn connection) *flow.Trace {
	return w.targets(p, ch.targets, conn, false)
}

func place(p *proxy) flow.Place {
	switch p.role {
	case gatewayRole:
		return flow.AtGateway
	case waypointRole:
		return flow.AtWaypoint
	default:
		return flow.AtSidecar
	}
}

// viaOf is how far a flow got that a proxy stops.
func viaOf(p *proxy, via flow.Via) flow.Via {
	switch {
	case p == nil || p.role == sidecarRole:
		return via
	case p.role == waypointRole:
		return flow.ViaWaypoint
	default:
		return flow.ViaGateway
	}
}

// proxyName names the proxy of a hop: the client's own workload for sidecars,
// which share configuration.
func (w *walker) proxyName(p *proxy) string {
	if p.alone() {
		return p.workload.ID()
	}
	return w.client.ID()
}

// targets forwards to one of several clusters; where they differ, the outcome
// has branches.
func (w *walker) targets(p *proxy, targets []target, conn connection, http bool) *flow.Trace {
	if len(targets) == 1 {
		return w.forward(p, targets[0], conn, http)
	}
	branches := make([]flow.Branch, 0, len(targets))
	for _, t := range targets {
		c := conn
		if c.request != nil {
			c.request = conn.request.edited(t.authority, t.headers)
		}
		seen := slices.Clone(w.seen)
		branches = append(branches, flow.Branch{Weight: t.weight, Trace: *w.forward(p, t, c, http)})
		w.seen = seen
	}
	return merge(branches)
}

// merge unites weighted alternatives into one answer.
func merge(branches []flow.Branch) *flow.Trace {
	if len(branches) == 0 {
		return blocked(flow.NoCluster, 503)
	}
	first := branches[0].Trace
	t := &flow.Trace{
		Outcome: first.Outcome, Via: first.Via, Reason: first.Reason, Policy: first.Policy, Rule: first.Rule,
		UpstreamTLS: first.UpstreamTLS, HTTPStatus: first.HTTPStatus, Detail: first.Detail, Branches: branches,
	}
	for _, b := range branches[1:] {
		if b.Outcome != t.Outcome {
			t.Outcome = flow.Mixed
		}
		if b.Via != t.Via {
			t.Via = flow.ViaMixed
		}
		if b.Reason != t.Reason {
			t.Reason = flow.BranchesDiffer
		}
		if b.Policy != t.Policy {
			t.Policy, t.Rule = "", nil
		}
		if b.UpstreamTLS != t.UpstreamTLS {
			t.UpstreamTLS = ""
		}
		if b.HTTPStatus != t.HTTPStatus {
			t.HTTPStatus = 0
		}
		if t.Detail == "" {
			t.Detail = b.Detail
		}
	}
	if t.Outcome == flow.Mixed || t.Via == flow.ViaMixed {
		t.Reason = flow.BranchesDiffer
	}
	return t
}
