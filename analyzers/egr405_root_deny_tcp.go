package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR405", Name: "root-deny-hits-tcp", Severity: Warning,
	Run: rootDenyHitsTCP,
	Doc: Doc{
		Title: "A DENY policy that is meant for the egress gateway also denies TCP connections between workloads",
		What: "A DENY policy in the root namespace has no selector and asks for hosts, methods, paths or headers, and a workload of the mesh that takes plain TCP connections " +
			"(a database, say) refuses clients because of it.",
		Why: "Without a selector a policy of the root namespace applies to every sidecar of the mesh. On TCP a proxy cannot read such conditions; Istio drops them from DENY rules, " +
			"and what is left (the client's namespace or account, or nothing) denies every connection.",
		Bad:  egressDoc(rootDenyDoc("")),
		Good: egressDoc(rootDenyDoc("  selector:\n    matchLabels:\n      istio: egressgateway\n")),
		Fix:  "Give the policy a `selector` with the gateway's labels, or move it into the gateway's namespace.",
		Silent: "Policies that no egress gateway has; meshes of which the input shows no TCP service that a denied client calls; " +
			"connections without mesh TLS where the rule asks for an identity; anything that the simulation cannot decide.",
		Sources: []string{
			"istio pilot/pkg/security/authz/model/model.go (Generate)",
			"istio pilot/pkg/model/authorization.go (ListAuthorizationPolicies)",
		},
	},
})

// rootDenyDoc is a policy of the root namespace, and a database that it hits.
func rootDenyDoc(selector string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-shop
  namespace: istio-system
spec:
` + selector + `  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: db
  namespace: shop
spec:
  selector:
    matchLabels:
      app: db
  template:
    metadata:
      labels:
        app: db
    spec:
      containers:
      - name: db
        image: registry.example/db:1
---
apiVersion: v1
kind: Service
metadata:
  name: db
  namespace: shop
spec:
  selector:
    app: db
  ports:
  - name: tcp-db
    port: 5432
`
}

// maxServices bounds the Services that are tried for one rule: a few prove it.
const maxServices = 64

func rootDenyHitsTCP(p *Pass) {
	push := p.Reach.Sim.Push()
	gateways := egressGateways(p)
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) || !denies(policy) || policy.Namespace != push.RootNamespace() ||
			len(policy.Spec.GetSelector().GetMatchLabels())+len(model.TargetRefs(policy.Spec)) > 0 ||
			!slices.ContainsFunc(gateways, func(g *egressGateway) bool { return slices.Contains(g.Policies.Deny, policy) }) {
			continue
		}
		for _, r := range rulesOf(policy) {
			if len(r.httpFields()) > 0 {
				reportHitsTCP(p, gateways[0], r)
			}
		}
	}
}

// reportHitsTCP reports a rule if connections between workloads show what it does.
func reportHitsTCP(p *Pass, g *egressGateway, r authzRule) {
	var services []string
	var clients []*model.Workload
	f := Finding{Severity: Warning, Object: r.Policy.Object, Field: "spec", Label: "applies to every sidecar",
		Help: fmt.Sprintf("give the policy a selector with labels of egress gateway %s (%s)", g.ID(), labelText(g.Labels))}
	tried := 0
	for _, s := range g.push.Services() {
		port := tcpPort(p, g.push, s)
		if port == nil {
			continue
		}
		if tried++; tried > maxServices || len(services) == maxNamed {
			break
		}
		found, failed := false, 0
		for _, class := range p.Reach.Classes() {
			if failed == maxNamed {
				break // clients that the rule means fare much alike
			}
			if !r.means(g.push, class[0]) || p.Reach.Sim.Capture(class[0]).Mode != capture.Sidecar {
				continue
			}
			request := flow.Flow{From: reach.From(class[0]), Host: string(s.Hostname), Port: port.Number, Scheme: flow.TCP}
			t := p.Reach.Sim.Verdict(request)
			if t.Reason != flow.RBACDenied || t.Policy != r.Policy.ID() || t.Rule == nil || *t.Rule != r.Index {
				failed++
				continue
			}
			if f.Flow == nil {
				f.Flow, f.Trace = &request, p.Reach.Trace(request)
			}
			clients = append(clients, class...)
			found = true
		}
		if found {
			f.Related = append(f.Related, Related{s.Object, port.Field, fmt.Sprintf("port %d is TCP", port.Number)})
			services = append(services, fmt.Sprintf("%s/%s:%d", s.Namespace, s.Kube.Name, port.Number))
		}
	}
	if len(services) == 0 {
		return
	}
	f.Workloads = workloadIDs(clients)
	f.Message = fmt.Sprintf("%s has no selector and so applies to every sidecar: on TCP its conditions on %s are dropped, and %s %s denied all connections, for example to %s; select the gateway's pods",
		r, strings.Join(r.httpFields(), ", "), upTo3(f.Workloads), plural(len(f.Workloads), "is", "are"), strings.Join(services, ", "))
	p.Report(f)
}

// tcpPort returns a port of a Service on which pods with a sidecar take plain TCP,
// nil if there is none.
func tcpPort(p *Pass, push *model.PushContext, s *model.Service) *model.Port {
	if !s.Kubernetes() {
		return nil
	}
	for _, port := range s.Ports {
		if !port.Protocol.IsTCP() || port.Protocol.IsUnsupported() {
			continue
		}
		for _, e := range push.Endpoints(s, port) {
			if e.Workload != nil && p.Reach.Sim.Capture(e.Workload).Mode == capture.Sidecar {
				return port
			}
		}
	}
	return nil
}
