package analyzers

import (
	"fmt"
	"slices"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR425", Name: "custom-authz-gap", Severity: Error, SecuritySeverity: 7.4,
	Run: customGap,
	Doc: Doc{
		Title: "An egress gateway asks an external authorizer that cannot be asked, or does without its answer",
		What: "A CUSTOM policy of an egress gateway names a provider that the mesh configuration does not define or whose Service does not exist; two policies name different providers; " +
			"a provider that speaks HTTP is to decide about connections that the gateway does not read as HTTP; or the provider is told to let requests through when it cannot be reached.",
		Why: "Without a usable provider, or with several for one gateway, Istio denies whatever the policy matches. On TCP a provider of kind envoyExtAuthzHttp is left out, " +
			"and what it should decide gets out. With `failOpen` the control is gone whenever the authorizer is, which a client may bring about.",
		Bad:  egressDoc(customDoc, "    outboundTrafficPolicy:\n", customProvider("other", "")+"    outboundTrafficPolicy:\n"),
		Good: egressDoc(customDoc, "    outboundTrafficPolicy:\n", customProvider("authorizer", "")+"    outboundTrafficPolicy:\n"),
		Fix: "Define the provider under `extensionProviders` of the mesh configuration, use one for each gateway, one of kind envoyExtAuthzGrpc where the gateway passes TLS through, " +
			"and leave `failOpen` out.",
		Silent: "Input without a mesh configuration; dry runs (EGR424); policies that apply to no egress gateway, or to no request that a client in the input sends through it.",
		Sources: []string{
			"istio pilot/pkg/security/authz/builder/builder.go (buildHTTP, buildTCP)",
			"istio pilot/pkg/security/authz/builder/extauthz.go",
		},
	},
})

const customDoc = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: ask
  namespace: istio-egress
spec:
  action: CUSTOM
  provider:
    name: authorizer
  rules:
  - to:
    - operation:
        hosts: ["api.example.com"]
---
apiVersion: v1
kind: Service
metadata:
  name: authorizer
  namespace: istio-egress
spec:
  selector:
    app: authorizer
  ports:
  - name: http
    port: 8000
`

// customProvider is a provider in the documented mesh configuration.
func customProvider(name, more string) string {
	return `    extensionProviders:
    - name: ` + name + `
      envoyExtAuthzHttp:
        service: authorizer.istio-egress.svc.cluster.local
        port: 8000
