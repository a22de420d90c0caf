package judge

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/conformance/envoy"
	"github.com/egresslint/egresslint/model/flow"
)

// maxHops bounds the proxies on the way: a request that comes back changed
// every time never repeats itself exactly.
const maxHops = 8

// walk follows one flow from proxy to proxy.
type walk struct {
	mesh *Mesh
	seen map[string]bool
	hops []flow.Hop
}

// hop is a connection at a proxy, with the proxy's verdict.
type hop struct {
	workload *Workload
	proxy    *envoy.Proxy
	verdict  *envoy.Verdict
	conn     envoy.Connection
	// via is the farthest control point that the flow has reached before it
	// leaves this proxy.
	via   flow.Via
	depth int
}

// direct is a connection that no proxy of the sender sees.
func (w *walk) direct(protocol corev1.Protocol, conn envoy.Connection, reason flow.Reason) *flow.Trace {
	var answers []*flow.Trace
	for _, t := range w.mesh.network.route(conn.Destination, protocol) {
		if protocol == corev1.ProtocolUDP && t.workload != nil {
			// Proxies take TCP alone: sidecars let the rest by, gateways listen
			// to nothing else.
			answer := accepted(conn.Message, flow.ViaUncaptured, reason, "")
			if t.workload.Role == GatewayProxy {
				answer = blocked(flow.NoListener, flow.ViaGateway, 0)
			}
			answers = append(answers, answer)
			continue
		}
		arriving := conn
		arriving.Destination = t.address
		answer := w.arrive(t, arriving, flow.ViaUncaptured, "", 0)
		if answer.Outcome == flow.Allowed && answer.Via == flow.ViaUncaptured {
			answer.Reason = reason
		}
		answers = append(answers, answer)
	}
	if len(answers) == 0 {
		return blocked(flow.NoEndpoints, flow.ViaNone, 0)
	}
	return alternatives(answers)
}

// pass turns a proxy's verdict into an answer.
func (w *walk) pass(h hop) *flow.Trace {
	w.hops = append(w.hops, describe(h))
	if h.verdict.Stop != nil {
		return w.stopped(h, h.verdict.Stop)
	}
	var branches []flow.Branch
	for _, f := range h.verdict.Forwards {
		if f.Weight == 0 && len(h.verdict.Forwards) > 1 {
			continue
		}
		var answer *flow.Trace
		if f.Stop != nil {
			answer = w.stopped(h, f.Stop)
		} else {
			answer = w.deliver(h, f)
		}
		if f.HTTP {
			unavailable(answer)
		}
		branches = append(branches, flow.Branch{Weight: int(f.Weight), Trace: *answer})
	}
	return combine(branches)
}

// unavailable is what a proxy that reads requests answers when the connection
// to the next one fails.
func unavailable(answer *flow.Trace) {
	for i := range answer.Branches {
		unavailable(&answer.Branches[i].Trace)
	}
	if answer.Outcome == flow.Blocked && answer.HTTPStatus == 0 {
		answer.HTTPStatus = 503
	}
}

// stopped is the answer where a proxy ends a connection.
func (w *walk) stopped(h hop, stop *envoy.Stop) *flow.Trace {
	via := control(h.via)
	if reason, open := openReasons[stop.Reason]; open {
		return &flow.Trace{Outcome: flow.Unknown, Via: via, Reason: reason, Detail: stop.Detail, UpstreamTLS: flow.UpstreamNone}
	}
	answer := blocked(definiteReasons[stop.Reason], via, stop.Status)
	if stop.Reason == envoy.DirectResponse && h.verdict.VirtualHost == "block_all" {
		// The virtual host that stands for REGISTRY_ONLY
		// (pilot/pkg/networking/core/httproute.go buildCatchAllVirtualHost).
		answer.Reason = flow.Blackhole
	}
	if stop.Reason == envoy.Denied {
		if stop.Allow {
			answer.Policy = strings.Join(w.mesh.istiod.allowPolicies(h.workload, cmp.Or(stop.Cluster, h.verdict.FilterChain)), ",")
		} else {
			answer.Policy, answer.Rule = policyName(stop.Policies)
		}
	}
	return answer
}

var definiteReasons = map[envoy.Reason]flow.Reason{
	envoy.NoListener:     flow.NoListener,
	envoy.NoFilterChain:  flow.NoFilterChain,
	envoy.NoVirtualHost:  flow.NoRoute,
	envoy.NoRoute:        flow.NoRoute,
	envoy.Denied:         flow.RBACDenied,
	envoy.TLSMismatch:    flow.TLSMismatch,
	envoy.ProtocolError:  flow.ProtocolError,
	envoy.Redirect:       flow.Redirect,
	envoy.DirectResponse: flow.DirectResponse,
	envoy.Fault:          flow.FaultAbort,
}

