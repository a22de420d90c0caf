package analyzers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR207", Name: "external-name-egress", Severity: Warning, SecuritySeverity: 5.0,
	Run: runExternalName,
	Doc: Doc{
		Title: "An ExternalName Service leads to a host that nothing registers, or goes around the routes that are written for it",
		What: "An ExternalName Service is another name for a host outside. In a mesh that is `REGISTRY_ONLY` nothing registers that host, so that the workloads of the Service's namespace " +
			"do not get there; or a VirtualService is written for the Service's own name, and requests for that name go past it.",
		Why: "Since Istio 1.21 such a Service is only an alias: it registers nothing, and requests for it are treated as those for its target, with the target's routes and rules. " +
			"A route for the alias, to an egress gateway for instance, takes plaintext HTTP on port 80 and nothing else.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, aliasOf("api.example.com")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, aliasOf("api.example.com"), entryOf("")),
		Fix:  "Declare the target in a ServiceEntry, and write routes, rules and policies for the target's name.",
		Silent: "Targets in the cluster, and addresses; workloads of other namespaces; meshes that are not REGISTRY_ONLY for any workload of the Service's namespace; requests that get out on some port, or " +
			"nobody knows.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (resolveServiceAliases)",
			"istio releasenotes/notes/external-name-on.yaml",
		},
	},
})

func runExternalName(p *Pass) {
	in := intentOf(p)
	var closed []closedClass
	for _, s := range in.push.Services() {
		if s.Resolution != model.Alias || inCluster(in.push, host.Name(s.ExternalName)) || !strings.Contains(s.ExternalName, ".") {
			continue
		}
		if _, err := netip.ParseAddr(s.ExternalName); err == nil {
			continue
		}
		if closed == nil {
			closed = in.closedClasses()
		}
		in.reportUnregisteredTarget(s, closed)
		in.reportDeadAliasRoute(s)
	}
}

// aliasRequests are what clients send to an alias, or to its target, by the ports
// of the Service, else those of HTTP and TLS.
func aliasRequests(s *model.Service, h string) []flow.Flow {
	out := []flow.Flow{{Host: h, Port: 443, Scheme: flow.TLS}, {Host: h, Port: 80, Scheme: flow.HTTP}}
	for _, port := range s.Ports {
		f := flow.Flow{Host: h, Port: port.Number, Scheme: speaks(port)}
		if !slices.ContainsFunc(out, func(o flow.Flow) bool { return o.Port == f.Port && o.Scheme == f.Scheme }) {
			out = append(out, f)
		}
	}
	return out
}

// reportUnregisteredTarget reports a target that clients of the Service's own
// namespace cannot reach on any port because nothing registers it.
func (in *intent) reportUnregisteredTarget(s *model.Service, closed []closedClass) {
	var o opening
	requests := slices.Concat(aliasRequests(s, string(s.Hostname)), aliasRequests(s, strings.ToLower(s.ExternalName)))
	for _, c := range closed {
		w := c.Class[0]
		if w.Namespace != s.Namespace || slices.ContainsFunc(requests, func(f flow.Flow) bool {
			f.From = reach.From(w)
			t := in.pass.Reach.Sim.Verdict(f)
			return t.Outcome != flow.Blocked || t.Reason != flow.Blackhole
		}) {
			continue
		}
		if o.witness == nil {
			f := requests[0]
			f.From = reach.From(w)
			o.closed, o.witness = c.Because, &proof{f, in.pass.Reach.Trace(f)}
		}
		o.workloads = append(o.workloads, c.Class...)
	}
	if o.witness == nil {
		return
	}
	in.pass.Report(o.finding(Finding{
		Object: s.Object, Field: "spec.externalName", Severity: Warning, Label: "nothing registers this host",
		Message: fmt.Sprintf("Service %s (ExternalName) leads to %s, which nothing registers, so that %s it (%s is REGISTRY_ONLY); declare %s in a ServiceEntry",
			s.Object.ID(), s.ExternalName, o.who("does not reach", "do not reach"), o.closedText(), s.ExternalName),
		Help: "an ExternalName Service registers nothing: requests for it are those for its target",
	}))
}

// reportDeadAliasRoute reports routes of the mesh that are written for an alias
// and that requests for it do not take.
func (in *intent) reportDeadAliasRoute(s *model.Service) {
	for _, vs := range in.push.VirtualServices() {
		i := slices.IndexFunc(vs.Hosts, func(h host.Name) bool { return strings.EqualFold(string(h), string(s.Hostname)) })
		if i < 0 || !slices.Contains(vs.Gateways, model.MeshGateway) || vs.OfGatewayAPI != "" {
			continue
		}
		for _, class := range in.pass.Reach.Classes() {
			w := class[0]
			if !in.captured(w) || !vs.ExportTo().VisibleTo(vs.Namespace, w.Namespace) {
				continue
			}
			for _, f := range aliasRequests(s, string(s.Hostname)) {
				f.From = reach.From(w)
				t := in.pass.Reach.Sim.Verdict(f)
				if t.Outcome != flow.Allowed || t.Reason != flow.OK || t.Via != flow.ViaDirect && t.Via != flow.ViaPassthrough || citesObject(t, vs) || !routesPort(vs, f) {
					continue
				}
				in.pass.Report(Finding{
					Object: vs.Object, Field: fmt.Sprintf("spec.hosts[%d]", i), Severity: Warning, SecuritySeverity: 5.0, Label: "another name for " + s.ExternalName,
					Message: fmt.Sprintf("%s is written for %s, an ExternalName Service, which is only another name for %s: requests of %s for it on port %d go out past the route; write it for %s",
						vs.Title(), s.Hostname, s.ExternalName, upTo3(workloadIDs(class)), f.Port, s.ExternalName),
					Related:   []Related{{s.Object, "spec.externalName", "the Service is another name for this host"}},
					Workloads: workloadIDs(class), Flow: &f, Trace: in.pass.Reach.Trace(f),
				})
				return
			}
		}
	}
}

// routesPort reports whether a VirtualService has routes for what a request speaks.
func routesPort(vs *model.MergedVirtualService, f flow.Flow) bool {
	if f.Scheme == flow.HTTP {
		return len(vs.HTTP) > 0
	}
	return len(vs.TLS)+len(vs.TCP) > 0
}

// citesObject reports whether anything on the way of a request was decided by a
// VirtualService.
func citesObject(t *flow.Trace, vs *model.MergedVirtualService) bool {
	return slices.ContainsFunc(t.Hops, func(h flow.Hop) bool {
		return slices.ContainsFunc(h.Because, func(b flow.Because) bool { return b.Object == vs.Object })
	})
}

// aliasOf is an ExternalName Service of namespace shop.
func aliasOf(target string) string {
	return `apiVersion: v1
kind: Service
metadata:
  name: api
  namespace: shop
spec:
  type: ExternalName
  externalName: ` + target + "\n"
}
