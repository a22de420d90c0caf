package analyzers

import (
	"fmt"
	"maps"
	"slices"

	security "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR403", Name: "policy-selects-nothing", Severity: Error, SecuritySeverity: 7.2,
	Run: policySelectsNothing,
	Doc: Doc{
		Title: "An AuthorizationPolicy about egress applies to no workload",
		What: "The selector of an AuthorizationPolicy that is meant for an egress gateway (it names external hosts, or lies beside the gateway " +
			"and has one of its labels) fits no pod, or its `targetRefs` name an object that does not exist.",
		Why:  "Nothing reports it: the policy is accepted, and no proxy has it. A DENY denies nothing, and an allow-nothing policy leaves everything allowed.",
		Bad:  egressDoc(policySelectorDoc("egress-gateway")),
		Good: egressDoc(policySelectorDoc("egressgateway")),
		Fix:  "Use the labels of the gateway's pod template in `selector.matchLabels`, or leave the selector out in a namespace of the gateway's own.",
		Silent: "Namespaces of which the input holds no workload, or one whose pods it does not show; selectors that a Gateway has too, if that selects nothing either " +
			"(the gateway is not in the input); input of which a part could not be read; policies about calls within the mesh; policies in the wrong namespace (EGR402).",
		Sources: []string{
			"istio pilot/pkg/model/policyattachment.go (ShouldAttachPolicy)",
			"https://istio.io/latest/docs/reference/config/analysis/ist0127/",
		},
	},
})

