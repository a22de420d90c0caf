package generate

import (
	"slices"
	"strings"
)

var (
	externalHosts = []string{"api.example.com", "www.example.com", "example.com", "a.wild.test", "b.wild.test", "deep.a.wild.test", "db.data.test"}
	wildcardHosts = []string{"*.example.com", "*.wild.test", "*.a.wild.test", "*.test"}
	singleIPs     = []string{"203.0.113.9", "203.0.113.10", "198.51.100.7"}
	ranges        = []string{"203.0.113.0/24", "198.51.100.0/28", "203.0.113.0/28"}
)

// entryPort is a port of a ServiceEntry.
type entryPort struct {
	number   int
	protocol string
}

var entryPorts = []entryPort{
	{80, "HTTP"}, {80, "HTTP"}, {80, "HTTP"}, {80, "HTTP2"}, {443, "TLS"}, {443, "HTTPS"}, {443, "HTTPS"}, {443, "TLS"},
	{443, "TCP"}, {443, "HTTP"}, {8080, "HTTP"}, {8080, "TCP"}, {9000, "TCP"}, {9000, "TCP"}, {3306, "MySQL"}, {3306, "TCP"}, {6379, "Redis"},
	{27017, "Mongo"}, {8443, "TLS"}, {8080, "GRPC"}, {3128, "HTTP_PROXY"}, {80, "TCP"}, {53, "UDP"}, {9000, "TLS"}, {80, "GRPC-Web"},
}

// anyPorts are one to three ports with different numbers.
func (w *world) anyPorts() []entryPort {
	var ports []entryPort
	for range w.between(1, 3) {
		p := pick(w, entryPorts...)
		if !slices.ContainsFunc(ports, func(q entryPort) bool { return q.number == p.number }) {
			ports = append(ports, p)
		}
	}
	return ports
}

// entry is a ServiceEntry of hosts and ports whose other fields are left to
// chance.
func (w *world) entry(namespace string, hosts []string, ports []entryPort) map[string]any {
	// Validation wants a single host where a port is neither HTTP nor TLS.
	if len(hosts) > 1 && !w.chance(0.03) && slices.ContainsFunc(ports, func(p entryPort) bool { return opaque(p.protocol) }) {
		hosts = hosts[:1]
	}
	spec := map[string]any{"hosts": anys(hosts)}
	wildcard := slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, "*") })
	resolution := pick(w, "DNS", "DNS", "DNS", "DNS", "NONE", "NONE", "STATIC", "STATIC", "DNS_ROUND_ROBIN")
	if wildcard {
		resolution = pick(w, "NONE", "NONE", "NONE", "STATIC", "DNS", "DYNAMIC_DNS")
	}
	if resolution == "DYNAMIC_DNS" && !w.chance(0.05) {
		ports = slices.DeleteFunc(slices.Clone(ports), func(p entryPort) bool {
			return !slices.Contains([]string{"HTTP", "HTTP2", "GRPC", "TLS"}, p.protocol)
		})
		if len(ports) == 0 {
			ports = []entryPort{{443, "TLS"}}
		}
	}
	spec["resolution"] = resolution
	var list []any
	for _, p := range ports {
		port := map[string]any{"number": p.number, "name": strings.ReplaceAll(strings.ToLower(p.protocol), "_", "-") + "-" + itoa(p.number), "protocol": p.protocol}
		if w.chance(0.08) {
			port["targetPort"] = pick(w, 443, 8443, 8080)
		}
		list = append(list, port)
		w.seen.ports = append(w.seen.ports, p.number)
		for _, h := range hosts {
			w.seen.targets = append(w.seen.targets, destination{h, p.number, p.protocol})
		}
	}
	spec["ports"] = list
	switch {
	case w.chance(0.2):
		spec["location"] = "MESH_INTERNAL"
	case w.chance(0.5):
		spec["location"] = "MESH_EXTERNAL"
	}
	w.entryEndpoints(namespace, spec, resolution, wildcard)
	if w.chance(0.3) && resolution != "DYNAMIC_DNS" {
		addresses := some(w, 2, singleIPs...)
		if w.chance(0.35) && (resolution == "NONE" || resolution == "STATIC") {
			addresses = []string{pick(w, ranges...)}
			if w.chance(0.2) {
				addresses = append(addresses, pick(w, singleIPs...))
			}
		}
		if w.v6 && w.chance(0.5) {
			addresses = append(addresses, pick(w, "2001:db8::9", "2001:db8::10"))
			if resolution == "NONE" && w.chance(0.5) {
				addresses = []string{"2001:db8:1::/48"}
			}
		}
		spec["addresses"] = anys(addresses)
		w.seen.addresses = append(w.seen.addresses, addresses...)
	}
	w.exportTo(spec, 0.12)
	if w.chance(0.03) {
		spec["exportTo"] = []any{"~"}
	}
	if w.chance(0.04) {
		spec["subjectAltNames"] = []any{"spiffe://cluster.local/ns/other/sa/web"}
	}
	w.seen.hosts = append(w.seen.hosts, hosts...)
	w.istio("networking", "ServiceEntry", namespace, w.name("se"), spec)
	return spec
}

