package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR306", Name: "foreign-gateway-attached", Severity: Error, SecuritySeverity: 7.6,
	Run: runForeignGateway,
	Doc: Doc{
		Title: "A Gateway of an application's namespace attaches itself to the egress gateway",
		What: "A Gateway selects the pods of an egress gateway that lies in another namespace, and the Gateway's namespace runs workloads of its own. " +
			"It is an error where a server takes any host or passes TLS through, and a note where neither a policy of the gateway nor REGISTRY_ONLY shows that the gateway is relied on.",
		Why: "`selector` matches pods in all namespaces. Whoever may write Gateways and VirtualServices in any namespace decides what the shared gateway accepts and where it forwards to: " +
			"a server of theirs may take hosts that nobody meant to open, or pass TLS through where policies about requests do not see it.",
		Bad: egressDoc(namedOrders, "  name: egress\n  namespace: istio-egress\nspec:\n  selector:\n    istio: egressgateway\n  servers:\n",
			"  name: egress\n  namespace: shop\nspec:\n  selector:\n    istio: egressgateway\n  servers:\n", "- egress\n", "- shop/egress\n"),
		Good: egressDoc(namedOrders),
		Fix: "Keep Gateways in the namespace of the gateway's pods, run istiod with `PILOT_SCOPE_GATEWAY_TO_NAMESPACE=true`, " +
			"and forbid everybody else to create Gateways that select these labels.",
		Silent: "Gateways of the root namespace, of a namespace without workloads (an administrator's), and of one without anything else in the input; istiod with PILOT_SCOPE_GATEWAY_TO_NAMESPACE.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (mergeGateways)",
			"istio pilot/pkg/features/pilot.go (PILOT_SCOPE_GATEWAY_TO_NAMESPACE)",
		},
	},
})

// namedOrders lets the documented client, and nobody else, through the gateway.
const namedOrders = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: orders
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces:
        - shop
    to:
    - operation:
        hosts:
        - api.example.com
`

func runForeignGateway(p *Pass) {
	in := intentOf(p)
	for _, g := range in.push.Gateways() {
		if in.push.GatewayOrigin(g) != nil || g.Namespace == in.push.RootNamespace() || !in.hasClients(g.Namespace) {
			continue
		}
		var to []*egressGateway
		for _, e := range in.gateways {
			if e.Namespace != g.Namespace && slices.Contains(in.push.GatewaysFor(e.Workload), g) {
				to = append(to, e)
			}
		}
		if len(to) > 0 {
			p.Report(in.foreignGateway(g, to))
		}
	}
}

// hasClients reports whether a namespace runs workloads that are no gateways.
func (in *intent) hasClients(namespace string) bool {
	return slices.ContainsFunc(in.pass.Reach.Classes(), func(class []*model.Workload) bool { return class[0].Namespace == namespace })
}

func (in *intent) foreignGateway(g *model.Gateway, to []*egressGateway) Finding {
	var names []string
	f := Finding{
		Object: g.Object, Field: "metadata.namespace", Severity: Note, SecuritySeverity: 3.5,
		Label: "configures a gateway of another namespace",
		Help:  "move the Gateway to the namespace of the pods, or run istiod with PILOT_SCOPE_GATEWAY_TO_NAMESPACE=true",
	}
	relied := len(in.registryControl()) > 0
	for _, e := range to {
		names = append(names, e.ID())
		f.Related = append(f.Related, Related{e.Object, "metadata.namespace", fmt.Sprintf("egress gateway %s runs here", e.ID())})
		for _, policy := range slices.Concat(e.Policies.Custom, e.Policies.Deny, e.Policies.Allow) {
			if enforced(policy) {
				relied = true
				f.Related = append(f.Related, Related{policy.Object, "spec", fmt.Sprintf("AuthorizationPolicy %s controls what the gateway forwards", policy.ID())})
				break
			}
		}
	}
	opens := ""
	if relied {
		f.Severity, f.SecuritySeverity = Warning, 6.6
		for i, s := range g.Spec.GetServers() {
			var text string
			switch {
			case slices.ContainsFunc(s.GetHosts(), anyHost):
				text = "takes any host"
			case s.GetTls() != nil && s.GetTls().GetMode() == networking.ServerTLSSettings_PASSTHROUGH:
				text = "passes TLS through"
			default:
				continue
			}
			f.Severity, f.SecuritySeverity = Error, 7.6
			opens = " (a server of it " + text + ")"
			f.Related = append(f.Related, Related{g.Object, fmt.Sprintf("spec.servers[%d]", i), "this server " + text})
			break
		}
	}
	f.Message = fmt.Sprintf("%s attaches servers to egress gateway %s from another namespace%s: whoever may write in namespace %q decides what the gateway takes; move it to namespace %q",
		g, upTo3(names), opens, g.Namespace, to[0].Namespace)
	return f
}

// anyHost reports whether a host of a server is "*", whatever the namespaces.
func anyHost(h string) bool {
	if _, name, ok := strings.Cut(h, "/"); ok {
		h = name
	}
	return h == "*"
}
