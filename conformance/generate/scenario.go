package generate

import (
	"maps"
	"slices"
	"strings"
)

// twist is a deviation from a path that works.
func (w *world) twist() bool { return w.chance(0.04) && (!w.tidy || w.chance(0.3)) }

// scenario makes a path through an egress gateway as the documentation has it,
// with a chance of being wrong in any one place.
func (w *world) scenario() {
	host := pick(w, externalHosts...)
	if w.chance(0.12) {
		host = pick(w, wildcardHosts...)
	}
	if w.tidy && slices.Contains(w.seen.hosts, host) {
		return
	}
	kind := pick(w, "http", "http", "mtls", "mtls", "mtls", "tls", "tls", "tls-mtls", "tcp", "tcp", "origination", "between")
	if w.chance(0.025) {
		kind = "terminate"
	}
	switch kind {
	case "origination":
		w.origination(host)
		return
	case "between":
		w.forwarded(host)
		return
	}
	gw := pick(w, w.gateways...)
	home := pick(w, gw.service.namespace, gw.service.namespace, gw.service.namespace, "default", "app")
	if w.tidy && w.chance(0.8) {
		home = gw.service.namespace
	}
	elsewhere := func() string {
		if w.twist() {
			return w.namespace()
		}
		return home
	}
	w.entryFor(elsewhere(), host, kind)
	port, server := w.scenarioServer(host, kind)
	gatewayNamespace := elsewhere()
	selector := gw.labels
	if w.chance(0.5) {
		selector = map[string]any{"istio": gw.labels["istio"]}
	}
	ref := w.gateway(gatewayNamespace, selector, server)
	w.gatewayRule(elsewhere(), gw, host, kind, port)
	w.scenarioRoutes(elsewhere(), gw, ref, host, kind, port)
	if w.chance(0.4) && !strings.HasPrefix(host, "*") {
		w.originationRule(elsewhere(), host, kind)
	}
	if w.chance(0.5) {
		w.policy(true)
	}
}

// entryFor registers the host of a scenario.
func (w *world) entryFor(namespace, host, kind string) {
	if w.twist() {
		return
	}
	ports := map[string][]entryPort{
		"http":      {{80, "HTTP"}, {443, "HTTPS"}},
		"mtls":      {{80, "HTTP"}, {443, "HTTPS"}},
		"tls":       {{443, pick(w, "TLS", "HTTPS")}},
		"tls-mtls":  {{443, "TLS"}},
		"terminate": {{443, pick(w, "TLS", "HTTPS")}},
		"tcp":       {{9000, "TCP"}},
	}[kind]
	if w.twist() {
		ports = w.anyPorts()
	}
	spec := w.entry(namespace, []string{host}, ports)
	if kind == "tcp" && !w.twist() {
		spec["addresses"] = []any{"203.0.113.9"}
		w.seen.addresses = append(w.seen.addresses, "203.0.113.9")
		if spec["resolution"] == "DYNAMIC_DNS" {
			spec["resolution"] = "NONE"
		}
	}
}

