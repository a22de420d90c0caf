package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR803", Name: "gateway-leg-missing", Severity: Error,
	Run: runLegMissing,
	Doc: Doc{
		Title: "Requests are sent to an egress gateway that does not take or does not forward them",
		What: "A route of the mesh sends a host to an egress gateway, and there is no server, no route or no registered host for it there: another port number, another host or server name, " +
			"a VirtualService that is not bound to the Gateway or not visible to it, an `http` route for a TLS server, a destination that the gateway does not know. Or a route at a waypoint leads to a host that the waypoint does not know, or a waypoint is to take requests for wildcards with resolution DYNAMIC_DNS on another port than 80; " +
			"or a gateway sends requests for one registered host to another, as they come.",
		Why: "The way through an egress gateway has two legs, and each is configured in several objects that have to agree. Where the second leg is missing clients get 404, 503 or a reset. " +
			"Gateway servers name ports of the gateway's Service, and `match.port` of the gateway's route names the server's port. " +
			"What the gateway sees is decided by the namespace of its pods, not by that of the Gateway object.",
		Bad:  egressDoc("", "    - gateways:\n      - egress\n      port: 443\n", "    - gateways:\n      - egress\n      port: 8443\n"),
		Good: egressDoc(""),
		Fix: "Follow the request: the destination's port must be a port of the gateway's Service, a Gateway server must have that port number and the host, " +
			"and a VirtualService with the host, bound to that Gateway and visible to the gateway's namespace, must have a route in the block that the server reads " +
			"(`http` for HTTP and for HTTPS that is opened, `tcp` for TCP and for TLS that is opened, `tls` for PASSTHROUGH).",
		Silent: "Hosts of which some request gets through, or may; TLS that does not fit (EGR806), missing subsets (EGR807) and policies (EGR809); " +
			"Gateways in namespaces of which the input holds nothing; routes whose conditions on paths, headers or methods nobody meets.",
		Sources: []string{
			"istio pilot/pkg/model/gateway.go (resolvePorts, mergeGateways)",
			"istio pilot/pkg/networking/core/gateway.go",
			"istio pilot/pkg/model/push_context.go (VirtualServicesForGateway)",
			"istio pilot/pkg/networking/core/listener_waypoint.go (buildRouteVHostDomains)",
		},
	},
})

func runLegMissing(p *Pass) {
	in := intentOf(p)
	type key struct {
		object  *manifest.Object
		field   string
		text    string
		gateway string
	}
	var found byKey[key]
	faults := map[key]*fault{}
	for a := range in.failing(flow.NoListener, flow.NoFilterChain, flow.NoRoute, flow.NoCluster) {
		if f := in.fault(a); f != nil {
			k := key{f.object, f.field, f.text, a.By.gateway()}
			if faults[k] == nil {
				faults[k] = f
			}
			found.add(k, a)
		}
	}
	in.reportUnreadRoutes()
	in.reportLostAtWaypoint()
	in.reportPortInHost()
	in.reportOtherHosts()
	for _, k := range found.keys {
		c, f := found.of[k], faults[k]
		p.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("%s %s sent to %s on %s, where nothing forwards %s (%s): %s; %s",
				upTo3(c.hosts), c.are(), k.gateway, portsText(c.ports), pronoun(c), k.text, whatClientsSee(c), f.todo),
			Label: "the way through the gateway ends here", Help: f.todo,
			Related: []Related{c.first.By.related()},
		}))
	}
}

func pronoun(c *collected) string {
	if len(c.hosts) > 1 {
		return "them"
	}
	return "it"
}

// whatClientsSee says how a request that fails looks to those who send it.
func whatClientsSee(c *collected) string {
	if status := c.first.Trace.HTTPStatus; status != 0 && c.first.Flow.Scheme == flow.HTTP {
		return fmt.Sprintf("%s %d", c.who("gets", "get"), status)
	}
	return fmt.Sprintf("connections of %s are reset", upTo3(c.workloads()))
}
