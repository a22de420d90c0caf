package generate

import (
	"slices"
	"strings"
)

var (
	uris = []map[string]any{
		{"exact": "/api"}, {"prefix": "/api"}, {"prefix": "/"}, {"regex": "/sport|/health"}, {"regex": ".*"}, {"regex": "/api.*"}, {"exact": "/API"}, {"prefix": "/sport"},
	}
	headerMatches = []map[string]any{{"exact": "red"}, {"prefix": "re"}, {"regex": "r.d"}, {}, {}, {"regex": "red|blue"}}
)

// httpMatch is one condition of an HTTP route.
func (w *world) httpMatch(gateways []string) map[string]any {
	match := map[string]any{}
	if w.chance(0.4) {
		match["uri"] = pick(w, uris...)
		if w.chance(0.15) {
			match["ignoreUriCase"] = true
		}
	}
	if w.chance(0.15) {
		match["method"] = pick(w, map[string]any{"exact": "GET"}, map[string]any{"regex": "GET|HEAD"}, map[string]any{"prefix": "P"})
	}
	if w.chance(0.12) {
		match["headers"] = map[string]any{pick(w, "x-team", "x-user"): pick(w, headerMatches...)}
	}
	if w.chance(0.08) {
		match["withoutHeaders"] = map[string]any{pick(w, "x-team", "x-user"): pick(w, headerMatches...)}
	}
	if w.chance(0.06) {
		match["queryParams"] = map[string]any{"x": pick(w, map[string]any{"exact": "1"}, map[string]any{"regex": "[0-9]+"}, map[string]any{"prefix": "1"}, map[string]any{})}
	}
	if w.chance(0.05) {
		match["authority"] = pick(w, map[string]any{"exact": "api.example.com"}, map[string]any{"prefix": "api."}, map[string]any{"regex": ".*:8080"})
	}
	if w.chance(0.04) {
		match["scheme"] = pick(w, map[string]any{"exact": "http"}, map[string]any{"exact": "https"})
	}
	if w.chance(0.15) {
		match["port"] = pick(w, 80, 443, 8080)
	}
	w.origin(match, gateways)
	return match
}

// origin limits a match to gateways and to workloads.
func (w *world) origin(match map[string]any, gateways []string) {
	if len(gateways) > 0 && w.chance(0.3) {
		match["gateways"] = anys(some(w, 2, gateways...))
	}
	if w.chance(0.1) {
		match["sourceLabels"] = stringMap("app", pick(w, "sleep", "batch", "istio-egressgateway"))
	}
	if w.chance(0.08) {
		match["sourceNamespace"] = pick(w, "default", "app")
	}
}

// destinationOf is where a route leads: somewhere that exists, mostly.
func (w *world) destinationOf(namespace string) map[string]any {
	d := map[string]any{}
	var port int
	switch {
	case w.chance(0.45) || len(w.seen.targets) == 0:
		s := pick(w, w.gateways...).service
		d["host"] = s.fqdn()
		if s.namespace == namespace && w.chance(0.3) {
			d["host"] = s.name
		}
		port = pick(w, s.ports...).number
	case w.chance(0.9):
		t := pick(w, w.seen.targets...)
		d["host"], port = t.host, t.port
	default:
		d["host"], port = pick(w, "missing.example.com", "missing"), 80
	}
	if strings.HasPrefix(d["host"].(string), "*") {
		d["host"] = "x" + d["host"].(string)[1:]
	}
	if w.chance(0.7) {
		if w.chance(0.06) {
			port = pick(w, 80, 443, 8080)
		}
		d["port"] = map[string]any{"number": port}
	}
	if w.chance(0.15) {
		d["subset"] = pick(w, "v1", "v2", "egress")
	}
	return d
}

func (w *world) destinations(namespace string) []any {
	n := 1
	if w.chance(0.15) {
		n = w.between(2, 3)
	}
	var list []any
	for range n {
		d := map[string]any{"destination": w.destinationOf(namespace)}
		if n > 1 {
			d["weight"] = pick(w, 0, 10, 50, 90)
			if len(list) == 0 {
				// Not all may be nought.
				d["weight"] = pick(w, 10, 50)
			}
		} else if w.chance(0.1) {
			d["weight"] = pick(w, 0, 100)
		}
		list = append(list, d)
	}
	return list
}

