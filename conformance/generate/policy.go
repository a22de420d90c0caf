package generate

var (
	policyPaths = []string{"/", "/api", "/api/*", "*/secret", "/sport*", "*", "/admin", "/{*}/x", "/api/{**}"}
	principals  = []string{"cluster.local/ns/default/sa/sleep", "cluster.local/ns/app/sa/sleep", "*", "*/sa/sleep", "cluster.local/ns/app/*", "example.org/ns/app/sa/sleep"}
)

// policy makes an AuthorizationPolicy.
func (w *world) policy(gatewayAffine bool) {
	namespace := w.namespace()
	spec := map[string]any{}
	if gatewayAffine || w.chance(0.5) {
		namespace = pick(w, w.gateways[0].service.namespace, w.gateways[0].service.namespace, w.root)
	}
	switch {
	case w.chance(0.5):
		spec["selector"] = map[string]any{"matchLabels": pick(w, stringMap("istio", "egressgateway"), stringMap("istio", "egressgateway"), stringMap("app", "web"), stringMap("app", "istio-egressgateway"))}
	case w.chance(0.06):
		spec["targetRefs"] = []any{map[string]any{"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "waypoint"}}
	}
	action := pick(w, "ALLOW", "ALLOW", "ALLOW", "ALLOW", "DENY", "DENY", "DENY", "DENY", "AUDIT", "CUSTOM")
	if action != "ALLOW" || w.chance(0.5) {
		spec["action"] = action
	}
	if action == "CUSTOM" {
		spec["provider"] = map[string]any{"name": pick(w, "checker", "checker", "missing")}
		w.checker()
	}
	if action != "ALLOW" || !w.chance(0.1) {
		var rules []any
		for range w.between(1, 2) {
			rules = append(rules, w.policyRule(action == "CUSTOM"))
		}
		spec["rules"] = rules
	}
	if w.chance(0.02) {
		delete(spec, "rules")
	}
	o := w.istio("security", "AuthorizationPolicy", namespace, w.name("ap"), spec)
	if w.chance(0.06) {
		o["metadata"].(map[string]any)["annotations"] = map[string]any{"istio.io/dry-run": pick(w, "true", "true", "true", "false", "1", "yes")}
	}
}

func (w *world) policyRule(custom bool) map[string]any {
	rule := map[string]any{}
	if w.chance(0.55) {
		var from []any
		for range w.between(1, 2) {
			source := w.source()
			if custom && !w.chance(0.05) {
				// Validation refuses identities in CUSTOM rules.
				source = map[string]any{"ipBlocks": []any{w.podNetwork()}}
			}
			from = append(from, map[string]any{"source": source})
		}
		rule["from"] = from
	}
	if w.chance(0.6) {
		var to []any
		for range w.between(1, 2) {
			to = append(to, map[string]any{"operation": w.operation()})
		}
		rule["to"] = to
	}
	if w.chance(0.35) && !custom {
		var when []any
		for range w.between(1, 2) {
			when = append(when, w.condition())
		}
		rule["when"] = when
	}
	return rule
}

// field sets one of the positive and the negative form of a field, or both.
func (w *world) field(into map[string]any, name, not string, values ...string) {
	list := anys(some(w, 2, values...))
	switch {
	case w.chance(0.75):
		into[name] = list
	case w.chance(0.8):
		into[not] = list
	default:
		into[name] = list
		into[not] = anys(some(w, 1, values...))
	}
}

func (w *world) source() map[string]any {
	source := map[string]any{}
	for len(source) == 0 {
		if w.chance(0.35) {
			w.field(source, "principals", "notPrincipals", principals...)
		}
		if w.chance(0.3) {
			w.field(source, "namespaces", "notNamespaces", "default", "app", "d*", "*p", "*")
		}
		if w.chance(0.15) {
			w.field(source, "ipBlocks", "notIpBlocks", w.podNetwork(), "10.244.99.1/32", "203.0.113.0/24")
		}
		if w.chance(0.1) {
			w.field(source, "remoteIpBlocks", "notRemoteIpBlocks", w.podNetwork(), "198.51.100.0/24")
		}
		if w.chance(0.06) {
			w.field(source, "requestPrincipals", "notRequestPrincipals", "*", "issuer/subject")
		}
		if len(source) == 0 && w.chance(0.3) {
			w.field(source, "serviceAccounts", "notServiceAccounts", "sleep", "default/sleep", "app/sleep")
		}
		if w.chance(0.05) {
			w.field(source, "trustDomains", "notTrustDomains", "cluster.local", "example.org", "*")
		}
	}
	// principals and namespaces exclude serviceAccounts (validation).
	return source
}

func (w *world) operation() map[string]any {
	operation := map[string]any{}
	for len(operation) == 0 {
		if w.chance(0.4) {
			w.field(operation, "hosts", "notHosts", "api.example.com", "API.example.com", "*.example.com", "a.wild.test", "*", "api.example.com:8080", "www.*")
		}
		if w.chance(0.35) {
			w.field(operation, "ports", "notPorts", "80", "8080", "443", "8443", "9000")
		}
		if w.chance(0.3) {
			w.field(operation, "methods", "notMethods", "GET", "HEAD", "POST", "P*", "*ET", "*", "get")
		}
		if w.chance(0.3) {
			w.field(operation, "paths", "notPaths", policyPaths...)
		}
	}
	return operation
}

func (w *world) condition() map[string]any {
	key, values := "connection.sni", []string{"api.example.com", "*.example.com", "a.wild.test", "*"}
	switch w.IntN(10) {
	case 0:
		key, values = "request.headers[x-team]", []string{"red", "bl*", "*", "*ed"}
	case 1:
		key, values = "source.ip", []string{w.podNetwork(), "203.0.113.9"}
	case 2:
		key, values = "remote.ip", []string{w.podNetwork(), "198.51.100.7"}
	case 3:
		key, values = "source.namespace", []string{"default", "app", "a*"}
	case 4:
		key, values = "source.principal", principals
	case 5:
		key, values = "destination.port", []string{"8080", "8443", "80", "443"}
	case 6:
		key, values = "destination.ip", []string{w.podNetwork(), "203.0.113.0/24"}
	case 7:
		key, values = pick(w, "request.auth.principal", "request.auth.audiences"), []string{"*", "issuer/subject"}
	case 8:
		key, values = "request.auth.claims[group]", []string{"admin", "*"}
	}
	condition := map[string]any{"key": key}
	w.field(condition, "values", "notValues", values...)
	return condition
}

func (w *world) requestAuthentication() {
	rule := map[string]any{"issuer": "issuer", "jwks": `{"keys":[]}`}
	if w.chance(0.4) {
		delete(rule, "jwks")
		rule["jwksUri"] = "https://issuer.example.com/keys"
	}
	if w.chance(0.2) {
		rule["fromHeaders"] = []any{map[string]any{"name": pick(w, "x-token", "authorization"), "prefix": "Bearer "}}
	}
	w.istio("security", "RequestAuthentication", pick(w, w.root, w.namespace()), w.name("ra"), map[string]any{"jwtRules": []any{rule}})
}

// checker registers the service that CUSTOM policies ask.
func (w *world) checker() {
	if w.names["checker"]++; w.names["checker"] > 1 || w.chance(0.1) {
		return
	}
	w.object("networking.istio.io/v1", "ServiceEntry", w.root, "checker", map[string]any{
		"hosts": []any{"checker.example.com"}, "resolution": "STATIC",
		"ports":     []any{map[string]any{"number": 8000, "name": "http", "protocol": "HTTP"}},
		"endpoints": []any{map[string]any{"address": "192.0.2.80"}},
	})
}

// podNetwork holds the pods' addresses. What a pod's address of IPv6 is, nobody
// says: where such flows occur, policies ask for another network.
func (w *world) podNetwork() string {
	if w.v6 {
		return "192.168.0.0/16"
	}
	return "10.244.0.0/16"
}