var openReasons = map[envoy.Reason]flow.Reason{
	envoy.CustomCertificate:  flow.CustomCert,
	envoy.ExternalAuthorizer: flow.ExtAuthz,
	envoy.Token:              flow.JWT,
	envoy.UnknownFilter:      flow.OpaqueFilter,
	envoy.RejectedConfig:     flow.ListenerRejected,
}

// policyKey is how istiod names the rules of a policy
// (pilot/pkg/security/authz/builder/builder.go policyName).
var policyKey = regexp.MustCompile(`ns\[(.*?)\]-policy\[(.*?)\]-rule\[(\d+)\]`)

func policyName(keys []string) (string, *int) {
	names := map[string]bool{}
	var rule *int
	for _, key := range keys {
		if m := policyKey.FindStringSubmatch(key); m != nil {
			names[m[1]+"/"+m[2]] = true
			if n, err := strconv.Atoi(m[3]); err == nil && len(keys) == 1 {
				rule = &n
			}
		}
	}
	var sorted []string
	for name := range names {
		sorted = append(sorted, name)
	}
	sort.Strings(sorted)
	return strings.Join(sorted, ","), rule
}

// deliver follows one destination of a proxy's verdict.
func (w *walk) deliver(h hop, f envoy.Forward) *flow.Trace {
	stopVia := control(h.via)
	if f.Cluster == "BlackHoleCluster" {
		return blocked(flow.Blackhole, stopVia, 0)
	}
	delivery := h.proxy.Deliver(f, h.conn)
	if !delivery.Known {
		return blocked(flow.NoCluster, stopVia, f.NotFound)
	}
	if f.Opaque != "" && len(delivery.Upstreams) > 0 {
		return &flow.Trace{Outcome: flow.Unknown, Via: stopVia, Reason: flow.OpaqueFilter, Detail: f.Opaque}
	}
	via := h.via
	if control(via) == flow.ViaNone {
		via = flow.ViaDirect
		if f.Cluster == "PassthroughCluster" || f.Cluster == "AllowAnyDynamicDNSCluster" {
			via = flow.ViaPassthrough
		}
	}
	var answers []*flow.Trace
	for _, u := range delivery.Upstreams {
		if u.Unknown != "" {
			answers = append(answers, &flow.Trace{Outcome: flow.Unknown, Via: stopVia, Reason: flow.OpaqueFilter, Detail: u.Unknown})
			continue
		}
		tls := flow.UpstreamNone
		if u.TLS {
			tls = flow.UpstreamMutual
			if u.Origin == envoy.Simple {
				tls = flow.UpstreamSimple
			}
		}
		var targets []target
		switch {
		case u.Address.IsValid():
			targets = w.mesh.network.route(netip.AddrPortFrom(u.Address, u.Port), corev1.ProtocolTCP)
		case w.mesh.network.service(u.Name, h.workload.Pod.Namespace) != nil:
			targets = w.mesh.network.route(netip.AddrPortFrom(w.mesh.network.resolve(u.Name, h.workload.Pod.Namespace), u.Port), corev1.ProtocolTCP)
		default:
			targets = []target{{address: netip.AddrPortFrom(public(u.Name), u.Port)}}
		}
		if len(targets) == 0 {
			answers = append(answers, blocked(flow.NoEndpoints, stopVia, 0))
		}
		for _, t := range targets {
			conn := envoy.Connection{Destination: t.address, Source: netip.MustParseAddr(h.workload.Pod.Status.PodIP), Message: u.Message}
			answers = append(answers, w.arrive(t, conn, via, tls, h.depth+1))
		}
	}
	if w.mesh.istiod.endpointsByChance(h.workload, f.Cluster) {
		return &flow.Trace{Outcome: flow.Unknown, Via: stopVia, Reason: flow.Undetermined, Detail: f.Cluster + ": istiod knows its endpoints or not, as things happened"}
	}
	if len(answers) == 0 {
		return blocked(flow.NoEndpoints, stopVia, 0)
	}
	return alternatives(answers)
}

