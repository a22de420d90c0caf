package traffic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// http decides what an HTTP chain does with a connection. For gateways who is
// what authorization looks at.
func (w *walker) http(p *proxy, ch *chain, conn connection, who *subject) *flow.Trace {
	hop := flow.Hop{At: place(p), Proxy: w.proxyName(p)}
	stop := func(decision string, because []flow.Because, t *flow.Trace) *flow.Trace {
		hop.Decision, hop.Because = decision, because
		t.Via = viaOf(p, t.Via)
		return after([]flow.Hop{hop}, t)
	}
	if !conn.plaintextHTTP() {
		return stop(fmt.Sprintf("%s reaches an HTTP chain, which does not understand it", connectionText(&conn)), ch.because, blocked(flow.ProtocolError, 0))
	}
	conn.request = conn.request.edited("")
	path, ok := p.normalizePath(conn.request.path)
	if !ok {
		return stop(fmt.Sprintf("the path %q cannot be normalised: 400", conn.request.path), ch.because, blocked(flow.ProtocolError, 400))
	}
	conn.request.path = path
	if p.role == sidecarRole && p.enabled("PILOT_SIDECAR_USE_REMOTE_ADDRESS") {
		p.addSource(&conn)
	}
	p.setScheme(conn.request, ch.opens)
	r := conn.request
	var hops []flow.Hop
	if who != nil {
		who.request, who.remote = r, p.remoteAddress(&conn)
		if t := w.authorize(p, ch, who, false); t != nil {
			if t.Outcome != flow.Allowed {
				return t
			}
			hops = t.Hops
		}
	}
	table := p.table(ch.table)
	vh := table.of(r)
	if vh == nil {
		decision := fmt.Sprintf("no VirtualService routes host %s here: 404", r.authority)
		if table.ports {
			decision = fmt.Sprintf("waypoints take requests for hosts of %s only without a port, and this one is for %s: 404", strings.Join(table.hosts[0].domains, ", "), r.authority)
		}
		return after(hops, stop(decision, ch.because, blocked(flow.NoRoute, 404)))
	}
	hop.VirtualHost = vh.name
	if c := vh.contested[r.host()]; c != nil {
		w.contested = c
	}
	if vh.redirectsToHTTPS && !ch.opens {
		return after(hops, stop(fmt.Sprintf("plaintext requests for %s are redirected to HTTPS: 301", r.host()), vh.because, blocked(flow.Redirect, 301)))
	}
	route := vh.find(r)
	if route == nil {
		return after(hops, stop(fmt.Sprintf("no rule for %s matches %s %s: 404", r.host(), r.method, r.plainPath()), vh.because, blocked(flow.NoRoute, 404)))
	}
	hop.Route = route.name
	if route.name == "block_all" {
		return after(hops, stop(fmt.Sprintf("host %s is not registered for this sidecar, and %s: 502", r.authority, vh.what), vh.because, blocked(flow.Blackhole, 502)))
	}
	if route.abort > 0 && route.abortPercent > 0 {
		return after(hops, w.abort(p, vh, route, conn, hop))
	}
	return after(hops, w.act(p, vh, route, conn, hop))
}

// find returns the first route that matches, nil if none does.
func (vh *virtualHost) find(r *request) *route {
	for _, route := range vh.routes {
		if route.match.matches(r) {
			return route
		}
	}
	return nil
}

// abort answers with an injected fault, to some requests or to all.
func (w *walker) abort(p *proxy, vh *virtualHost, r *route, conn connection, hop flow.Hop) *flow.Trace {
	fault := hop
	fault.Decision = fmt.Sprintf("route %s answers %g%% of requests with an injected fault: %d", r.name, r.abortPercent, r.abort)
	fault.Because = r.because
	stopped := blocked(flow.FaultAbort, r.abort)
	stopped.Via = viaOf(p, stopped.Via)
	if r.abortPercent >= 100 {
		return after([]flow.Hop{fault}, stopped)
	}
	// Envoy counts in millionths (istio route.go translatePercentToFractionalPercent).
	const all = 1_000_000
	some := int(r.abortPercent * 10_000)
	return after([]flow.Hop{fault}, merge([]flow.Branch{
		{Weight: some, Trace: *stopped},
		{Weight: all - some, Trace: *w.act(p, vh, r, conn, hop)},
	}))
}