func (w *world) scenarioServer(host, kind string) (int, map[string]any) {
	port, protocol, tls := 80, "HTTP", map[string]any(nil)
	switch kind {
	case "mtls":
		port, protocol, tls = pick(w, 80, 443), "HTTPS", map[string]any{"mode": "ISTIO_MUTUAL"}
	case "tls":
		port, protocol, tls = 443, pick(w, "TLS", "HTTPS"), map[string]any{"mode": "PASSTHROUGH"}
	case "tls-mtls":
		port, protocol, tls = 443, "TLS", map[string]any{"mode": "ISTIO_MUTUAL"}
	case "terminate":
		mode := pick(w, "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
		port, protocol, tls = 443, pick(w, "HTTPS", "TLS"), map[string]any{"mode": mode, "credentialName": "server-credential"}
	case "tcp":
		port, protocol = 9000, "TCP"
		if w.chance(0.3) {
			tls, protocol = map[string]any{"mode": "ISTIO_MUTUAL"}, "TLS"
		}
	}
	if w.twist() {
		port = pick(w, 80, 443, 8080, 8089)
	}
	if w.twist() {
		s := w.anyServer()
		s["hosts"] = []any{host}
		return s["port"].(map[string]any)["number"].(int), s
	}
	hosts := []string{host}
	switch {
	case w.chance(0.05):
		hosts = []string{"*"}
	case w.chance(0.03):
		hosts = []string{pick(w, wildcardHosts...)}
	case w.chance(0.03):
		hosts = []string{pick(w, "./", "*/", "istio-system/") + host}
	}
	return port, w.gatewayServer(port, protocol, hosts, tls)
}

// gatewayRule tells sidecars how to speak to the gateway.
func (w *world) gatewayRule(namespace string, gw gatewayPods, host, kind string, port int) {
	if w.twist() {
		return
	}
	subset := map[string]any{"name": "egress"}
	if kind == "mtls" || kind == "tls-mtls" || kind == "tcp" && w.chance(0.3) {
		tls := map[string]any{"mode": "ISTIO_MUTUAL"}
		if !w.twist() {
			tls["sni"] = strings.Replace(host, "*", "x", 1)
		}
		if w.twist() {
			tls["mode"] = pick(w, "SIMPLE", "DISABLE")
		}
		policy := map[string]any{"tls": tls}
		if w.chance(0.5) {
			policy = map[string]any{"portLevelSettings": []any{map[string]any{"port": map[string]any{"number": port}, "tls": tls}}}
		}
		subset["trafficPolicy"] = policy
	}
	spec := map[string]any{"host": gw.service.fqdn(), "subsets": []any{subset}}
	if w.chance(0.1) {
		spec["trafficPolicy"] = w.trafficPolicy([]int{80, 443}, true)
	}
	w.exportTo(spec, 0.05)
	w.istio("networking", "DestinationRule", namespace, w.name("dr"), spec)
}

// scenarioRoutes lead sidecars to the gateway and the gateway out.
func (w *world) scenarioRoutes(namespace string, gw gatewayPods, ref, host, kind string, port int) {
	if ns, short, _ := strings.Cut(ref, "/"); ns == namespace && w.chance(0.5) {
		ref = short
	}
	exit := host
	if strings.HasPrefix(host, "*") {
		exit = pick(w, "x"+host[1:], "www.example.com")
	}
	exitPort := map[string]int{"http": 80, "mtls": pick(w, 80, 443), "tls": 443, "tls-mtls": 443, "terminate": 443, "tcp": 9000}[kind]
	dialled := map[string]int{"http": 80, "mtls": 80, "tls": 443, "tls-mtls": 443, "terminate": 443, "tcp": 9000}[kind]
	in := map[string]any{"destination": map[string]any{"host": gw.service.fqdn(), "subset": "egress", "port": map[string]any{"number": port}}}
	out := map[string]any{"destination": map[string]any{"host": exit, "port": map[string]any{"number": exitPort}}}
	meshMatch := map[string]any{"gateways": []any{"mesh"}, "port": dialled}
	gatewayMatch := map[string]any{"gateways": []any{ref}}
	if w.chance(0.6) {
		gatewayMatch["port"] = port
	}
	first := map[string]any{"match": []any{meshMatch}, "route": []any{in}}
	second := map[string]any{"match": []any{gatewayMatch}, "route": []any{out}}
	if w.chance(0.1) {
		in["weight"], out["weight"] = 90, 100
		first["route"] = []any{in, map[string]any{"destination": map[string]any{"host": exit, "port": map[string]any{"number": exitPort}}, "weight": 10}}
	}
	block := "http"
	var extra []any
	switch kind {
	case "tls":
		block = "tls"
		meshMatch["sniHosts"], gatewayMatch["sniHosts"] = []any{host}, []any{host}
	case "tls-mtls":
		block = "tls"
		meshMatch["sniHosts"] = []any{host}
	case "tcp":
		block = "tcp"
	case "http", "mtls":
		if w.chance(0.3) {
			gatewayMatch["uri"] = pick(w, uris...)
		}
		if w.chance(0.15) {
			meshMatch["sourceLabels"] = stringMap("app", "sleep")
		}
		if w.chance(0.3) {
			extra = w.aside(pick(w, meshMatch, gatewayMatch), first, second)
		}
	}
	spec := map[string]any{"hosts": []any{host}, "gateways": []any{ref, "mesh"}, block: append(extra, first, second)}
	switch kind {
	case "tls-mtls":
		spec["tls"], spec["tcp"] = []any{first}, []any{second}
	case "terminate":
		delete(spec, "http")
		meshMatch["sniHosts"] = []any{host}
		spec["tls"], spec["tcp"], spec["http"] = []any{first}, []any{second}, []any{map[string]any{"match": []any{gatewayMatch}, "route": []any{out}}}
	}
	if w.twist() {
		spec["gateways"] = []any{"mesh"}
	}
	w.exportTo(spec, 0.06)
	w.istio("networking", "VirtualService", namespace, w.name("vs"), spec)
	w.seen.hosts = append(w.seen.hosts, host)
	for range 6 {
		w.seen.targets = append(w.seen.targets, destination{host, dialled, map[string]string{"http": "HTTP", "mtls": "HTTP", "tls": "TLS", "tls-mtls": "TLS", "terminate": "TLS", "tcp": "TCP"}[kind]})
	}
}

// aside does something else with some of a path's requests: changes one of its
// rules, or returns rules to stand before them.
func (w *world) aside(match map[string]any, rules ...map[string]any) []any {
	rule := pick(w, rules...)
	narrow := maps.Clone(match)
	switch w.IntN(3) {
	case 0:
		narrow["uri"] = pick(w, uris...)
	case 1:
		narrow["headers"] = map[string]any{"x-team": map[string]any{"exact": "red"}}
	case 2:
		narrow["method"] = map[string]any{"exact": pick(w, "POST", "PUT")}
	}
	before := map[string]any{"match": []any{narrow}}
	switch w.IntN(6) {
	case 0:
		w.certainFault(rule)
		return nil
	case 1:
		w.rewrite(rule)
		return nil
	case 2:
		before["directResponse"] = map[string]any{"status": pick(w, 200, 403, 503)}
	case 3:
		before["redirect"] = w.redirect()
	default:
		before["route"] = rule["route"]
		w.certainFault(before)
	}
	return []any{before}
}

// originationRule has the last proxy speak TLS to the outside.
func (w *world) originationRule(namespace, host, kind string) {
	tls := map[string]any{"mode": "SIMPLE"}
	if w.chance(0.1) {
		tls = map[string]any{"mode": "MUTUAL", "clientCertificate": "/etc/client/cert.pem", "privateKey": "/etc/client/key.pem"}
	}
	if w.twist() {
		tls = w.clientTLS(host)
	}
	policy := map[string]any{"tls": tls}
	if w.chance(0.7) {
		policy = map[string]any{"portLevelSettings": []any{map[string]any{"port": map[string]any{"number": pick(w, 443, 443, 80)}, "tls": tls}}}
	}
	if (kind == "tls" || kind == "tls-mtls") && !w.twist() {
		return
	}
	spec := map[string]any{"host": host, "trafficPolicy": policy}
	w.exportTo(spec, 0.15)
	w.istio("networking", "DestinationRule", namespace, w.name("dr"), spec)
}

// origination is TLS origination at the sidecar: no gateway on the way.
func (w *world) origination(host string) {
	namespace := w.namespace()
	spec := w.entry(namespace, []string{host}, []entryPort{{80, "HTTP"}, {443, pick(w, "HTTPS", "TLS")}})
	if w.chance(0.5) {
		spec["ports"].([]any)[0].(map[string]any)["targetPort"] = 443
	}
	w.originationRule(namespace, host, "http")
	if w.chance(0.5) && !strings.HasPrefix(host, "*") {
		w.istio("networking", "VirtualService", namespace, w.name("vs"), map[string]any{
			"hosts": []any{host},
			"http": []any{map[string]any{
				"match": []any{map[string]any{"port": 80}},
				"route": []any{map[string]any{"destination": map[string]any{"host": host, "port": map[string]any{"number": 443}}}},
			}},
		})
	}
}

// forwarded sends requests for a host through a server of mode AUTO_PASSTHROUGH, as
// those between two clusters go, with the server name of a service of the mesh.
func (w *world) forwarded(host string) {
	gw := pick(w, w.gateways...)
	to := pick(w, w.services...)
	toPort := pick(w, to.ports...).number
	subset := pick(w, "", "", "v1", "v2")
	namespace := gw.service.namespace
	server := w.gatewayServer(443, "TLS", []string{pick(w, "*", "*.local", to.fqdn(), to.namespace+"/*")}, map[string]any{"mode": "AUTO_PASSTHROUGH"})
	w.gateway(namespace, gw.labels, server)
	tls := map[string]any{"mode": "ISTIO_MUTUAL", "sni": "outbound_." + itoa(toPort) + "_." + subset + "_." + to.fqdn()}
	if w.chance(0.7) {
		tls["subjectAltNames"] = []any{"spiffe://cluster.local/ns/" + to.namespace + "/sa/" + to.name}
	}
	w.istio("networking", "DestinationRule", namespace, w.name("dr"), map[string]any{
		"host": gw.service.fqdn(), "subsets": []any{map[string]any{"name": "between", "trafficPolicy": map[string]any{"tls": tls}}},
	})
	if subset != "" || w.chance(0.2) {
		w.istio("networking", "DestinationRule", to.namespace, w.name("dr"), map[string]any{
			"host": to.fqdn(), "subsets": []any{
				map[string]any{"name": "v1", "labels": stringMap("version", "v1")},
				map[string]any{"name": "v2", "labels": stringMap("version", "v2")},
			},
		})
	}
	w.istio("networking", "VirtualService", w.namespace(), w.name("vs"), map[string]any{
		"hosts": []any{host},
		"http": []any{map[string]any{"route": []any{map[string]any{
			"destination": map[string]any{"host": gw.service.fqdn(), "subset": "between", "port": map[string]any{"number": 443}},
		}}}},
	})
	w.entry(w.namespace(), []string{host}, []entryPort{{80, "HTTP"}})
	for range 3 {
		w.seen.targets = append(w.seen.targets, destination{host, 80, "HTTP"})
	}
}
