package generate

import "strings"

// server is one server of a Gateway.
func (w *world) gatewayServer(port int, protocol string, hosts []string, tls map[string]any) map[string]any {
	s := map[string]any{
		"port":  map[string]any{"number": port, "name": strings.ToLower(protocol) + "-" + itoa(port), "protocol": protocol},
		"hosts": anys(hosts),
	}
	if tls != nil {
		s["tls"] = tls
	}
	w.seen.ports = append(w.seen.ports, port)
	if w.chance(0.02) {
		s["bind"] = pick(w, "0.0.0.0", "127.0.0.1")
	}
	return s
}

// anyServer is a server as it comes, with hosts of the universe.
func (w *world) anyServer() map[string]any {
	hosts := some(w, 2, externalHosts...)
	switch {
	case w.chance(0.15):
		hosts = []string{pick(w, wildcardHosts...)}
	case w.chance(0.12):
		hosts = []string{"*"}
	}
	for i, h := range hosts {
		if w.chance(0.12) {
			hosts[i] = pick(w, ".", "*", w.namespace()) + "/" + h
		}
	}
	port := pick(w, 80, 80, 443, 443, 443, 8080, 8443, 9000, 8089)
	switch protocol := pick(w, "HTTP", "HTTP", "HTTPS", "HTTPS", "TLS", "TLS", "TCP", "HTTP2", "GRPC"); protocol {
	case "HTTPS", "TLS":
		return w.gatewayServer(port, protocol, hosts, w.serverTLS())
	case "HTTP":
		var tls map[string]any
		if w.chance(0.08) {
			tls = map[string]any{"httpsRedirect": true}
		}
		return w.gatewayServer(port, protocol, hosts, tls)
	default:
		return w.gatewayServer(port, protocol, hosts, nil)
	}
}

func (w *world) serverTLS() map[string]any {
	// Certificates of a server's own leave little to be decided (docs/conformance.md).
	mode := pick(w, "ISTIO_MUTUAL", "ISTIO_MUTUAL", "PASSTHROUGH", "PASSTHROUGH", "AUTO_PASSTHROUGH")
	if w.chance(0.1) {
		mode = pick(w, "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
	}
	tls := map[string]any{"mode": mode}
	switch mode {
	case "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL":
		if w.chance(0.5) {
			tls["credentialName"] = "server-credential"
		} else {
			tls["serverCertificate"], tls["privateKey"] = "/etc/server/cert.pem", "/etc/server/key.pem"
			if mode != "SIMPLE" {
				tls["caCertificates"] = "/etc/server/ca.pem"
			}
		}
	case "ISTIO_MUTUAL":
		if w.chance(0.05) {
			tls["subjectAltNames"] = []any{pick(w, "spiffe://cluster.local/ns/app/sa/sleep", "spiffe://cluster.local/ns/default/sa/sleep")}
		}
	}
	return tls
}

// gateway makes a Gateway of servers and returns the name by which objects of
// a namespace refer to it.
func (w *world) gateway(namespace string, selector map[string]any, servers ...any) string {
	// Names of ports must differ within a Gateway.
	for i, s := range servers {
		port := s.(map[string]any)["port"].(map[string]any)
		port["name"] = port["name"].(string) + "-" + itoa(i)
	}
	spec := map[string]any{"servers": servers}
	if selector != nil {
		spec["selector"] = selector
	}
	name := w.name("gw")
	w.istio("networking", "Gateway", namespace, name, spec)
	w.seen.gatewayNames = append(w.seen.gatewayNames, namespace+"/"+name)
	return namespace + "/" + name
}

func (w *world) anyGateway() {
	var servers []any
	for range w.between(1, 3) {
		servers = append(servers, w.anyServer())
	}
	selector := map[string]any{"istio": "egressgateway"}
	switch w.IntN(12) {
	case 0:
		selector = map[string]any{"istio": "ingressgateway"}
	case 1:
		selector = map[string]any{"app": "istio-egressgateway"}
	case 2:
		selector = map[string]any{"istio": "second"}
	case 3:
		selector = nil
	}
	w.gateway(w.namespace(), selector, servers...)
}