// act does what a route says.
func (w *walker) act(p *proxy, vh *virtualHost, r *route, conn connection, hop flow.Hop) *flow.Trace {
	switch {
	case r.redirect > 0:
		hop.Decision, hop.Because = fmt.Sprintf("route %s redirects the client: %d", r.name, r.redirect), r.because
		t := blocked(flow.Redirect, r.redirect)
		t.Via = viaOf(p, t.Via)
		return after([]flow.Hop{hop}, t)
	case r.respond > 0:
		hop.Decision, hop.Because = fmt.Sprintf("route %s answers itself: %d", r.name, r.respond), r.because
		t := blocked(flow.DirectResponse, r.respond)
		t.Via = viaOf(p, t.Via)
		return after([]flow.Hop{hop}, t)
	}
	hop.Decision = vh.what
	if r.name != "default" && r.name != "allow_any" {
		hop.Decision += fmt.Sprintf("; rule %q matches %s %s", r.name, conn.request.method, conn.request.plainPath())
	}
	hop.Because = append(slices.Clone(vh.because), r.because...)
	next := conn
	next.request = conn.request.edited(r.authority, r.headers)
	r.rewrite(next.request)
	if len(r.targets) == 1 {
		t := r.targets[0]
		// A rewritten Host of the route beats that of its only destination.
		authority := t.authority
		if r.authority != "" {
			authority = ""
		}
		next.request = next.request.edited(authority, t.headers)
	}
	return after([]flow.Hop{hop}, w.targets(p, r.targets, next, true))
}

// rewrite changes the path as the route says.
func (r *route) rewrite(req *request) {
	switch {
	case r.rewriteRegex != nil:
		plain := req.plainPath()
		req.path = r.rewriteRegex.apply(plain) + req.path[len(plain):]
	case r.rewritePrefix != "":
		plain := req.plainPath()
		rest := req.path[len(plain):]
		switch m := r.match.path; {
		case m != nil && m.isPrefix:
			req.path = r.rewritePrefix + plain[len(m.prefix):] + rest
		case m != nil: // an exact path or an expression: the whole is replaced
			req.path = r.rewritePrefix + rest
		default: // the prefix is "/"
			req.path = r.rewritePrefix + strings.TrimPrefix(plain, "/") + rest
		}
	}
}

func (p *proxy) requestAuthentications(who *subject) []*model.RequestAuthentication {
	if p.role == waypointRole {
		return p.push.RequestAuthenticationsForWaypoint(p.waypoint, who.service)
	}
	return p.push.RequestAuthenticationsFor(p.workload)
}

// authorize evaluates a proxy's policies. nil means that there are none to speak
// of; an allowed trace carries the hop that says so.
func (w *walker) authorize(p *proxy, ch *chain, who *subject, tcp bool) *flow.Trace {
	if ch != nil && ch.noPolicies {
		return nil
	}
	hop := flow.Hop{At: place(p), Proxy: w.proxyName(p)}
	if who.walker = w; who.service != nil {
		w.askWho() // policies for a service depend on the pod in front of it
	}
	set := p.policySet(who.service)
	tables := &set.http
	status := 403
	if tcp {
		tables, status = &set.tcp, 0
	}
	// External authorizers come before the verifier of tokens (istio
	// listener_builder.go buildHTTPConnectionManager).
	d, decided := tables.decideCustom(who)
	if !decided && !tcp {
		for _, ra := range p.requestAuthentications(who) {
			if !carriesToken(who.request, ra) {
				continue
			}
			hop.Decision = fmt.Sprintf("RequestAuthentication %s validates the token that the client sends, which the manifests do not hold", ra.ID())
			hop.Because = []flow.Because{{Object: ra.Object, Field: "spec.jwtRules"}}
			return after([]flow.Hop{hop}, unknown(viaOf(p, flow.ViaNone), flow.JWT, hop.Decision))
		}
	}
	if !decided {
		d = tables.decideLocal(who)
	}
	hop.Decision, hop.Because = d.text, d.because
	switch {
	case d.asks != "":
		return after([]flow.Hop{hop}, unknown(viaOf(p, flow.ViaNone), flow.ExtAuthz, d.text))
	case !d.allowed:
		t := blocked(flow.RBACDenied, status)
		t.Via, t.Policy = viaOf(p, t.Via), d.names()
		if d.rule >= 0 {
			rule := d.rule
			t.Rule = &rule
		}
		hop.Decision = d.denial(who.identity == "" && !tcp)
		return after([]flow.Hop{hop}, t)
	default:
		return &flow.Trace{Outcome: flow.Allowed, Hops: []flow.Hop{hop}}
	}
}
