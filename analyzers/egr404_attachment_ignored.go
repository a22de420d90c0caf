package analyzers

import (
	"fmt"
	"slices"

	security "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID: "EGR404", Name: "policy-attachment-ignored", Severity: Error, SecuritySeverity: 8.0,
	Run: policyAttachmentIgnored,
	Doc: Doc{
		Title: "An AuthorizationPolicy is attached in a way that the proxy it is meant for ignores",
		What: "A policy with `targetRefs` is meant for a gateway that Istio's own Gateway configures, or for a ServiceEntry without a waypoint; " +
			"a reference to a GatewayClass stands outside of the root namespace; or a policy without `targetRefs` is meant for a waypoint.",
		Why: "Sidecars and Istio's own gateways take policies by selector only and ignore any that has `targetRefs`. Waypoints take them by `targetRefs` only: " +
			"not by selector, not by namespace, and not from the root namespace either, so that a mesh-wide allow-nothing policy leaves them open. Nothing reports it.",
		Bad:  egressDoc(attachmentDoc("  targetRefs:\n  - group: gateway.networking.k8s.io\n    kind: Gateway\n    name: egress\n")),
		Good: egressDoc(attachmentDoc("  selector:\n    matchLabels:\n      istio: egressgateway\n")),
		Fix:  "Use `selector` for gateways of Istio's own kind, `targetRefs` for waypoints: the Gateway in its namespace, or the Service or ServiceEntry (by its metadata.name) in theirs.",
		Silent: "References to objects that are not in the input; dry runs and AUDIT; waypoints that serve no external host or have policies of their own that deny by default; " +
			"istiod with ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES.",
		Sources: []string{
			"istio pilot/pkg/model/policyattachment.go (ShouldAttachPolicy)",
			"https://istio.io/latest/docs/reference/config/security/authorization-policy/",
		},
	},
})