// httpRoute is one rule; its action is left to chance.
func (w *world) httpRoute(namespace string, gateways []string) map[string]any {
	route := map[string]any{}
	if w.chance(0.75) {
		var matches []any
		for range w.between(1, 2) {
			matches = append(matches, w.httpMatch(gateways))
		}
		route["match"] = matches
	}
	switch {
	case w.chance(0.06):
		route["redirect"] = w.redirect()
	case w.chance(0.06):
		route["directResponse"] = map[string]any{"status": pick(w, 200, 403, 503)}
	default:
		list := w.destinations(namespace)
		for _, d := range list {
			if w.chance(0.06) {
				d.(map[string]any)["headers"] = map[string]any{"request": w.headerOperations()}
			}
		}
		route["route"] = list
		if w.chance(0.1) {
			w.rewrite(route)
		}
	}
	if w.chance(0.06) {
		route["headers"] = map[string]any{"request": w.headerOperations()}
	}
	w.fault(route)
	if w.chance(0.03) {
		route["corsPolicy"] = map[string]any{"allowOrigins": []any{map[string]any{"exact": "https://app.example.com"}}}
	}
	return route
}

func (w *world) rewrite(route map[string]any) {
	route["rewrite"] = pick(w,
		map[string]any{"uri": "/other"},
		map[string]any{"authority": pick(w, "www.example.com", "api.example.com", "a.wild.test")},
		map[string]any{"uri": "/api", "authority": "www.example.com"},
		map[string]any{"uriRegexRewrite": map[string]any{"match": "/api/?(.*)", "rewrite": `/\1`}},
	)
}

func (w *world) headerOperations() map[string]any {
	return pick(w,
		map[string]any{"set": stringMap("x-team", "red")},
		map[string]any{"add": stringMap("x-team", "blue")},
		map[string]any{"remove": []any{"x-team"}},
		map[string]any{"set": stringMap("Host", pick(w, "www.example.com", "api.example.com"))},
	)
}

func (w *world) redirect() map[string]any {
	redirect := map[string]any{"authority": "elsewhere.example.com"}
	if w.chance(0.5) {
		redirect["redirectCode"] = pick(w, 302, 307, 308)
	}
	return redirect
}

func (w *world) fault(route map[string]any) {
	if w.chance(0.05) {
		w.certainFault(route)
	}
}

// certainFault is certain to be there, not to strike.
func (w *world) certainFault(route map[string]any) {
	abort := pick(w,
		map[string]any{"httpStatus": 418, "percentage": map[string]any{"value": 100}},
		map[string]any{"httpStatus": 503},
		map[string]any{"httpStatus": 400, "percentage": map[string]any{"value": 50}},
		map[string]any{"grpcStatus": "UNAVAILABLE", "percentage": map[string]any{"value": 100}},
		map[string]any{"httpStatus": 418, "percentage": map[string]any{"value": 0}},
	)
	if w.chance(0.2) {
		route["fault"] = map[string]any{"delay": map[string]any{"fixedDelay": "1s", "percentage": map[string]any{"value": 100}}}
		return
	}
	route["fault"] = map[string]any{"abort": abort}
}

func (w *world) tlsRoute(namespace string, hosts, gateways []string) map[string]any {
	var matches []any
	for range w.between(1, 2) {
		match := map[string]any{"sniHosts": anys(some(w, 2, hosts...))}
		if w.chance(0.3) {
			match["port"] = pick(w, 443, 443, 8443)
		}
		if w.chance(0.06) {
			match["destinationSubnets"] = []any{pick(w, "203.0.113.0/24", "203.0.113.9/32")}
		}
		w.origin(match, gateways)
		matches = append(matches, match)
	}
	return map[string]any{"match": matches, "route": w.destinations(namespace)}
}

func (w *world) tcpRoute(namespace string, gateways []string) map[string]any {
	route := map[string]any{"route": w.destinations(namespace)}
	if w.chance(0.7) {
		match := map[string]any{}
		if w.chance(0.6) {
			match["port"] = pick(w, 9000, 443, 3306, 8080)
		}
		if w.chance(0.1) {
			match["destinationSubnets"] = []any{pick(w, "203.0.113.0/24", "203.0.113.9/32")}
		}
		w.origin(match, gateways)
		route["match"] = []any{match}
	}
	return route
}

