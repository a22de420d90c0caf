package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR220", Name: "route-wider-than-registry", Severity: Warning, SecuritySeverity: 5.5,
	Run: runRouteWider,
	Doc: Doc{
		Title: "A VirtualService opens more hosts than any ServiceEntry registers",
		What: "The mesh is closed to hosts that nothing registers, and a TLS rule of a VirtualService for the sidecars has a wildcard in `sniHosts` that no ServiceEntry registers: " +
			"connections for other hosts under it get out by that rule.",
		Why: "A sidecar that has a listener for the port, because some host under the wildcard is registered there, compares the server name with the rules of the VirtualService alone. " +
			"REGISTRY_ONLY closes what no rule takes; the wildcard takes everything under it and sends it to the rule's destination.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, tlsEntry("api.example.com"), tlsRoute("*.example.com")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, tlsEntry("api.example.com"), tlsRoute("api.example.com")),
		Fix:  "List in `hosts` and `sniHosts` the hosts that are registered, or register the wildcard if it is meant.",
		Silent: "Rules that lead to a gateway, which decides itself; wildcards that a ServiceEntry registers; a mesh that is open anyway; " +
			"requests that do not get out.",
		Sources: []string{
			"istio pilot/pkg/networking/core/tls.go (buildSidecarOutboundTLSFilterChainOpts)",
			"https://github.com/istio/istio.io/issues/2766",
		},
	},
})

func tlsEntry(h string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - ` + h + `
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`
}

func tlsRoute(h string) string {
	return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - "` + h + `"
  tls:
  - match:
    - port: 443
      sniHosts:
      - "` + h + `"
    route:
    - destination:
        host: api.example.com
        port:
          number: 443
`
}

// widening is a wildcard in a rule for the sidecars.
type widening struct {
	object *manifest.Object
	field  string
	host   string
}

func runRouteWider(p *Pass) {
	in := intentOf(p)
	var found byKey[widening]
	for _, vs := range in.push.VirtualServices() {
		if vs.OfGatewayAPI != "" || !slices.Contains(vs.Gateways, model.MeshGateway) {
			continue
		}
		for i, r := range vs.TLS {
			if slices.ContainsFunc(r.GetRoute(), func(d *networking.RouteDestination) bool {
				return inCluster(in.push, host.Name(d.GetDestination().GetHost()))
			}) {
				continue
			}
			for j, m := range r.GetMatch() {
				for k, sni := range m.GetSniHosts() {
					h := host.Name(strings.ToLower(sni))
					if !meansMesh(m.GetGateways()) || !h.IsWildCarded() {
						continue
					}
					in.tryWidened(vs, h, int(m.GetPort()), widening{vs.Object, fmt.Sprintf("spec.tls[%d].match[%d].sniHosts[%d]", i, j, k), sni}, &found)
				}
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		p.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Warning, SecuritySeverity: 5.5, Label: "no ServiceEntry registers this",
			Help: "list the hosts that are registered",
			Message: fmt.Sprintf("%s opens %q, which no ServiceEntry registers, although the mesh is closed: %s on %s as %q, for one; list the hosts that are registered",
				k.object, k.host, c.who("gets out", "get out"), portsText(c.ports), c.first.Flow.Host),
		}))
	}
}

// tryWidened asks for a host under a wildcard that nothing registers, for a client of
// each class that is closed to such hosts.
func (in *intent) tryWidened(vs *model.MergedVirtualService, h host.Name, port int, k widening, found *byKey[widening]) {
	if port == 0 {
		port = 443
	}
	witness := "witness" + strings.TrimPrefix(string(h), "*")
	if h == "*" || len(in.registering(in.push, host.Name(witness))) > 0 {
		return
	}
	tried := 0
	for _, class := range in.pass.Reach.Classes() {
		if !in.captured(class[0]) || !vs.ExportTo().VisibleTo(vs.Namespace, class[0].Namespace) {
			continue
		}
		if _, closed := in.closes(class[0]); !closed {
			continue
		}
		if tried++; tried > maxSteered {
			return
		}
		a := &attempt{Class: class, To: reach.Destination{Host: witness, Port: port}, Flow: flow.Flow{From: reach.From(class[0]), Host: witness, Port: port, Scheme: flow.TLS}}
		if a.Trace = in.pass.Reach.Sim.Verdict(a.Flow); a.Trace.Outcome == flow.Allowed && a.Trace.Via == flow.ViaDirect && citesPrefix(a.Trace, k) {
			found.add(k, a)
		}
	}
}

// citesPrefix reports whether a sidecar decided because of the rule of a wildcard.
func citesPrefix(t *flow.Trace, k widening) bool {
	rule, _, _ := strings.Cut(k.field, ".sniHosts")
	for _, hop := range t.Hops {
		for _, b := range hop.Because {
			if hop.At == flow.AtSidecar && b.Object == k.object && strings.HasPrefix(rule, b.Field) {
				return true
			}
		}
	}
	return false
}
