package generate

// rule is a DestinationRule of a host; its policies are left to chance.
func (w *world) rule(namespace, host string, ports []int) map[string]any {
	spec := map[string]any{"host": host}
	if w.chance(0.7) {
		spec["trafficPolicy"] = w.trafficPolicy(ports, true)
	}
	for range w.IntN(3) {
		subset := map[string]any{"name": pick(w, "v1", "v2", "egress")}
		if w.chance(0.4) {
			subset["labels"] = stringMap("version", pick(w, "v1", "v2"))
		}
		if w.chance(0.5) {
			subset["trafficPolicy"] = w.trafficPolicy(ports, true)
		}
		list, _ := spec["subsets"].([]any)
		duplicate := false
		for _, s := range list {
			duplicate = duplicate || s.(map[string]any)["name"] == subset["name"]
		}
		if !duplicate {
			spec["subsets"] = append(list, subset)
		}
	}
	w.exportTo(spec, 0.12)
	if w.chance(0.04) {
		// A short name means the rule's own namespace.
		s := pick(w, w.services...)
		spec["host"] = s.name
	}
	if w.chance(0.06) {
		spec["workloadSelector"] = map[string]any{"matchLabels": stringMap("app", pick(w, "sleep", "istio-egressgateway"))}
		delete(spec, "exportTo")
	}
	w.istio("networking", "DestinationRule", namespace, w.name("dr"), spec)
	return spec
}

func (w *world) trafficPolicy(ports []int, levels bool) map[string]any {
	policy := map[string]any{}
	if w.chance(0.6) {
		policy["tls"] = w.clientTLS("")
	}
	if w.chance(0.2) {
		policy["loadBalancer"] = map[string]any{"simple": pick(w, "ROUND_ROBIN", "LEAST_REQUEST", "PASSTHROUGH")}
	}
	if levels && w.chance(0.4) && len(ports) > 0 {
		level := map[string]any{"port": map[string]any{"number": pick(w, ports...)}}
		if w.chance(0.75) {
			level["tls"] = w.clientTLS("")
		} else {
			level["loadBalancer"] = map[string]any{"simple": "ROUND_ROBIN"}
		}
		policy["portLevelSettings"] = []any{level}
	}
	if w.chance(0.02) {
		policy["tunnel"] = map[string]any{"protocol": "CONNECT", "targetHost": "far.example.com", "targetPort": 443}
	}
	if len(policy) == 0 || w.chance(0.1) {
		policy["connectionPool"] = map[string]any{"http": map[string]any{"h2UpgradePolicy": pick(w, "UPGRADE", "DO_NOT_UPGRADE")}}
	}
	return policy
}

// clientTLS are TLS settings towards a server whose name is sni, or any.
func (w *world) clientTLS(sni string) map[string]any {
	mode := pick(w, "SIMPLE", "SIMPLE", "SIMPLE", "ISTIO_MUTUAL", "ISTIO_MUTUAL", "MUTUAL", "DISABLE")
	tls := map[string]any{"mode": mode}
	switch mode {
	case "MUTUAL":
		if w.chance(0.5) {
			tls["credentialName"] = "client-credential"
		} else {
			tls["clientCertificate"], tls["privateKey"] = "/etc/client/cert.pem", "/etc/client/key.pem"
			tls["caCertificates"] = "/etc/client/ca.pem"
		}
	case "SIMPLE":
		if w.chance(0.1) {
			tls["credentialName"] = "ca-credential"
		}
	case "ISTIO_MUTUAL":
		if w.chance(0.07) {
			tls["subjectAltNames"] = []any{pick(w, "spiffe://cluster.local/ns/istio-system/sa/istio-egressgateway-service-account", "spiffe://cluster.local/ns/other/sa/other")}
		}
	}
	if sni == "" && w.chance(0.4) {
		sni = pick(w, externalHosts...)
	}
	if sni != "" && mode != "DISABLE" {
		tls["sni"] = sni
	}
	return tls
}
