package generate

// sidecar makes a Sidecar resource.
func (w *world) sidecar() {
	spec := map[string]any{}
	listener := map[string]any{"hosts": anys(w.sidecarHosts())}
	egress := []any{listener}
	if w.chance(0.12) {
		special := map[string]any{
			"port":  map[string]any{"number": pick(w, 80, 443, 9000), "protocol": pick(w, "HTTP", "TLS", "TCP"), "name": "special"},
			"hosts": anys(w.sidecarHosts()),
		}
		if w.chance(0.3) {
			special["bind"] = pick(w, "127.0.0.1", "203.0.113.9", "0.0.0.0")
		}
		egress = []any{special, listener}
	}
	if w.chance(0.92) {
		spec["egress"] = egress
	}
	if w.chance(0.4) {
		policy := map[string]any{"mode": pick(w, "REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY")}
		if policy["mode"] == "ALLOW_ANY" && w.chance(0.15) {
			policy["egressProxy"] = map[string]any{"host": w.gateways[0].service.fqdn(), "port": map[string]any{"number": pick(w, 443, 80, 9000)}}
		}
		spec["outboundTrafficPolicy"] = policy
	}
	if w.chance(0.06) {
		spec["ingress"] = []any{map[string]any{
			"port":            map[string]any{"number": pick(w, 80, 8080, 9000), "protocol": pick(w, "HTTP", "TCP"), "name": "in"},
			"defaultEndpoint": pick(w, "127.0.0.1:9090", "0.0.0.0:8080"),
		}}
	}
	namespace := pick(w, "default", "app", "app", w.root, w.namespace())
	if namespace != w.root && w.chance(0.3) {
		spec["workloadSelector"] = map[string]any{"labels": stringMap("app", pick(w, "sleep", "batch", "web"))}
	}
	w.istio("networking", "Sidecar", namespace, w.name("sc"), spec)
}

func (w *world) sidecarHosts() []string {
	patterns := []string{"./*", "*/*", "istio-system/*", "*/*.example.com", "*/api.example.com", "default/*", "app/*", "other/*", "./api.example.com", "*/*.wild.test", "*/a.wild.test"}
	hosts := some(w, 3, patterns...)
	if w.chance(0.05) {
		hosts = []string{"~/*"}
	}
	if w.chance(0.08) {
		hosts = append(hosts, "~default/*.example.com")
	}
	return hosts
}
