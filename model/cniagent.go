package model

import (
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/manifest"
)

// CNIAgent is what the input says of Istio's CNI agent by itself, beside what
// the values of an installation do: an IstioCNI of the Sail operator, or the
// ConfigMap that the chart istio-cni leaves in a cluster.
type CNIAgent struct {
	Object *manifest.Object
	// Values are those of the chart ("excludeNamespaces", "ambient.enabled").
	Values map[string]any
	// Field gives the field path of a value ("ambient.enabled") in Object.
	Field func(value string) string
}

// cniMapName is the ConfigMap of the CNI agent (istio
// manifests/charts/istio-cni/templates/configmap-cni.yaml).
const cniMapName = "istio-cni-config"

// cniMap is its decoded value.
type cniMap struct{ data map[string]string }

// cniKeys gives the key of the ConfigMap for a value of the chart.
var cniKeys = map[string]string{
	"excludeNamespaces":           "EXCLUDE_NAMESPACES",
	"ambient.enabled":             "AMBIENT_ENABLED",
	"ambient.dnsCapture":          "AMBIENT_DNS_CAPTURE",
	"ambient.enablementSelectors": "AMBIENT_ENABLEMENT_SELECTOR",
}

// addCNIAgent takes what an object says of the CNI agent, and whether it installs
// ztunnel. The last object of the input counts, and what runs in a cluster before
// what is asked for.
func (m *Mesh) addCNIAgent(o *manifest.Object) {
	switch v := o.Value.(type) {
	case *cniMap:
		m.CNI = &CNIAgent{Object: o, Values: v.values(), Field: func(value string) string { return "data." + cniKeys[value] }}
	case *installationDoc:
		switch {
		case o.Kind == "ZTunnel":
			m.ZTunnel = o
		case o.Kind == "IstioCNI" && (m.CNI == nil || m.CNI.Object.Kind == "IstioCNI"):
			m.CNI = &CNIAgent{Object: o, Values: lookupMap(v.fields, "spec.values.cni"), Field: func(value string) string { return "spec.values.cni." + value }}
		}
	}
}

// values are the chart's values that the ConfigMap was made of; what cannot be
// read is left out.
func (c *cniMap) values() map[string]any {
	ambient := map[string]any{}
	out := map[string]any{"ambient": ambient}
	for _, name := range []string{"enabled", "dnsCapture"} {
		if on, err := strconv.ParseBool(c.data[cniKeys["ambient."+name]]); err == nil {
			ambient[name] = on
		}
	}
	if text := c.data[cniKeys["ambient.enablementSelectors"]]; text != "" {
		var selectors []any
		if yaml.Unmarshal([]byte(text), &selectors) == nil {
			ambient["enablementSelectors"] = selectors
		}
	}
	if text, ok := c.data[cniKeys["excludeNamespaces"]]; ok {
		list := []any{}
		for _, name := range strings.Split(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				list = append(list, name)
			}
		}
		out["excludeNamespaces"] = list
	}
	return out
}
