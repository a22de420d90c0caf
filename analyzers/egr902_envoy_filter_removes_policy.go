package analyzers

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR902", Name: "envoyfilter-removes-policy", Severity: Warning, SecuritySeverity: 6.5,
	Run: runEnvoyFilterRemovesPolicy,
	Doc: Doc{
		Title: "An EnvoyFilter takes away what carries out the policies of an egress gateway",
		What: "An EnvoyFilter that applies to an egress gateway removes a filter for authorization (`rbac`, `ext_authz`), and AuthorizationPolicies are in force there. " +
			"What other EnvoyFilters do is not interpreted: requests that they may concern are undecided (EGR904).",
		Why:    "Istio carries out AuthorizationPolicies by these filters of Envoy. Without them every request passes, and the policies still look as if they were in force.",
		Bad:    egressDoc(removalDoc + allowOrders("istio-egress", "istio-egress")),
		Good:   egressDoc(allowOrders("istio-egress", "istio-egress")),
		Fix:    "Remove the patch. If a policy is to be tried out first, annotate it with `istio.io/dry-run: \"true\"`.",
		Silent: "Filters of other kinds, patches that add or merge; gateways without enforced policies; patches for sidecars, for other proxies by their metadata, or of namespaces that do not apply to the gateway.",
		Sources: []string{
			"istio pilot/pkg/networking/core/envoyfilter/listener_patch.go",
			"istio pilot/pkg/model/push_context.go (getMatchedEnvoyFilters)",
		},
	},
})

const removalDoc = `apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: no-rbac
  namespace: istio-egress
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
      listener:
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter:
              name: envoy.filters.http.rbac
    patch:
      operation: REMOVE
---
`

func runEnvoyFilterRemovesPolicy(p *Pass) {
	in := intentOf(p)
	for _, ef := range p.Mesh.EnvoyFilters {
		for i, patch := range ef.Spec.GetConfigPatches() {
			name := removedFilter(patch)
			if name == "" {
				continue
			}
			for _, g := range in.gateways {
				policies := g.enforcedPolicies()
				if len(policies) == 0 || !in.applies(ef, g.Workload) {
					continue
				}
				f := Finding{Object: ef.Object, Field: fmt.Sprintf("spec.configPatches[%d].patch.operation", i), Label: "policies are carried out by this filter",
					Help: "remove the patch"}
				var titles []string
				for _, policy := range policies {
					titles = append(titles, policy.ID())
					if len(f.Related) < maxNamed {
						f.Related = append(f.Related, Related{policy.Object, "metadata.name", fmt.Sprintf("AuthorizationPolicy %s is in force there", policy.ID())})
					}
				}
				f.Message = fmt.Sprintf("EnvoyFilter %s removes %s from egress gateway %s: AuthorizationPolicy %s is not carried out by it any more; remove the patch",
					ef.ID(), name, g.ID(), upTo3(titles))
				p.Report(f)
				break
			}
		}
	}
}

// removedFilter is the name of the filter for authorization that a patch removes
// from gateways, "" if it does not.
func removedFilter(patch *networking.EnvoyFilter_EnvoyConfigObjectPatch) string {
	match := patch.GetMatch()
	if patch.GetPatch().GetOperation() != networking.EnvoyFilter_Patch_REMOVE || len(match.GetProxy().GetMetadata()) > 0 || match.GetProxy().GetProxyVersion() != "" ||
		match.GetContext() != networking.EnvoyFilter_GATEWAY && match.GetContext() != networking.EnvoyFilter_ANY {
		return ""
	}
	filter := match.GetListener().GetFilterChain().GetFilter()
	name := filter.GetName()
	if patch.GetApplyTo() == networking.EnvoyFilter_HTTP_FILTER {
		name = filter.GetSubFilter().GetName()
	} else if patch.GetApplyTo() != networking.EnvoyFilter_NETWORK_FILTER {
		return ""
	}
	if strings.HasSuffix(name, ".rbac") || strings.HasSuffix(name, ".ext_authz") {
		return name
	}
	return ""
}

// applies reports whether an EnvoyFilter is for a workload (istio
// pilot/pkg/model/push_context.go getMatchedEnvoyFilters).
func (in *intent) applies(ef *model.EnvoyFilter, w *model.Workload) bool {
	return (ef.Namespace == w.Namespace || ef.Namespace == in.push.RootNamespace()) && len(ef.Spec.GetTargetRefs()) == 0 &&
		hasLabels(w.Labels, ef.Spec.GetWorkloadSelector().GetLabels())
}
