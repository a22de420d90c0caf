// Package switches sets environment variables of istiod for the judge, which runs
// istiod's own code, and says so to the product in a manifest.
package switches

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"istio.io/istio/pilot/pkg/features"
)

// flags and texts are the variables that can be set: istiod reads them when it makes
// configuration, not when it is started.
var flags = map[string]*bool{
	"ENABLE_ENHANCED_DESTINATIONRULE_MERGE":              &features.EnableEnhancedDestinationRuleMerge,
	"ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT":               &features.EnableGatewayAPIManualDeployment,
	"ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY":           &features.EnableSelectorBasedK8sGatewayPolicy,
	"PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE": &features.EnableSidecarServiceInboundListenerMerge,
	"PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN":            &features.EnableAbsoluteFqdnVhostDomain,
	"PILOT_ENABLE_ALPN_FILTER":                           &features.ALPNFilter,
	"PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES":             &features.EnableEDSForHeadless,
	"PILOT_ENABLE_IP_AUTOALLOCATE":                       &features.EnableIPAutoallocate,
	"PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES":           &features.EnableK8SServiceSelectWorkloadEntries,
	"PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS":       &features.EnableMultipleCustomAuthzProviders,
	"PILOT_ENABLE_SERVICEENTRY_SELECT_PODS":              &features.EnableServiceEntrySelectPods,
	"PILOT_ENABLE_STRICT_GATEWAY_MERGING":                &features.EnableStrictGatewayMerging,
	"PILOT_FILTER_GATEWAY_CLUSTER_CONFIG":                &features.FilterGatewayClusterConfig,
	"PILOT_SCOPE_GATEWAY_TO_NAMESPACE":                   &features.ScopeGatewayToNamespace,
	"PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE":          &features.SidecarPickBestServiceNamespace,
	"PILOT_SIDECAR_USE_REMOTE_ADDRESS":                   &features.UseRemoteAddress,
	"PILOT_UNIFIED_SIDECAR_SCOPE":                        &features.UnifiedSidecarScoping,
	"PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES":   &features.PreferDestinationRulesTLSForExternalServices,
}

var texts = map[string]*string{
	"PILOT_DRAINING_LABEL": &features.DrainingLabel,
}

// Names are the variables that can be set, sorted.
func Names() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq(slices.Collect(maps.Keys(flags)), maps.Keys(texts))))
}

// Set gives a variable a value for the whole process and returns what takes it back.
// It must not be called while a mesh is judged.
func Set(name, value string) (restore func(), err error) {
	if flag := flags[name]; flag != nil {
		before := *flag
		if *flag, err = strconv.ParseBool(value); err != nil {
			return nil, err
		}
		return func() { *flag = before }, nil
	}
	text := texts[name]
	if text == nil {
		return nil, fmt.Errorf("no variable %s that can be set: there are %s", name, strings.Join(Names(), ", "))
	}
	before := *text
	*text = value
	return func() { *text = before }, nil
}

// Manifest is a Deployment of istiod that sets variables, as a document of a stream.
func Manifest(values map[string]string) []byte {
	out := "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}\nspec:\n" +
		"  selector: {matchLabels: {app: istiod}}\n  template:\n    metadata: {labels: {app: istiod, sidecar.istio.io/inject: \"false\"}}\n    spec:\n" +
		"      containers:\n      - name: discovery\n        image: pilot\n        env:\n        - {name: REVISION, value: default}\n"
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out += fmt.Sprintf("        - {name: %s, value: %q}\n", name, values[name])
	}
	return []byte(out)
}