` + more
}

func customGap(p *Pass) {
	for _, g := range egressGateways(p) {
		custom := slices.DeleteFunc(slices.Clone(g.Policies.Custom), func(a *model.AuthorizationPolicy) bool { return !enforced(a) })
		for _, policy := range custom {
			if f, ok := g.customGap(p, policy, custom); ok {
				p.Report(f)
			}
		}
	}
}

// customGap returns what is wrong with the provider of a CUSTOM policy.
func (g *egressGateway) customGap(p *Pass, policy *model.AuthorizationPolicy, all []*model.AuthorizationPolicy) (Finding, bool) {
	name := policy.Spec.GetProvider().GetName()
	f := Finding{Severity: Error, Object: policy.Object, Field: "spec.provider.name"}
	config := g.push.Config
	if config.Source == nil || config.Refused {
		return f, false
	}
	denied := g.witness(p, rulesOf(policy), func(_ authzRule, c *crossing) *crossing { return c.when(c.deniedBy(policy)) })
	other := slices.IndexFunc(all, func(a *model.AuthorizationPolicy) bool { return a.Spec.GetProvider().GetName() != name })
	provider := g.provider(name)
	switch {
	case denied != nil && other >= 0 && provider.usable:
		f.Label = "a second provider"
		f.Message = fmt.Sprintf("AuthorizationPolicy %s asks provider %q and AuthorizationPolicy %s provider %q: with several for egress gateway %s Istio denies what they match; use one provider",
			policy.ID(), name, all[other].ID(), all[other].Spec.GetProvider().GetName(), g.ID())
		f.Related = []Related{{all[other].Object, "spec.provider.name", "the other provider"}}
	case denied != nil && !provider.defined:
		f.Label = "not defined"
		f.Message = fmt.Sprintf("AuthorizationPolicy %s asks provider %q, which the mesh configuration does not define: what it matches is denied, as requests of %s to %q; define it under extensionProviders",
			policy.ID(), name, upTo3(denied.Workloads), denied.Flow.Host)
		f.Related = []Related{{config.Source, config.Prefix, "the mesh configuration"}}
	case denied != nil && !provider.usable:
		f.Label = "no such Service"
		f.Message = fmt.Sprintf("AuthorizationPolicy %s asks provider %q, whose Service %q is in no registry: what it matches is denied, as requests of %s to %q; give a Service that exists",
			policy.ID(), name, provider.service, upTo3(denied.Workloads), denied.Flow.Host)
		f.Related = []Related{{config.Source, config.Prefix, "the mesh configuration"}}
	default:
		return g.customOpen(p, policy, provider, f)
	}
	f.prove(denied)
	return f, true
}

// customOpen returns what gets out although a policy with a usable provider should
// have it decided.
func (g *egressGateway) customOpen(p *Pass, policy *model.AuthorizationPolicy, provider authorizer, f Finding) (Finding, bool) {
	if !provider.usable {
		return f, false
	}
	if c := g.unaskedTLS(p, policy); provider.http && c != nil {
		s := c.Servers[0]
		f.SecuritySeverity, f.Label = 7.4, "speaks HTTP only"
		f.Flow, f.Trace, f.Workloads = &c.Flow, c.Trace, workloadIDs(c.Class)
		f.Message = fmt.Sprintf("AuthorizationPolicy %s is ignored at %s: provider %q speaks HTTP, and the server does not read HTTP. Requests of %s to %q get out unasked; use a provider of kind envoyExtAuthzGrpc, or deny them",
			policy.ID(), opaqueText(s), policy.Spec.GetProvider().GetName(), upTo3(f.Workloads), c.Flow.Host)
		at := modePlace(s)
		f.Related = []Related{{at.Object, at.Field, fmt.Sprintf("%s does not read HTTP", serverText(s))}}
		return f, true
	}
	if !provider.failOpen {
		return f, false
	}
	asked := g.witness(p, rulesOf(policy), func(_ authzRule, c *crossing) *crossing { return c.when(c.Trace.Reason == flow.ExtAuthz) })
	if asked == nil {
		return f, false
	}
	f.prove(asked)
	f.Severity, f.SecuritySeverity, f.Label = Warning, 6.0, "lets through when it is down"
	if object, field := g.push.Config.Because("extensionProviders"); object != nil {
		f.Related = []Related{{object, field, fmt.Sprintf("provider %q has failOpen: true", policy.Spec.GetProvider().GetName())}}
	}
	f.Message = fmt.Sprintf("AuthorizationPolicy %s asks provider %q, which has failOpen: whenever the authorizer does not answer, requests of %s to %q get out unasked; leave failOpen out",
		policy.ID(), policy.Spec.GetProvider().GetName(), upTo3(f.Workloads), asked.Flow.Host)
	return f, true
}

// unaskedTLS returns a request that gets out through a server that does not read
// HTTP, although a rule of the policy speaks of its host and its client.
func (g *egressGateway) unaskedTLS(p *Pass, policy *model.AuthorizationPolicy) *crossing {
	if len(g.opaqueServers()) == 0 {
		return nil
	}
	for _, r := range rulesOf(policy) {
		among := g.named(r.hosts())
		for _, class := range g.coming(p, among) {
			if !p.means(g.push, r, class[0]) {
				continue
			}
			for c := range g.opaqueCrossings(p, class, among) {
				if c.allowed() && r.onPort(c) {
					return c
				}
			}
		}
	}
	return nil
}

// authorizer is an external authorizer of the mesh configuration.
type authorizer struct {
	// defined: there is a provider of the name and of a kind that authorizes.
	// usable: istiod finds its Service too.
	defined, usable bool
	http, failOpen  bool
	service         string
}

// provider returns the external authorizer of a name.
func (g *egressGateway) provider(name string) authorizer {
	for _, e := range g.push.Config.GetExtensionProviders() {
		if e.GetName() != name {
			continue
		}
		switch x := e.GetProvider().(type) {
		case *meshconfig.MeshConfig_ExtensionProvider_EnvoyExtAuthzHttp:
			service := x.EnvoyExtAuthzHttp.GetService()
			return authorizer{true, g.push.FindsProvider(service), true, x.EnvoyExtAuthzHttp.GetFailOpen(), strings.TrimSpace(service)}
		case *meshconfig.MeshConfig_ExtensionProvider_EnvoyExtAuthzGrpc:
			service := x.EnvoyExtAuthzGrpc.GetService()
			return authorizer{true, g.push.FindsProvider(service), false, x.EnvoyExtAuthzGrpc.GetFailOpen(), strings.TrimSpace(service)}
		}
	}
	return authorizer{}
}
