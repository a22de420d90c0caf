package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/traffic"
)

var _ = register(&Analyzer{
	ID: "EGR424", Name: "dry-run-policy", Severity: Error, SecuritySeverity: 7.4,
	Run: dryRunPolicy,
	Doc: Doc{
		Title: "A policy of an egress gateway is only a dry run, and stops nothing",
		What: "An AuthorizationPolicy that applies to an egress gateway is annotated `istio.io/dry-run: \"true\"`. It is an error where a request of the input gets out " +
			"that the policy would stop if it were enforced, else a note.",
		Why:    "A dry run is evaluated for logs and metrics only: a DENY denies nothing, and an ALLOW does not make the gateway deny by default.",
		Bad:    egressDoc(strings.Replace(identityDenyDoc, "  namespace: istio-egress\n", "  namespace: istio-egress\n  annotations:\n    istio.io/dry-run: \"true\"\n", 1)),
		Good:   egressDoc(identityDenyDoc),
		Fix:    "Remove the annotation once the dry run has shown what it should.",
		Silent: "AUDIT, and CUSTOM, which Istio refuses together with the annotation; policies that apply to no egress gateway.",
		Sources: []string{
			"istio pilot/pkg/security/authz/builder/builder.go (isDryRun)",
			"https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/",
		},
	},
})

// dryRunAnnotation makes a policy a dry run.
const dryRunAnnotation = "istio.io/dry-run"

func dryRunPolicy(p *Pass) {
	var enforcing *traffic.Simulation // with every dry run enforced, made when it is needed
	gateways := egressGateways(p)
	for _, policy := range p.Mesh.AuthorizationPolicies {
		if !model.DryRun(policy) {
			continue
		}
		for _, g := range gateways {
			if !slices.Contains(slices.Concat(g.Policies.Deny, g.Policies.Allow), policy) {
				continue
			}
			if enforcing == nil {
				enforcing = traffic.New(withoutDryRuns(p.Mesh))
			}
			reportDryRun(p, g, policy, enforcing)
			break
		}
	}
}

// withoutDryRuns returns a mesh in which no policy is a dry run.
func withoutDryRuns(mesh *model.Mesh) *model.Mesh {
	out := *mesh
	out.AuthorizationPolicies = slices.Clone(mesh.AuthorizationPolicies)
	for i, policy := range out.AuthorizationPolicies {
		if !model.DryRun(policy) {
			continue
		}
		object := *policy.Object
		object.Annotations = maps.Clone(object.Annotations)
		delete(object.Annotations, dryRunAnnotation)
		out.AuthorizationPolicies[i] = &model.AuthorizationPolicy{Object: &object, Spec: policy.Spec}
	}
	return &out
}

func reportDryRun(p *Pass, g *egressGateway, policy *model.AuthorizationPolicy, enforcing *traffic.Simulation) {
	action := policy.Spec.GetAction()
	f := Finding{Severity: Note, SecuritySeverity: 2.0, Object: policy.Object, Field: annotationField(dryRunAnnotation), Label: "not enforced",
		Related: []Related{{g.Object, "metadata.name", fmt.Sprintf("the policy applies to egress gateway %s", g.ID())}}}
	rules := rulesOf(policy)
	if action == security.AuthorizationPolicy_ALLOW {
		rules = []authzRule{{Policy: policy}} // what no rule matches is what it would deny
	}
	w := g.witness(p, rules, func(_ authzRule, c *crossing) *crossing {
		if !c.allowed() {
			return nil
		}
		t := enforcing.Verdict(c.Flow)
		return c.when(deniedBy(t, policy))
	})
	if w == nil {
		if known := g.proveAny(p, &f); !known {
			return
		}
		f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) is a dry run and decides nothing at egress gateway %s; remove the annotation to enforce it", policy.ID(), action, g.ID())
		p.Report(f)
		return
	}
	f.Severity, f.SecuritySeverity = Error, 7.4
	f.prove(w)
	f.Message = fmt.Sprintf("AuthorizationPolicy %s (%s) is a dry run and stops nothing: requests of %s to %q get out, which it would deny; remove the annotation to enforce it",
		policy.ID(), action, upTo3(f.Workloads), w.Flow.Host)
	p.Report(f)
}

// proveAny adds some request that the gateway takes; false if no client sends one.
func (g *egressGateway) proveAny(p *Pass, f *Finding) bool {
	first, clients := g.through(p)
	if first == nil {
		return false
	}
	f.Flow, f.Trace, f.Workloads = &first.Flow, first.Trace, workloadIDs(clients)
	return true
}