func opaque(protocol string) bool {
	return slices.Contains([]string{"TCP", "MySQL", "Mongo", "Redis", "UDP"}, protocol)
}

func (w *world) entryEndpoints(namespace string, spec map[string]any, resolution string, wildcard bool) {
	endpoint := func(address string) map[string]any {
		e := map[string]any{"address": address}
		if w.chance(0.3) {
			e["labels"] = stringMap("version", pick(w, "v1", "v2"))
		}
		if w.chance(0.15) {
			for _, p := range spec["ports"].([]any) {
				e["ports"] = map[string]any{p.(map[string]any)["name"].(string): pick(w, 8443, 8080, 9443)}
			}
		}
		return e
	}
	switch resolution {
	case "STATIC":
		if w.chance(0.25) {
			app := pick(w, "vm", "vm", "web", "sleep")
			spec["workloadSelector"] = map[string]any{"labels": stringMap("app", app)}
			if app != "sleep" && !w.chance(0.15) {
				// What selects nothing is unknown; that is seldom worth asking.
				w.machine(namespace, app)
			}
			return
		}
		if w.chance(0.05) {
			return
		}
		spec["endpoints"] = []any{endpoint(pick(w, "192.0.2.10", "192.0.2.11"))}
		if w.chance(0.3) {
			spec["endpoints"] = []any{endpoint("192.0.2.10"), endpoint("192.0.2.12")}
		}
	case "DNS":
		if wildcard || w.chance(0.25) {
			spec["endpoints"] = []any{endpoint(pick(w, "backend.example.net", "192.0.2.20", "web.other.svc.cluster.local", w.gateways[0].service.fqdn()))}
			if w.chance(0.2) {
				spec["endpoints"] = append(spec["endpoints"].([]any), endpoint("backend2.example.net"))
			}
		} else if w.chance(0.05) {
			spec["workloadSelector"] = map[string]any{"labels": stringMap("app", "vm")}
			w.machine(namespace, "vm")
		}
	case "DNS_ROUND_ROBIN":
		if w.chance(0.3) {
			spec["endpoints"] = []any{endpoint("backend.example.net")}
		}
	}
}

func (w *world) workloadEntry(namespace string) { w.machine(namespace, pick(w, "vm", "vm", "web")) }

// machine is a WorkloadEntry of an application.
func (w *world) machine(namespace, app string) {
	spec := map[string]any{"address": pick(w, "192.0.2.30", "192.0.2.31", "vm.example.net"), "labels": stringMap("app", app)}
	if w.chance(0.3) {
		spec["labels"].(map[string]any)["version"] = pick(w, "v1", "v2")
	}
	if w.chance(0.2) {
		spec["labels"].(map[string]any)["security.istio.io/tlsMode"] = "istio"
	}
	if labels := spec["labels"].(map[string]any); slices.Contains(w.headless, namespace+"/"+labels["app"].(string)) {
		// Whether machines count for a headless Service depends on what happened
		// last: istiod adds them when its pods change, not when they themselves do
		// (pilot/pkg/serviceregistry/kube/controller WorkloadInstanceHandler).
		labels["app"] = "vm"
	}
	w.istio("networking", "WorkloadEntry", namespace, w.name("we"), spec)
}
