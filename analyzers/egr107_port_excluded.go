package analyzers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var _ = register(&Analyzer{
	ID:   "EGR107",
	Name: "outbound-port-excluded",
	Doc: Doc{
		Title: "A controlled port is excluded from the sidecar",
		What: "`traffic.sidecar.istio.io/excludeOutboundPorts` of a pod, or `global.proxy.excludeOutboundPorts` of the installation, " +
			"names a port on which the mesh controls what the workload sends: a host that a route sends to an egress gateway, or " +
			"any host in a mesh that is `REGISTRY_ONLY`.",
		Why: "The redirect leaves connections to an excluded port alone. They go where the application sends them: past the sidecar, " +
			"its routes and its outbound policy, and past the gateway with its AuthorizationPolicies.",
		Bad:  documents(closedMesh, shopNamespace, annotatedOrders(`traffic.sidecar.istio.io/excludeOutboundPorts: "443"`)),
		Good: documents(closedMesh, shopNamespace, annotatedOrders(`traffic.sidecar.istio.io/excludeInboundPorts: "443"`)),
		Fix: "Remove the port. If a sidecar gets in the way of one destination, exclude its address with " +
			"`excludeOutboundIPRanges`, not the port.",
		Silent: "Nothing in the manifests controls the port: no route to a gateway, no `REGISTRY_ONLY`. The workload has no sidecar, or the " +
			"outcome is unknown. Where a NetworkPolicy stops the requests it is a note.",
		Sources: []string{
			"istio/istio tools/istio-iptables/pkg/capture/run.go",
			"https://istio.io/latest/docs/reference/config/annotations/#SidecarTrafficExcludeOutboundPorts",
		},
	},
	Severity:         Error,
	SecuritySeverity: 7.8,
	Run:              runPortExcluded,
})

func runPortExcluded(p *Pass) {
	in := newControls(intentOf(p))
	s := redirectSetting{"excludeOutboundPorts", "excludeOutboundPorts"}
	var found exclusions
	for _, class := range p.Reach.Classes() {
		text, ok := s.of(p.Mesh, class[0])
		if !ok || !in.captured(class[0]) {
			continue
		}
		excluded := excludedPorts(text)
		list, more := in.of(class[0], func(port int) bool { return slices.Contains(excluded, port) }, excluded...)
		found.add(p, class, s, leakOf(p, list, more, s.decided))
	}
	for _, key := range found.order {
		l := found.of[key]
		ports := l.ports()
		what := "the port"
		if len(ports) > 1 {
			what = "the ports"
		}
		p.Report(l.finding(p, Finding{
			Object: key.object, Field: key.field, Label: "not redirected to the sidecar",
			Message: fmt.Sprintf("%s excludes outbound %s from the sidecar; %s go out uncontrolled; remove %s",
				titleOf(key.object), portsText(ports), l.what("any host"), what),
			Help: "to spare one destination, exclude its address with " + trafficAnnotation + "excludeOutboundIPRanges",
		}))
	}
}

// excludedPorts reads a list of ports. Pods with anything else in it do not start (istio
// pkg/kube/inject/validate.go ValidateExcludeOutboundPorts).
func excludedPorts(text string) []int {
	var ports []int
	for part := range strings.SplitSeq(text, ",") {
		if n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 16); err == nil {
			ports = append(ports, int(n))
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}
