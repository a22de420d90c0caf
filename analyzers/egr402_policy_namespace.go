package analyzers

import (
	"fmt"
	"slices"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
)

var _ = register(&Analyzer{
	ID: "EGR402", Name: "policy-in-wrong-namespace", Severity: Error, SecuritySeverity: 8.0,
	Run: policyInWrongNamespace,
	Doc: Doc{
		Title: "An AuthorizationPolicy for the egress gateway lies in a namespace that the gateway does not look at",
		What: "An AuthorizationPolicy names a host that routes of the mesh send to an egress gateway, or selects the gateway's labels, " +
			"but lies neither in the gateway's namespace nor in the root namespace.",
		Why: "A proxy takes policies from its own namespace and from the root namespace only, whatever `from` says. A DENY elsewhere denies nothing. " +
			"An ALLOW elsewhere allows nothing: where other ALLOW policies are in force at the gateway, requests stay denied - not because DENY goes before ALLOW, " +
			"but because no ALLOW policy in force matches; where none is, everybody gets through. In its own namespace the policy decides about calls that come in.",
		Bad: egressDoc(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: istio-egress
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: orders-to-api
  namespace: shop
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com"]
`),
		Good: egressDoc(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-nothing
  namespace: istio-egress
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: orders-to-api
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com"]
`),
		Fix: "Put the policy into the gateway's namespace, and give it a `selector` if other workloads live there.",
		Silent: "Policies with `targetRefs`, dry runs and AUDIT; policies that apply to some gateway, or that select clients by label (EGR401); " +
			"hosts that a gateway of the mesh serves from a Service of the cluster.",
		Sources: []string{
			"istio pilot/pkg/model/authorization.go (ListAuthorizationPolicies)",
			"https://istio.io/latest/docs/reference/config/security/authorization-policy/",
		},
	},
})

func policyInWrongNamespace(p *Pass) {
	gateways := egressGateways(p)
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !enforced(policy) {
			continue
		}
		if meant := misplaced(p, gateways, policy); len(meant) > 0 {
			reportMisplaced(p, policy, meant)
		}
	}
}

func reportMisplaced(p *Pass, policy *model.AuthorizationPolicy, gateways []*egressGateway) {
	g := gateways[0]
	f := Finding{
		Severity: Error, SecuritySeverity: 8.0, Object: policy.Object, Field: "metadata.namespace",
		Label: "the gateway looks elsewhere",
	}
	names, homes := []string{}, []string{}
	for _, g := range gateways {
		names = append(names, g.ID())
		for _, ns := range []string{g.Namespace, g.push.RootNamespace()} {
			if ns = fmt.Sprintf("%q", ns); !slices.Contains(homes, ns) {
				homes = append(homes, ns)
			}
		}
		f.Related = append(f.Related, Related{Object: g.Object, Field: "metadata.namespace",
			Message: fmt.Sprintf("egress gateway %s takes policies from its own namespace and the root namespace", g.ID())})
	}
	f.Message = fmt.Sprintf("AuthorizationPolicy %s selects nothing at egress gateway %s: it lies in namespace %q, and the gateway takes policies of %s only",
		policy.ID(), upTo3(names), policy.Namespace, upTo3(homes))
	if s := f.effectOfMisplaced(p, policy, g); s != "" {
		f.Message += ". " + s
	}
	f.Message += fmt.Sprintf("; move it to namespace %q", g.Namespace)
	f.Help = fmt.Sprintf("set metadata.namespace to %q", g.Namespace)
	f.Edits = []Edit{{policy.Object, "metadata.namespace", g.Namespace}}
	if inside := workloadIDs(slices.DeleteFunc(attachedTo(p, policy), func(w *model.Workload) bool {
		return p.Reach.Sim.Capture(w).Mode != capture.Sidecar
	})); len(inside) > 0 {
		f.Help += fmt.Sprintf("; where it lies it decides about calls that %s receive", upTo3(inside))
	}
	if selector := policy.Spec.GetSelector().GetMatchLabels(); len(selector) > 0 && !hasLabels(g.Labels, selector) {
		f.Help += "; its selector does not fit the gateway's pods either"
	}
	p.Report(f)
}

// effectOfMisplaced says what becomes of the requests that the policy is about,
// with a witness; "" where no request of the input shows it.
func (f *Finding) effectOfMisplaced(p *Pass, policy *model.AuthorizationPolicy, g *egressGateway) string {
	open := func(_ authzRule, c *crossing) *crossing { return c.when(c.allowed()) }
	if policy.Spec.GetAction() != security.AuthorizationPolicy_ALLOW {
		w := g.witness(p, rulesOf(policy), open)
		f.prove(w)
		if w == nil || !w.Meant {
			return ""
		}
		return fmt.Sprintf("%q stays open to %s", w.Flow.Host, upTo3(w.Workloads))
	}
	allow := slices.DeleteFunc(slices.Clone(g.Policies.Allow), func(a *model.AuthorizationPolicy) bool { return !enforced(a) })
	if len(allow) == 0 {
		w := g.witness(p, rulesOf(policy), open)
		f.prove(w)
		if w == nil {
			f.SecuritySeverity = 0
			return ""
		}
		return "no ALLOW policy is in force there, so that the gateway lets everybody through"
	}
	f.SecuritySeverity = 0 // nothing gets out that should not
	w := g.witness(p, rulesOf(policy), func(r authzRule, c *crossing) *crossing {
		return c.when(r.means(g.push, c.Class[0]) && c.deniedBy(allow[0]))
	})
	f.prove(w)
	if w == nil {
		return ""
	}
	var by []string
	for _, a := range allow {
		text := a.ID()
		if len(a.Spec.GetRules()) == 0 {
			text += ", which allows nothing"
		}
		by = append(by, text)
		f.Related = append(f.Related, Related{Object: a.Object, Field: "spec", Message: fmt.Sprintf("ALLOW policy %s is in force at the gateway", a.ID())})
	}
	text := fmt.Sprintf("%q stays denied to %s because no ALLOW policy in force there matches (%s)", w.Flow.Host, upTo3(w.Workloads), upTo3(by))
	if !slices.ContainsFunc(g.Policies.Deny, enforced) {
		text += "; no DENY policy exists there"
	}
	return text
}
