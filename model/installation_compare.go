package model

import (
	"reflect"
	"slices"
	"strings"
)

// compare notes where the result of an installation differs from what an
// installation in the same input says.
func (c *configuring) compare(result, declared *installation) {
	var differ []string
	for _, o := range declared.origins {
		if o.fixed {
			continue
		}
		for _, path := range leaves(o.fields, "") {
			want, _ := lookup(declared.mesh, path)
			got, _ := lookup(result.mesh, path)
			if !reflect.DeepEqual(want, got) && !contains(differ, path) {
				differ = append(differ, path)
			}
		}
	}
	if len(differ) == 0 {
		return
	}
	slices.Sort(differ)
	c.mesh.note("%s and %s differ in their mesh configuration (%s): the ConfigMap counts, as the result of an installation",
		title(declared.object), title(result.object), strings.Join(shortened(differ), ", "))
}

// leaves lists the dotted paths of all values that are not maps, sorted.
func leaves(fields map[string]any, prefix string) []string {
	var out []string
	for _, key := range sortedKeys(fields) {
		path := key
		if prefix != "" {
			path = prefix + "." + key
		}
		if m, ok := fields[key].(map[string]any); ok {
			out = append(out, leaves(m, path)...)
		} else {
			out = append(out, path)
		}
	}
	return out
}

// deciding are the fields of mesh configuration that decide about requests.
var deciding = []string{
	"defaultConfig.interceptionMode", "defaultConfig.proxyMetadata", "defaultDestinationRuleExportTo", "defaultServiceExportTo", "defaultVirtualServiceExportTo",
	"discoverySelectors", "enableAutoMtls", "extensionProviders", "outboundTrafficPolicy", "pathNormalization", "rootNamespace", "serviceEntryVisibility", "trustDomain",
}

// decisive reports whether a dotted path is that of such a field, or below one.
func decisive(path string) bool {
	return slices.ContainsFunc(deciding, func(field string) bool { return path == field || strings.HasPrefix(path, field+".") })
}

// differsFrom lists the fields that decide about requests and that two installations
// set differently, or one alone.
func (in *installation) differsFrom(other *installation) []string {
	var out []string
	for _, field := range deciding {
		a, _ := lookup(in.mesh, field)
		b, _ := lookup(other.mesh, field)
		if !reflect.DeepEqual(a, b) {
			out = append(out, field)
		}
	}
	return out
}

// differences lists what two sets of origins, neither of them a chart's own
// values.yaml, set differently.
func differences(a, b []origin) []string {
	var out []string
	for _, x := range a {
		if x.fixed || isBaseValues(x.object) {
			continue
		}
		for _, y := range b {
			for _, path := range leaves(y.fields, "") {
				want, set := lookup(x.fields, path)
				got, _ := lookup(y.fields, path)
				if set && !reflect.DeepEqual(want, got) && !contains(out, path) {
					out = append(out, path)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}
