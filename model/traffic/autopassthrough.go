package traffic

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
)

// autoPassthroughChains forward mesh TLS unopened to the service, or the subset
// of one, that its server name names; authorization is not evaluated (istio
// gateway.go builtAutoPassthroughFilterChains).
func (p *proxy) autoPassthroughChains(s *model.GatewayServer) []*chain {
	var out []*chain
	for _, svc := range p.scope.Services {
		if svc.MeshExternal || !slices.ContainsFunc(s.SNIHosts, func(h string) bool { return svc.Hostname.SubsetOf(host.Name(h)) }) {
			continue
		}
		subsets := []string{""}
		if rule := p.push.DestinationRule(p.namespace, p.labels, svc); rule != nil {
			for _, subset := range rule.Subsets {
				subsets = append(subsets, subset.GetName())
			}
		}
		for _, port := range svc.Ports {
			if port.Protocol == protocol.UDP {
				continue
			}
			for _, subset := range subsets {
				name := forwardedName(port.Number, subset, string(svc.Hostname))
				out = append(out, &chain{
					name: "auto-passthrough", server: s, meshALPN: true, noPolicies: true,
					sni:     []string{name},
					targets: []target{{cluster: name}},
					what:    fmt.Sprintf("%s forwards mesh TLS unopened to what its server name names, %s", s.Title(), svc.Hostname),
					because: serverBecause(s, "tls.mode"),
				})
			}
		}
	}
	return out
}

// forwardedName names the cluster to which AUTO_PASSTHROUGH servers forward mesh
// TLS; it is the server name of that TLS, too (istio pilot/pkg/model/service.go
// BuildDNSSrvSubsetKey).
func forwardedName(port int, subset, hostname string) string {
	return strings.ReplaceAll(clusterName(port, subset, hostname), "|", "_.")
}

// clusterParts takes the name of a cluster apart: direction, port, subset and host, fewer
// where it is none. forwards: the name is a [forwardedName].
func clusterParts(name string) (parts []string, forwards bool) {
	separator := "|"
	if forwards = strings.HasPrefix(name, "outbound_."); forwards {
		separator = "_."
	}
	return strings.SplitN(name, separator, 4), forwards
}

// forwardsTo leaves a cluster that forwards mesh TLS the endpoints that take it
// (istio pilot/pkg/xds/endpoints/ep_filters.go EndpointsWithMTLSFilter). It adds no
// TLS of its own (cluster.go buildOutboundSniDnatClusters).
func (p *proxy) forwardsTo(c *cluster, rule *model.MergedDestinationRule, subset *model.Subset) {
	c.endpointMode = endpointMode(rule, subset, c.port.Number)
	c.endpoints = slices.DeleteFunc(c.endpoints, func(e model.Endpoint) bool { return !p.marked(c, &e) })
}
