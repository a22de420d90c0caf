package model

import (
	"maps"
	"slices"
	"strconv"
)

// unmodelledSwitches are istiod's environment variables that change whether a
// request gets out and that the simulation does not follow, with what they are
// without being set (istio pilot/pkg/features). Lists have no default.
var unmodelledSwitches = map[string]string{
	"ENABLE_ENHANCED_DESTINATIONRULE_MERGE":            "true",
	"ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT":             "true",
	"ENABLE_MCS_HOST":                                  "false",
	"ENABLE_MCS_SERVICE_DISCOVERY":                     "false",
	"ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY":         "true",
	"ISTIO_DUAL_STACK":                                 "false",
	"ISTIO_WATCH_NAMESPACE":                            "",
	"PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN":          "true",
	"PILOT_ENABLE_AGENTGATEWAY":                        "false",
	"PILOT_ENABLE_ALPN_FILTER":                         "true",
	"PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS": "true",
	"PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES":         "true",
	"PILOT_ENABLE_QUIC_LISTENERS":                      "false",
	"PILOT_ENABLE_SERVICEENTRY_SELECT_PODS":            "true",
	"PILOT_GATEWAY_API_CONTROLLER_NAME":                "istio.io/gateway-controller",
	"PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME":      "istio",
	"PILOT_IGNORE_RESOURCES":                           "",
	"PILOT_INCLUDE_RESOURCES":                          "",
	"PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE":        "true",
	"PILOT_SIDECAR_USE_REMOTE_ADDRESS":                 "false",
	"PILOT_UNIFIED_SIDECAR_SCOPE":                      "true",
	"PREFER_DESTINATIONRULE_TLS_FOR_EXTERNAL_SERVICES": "true",
}

// noteSwitches says of which switches of its control planes a mesh sets what the
// simulation does not follow.
func (m *Mesh) noteSwitches() {
	configs := []*MeshConfig{m.Config}
	for _, revision := range sortedKeys(m.Revisions) {
		configs = append(configs, m.Revisions[revision])
	}
	said := map[string]bool{}
	for _, config := range configs {
		if config == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(unmodelledSwitches)) {
			value, set := config.Environment[name]
			if byDefault := unmodelledSwitches[name]; !set || value == byDefault || sameBool(value, byDefault) || said[name+value] {
				continue
			}
			said[name+value] = true
			m.note("istiod is started with %s=%s, and what that changes is not simulated: verdicts are those of its default", name, strconv.Quote(value))
		}
	}
}

func sameBool(a, b string) bool {
	x, err := strconv.ParseBool(a)
	y, err2 := strconv.ParseBool(b)
	return err == nil && err2 == nil && x == y
}