// arrive is a connection at its target: a proxy of the mesh, a workload
// without one, or the outside. tls is what the last proxy added.
func (w *walk) arrive(t target, conn envoy.Connection, via flow.Via, tls flow.UpstreamTLS, depth int) *flow.Trace {
	if t.workload == nil {
		return accepted(conn.Message, via, flow.OK, tls)
	}
	// What a proxy adds towards a workload of the mesh does not leave it. Where
	// none has seen the connection, there is nothing to be said.
	if tls != "" && t.workload.Role != GatewayProxy {
		tls = flow.UpstreamNone
	}
	if t.workload.Role == ZtunnelProxy || t.workload.Role == WaypointProxy {
		return outside("what ztunnel and waypoints do with connections that arrive is not judged")
	}
	if t.workload.Role == NoProxy {
		return accepted(conn.Message, via, flow.InMesh, tls)
	}
	if key := fingerprint(t, conn); depth > maxHops || w.seen[key] {
		return blocked(flow.Loop, control(via), 0)
	} else {
		w.seen[key] = true
		defer delete(w.seen, key)
	}
	proxy, err := w.mesh.proxy(t.workload)
	if err != nil {
		return &flow.Trace{Outcome: flow.Unknown, Via: via, Reason: flow.Assumption, Detail: err.Error()}
	}
	if t.workload.Role == GatewayProxy {
		verdict := proxy.Accept(conn)
		w.mesh.seen(t.workload, conn, verdict)
		return w.pass(hop{workload: t.workload, proxy: proxy, verdict: verdict, conn: conn, via: flow.ViaGateway, depth: depth})
	}
	verdict := proxy.Redirected("virtualInbound", conn)
	w.mesh.seen(t.workload, conn, verdict)
	h := hop{workload: t.workload, proxy: proxy, verdict: verdict, conn: conn, via: via, depth: depth}
	w.hops = append(w.hops, describe(h))
	if verdict.Stop != nil {
		return w.stopped(h, verdict.Stop)
	}
	// What an inbound listener lets in reaches the application.
	answer := accepted(verdict.Forwards[0].Message, via, flow.InMesh, tls)
	if verdict.HTTP {
		unavailable(answer)
	}
	return answer
}

// control is the control point that a flow has passed.
func control(via flow.Via) flow.Via {
	if via == flow.ViaGateway || via == flow.ViaWaypoint {
		return via
	}
	return flow.ViaNone
}

// accepted says whether a server takes what reaches it. A server is taken to
// speak what its clients want, with or without TLS, but not TLS in TLS, and
// none but a proxy accepts the mesh's own TLS.
func accepted(message envoy.Message, via flow.Via, reason flow.Reason, tls flow.UpstreamTLS) *flow.Trace {
	stopVia := control(via)
	for _, layer := range message.TLS {
		if layer.Origin == envoy.Mesh {
			return blocked(flow.TLSMismatch, stopVia, 0)
		}
	}
	if len(message.TLS) > 1 {
		return blocked(flow.DoubleTLS, stopVia, 0)
	}
	return &flow.Trace{Outcome: flow.Allowed, Via: via, Reason: reason, UpstreamTLS: tls}
}

func fingerprint(t target, conn envoy.Connection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", t.workload.ID(), conn.Destination)
	for _, layer := range conn.Message.TLS {
		fmt.Fprintf(&b, " tls %d %q %q", layer.Origin, layer.SNI, layer.Identity)
	}
	if r := conn.Message.HTTP; r != nil {
		fmt.Fprintf(&b, " http %s %q %q", r.Method, r.Authority, r.Path)
		var names []string
		for name := range r.Headers {
			if name != "x-forwarded-for" {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(&b, " %q=%q", name, r.Headers[name])
		}
	}
	return b.String()
}

func blocked(reason flow.Reason, via flow.Via, status int) *flow.Trace {
	return &flow.Trace{Outcome: flow.Blocked, Via: via, Reason: reason, HTTPStatus: status, UpstreamTLS: flow.UpstreamNone}
}

func describe(h hop) flow.Hop {
	at := flow.AtSidecar
	switch h.workload.Role {
	case GatewayProxy:
		at = flow.AtGateway
	case WaypointProxy:
		at = flow.AtWaypoint
	case NoProxy, SidecarProxy, ZtunnelProxy:
	}
	out := flow.Hop{
		At: at, Proxy: h.workload.ID(), Listener: h.verdict.Listener, FilterChain: h.verdict.FilterChain,
		VirtualHost: h.verdict.VirtualHost, Route: h.verdict.Route,
	}
	if len(h.conn.Message.TLS) > 0 {
		out.SNI = h.conn.Message.TLS[0].SNI
	}
	if h.verdict.Stop != nil {
		out.Decision = string(h.verdict.Stop.Reason)
		return out
	}
	var clusters []string
	for _, f := range h.verdict.Forwards {
		clusters = append(clusters, f.Cluster)
	}
	out.Cluster = strings.Join(clusters, ",")
	out.Decision = "forwards to " + out.Cluster
	return out
}
