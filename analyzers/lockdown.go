package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

// lockdown returns a NetworkPolicy that keeps the pods of a namespace from the
// internet and lets their proxies work: DNS, istiod for sidecars, and the pods of
// the gateways and waypoints that their requests are sent through, on the ports on
// which these listen. Gateways and waypoints of the namespace itself are left out of
// it: their requests are to leave.
func lockdown(in *intent, namespace string, clients []*model.Workload) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: egress-lockdown
  namespace: %s
spec:
  podSelector:%s
  policyTypes:
  - Egress
  # Add what the pods call inside the cluster. Never add an ipBlock of public addresses.
  egress:
`, namespace, in.butProxies(namespace, clients))
	peer := func(comment, namespace string, labels map[string]string, ports ...string) {
		fmt.Fprintf(&b, "  # %s\n  - to:\n    - namespaceSelector:\n        matchLabels:\n          %s: %s\n      podSelector:\n        matchLabels:\n", comment, model.NamespaceNameLabel, namespace)
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			fmt.Fprintf(&b, "          %s: %q\n", k, labels[k])
		}
		b.WriteString("    ports:\n")
		for _, port := range ports {
			protocol, number, _ := strings.Cut(port, " ")
			fmt.Fprintf(&b, "    - protocol: %s\n      port: %s\n", protocol, number)
		}
	}
	peer("DNS", "kube-system", map[string]string{"k8s-app": "kube-dns"}, "UDP 53", "TCP 53")
	if slices.ContainsFunc(clients, in.captured) {
		peer("istiod", in.push.RootNamespace(), map[string]string{"app": "istiod"}, "TCP 15012")
	}
	for _, stop := range in.stopsOf(clients) {
		var ports []string
		for _, port := range stop.ports {
			ports = append(ports, fmt.Sprintf("TCP %d", port))
		}
		peer(stop.what, stop.Namespace, in.podLabels(stop.Workload), ports...)
	}
	return b.String()
}

// butProxies selects the pods of a namespace that are neither gateway nor waypoint,
// as far as labels tell these from clients.
func (in *intent) butProxies(namespace string, clients []*model.Workload) string {
	var asked []string
	for _, w := range in.pass.Mesh.Workloads {
		if w.Namespace != namespace {
			continue
		}
		if mode := in.pass.Reach.Sim.Capture(w).Mode; mode != capture.Router && mode != capture.Waypoint {
			continue
		}
		tells := func(key string) bool {
			return !slices.ContainsFunc(clients, func(c *model.Workload) bool { return c.Labels[key] == w.Labels[key] })
		}
		ask := ""
		if labels := in.podLabels(w); w.Labels[model.GatewayNameLabel] != "" && tells(model.GatewayNameLabel) {
			ask = fmt.Sprintf("\n    - key: %s\n      operator: DoesNotExist", model.GatewayNameLabel)
		} else if keys := slices.DeleteFunc(slices.Sorted(maps.Keys(labels)), func(key string) bool { return !tells(key) }); len(keys) > 0 {
			ask = fmt.Sprintf("\n    - key: %s\n      operator: NotIn\n      values: [%q]", keys[0], labels[keys[0]])
		}
		if ask != "" && !slices.Contains(asked, ask) {
			asked = append(asked, ask)
		}
	}
	if len(asked) == 0 {
		return " {}"
	}
	slices.Sort(asked)
	return "\n    # All but gateways and waypoints.\n    matchExpressions:" + strings.Join(asked, "")
}

// stop is a gateway or waypoint that requests of some clients are sent through,
// and the ports on which its pods listen for them or are sent them.
type stop struct {
	*model.Workload
	what  string
	ports []int
}

// stopsOf returns the gateways of the steerings that are meant for some of the
// clients, then the waypoints that the others in ambient mode are sent to.
func (in *intent) stopsOf(clients []*model.Workload) []stop {
	var out []stop
	add := func(w *model.Workload, what string, port int) {
		i := slices.IndexFunc(out, func(s stop) bool { return s.Workload == w })
		if i < 0 {
			i, out = len(out), append(out, stop{Workload: w, what: what})
		}
		if at, found := slices.BinarySearch(out[i].ports, port); !found {
			out[i].ports = slices.Insert(out[i].ports, at, port)
		}
	}
	sidecar := slices.IndexFunc(clients, in.captured)
	for _, s := range in.steerings {
		if sidecar < 0 || !slices.ContainsFunc(clients, s.isFor) {
			continue
		}
		for _, w := range s.Pods {
			for _, server := range serversOf(in.push, w) {
				add(w, "egress gateway "+w.ID(), server.Port)
			}
		}
		// No server may listen there yet: that is a fault of its own.
		for _, to := range in.podPorts(s) {
			add(to.Workload, "egress gateway "+to.Workload.ID(), to.Port)
		}
	}
	if slices.ContainsFunc(clients, func(w *model.Workload) bool { return in.pass.Reach.Sim.Capture(w).Mode == capture.Ambient }) {
		for _, h := range served(waypointHosts(in.pass)) {
			if w := in.push.WaypointWorkload(h.Binding.Waypoint); w != nil {
				add(w, "waypoint "+w.ID(), model.HBONEPort)
			}
		}
	}
	return out
}

// podLabels returns labels that tell a workload's pods from others: what a
// Service asks for, else all.
func (in *intent) podLabels(w *model.Workload) map[string]string {
	for _, s := range in.push.Services() {
		if s.Kubernetes() && s.Namespace == w.Namespace && len(s.Selector) > 0 && hasLabels(w.Labels, s.Selector) {
			return s.Selector
		}
	}
	return w.Labels
}
