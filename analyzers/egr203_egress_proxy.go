package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR203", Name: "egress-proxy-unmanaged", Severity: Warning, SecuritySeverity: 6.2,
	Run: runEgressProxy,
	Doc: Doc{
		Title: "A Sidecar sends unknown traffic to a proxy that does not exist or decides nothing",
		What:  "`outboundTrafficPolicy.egressProxy` of a Sidecar names a host that its workloads do not see, or an egress gateway that lets such a connection out and has no AuthorizationPolicy in force.",
		Why: "What nothing registers is sent there as it is. If the proxy is missing, it all fails. If the proxy is a gateway without policy, every host that its servers take is open to the workloads, " +
			"while it looks as if a gateway controlled them.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, proxySidecar("egress.istio-egress.svc.cluster.local"), "apiVersion: v1\nkind: Service\nmetadata:\n  name: ingress\n  namespace: istio-egress\nspec:\n  ports:\n  - port: 443\n    name: tls\n"),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, proxySidecar("egress.istio-egress.svc.cluster.local"), "apiVersion: v1\nkind: Service\nmetadata:\n  name: egress\n  namespace: istio-egress\nspec:\n  ports:\n  - port: 443\n    name: tls\n"),
		Fix:  "Name a Service that the workloads see, and put an ALLOW policy on the gateway behind it.",
		Silent: "Proxies in a namespace of which the input holds nothing else; gateways with a policy in force; proxies that are no gateway of the mesh, of which the manifests do not tell what they " +
			"let through (EGR202 notes them where the mesh is closed otherwise); Sidecars that count for no workload of the input; unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/networking/core/listener_builder.go (buildOutboundCatchAllNetworkFilterChains)",
			"https://istio.io/latest/docs/reference/config/networking/sidecar/#OutboundTrafficPolicy",
		},
	},
})

func runEgressProxy(p *Pass) {
	in := intentOf(p)
	var order []*model.Sidecar
	classes := map[*model.Sidecar][]*model.Workload{}
	for _, class := range p.Reach.Classes() {
		w := class[0]
		s := in.push.SidecarFor(w.Namespace, w.Labels)
		if s == nil || s.Spec.GetOutboundTrafficPolicy().GetEgressProxy() == nil || !in.captured(w) {
			continue
		}
		if classes[s] == nil {
			order = append(order, s)
		}
		classes[s] = append(classes[s], class...)
	}
	for _, s := range order {
		in.reportEgressProxy(s, classes[s])
	}
}

func (in *intent) reportEgressProxy(s *model.Sidecar, workloads []*model.Workload) {
	proxy := s.Spec.GetOutboundTrafficPolicy().GetEgressProxy()
	ids := workloadIDs(workloads)
	f := Finding{
		Object: s.Object, Field: "spec.outboundTrafficPolicy.egressProxy.host", Severity: Warning, Workloads: ids,
	}
	for _, request := range in.unknownTo(workloads[0], s) {
		t := in.pass.Reach.Trace(request)
		f.Flow, f.Trace = &request, t
		switch {
		case t.Outcome == flow.Blocked && t.Reason == flow.NoCluster && in.service(host.Name(proxy.GetHost())) == nil:
			f.Label = "nothing of this name"
			f.Message = fmt.Sprintf("Sidecar %s sends what nothing registers to %q, which does not exist for %s, so that such requests fail; name a Service that they see",
				s.ID(), proxy.GetHost(), upTo3(ids))
			in.pass.Report(f)
			return
		case t.Outcome == flow.Allowed && t.Via == flow.ViaGateway && t.Reason == flow.OK:
			g := in.gatewayOn(t)
			if g == nil {
				continue
			}
			policies := in.push.AuthorizationPoliciesFor(g)
			if slices.ContainsFunc(slices.Concat(policies.Allow, policies.Deny, policies.Custom), enforced) {
				return
			}
			f.SecuritySeverity, f.Label = 6.2, "a gateway without policy"
			f.Message = fmt.Sprintf("Sidecar %s sends what nothing registers to %q, whose gateway %s has no AuthorizationPolicy and lets it out, so that %s %s hosts that nobody permitted; put an ALLOW policy on the gateway",
				s.ID(), proxy.GetHost(), g.ID(), upTo3(ids), verb(len(ids), "reaches", "reach"))
			f.Related = []Related{{g.Object, "metadata.name", "this gateway has no policy in force"}}
			in.pass.Report(f)
			return
		}
	}
}

// unknownTo are requests of a client that a Sidecar sends to its egressProxy: for
// a host that nothing registers, and for hosts that others see registered.
func (in *intent) unknownTo(w *model.Workload, s *model.Sidecar) []flow.Flow {
	from, other := reach.From(w), in.anyHost(443).Host
	out := []flow.Flow{{From: from, Host: other, Port: 443, Scheme: flow.TLS}, {From: from, Host: other, Port: 80, Scheme: flow.HTTP}}
	tried := 0
	for _, d := range in.pass.Reach.Universe() {
		f := flow.Flow{From: from, Host: d.Host, Port: d.Port, Scheme: flow.TLS}
		switch {
		case d.Stands == reach.AnyName || d.Stands == reach.AnyAddress || d.Port != 80 && d.Port != 443:
			continue
		case d.Port == 80:
			f.Scheme = flow.HTTP
		}
		if tried++; tried > maxClasses {
			break
		}
		if t := in.pass.Reach.Sim.Verdict(f); t.Via == flow.ViaGateway && sends(t, flow.AtSidecar, s.Object) {
			out = append(out, f)
		}
	}
	return out
}

// gatewayOn returns the last gateway on the way of a request, nil if there is none.
func (in *intent) gatewayOn(t *flow.Trace) *model.Workload {
	for _, h := range slices.Backward(t.Hops) {
		if h.At != flow.AtGateway {
			continue
		}
		for _, w := range in.pass.Mesh.Workloads {
			if w.ID() == h.Proxy && in.pass.Reach.Sim.Capture(w).Mode == capture.Router {
				return w
			}
		}
	}
	return nil
}

// proxySidecar is a Sidecar of namespace shop that sends unknown traffic to a
// Service.
func proxySidecar(to string) string {
	return `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: shop
spec:
  outboundTrafficPolicy:
    mode: ALLOW_ANY
    egressProxy:
      host: ` + to + `
      port:
        number: 443
`
}
