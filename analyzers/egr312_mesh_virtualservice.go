package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR312", Name: "mesh-wide-virtualservice", Severity: Error, SecuritySeverity: 7.5,
	Run: runMeshWideRoute,
	Doc: Doc{
		Title: "A VirtualService of one namespace redirects the requests of others for a host that is not its own",
		What: "A VirtualService for sidecars, exported beyond its namespace, sends an external host (or every host that its wildcard covers) somewhere else, while the host is registered by a ServiceEntry of another namespace only. " +
			"It is an error where another namespace's route sends the host to an egress gateway.",
		Why:  "VirtualServices without `exportTo` hold for the whole mesh. Anybody who may write one can read, answer or divert what all other namespaces send to a host.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, publicEntry, divertingRoute("")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, publicEntry, divertingRoute("  exportTo:\n  - .\n")),
		Fix:  "Set `exportTo: [\".\"]` (or `meshConfig.defaultVirtualServiceExportTo`), or move the route to the namespace that registers the host.",
		Silent: "Routes to the same host (timeouts, retries), routes to an egress gateway, routes of the root namespace, of the gateway's and of the namespace that registers the host, " +
			"clients of the VirtualService's own namespace, unknown verdicts.",
		Sources: []string{
			"https://istio.io/latest/news/security/istio-security-2026-002/",
			"istio pilot/pkg/model/push_context.go (initVirtualServices)",
		},
	},
})

func divertingRoute(more string) string {
	return documents(strings.ReplaceAll(shopNamespace, "shop", "tools"), strings.NewReplacer("shop", "tools", "orders", "cache").Replace(ordersDeployment), `
apiVersion: v1
kind: Service
metadata:
  name: cache
  namespace: tools
spec:
  selector: {app: cache}
  ports:
  - name: http
    port: 80
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: cache
  namespace: tools
spec:
`+more+`  hosts:
  - "*.example.com"
  http:
  - route:
    - destination:
        host: cache.tools.svc.cluster.local
        port:
          number: 80
`)
}

// diversion is what a finding of EGR312 is about.
type diversion struct {
	object     *manifest.Object
	to         host.Name
	controlled bool
}

func runMeshWideRoute(p *Pass) {
	in := intentOf(p)
	diverting := in.diverting()
	if diverting.Empty() {
		return
	}
	var found byKey[diversion]
	routes, owners := map[diversion]*model.MergedVirtualService{}, map[diversion]*model.Service{}
	for a := range in.attemptsOf(
		func(d reach.Destination) bool { return diverting.concern(in, d) },
		diverting.mayDivert(in),
		func(flow.Via, flow.Reason) bool { return true },
	) {
		object, field := a.explicit()
		if object == nil || a.By != nil || a.Trace.Outcome == flow.Unknown {
			continue
		}
		e, vs := exitAtSidecar(a.Trace), in.routeOf(object)
		if e == nil || vs == nil || !in.diverts(vs) || vs.Namespace == a.Class[0].Namespace || host.Name(a.To.Host).SubsetOf(e.host) || e.route.Field != field {
			continue
		}
		owner := in.ownerOf(host.Name(a.To.Host), vs.Namespace, a.Class[0].Namespace)
		if owner == nil {
			continue
		}
		controlled := slices.ContainsFunc(in.covering(a.To.Host), func(s *steering) bool { return s.Route.Namespace != vs.Namespace && s.isFor(a.Class[0]) })
		k := diversion{object, e.host, controlled}
		if routes[k] == nil {
			routes[k], owners[k] = vs, owner
		}
		found.add(k, a)
	}
	for _, k := range found.keys {
		c, vs := found.of[k], routes[k]
		i := max(0, slices.IndexFunc(vs.Hosts, func(h host.Name) bool {
			return host.Name(c.first.To.Host).SubsetOf(host.Name(strings.ToLower(string(h))))
		}))
		f := Finding{
			Object: vs.Object, Field: fmt.Sprintf("spec.hosts[%d]", i), Severity: Warning, SecuritySeverity: 6.0,
			Label: "holds for other namespaces too", Help: "set exportTo to the namespaces that the route is for",
			Fix:     "exportTo:\n- \".\"\n",
			Related: []Related{{owners[k].Object, owners[k].HostField, fmt.Sprintf("%s registers the host", owners[k].Object)}},
		}
		instead := ""
		if k.controlled {
			f.Severity, f.SecuritySeverity = Error, 7.5
			for _, s := range in.covering(c.first.To.Host) {
				if s.Route.Namespace != vs.Namespace && s.isFor(c.first.Class[0]) {
					instead = " instead of to " + s.gateway()
					f.Related = append(f.Related, s.related())
					break
				}
			}
		}
		f.Message = fmt.Sprintf("%s redirects %s, which namespace %q registers, to %s%s for clients of other namespaces (%s); limit its exportTo",
			vs, upTo3(c.hosts), owners[k].Namespace, k.to, instead, upTo3(c.workloads()))
		p.Report(c.finding(f))
	}
}

// diverts reports whether a VirtualService is for sidecars of other namespaces,
// and written neither by those who run the mesh nor by those who run a gateway.
func (in *intent) diverts(vs *model.MergedVirtualService) bool {
	return vs.OfGatewayAPI == "" && slices.Contains(vs.Gateways, model.MeshGateway) && vs.Namespace != in.push.RootNamespace() &&
		slices.ContainsFunc(vs.ExportTo(), func(e string) bool { return e != vs.Namespace && e != "." && e != "~" }) &&
		!slices.ContainsFunc(in.gateways, func(g *egressGateway) bool { return g.Namespace == vs.Namespace }) && len(in.external(vs.Hosts)) > 0
}

// routeOf returns the VirtualService that holds a route.
func (in *intent) routeOf(object *manifest.Object) *model.MergedVirtualService {
	return in.mergedRoute(in.push, object)
}

// ownerOf returns the ServiceEntry's service that registers a host for clients of
// a namespace; nil if there is none, or if namespace other registers it too.
func (in *intent) ownerOf(h host.Name, other, namespace string) *model.Service {
	var owner *model.Service
	for _, s := range in.declaring(in.push, h) {
		if s.Namespace == other {
			return nil
		}
		if owner == nil && in.push.Visible(s, namespace) {
			owner = s
		}
	}
	return owner
}

// owned reports whether some clients may have an owner of a host: see ownerOf.
func (in *intent) owned(h host.Name, other string) bool {
	registering := in.declaring(in.push, h)
	return len(registering) > 0 && !slices.ContainsFunc(registering, func(s *model.Service) bool { return s.Namespace == other })
}

// exitAtSidecar is the exit of the client's own sidecar, nil if it has none.
func exitAtSidecar(t *flow.Trace) *exit {
	for i := range t.Hops {
		if h := t.Hops[i]; h.At == flow.AtSidecar && h.Cluster != "" {
			return exitOf(&flow.Trace{Hops: []flow.Hop{h}})
		}
	}
	return nil
}