func attachmentDoc(attachment string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-shop
  namespace: istio-egress
spec:
` + attachment + `  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`
}

// unattached is a policy that does not apply where it is meant to.
type unattached struct {
	policy *model.AuthorizationPolicy
	field  string
	// text says what is ignored and why, todo what to do; meant is the proxy.
	text, todo string
	related    []Related
	// gateway or waypoint is where it is meant to apply, both nil if it cannot
	// be said.
	gateway  *egressGateway
	waypoint *externalWaypoint
}

func policyAttachmentIgnored(p *Pass) {
	push := p.Reach.Sim.Push()
	gateways, waypoints := egressGateways(p), externalWaypoints(p)
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) {
			continue
		}
		refs := model.TargetRefs(policy.Spec)
		if len(refs) == 0 {
			if u := meantForWaypoint(p, gateways, waypoints, policy); u != nil {
				u.report(p)
			}
			continue
		}
		for i, ref := range refs {
			field := fmt.Sprintf("spec.targetRefs[%d]", i)
			if len(policy.Spec.GetTargetRefs()) == 0 {
				field = "spec.targetRef"
			}
			if u := ignoredRef(p, push, gateways, policy, ref); u != nil {
				u.policy, u.field = policy, field
				u.report(p)
			}
		}
	}
}

// ignoredRef says why a reference selects nothing, nil if it does or may.
func ignoredRef(p *Pass, push *model.PushContext, gateways []*egressGateway, policy *model.AuthorizationPolicy, ref *typev1beta1.PolicyTargetReference) *unattached {
	switch ref.GetKind() {
	case "Gateway":
		if slices.ContainsFunc(p.Mesh.KubeGateways, func(g *model.KubeGateway) bool { return g.Namespace == policy.Namespace && g.Name == ref.GetName() }) {
			return nil
		}
		return classicTarget(gateways, policy, ref.GetName())
	case "Service":
		u := classicTarget(gateways, policy, ref.GetName())
		if u == nil {
			u = serviceTarget(gateways, policy, ref.GetName())
		}
		if u == nil {
			return nil
		}
		if s := push.ServiceIn(model.ServiceHost(ref.GetName(), policy.Namespace), policy.Namespace); s == nil || push.WaypointOf(s).Waypoint != nil || push.WaypointOf(s).Unknown != "" {
			return nil
		}
		return u
	case "GatewayClass":
		if root := push.RootNamespace(); policy.Namespace != root {
			return &unattached{
				text: fmt.Sprintf("refers to GatewayClass %q from namespace %q, which counts in the root namespace only", ref.GetName(), policy.Namespace),
				todo: fmt.Sprintf("move it to namespace %q, or refer to the waypoint's Gateway", root),
			}
		}
	case "ServiceEntry":
		return unboundEntry(push, gateways, policy, ref.GetName())
	}
	return nil
}

// classicTarget returns the egress gateway of Istio's own kind that a name in the
// policy's namespace means: by its Gateway, its Service or its workload.
func classicTarget(gateways []*egressGateway, policy *model.AuthorizationPolicy, name string) *unattached {
	for _, g := range gateways {
		if g.Labels[model.GatewayNameLabel] != "" {
			continue
		}
		u := &unattached{gateway: g,
			text: fmt.Sprintf("has targetRefs, and egress gateway %s is configured by Istio's own Gateway: such a proxy ignores policies with targetRefs altogether", g.ID()),
			todo: fmt.Sprintf("use selector.matchLabels with labels of its pods (%s)", labelText(g.Labels))}
		for _, s := range g.servers {
			if s.Gateway.Namespace == policy.Namespace && s.Gateway.Name == name {
				u.related = []Related{{s.Gateway.Object, "metadata.name", "this Gateway is of Istio's own kind, to which targetRefs cannot refer"}}
				return u
			}
		}
		if g.Namespace == policy.Namespace && (g.Name == name || slices.Contains(g.serviceNames(), name)) {
			u.related = []Related{{g.Object, "metadata.name", fmt.Sprintf("egress gateway %s", g.ID())}}
			return u
		}
	}
	return nil
}

// serviceNames are the names of the Services in front of the gateway.
func (g *egressGateway) serviceNames() []string {
	var out []string
	for _, s := range g.push.Services() {
		if s.Kubernetes() && s.Namespace == g.Namespace && len(s.Selector) > 0 && hasLabels(g.Labels, s.Selector) {
			out = append(out, s.Kube.Name)
		}
	}
	return out
}

// serviceTarget returns the egress gateway of the Gateway API whose Service a policy
// names in place of its Gateway.
func serviceTarget(gateways []*egressGateway, policy *model.AuthorizationPolicy, name string) *unattached {
	for _, g := range gateways {
		gateway := g.Labels[model.GatewayNameLabel]
		if gateway == "" || g.Namespace != policy.Namespace || !slices.Contains(g.serviceNames(), name) {
			continue
		}
		return &unattached{gateway: g,
			text:    fmt.Sprintf("refers to Service %q of egress gateway %s, and only waypoints take policies for Services", name, g.ID()),
			todo:    fmt.Sprintf("refer to Gateway %q", gateway),
			related: []Related{{g.Object, "metadata.name", fmt.Sprintf("egress gateway %s", g.ID())}}}
	}
	return nil
}

// unboundEntry is about references to ServiceEntries of the policy's namespace
// that no waypoint serves.
func unboundEntry(push *model.PushContext, gateways []*egressGateway, policy *model.AuthorizationPolicy, name string) *unattached {
	var u *unattached
	for _, s := range push.Services() {
		if s.Kubernetes() || s.Namespace != policy.Namespace || s.Object.Name != name {
			continue
		}
		if b := push.WaypointOf(s); b.Waypoint != nil || b.Unknown != "" || b.Failed {
			return nil // or the binding is at fault, which is a matter of its own
		}
		u = &unattached{
			text:    fmt.Sprintf("refers to ServiceEntry %q, which no waypoint serves: only waypoints take such policies", name),
			todo:    "bind the ServiceEntry to a waypoint (label istio.io/use-waypoint)",
			related: []Related{{s.Object, "metadata.name", "no label istio.io/use-waypoint here or on the namespace"}},
		}
		for _, g := range gateways {
			if slices.ContainsFunc(g.Steers, func(x steer) bool { return namedHost{Value: string(s.Hostname)}.about(x.Host) }) {
				u.gateway = g
				u.todo = fmt.Sprintf("put it into namespace %q with a selector for egress gateway %s, which the host is sent to", g.Namespace, g.ID())
			}
		}
	}
	return u
}

func (u *unattached) report(p *Pass) {
	f := Finding{Severity: Error, SecuritySeverity: 8.0, Object: u.policy.Object, Field: u.field, Label: "ignored", Related: u.related}
	action := u.policy.Spec.GetAction()
	f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) %s; %s", u.policy.ID(), action, u.text, u.todo)
	allows := action == security.AuthorizationPolicy_ALLOW && len(u.policy.Spec.GetRules()) > 0
	switch {
	case u.gateway != nil:
		if allows && u.gateway.enforcedAllow() != nil {
			f.SecuritySeverity = 0 // what it should allow stays denied
			f.prove(u.gateway.witness(p, rulesOf(u.policy), func(r authzRule, c *crossing) *crossing {
				return c.when(r.means(u.gateway.push, c.Class[0]) && c.deniedBy(u.gateway.enforcedAllow()))
			}))
			break
		}
		rules := rulesOf(u.policy)
		if len(rules) == 0 {
			rules = []authzRule{{Policy: u.policy}}
		}
		f.prove(u.gateway.witness(p, rules, func(_ authzRule, c *crossing) *crossing { return c.when(c.allowed()) }))
	case u.waypoint != nil:
		if allows && slices.ContainsFunc(u.waypoint.policies.Allow, enforced) {
			f.SecuritySeverity = 0
			break
		}
		u.waypoint.show(p, &f, u.policy)
	}
	p.Report(f)
}

// meantForWaypoint says whether a policy without targetRefs is meant for a
// waypoint: by the label of its pods, by hosts that only it serves, or as an
// allow-nothing policy for all there is.
func meantForWaypoint(p *Pass, gateways []*egressGateway, waypoints []*externalWaypoint, policy *model.AuthorizationPolicy) *unattached {
	push := p.Reach.Sim.Push()
	if push.Config.Enabled("ENABLE_LAYERED_WAYPOINT_AUTHORIZATION_POLICIES") ||
		slices.ContainsFunc(attachedTo(p, policy), func(w *model.Workload) bool { return p.Reach.Sim.Capture(w).Mode == capture.Router }) {
		return nil // it applies to a gateway, for which it may be meant
	}
	selector := policy.Spec.GetSelector().GetMatchLabels()
	root := policy.Namespace == push.RootNamespace()
	for _, w := range waypoints {
		u := &unattached{policy: policy, waypoint: w, todo: fmt.Sprintf("use targetRefs to Gateway %q in namespace %q", w.Name, w.Namespace),
			related: []Related{{w.Object, "metadata.name", fmt.Sprintf("waypoint %s serves %s", w.ID(), upTo3(w.hosts))}}}
		byName := selector[model.GatewayNameLabel] == w.Name && (root || policy.Namespace == w.Namespace)
		byHost := slices.ContainsFunc(hostsOf(policy), func(n namedHost) bool { return slices.ContainsFunc(w.hosts, n.covers) }) &&
			!slices.ContainsFunc(gateways, func(g *egressGateway) bool { return g.meant(policy) })
		closes := len(policy.Spec.GetRules()) == 0 && policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW && len(selector) == 0 &&
			(root || policy.Namespace == w.Namespace) && !slices.ContainsFunc(w.policies.Allow, enforced)
		switch {
		case byName:
			u.field = "spec.selector.matchLabels"
			u.text = fmt.Sprintf("selects the pods of waypoint %s, and waypoints ignore selectors", w.ID())
		case byHost && (root || policy.Namespace == w.Namespace || slices.Contains(w.namespaces, policy.Namespace)):
			u.field = "spec"
			u.text = fmt.Sprintf("has no targetRefs, so that waypoint %s, which serves its hosts, ignores it", w.ID())
		case closes:
			u.field = "spec"
			u.text = fmt.Sprintf("has no targetRefs and so does not close waypoint %s, which lets everybody through to %s", w.ID(), upTo3(w.hosts))
		default:
			continue
		}
		return u
	}
	return nil
}

// meant reports whether a policy names a host that is sent to the gateway.
func (g *egressGateway) meant(policy *model.AuthorizationPolicy) bool {
	return slices.ContainsFunc(hostsOf(policy), func(n namedHost) bool {
		return slices.ContainsFunc(g.Steers, func(s steer) bool { return n.about(s.Host) })
	})
}

// enforcedAllow is the first ALLOW policy that the gateway enforces, nil if it has
// none.
func (g *egressGateway) enforcedAllow() *model.AuthorizationPolicy {
	if i := slices.IndexFunc(g.Policies.Allow, enforced); i >= 0 {
		return g.Policies.Allow[i]
	}
	return nil
}