// virtualService makes one of hosts of the universe.
func (w *world) virtualService() {
	namespace := w.namespace()
	hosts := w.routedHosts()
	gateways := w.boundGateways(namespace)
	if hosts[0] == "*" {
		// Not for sidecars (validation).
		gateways = slices.DeleteFunc(gateways, func(g string) bool { return g == "mesh" })
		if len(gateways) == 0 {
			hosts = externalHosts[:1]
		}
	}
	spec := map[string]any{"hosts": anys(hosts)}
	if len(gateways) > 0 {
		spec["gateways"] = anys(gateways)
	}
	for len(spec) < 3 && (spec["http"] == nil && spec["tls"] == nil && spec["tcp"] == nil) {
		if w.chance(0.7) {
			var routes []any
			for range w.between(1, 3) {
				routes = append(routes, w.httpRoute(namespace, gateways))
			}
			spec["http"] = routes
		}
		if w.chance(0.35) {
			spec["tls"] = []any{w.tlsRoute(namespace, hosts, gateways)}
			if w.chance(0.3) {
				spec["tls"] = append(spec["tls"].([]any), w.tlsRoute(namespace, hosts, gateways))
			}
		}
		if w.chance(0.2) {
			spec["tcp"] = []any{w.tcpRoute(namespace, gateways)}
		}
	}
	if spec["http"] == nil && spec["tls"] == nil && spec["tcp"] == nil {
		spec["http"] = []any{w.httpRoute(namespace, gateways)}
	}
	if w.chance(0.05) {
		w.delegate(spec)
	}
	w.exportTo(spec, 0.1)
	w.istio("networking", "VirtualService", namespace, w.name("vs"), spec)
	w.seen.hosts = append(w.seen.hosts, hosts...)
}

// delegate turns the first HTTP route into one that another VirtualService
// completes.
func (w *world) delegate(spec map[string]any) {
	target := w.namespace()
	name := w.name("vd")
	child := map[string]any{"http": []any{w.httpRoute(target, nil)}}
	for _, r := range child["http"].([]any) {
		delete(r.(map[string]any), "fault")
		for _, m := range matchesOf(r) {
			delete(m, "sourceNamespace")
		}
	}
	w.exportTo(child, 0.05)
	w.istio("networking", "VirtualService", target, name, child)
	route := map[string]any{"delegate": map[string]any{"name": name, "namespace": target}}
	if w.chance(0.6) {
		route["match"] = []any{map[string]any{"uri": pick(w, map[string]any{"prefix": "/api"}, map[string]any{"prefix": "/"})}}
	}
	spec["http"] = []any{route}
	delete(spec, "tls")
	delete(spec, "tcp")
}

func matchesOf(route any) []map[string]any {
	var out []map[string]any
	list, _ := route.(map[string]any)["match"].([]any)
	for _, m := range list {
		out = append(out, m.(map[string]any))
	}
	return out
}

func (w *world) routedHosts() []string {
	switch {
	case w.chance(0.12):
		return []string{pick(w, wildcardHosts...)}
	case w.chance(0.12):
		s := pick(w, w.services...)
		return []string{pick(w, s.fqdn(), s.name)}
	case w.chance(0.05):
		return []string{pick(w, wildcardHosts...), pick(w, externalHosts...)}
	case w.chance(0.03):
		return []string{pick(w, singleIPs...)}
	case w.chance(0.03):
		return []string{"*"}
	default:
		return some(w, 2, externalHosts...)
	}
}

// boundGateways are the gateways of a VirtualService, nil for the default.
func (w *world) boundGateways(namespace string) []string {
	var names []string
	if len(w.seen.gatewayNames) > 0 {
		for range w.between(1, 2) {
			name := pick(w, w.seen.gatewayNames...)
			if ns, short, _ := strings.Cut(name, "/"); ns == namespace && w.chance(0.5) {
				name = short
			}
			names = append(names, name)
		}
	}
	switch {
	case w.chance(0.4):
		return nil
	case w.chance(0.4):
		return append(names, "mesh")
	case w.chance(0.1):
		return []string{"mesh"}
	case len(names) == 0:
		return []string{"mesh"}
	default:
		return names
	}
}
