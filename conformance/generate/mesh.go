package generate

import "sigs.k8s.io/yaml"

// mesh makes namespaces and the mesh configuration.
func (w *world) mesh() {
	config := map[string]any{}
	w.v6 = w.chance(0.04)
	if w.chance(0.03) {
		config["discoverySelectors"] = []any{map[string]any{"matchLabels": stringMap("watched", "yes")}}
	}
	if w.chance(0.9) {
		mode := map[string]any{"mode": pick(w, "REGISTRY_ONLY", "REGISTRY_ONLY", "REGISTRY_ONLY", "REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS")}
		config["outboundTrafficPolicy"] = mode
	}
	if w.chance(0.08) && !w.tidy {
		config["defaultServiceExportTo"] = w.defaultExport()
	}
	if w.chance(0.08) && !w.tidy {
		config["defaultVirtualServiceExportTo"] = w.defaultExport()
	}
	if w.chance(0.08) && !w.tidy {
		config["defaultDestinationRuleExportTo"] = w.defaultExport()
	}
	if w.chance(0.1) {
		config["enableAutoMtls"] = false
	}
	if w.chance(0.1) {
		config["trustDomain"] = "example.org"
		if w.chance(0.5) {
			config["trustDomainAliases"] = []any{"old.example.org"}
		}
	}
	if w.chance(0.2) {
		config["pathNormalization"] = map[string]any{"normalization": pick(w, "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")}
	}
	proxies := map[string]any{}
	if w.chance(0.1) {
		proxies["gatewayTopology"] = map[string]any{"numTrustedProxies": w.between(1, 2)}
	}
	if w.chance(0.06) {
		proxies["proxyMetadata"] = map[string]any{"ISTIO_META_DNS_CAPTURE": "true"}
	}
	if len(proxies) > 0 {
		config["defaultConfig"] = proxies
	}
	if w.chance(0.07) {
		w.root = "mesh-root"
		w.namespaces = append(w.namespaces, w.root)
		config["rootNamespace"] = w.root
	}
	config["extensionProviders"] = []any{map[string]any{
		"name":              "checker",
		"envoyExtAuthzHttp": map[string]any{"service": "checker.example.com", "port": 8000},
	}}
	text, err := yaml.Marshal(config)
	if err != nil {
		panic(err)
	}
	w.object("v1", "ConfigMap", "istio-system", "istio", nil)["data"] = map[string]any{"mesh": string(text)}

	for _, ns := range w.namespaces {
		labels := map[string]any{}
		if ns != "istio-system" && !w.chance(0.03) {
			labels["istio-injection"] = "enabled"
		}
		if config["discoverySelectors"] == nil || w.chance(0.85) {
			labels["watched"] = "yes"
		}
		if w.chance(0.2) {
			labels["team"] = pick(w, "red", "blue")
		}
		delete(w.object("v1", "Namespace", "", ns, nil)["metadata"].(map[string]any), "namespace")
		w.objects[len(w.objects)-1]["metadata"].(map[string]any)["labels"] = labels
	}
	if w.chance(0.25) {
		w.peerAuthentication()
	}
}

func (w *world) defaultExport() []any {
	return pick(w, []any{"."}, []any{"."}, []any{"*"}, []any{"~"}, []any{".", "istio-system"})
}

func (w *world) peerAuthentication() {
	spec := map[string]any{"mtls": map[string]any{"mode": pick(w, "STRICT", "STRICT", "PERMISSIVE", "DISABLE", "UNSET")}}
	ns := pick(w, w.root, w.namespace())
	if w.chance(0.3) {
		spec["selector"] = map[string]any{"matchLabels": stringMap("app", pick(w, "web", "sleep", "db"))}
		if w.chance(0.5) {
			spec["portLevelMtls"] = map[string]any{pick(w, "8080", "9000", "80"): map[string]any{"mode": pick(w, "STRICT", "PERMISSIVE", "DISABLE")}}
		}
	}
	w.istio("security", "PeerAuthentication", ns, w.name("pa"), spec)
}
