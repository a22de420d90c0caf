package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"istio.io/istio/pkg/config/host"
	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/netpol"
)

// Objects with placeholders ([model.Unfilled]) may change what the proxies on the way of
// a flow do. Nobody can try all that may stand there; so a walk notes those that may
// have a say where it comes by, and an answer that may depend on one is unknown.

// opened are the objects with placeholders that a walk came by.
type opened struct {
	list []*model.Unfilled
	// further: not only what the client's own sidecar does depends on them.
	further bool
	// apart: a placeholder is taken not to stand for a host that others register.
	apart *model.Unfilled
}

// depend notes an object.
func (w *walker) depend(u *model.Unfilled, first bool) {
	w.open.further = w.open.further || !first
	if !slices.Contains(w.open.list, u) {
		w.open.list = append(w.open.list, u)
	}
}

// Open is the same for clients whose sidecars the same objects with placeholders may
// concern, "" for none.
func (s *Simulation) Open(w *model.Workload) string {
	if len(s.mesh.Unfilled()) == 0 {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, _ := s.openTo(w)
	return key
}

// openTo is Open without the lock; plain is false where what they may concern is a
// matter of the names that a client's Sidecar imports.
func (s *Simulation) openTo(w *model.Workload) (key string, plain bool) {
	list := s.mesh.Unfilled()
	if len(list) == 0 || s.capture(w).Mode != capture.Sidecar {
		return "", true
	}
	push := s.push(s.mesh.ConfigFor(w))
	scope := s.scope(push, w)
	plain = true
	var b []byte
	for i, u := range list {
		may, certain := push.UnfilledConcerns(u, w, scope)
		if plain = plain && certain; may {
			b = strconv.AppendInt(append(b, ' '), int64(i), 10)
		}
	}
	return string(b), plain
}

// openNames are the names by which a connection may be known to routes.
func (w *walker) openNames(conn *connection) []string {
	out := []string{w.flow.Host}
	for _, l := range conn.layers {
		out = append(out, l.sni)
		// Gateways that pass everything on read the service from the server name.
		if parts, forwards := clusterParts(l.sni); forwards && len(parts) == 4 {
			out = append(out, parts[3])
		}
	}
	if conn.request != nil {
		out = append(out, conn.request.authority)
	}
	return w.known(out...)
}

// known are the names, in lower case, by which hosts of some names may be known: what a
// client's resolver may make of them, and the hosts for which these are aliases.
func (w *walker) known(names ...string) []string {
	var out []string
	add := func(name string) {
		name = strings.ToLower(strings.TrimSuffix(strings.Trim(stripPort(name), "[]"), "."))
		if name != "" && !contains(out, name) {
			out = append(out, name)
		}
	}
	for _, name := range names {
		add(name)
	}
	for _, name := range slices.Clone(out) {
		if _, err := netip.ParseAddr(name); err == nil {
			continue
		}
		add(name + "." + model.DomainSuffix)
		add(name + ".svc." + model.DomainSuffix)
		if !strings.Contains(name, ".") {
			add(name + "." + w.client.Namespace + ".svc." + model.DomainSuffix)
		}
	}
	for i := 0; i < len(out) && i < mostOpen; i++ { // an alias may be one of another
		for _, svc := range w.push.Registered(hostName(out[i])) {
			if svc.Kubernetes() {
				add(svc.Kube.Spec.Spec.ExternalName)
			}
		}
	}
	return out
}

// openDial notes what may change where the name that a client asks for leads.
func (w *walker) openDial() {
	if len(w.sim.mesh.Unfilled()) == 0 || w.flow.DstIP != "" || w.flow.ConnectTo != "" {
		return
	}
	w.openAddress(w.flow.Host)
}

// openAddress notes what may change where a name leads for those who look it up.
func (w *walker) openAddress(name string) {
	list := w.sim.mesh.Unfilled()
	if len(list) == 0 || name == "" {
		return
	}
	names := w.known(name)
	for _, u := range list {
		if (u.Kind == "Service" || u.Kind == "Gateway" && u.Group() != "networking.istio.io") && slices.ContainsFunc(names, u.About) {
			w.depend(u, false)
		}
	}
}

// openService notes what may change where the cluster's network leads what is sent to
// the address of a Service.
func (w *walker) openService(svc *model.Service) {
	for _, u := range w.sim.mesh.Unfilled() {
		if u.Kind == "Service" && u.About(strings.ToLower(string(svc.Hostname))) {
			w.depend(u, false)
		}
	}
}

// openSidecar notes what may change what the client's sidecar does with a connection
// that it takes.
func (w *walker) openSidecar(p *proxy, l *listener, ch *chain, conn *connection) {
	list := w.sim.mesh.Unfilled()
	if len(list) == 0 {
		return
	}
	scope := w.sim.scope(p.push, w.client)
	c := &model.UnfilledConnection{Names: w.openNames(conn), Dst: conn.dst.Addr(), Port: int(conn.dst.Port()),
		HTTP: conn.plaintextHTTP(), TLS: conn.sni() != "", Automatic: w.sim.capture(w.client).AutoAddresses}
	asked := len(c.Names)
	if ch != nil && !ch.http() {
		for _, t := range ch.targets {
			if h := clusterHost(t.cluster); h != "" {
				c.Names, c.Opaque = append(c.Names, h), !c.HTTP && !c.TLS
				if h[0] == '*' {
					c.Wild = append(c.Wild, h)
				}
			}
		}
	}
	switch {
	case c.HTTP && l != nil:
		c.Unheard = ch != nil && !ch.http()
	case c.HTTP:
		c.Unheard = slices.ContainsFunc(scope.Listeners, func(e *model.EgressListener) bool {
			return slices.ContainsFunc(c.Names, func(n string) bool { return len(e.Routes.Overlapping(hostName(n))) > 0 })
		})
	}
	_, err := netip.ParseAddr(c.Names[0])
	c.Numeric = err == nil && len(c.Names) == 1
	for i, n := range c.Names {
		// By another address a server name comes to an entry for a wildcard.
		if svc := scope.Service(hostName(n)); svc != nil && svc.PortByNumber(c.Port) != nil && (c.HTTP || i >= asked || svc.Reachable(c.Dst)) {
			// What the resolver may append makes no other name of it.
			c.Registered = append(c.Registered, n, n+"."+model.DomainSuffix, n+".svc."+model.DomainSuffix)
		}
	}
	for _, u := range list {
		switch {
		case p.push.UnfilledSees(u, w.client, scope, c):
			w.depend(u, true)
		case len(c.Registered) > 0 && u.Kind == "ServiceEntry" && u.Any() && w.open.apart == nil:
			w.open.apart = u
		}
	}
}

// clusterHost is the host of a cluster's name, "" for clusters without.
func clusterHost(name string) string {
	i := strings.LastIndexByte(name, '|')
	if i < 0 {
		return ""
	}
	return strings.ToLower(name[i+1:])
}

// openForward notes what may change where a proxy goes for a host, and how.
func (w *walker) openForward(p *proxy, c *cluster) {
	list := w.sim.mesh.Unfilled()
	if len(list) == 0 {
		return
	}
	if h := clusterHost(c.name); h != "" && !c.looked {
		c.looked = true
		for _, u := range list {
			if p.push.UnfilledMoves(u, w.sender(p), h, c.service) {
				c.open = append(c.open, u)
			}
		}
	}
	for _, u := range c.open {
		w.depend(u, !p.alone())
	}
}

// openEntrance notes what may change what a gateway or waypoint does with a connection.
func (w *walker) openEntrance(p *proxy, conn *connection) {
	list := w.sim.mesh.Unfilled()
	if len(list) == 0 {
		return
	}
	c := &model.UnfilledConnection{Names: w.openNames(conn), Dst: conn.dst.Addr(), Port: int(conn.dst.Port())}
	port := c.Port
	c.Unheard = p.listeners[bindPort{conn.dst.Addr().String(), port}] == nil && p.listeners[bindPort{p.wildcard, port}] == nil
	for _, u := range list {
		if p.push.UnfilledEnters(u, p.workload, c) || p.push.UnfilledVerifies(u, p.workload) && mayCarryToken(conn.request) {
			w.depend(u, false)
		}
	}
}

// openInbound notes what may change what the proxy of a destination takes.
func (w *walker) openInbound(to *model.Workload, conn *connection) {
	for _, u := range w.sim.mesh.Unfilled() {
		if w.push.UnfilledReceives(u, to) || w.push.UnfilledVerifies(u, to) && mayCarryToken(conn.request) {
			w.depend(u, false)
		}
	}
}

// mayCarryToken reports whether a request has anything in which rules of their own
// choosing may look for a token.
func mayCarryToken(r *request) bool {
	return r != nil && (len(r.headers) > 0 || strings.Contains(r.path, "?"))
}

// openZtunnel notes what may change what the client's ztunnel does: it looks services
// up by address, and sends to the waypoints of some.
func (w *walker) openZtunnel(conn *connection) {
	list := w.sim.mesh.Unfilled()
	if len(list) == 0 {
		return
	}
	names := w.openNames(conn)
	for _, u := range list {
		switch u.Kind {
		case "ServiceEntry", "WorkloadEntry":
			if u.Kind == "WorkloadEntry" || slices.ContainsFunc(names, u.About) || u.Addressed() {
				w.depend(u, false)
			}
		case "Gateway":
			if u.Waypoint() {
				w.depend(u, false)
			}
		}
	}
}

// settled reports whether the answer of a walk is the same whatever the placeholders
// that it came by stand for.
func (w *walker) settled(t *flow.Trace) bool {
	if t.Outcome == flow.Unknown {
		return true // for a reason of its own
	}
	if w.open.further {
		return false
	}
	if t.Outcome == flow.Blocked && w.sealed() {
		return true
	}
	// What leads to the host itself ends as the network decides.
	if w.flow.Bypass || w.flow.ConnectTo != "" || w.flow.DstIP != "" || isAddress(w.flow.Host) ||
		slices.ContainsFunc(w.open.list, func(u *model.Unfilled) bool { return !u.Straight(w.flow.Scheme == flow.HTTP) }) {
		return false
	}
	if t.Outcome == flow.Allowed {
		return w.flow.Scheme != flow.TCP && t.Reason == flow.OK && t.UpstreamTLS == flow.UpstreamNone && len(t.Branches) == 0 &&
			t.Via == flow.ViaPassthrough && !w.sim.isRuled(w.flow.Host)
	}
	conn := connection{dst: netip.AddrPortFrom(w.dialled, uint16(w.flow.Port)), standIn: true, name: w.flow.Host} //nolint:gosec // a port
	if t.Outcome != flow.Blocked || w.sim.isRuled(w.flow.Host) {
		return false
	}
	stopped := w.leaveCluster(nil, conn)
	return stopped != nil && stopped.Outcome == flow.Blocked
}

// Ruled reports whether a VirtualService or a DestinationRule of the mesh is about a host,
// whoever sees it: an entry that is filled in with the host would come under it.
func (s *Simulation) Ruled(h string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isRuled(h)
}

func (s *Simulation) isRuled(h string) bool {
	if s.ruled == nil {
		s.ruled = &model.HostTable[*manifest.Object]{}
		add := func(o *manifest.Object, names ...string) {
			var hosts []host.Name
			for _, name := range names {
				hosts = append(hosts, model.LowerHost(model.ResolveHost(name, o.Namespace)))
			}
			s.ruled.Add(o, hosts)
		}
		for _, rule := range s.mesh.DestinationRules {
			add(rule.Object, rule.Spec.GetHost())
		}
		for _, vs := range s.mesh.VirtualServices {
			add(vs.Object, vs.Spec.GetHosts()...)
		}
	}
	return len(s.ruled.Covering(hostName(strings.ToLower(strings.TrimSuffix(h, "."))))) > 0
}

// sealed reports whether network policies leave the client nothing but lookups of
// names, so that nothing that its proxy does gets out.
func (w *walker) sealed() bool {
	w.askNetwork(w.client, Question{kind: sealedAsked, port: w.flow.Port})
	return w.sim.sealed(w.client, w.flow.Port, w.protocol())
}

// sealedKey is what is asked about a workload.
type sealedKey struct {
	workload *model.Workload
	port     int
	protocol corev1.Protocol
}

func (s *Simulation) sealed(client *model.Workload, port int, protocol corev1.Protocol) bool {
	key := sealedKey{client, port, protocol}
	sealed, known := s.seals[key]
	if !known {
		sealed = s.findSealed(client, port, protocol)
		s.seals[key] = sealed
	}
	return sealed
}

func (s *Simulation) findSealed(client *model.Workload, port int, protocol corev1.Protocol) bool {
	if len(s.mesh.PluginPolicies)+len(s.mesh.ClusterNetworkPolicies)+len(s.mesh.Unmodelled) > 0 || client.Pod == nil || client.Pod.HostNetwork ||
		s.network.Named(client, noName, port, protocol).Decision != netpol.Denied {
		return false
	}
	isolating := s.network.Isolating(client, networkingv1.PolicyTypeEgress)
	for _, np := range isolating {
		for _, rule := range np.Spec.Spec.Egress {
			for _, p := range rule.Ports {
				if p.Port == nil || p.Port.IntValue() != 53 || p.EndPort != nil {
					return false
				}
			}
			if len(rule.Ports) == 0 {
				return false
			}
		}
	}
	return len(isolating) > 0
}

// unfilled answers for a flow that came by objects with placeholders, if t may depend
// on them.
func (w *walker) unfilled(t *flow.Trace) *flow.Trace {
	if len(w.open.list) == 0 || w.settled(t) {
		if u := w.open.apart; u != nil && t.Outcome != flow.Unknown {
			t.Assumptions = append(t.Assumptions, fmt.Sprintf("no placeholder for a host, as %s, stands for one that another entry registers", u.Text))
		}
		return t
	}
	first := w.open.list[0]
	var because []flow.Because
	for _, o := range w.open.list[:min(len(w.open.list), mostOpen)] {
		because = append(because, flow.Because{Object: o.Object, Field: o.Field})
	}
	more := ""
	if n := len(w.open.list) - 1; n > 0 {
		more = fmt.Sprintf(", as %d more objects do", n)
	}
	decision := fmt.Sprintf("%s holds the placeholder %s%s, and what is filled in there may decide about this: as it stands the flow is %s (%s)",
		first.Object, first.Text, more, t.Outcome, t.Reason)
	out := &flow.Trace{ID: t.ID, Outcome: flow.Unknown, Via: flow.ViaNone, Reason: flow.Template, UpstreamTLS: flow.UpstreamNone,
		Detail: decision + "; manifests in which it is filled in would settle it", Assumptions: t.Assumptions}
	hop := flow.Hop{At: flow.AtNetwork, Proxy: w.client.ID(), Decision: decision, Because: because}
	if !w.open.further {
		hop.At = flow.AtSidecar
	}
	// The walk is not over: its hops stand in the opposite order.
	out.Hops = append([]flow.Hop{hop}, t.Hops...)
	return out
}

// mostOpen bounds the objects with placeholders that a hop points to.
const mostOpen = 16