func policySelectorDoc(value string) string {
	return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-api-for-shop
  namespace: istio-egress
spec:
  selector:
    matchLabels:
      istio: ` + value + `
  action: DENY
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com", "api.example.com:*"]
`
}

func policySelectsNothing(p *Pass) {
	if p.Mesh.Partial() {
		return // what is missing may stand in what could not be read
	}
	gateways := egressGateways(p)
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) {
			continue
		}
		if refs := model.TargetRefs(policy.Spec); len(refs) > 0 {
			reportMissingTargets(p, policy, refs)
			continue
		}
		selector := policy.Spec.GetSelector().GetMatchLabels()
		if len(selector) == 0 || len(attachedTo(p, policy)) > 0 || !knowsPodsFor(p, policy) || len(misplaced(p, gateways, policy)) > 0 {
			continue
		}
		if g, field := meantFor(p, gateways, policy); field != "" {
			reportSelector(p, policy, g, field)
		}
	}
}

// meantFor says for which egress gateway a policy that selects nothing is meant,
// nil where it is not known which, and the field that shows that it is about
// egress, "" if nothing does.
func meantFor(p *Pass, gateways []*egressGateway, policy *model.AuthorizationPolicy) (*egressGateway, string) {
	selector := policy.Spec.GetSelector().GetMatchLabels()
	var best *egressGateway
	for _, g := range gateways {
		if !g.governs(policy.Namespace) {
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(selector)) {
			if _, ok := g.Labels[k]; !ok || !alike(selector[k], g.Labels[k]) {
				continue
			}
			if best == nil || selector[k] == g.Labels[k] {
				best = g
			}
		}
	}
	if best != nil {
		return best, selectorField(selector, best.Labels)
	}
	for _, n := range hostsOf(policy) {
		if !external(p, p.Reach.Sim.Push(), gateways, n) {
			continue
		}
		for _, g := range gateways {
			if g.governs(policy.Namespace) && g.namedSteer(n) != nil {
				return g, selectorField(selector, g.Labels)
			}
		}
		return nil, "spec.selector.matchLabels"
	}
	return nil, ""
}

func reportSelector(p *Pass, policy *model.AuthorizationPolicy, g *egressGateway, field string) {
	selector := policy.Spec.GetSelector().GetMatchLabels()
	where := fmt.Sprintf("namespace %q", policy.Namespace)
	if policy.Namespace == p.Mesh.Config.GetRootNamespace() {
		where = "the mesh"
	}
	f := severityOfNothing(policy, g)
	f.Object, f.Field, f.Label = policy.Object, field, "no pod has this label"
	f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) applies to no workload: no pod of %s has the labels %s",
		policy.ID(), policy.Spec.GetAction(), where, labelText(selector))
	f.Help = "use the labels of the gateway's pod template"
	if g == nil {
		f.Message += "; select the gateway's pods"
		p.Report(f)
		return
	}
	var like []string
	for _, k := range slices.Sorted(maps.Keys(selector)) {
		if v, ok := g.Labels[k]; ok {
			like = append(like, k+"="+v)
		}
	}
	if len(like) == 0 {
		f.Message += fmt.Sprintf("; select the pods of egress gateway %s (%s)", g.ID(), labelText(g.Labels))
	} else {
		f.Message += fmt.Sprintf("; set %s, as egress gateway %s has", upTo3(like), g.ID())
	}
	f.Related = []Related{{Object: g.Object, Field: g.Field("metadata.labels"), Message: fmt.Sprintf("the labels of egress gateway %s", g.ID())}}
	if policy.Spec.GetAction() != security.AuthorizationPolicy_ALLOW {
		f.prove(g.witness(p, rulesOf(policy), func(_ authzRule, c *crossing) *crossing { return c.when(c.allowed()) }))
	} else if len(policy.Spec.GetRules()) == 0 {
		f.prove(g.witness(p, []authzRule{{Policy: policy}}, func(_ authzRule, c *crossing) *crossing { return c.when(c.allowed()) }))
	}
	p.Report(f)
}

// severityOfNothing is the severity of a policy that does nothing: an error where
// that leaves something open.
func severityOfNothing(policy *model.AuthorizationPolicy, g *egressGateway) Finding {
	allows := policy.Spec.GetAction() == security.AuthorizationPolicy_ALLOW && len(policy.Spec.GetRules()) > 0
	if allows && (g == nil || slices.ContainsFunc(g.Policies.Allow, enforced)) {
		return Finding{Severity: Warning, SecuritySeverity: 4.5}
	}
	return Finding{Severity: Error, SecuritySeverity: 7.2}
}

// reportMissingTargets reports references to ServiceEntries and Gateways that the
// policy's namespace, of which the input has others or a waypoint, does not hold.
func reportMissingTargets(p *Pass, policy *model.AuthorizationPolicy, refs []*typev1beta1.PolicyTargetReference) {
	for i, ref := range refs {
		var there []*manifest.Object
		switch ref.GetKind() {
		case "ServiceEntry":
			for _, e := range p.Mesh.ServiceEntries {
				there = append(there, e.Object)
			}
		case "Gateway":
			for _, g := range p.Mesh.KubeGateways {
				there = append(there, g.Object)
			}
		}
		if reportForeignTarget(p, policy, i, ref, there) {
			continue
		}
		there = slices.DeleteFunc(there, func(o *manifest.Object) bool { return o.Namespace != policy.Namespace })
		// Where the waypoint is, the entries that use it should be.
		alone := len(there) == 0 && ref.GetKind() == "ServiceEntry" && slices.ContainsFunc(p.Mesh.KubeGateways, func(g *model.KubeGateway) bool {
			return g.Namespace == policy.Namespace && p.Reach.Sim.Push().WaypointWorkload(g) != nil
		})
		if len(there) == 0 && !alone || slices.ContainsFunc(there, func(o *manifest.Object) bool { return o.Name == ref.GetName() }) {
			continue
		}
		f := severityOfNothing(policy, nil)
		if alone {
			f.Severity, f.SecuritySeverity = Warning, min(f.SecuritySeverity, 4.5)
		}
		f.Object, f.Field, f.Label = policy.Object, fmt.Sprintf("spec.targetRefs[%d].name", i), "does not exist"
		if policy.Spec.GetTargetRef() != nil {
			f.Field = "spec.targetRef.name"
		}
		f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) applies to no workload by targetRefs[%d]: namespace %q has no %s %q; name an object of the policy's namespace",
			policy.ID(), policy.Spec.GetAction(), i, policy.Namespace, ref.GetKind(), ref.GetName())
		for _, o := range there {
			e, isEntry := o.Value.(interface{ GetHosts() []string })
			if ref.GetKind() == "ServiceEntry" && isEntry && slices.Contains(e.GetHosts(), ref.GetName()) {
				f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) applies to no workload by targetRefs[%d]: a ServiceEntry is referred to by its name, not by its host %q; name %q",
					policy.ID(), policy.Spec.GetAction(), i, ref.GetName(), o.Name)
				f.Related = append(f.Related, Related{Object: o, Field: "metadata.name", Message: "the ServiceEntry of this host"})
				break
			}
		}
		p.Report(f)
	}
}
