package model

import (
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/manifest"
)

// applicationInstallation reads the Helm values within an Argo CD Application.
func applicationInstallation(o *manifest.Object, fields map[string]any) *installation {
	type source struct {
		fields map[string]any
		path   string
	}
	sources := []source{{lookupMap(fields, "spec.source"), "spec.source"}}
	list, _ := lookup(fields, "spec.sources")
	items, _ := list.([]any)
	for i, e := range items {
		sources = append(sources, source{asMap(e), item("spec.sources", i)})
	}
	for _, s := range sources {
		// valuesObject takes the place of values, and parameters go before both
		// (https://argo-cd.readthedocs.io/en/stable/user-guide/helm/).
		values, at := lookupMap(s.fields, "helm.valuesObject"), s.path+".helm.valuesObject"
		if text := lookupString(s.fields, "helm.values"); values == nil && text != "" {
			at = s.path + ".helm.values"
			if yaml.Unmarshal([]byte(text), &values) != nil {
				continue
			}
		}
		parameters := helmParameters(s.fields, s.path+".helm.parameters")
		for _, p := range parameters {
			values = overlay(values, p.fields)
		}
		chart := lookupString(s.fields, "chart")
		in := valuesInstallation(o, values, at)
		if in == nil || in.valuesPrefix == at && foreignCharts[chart] {
			continue
		}
		for _, p := range parameters {
			if m := lookupMap(p.fields, join(strings.TrimPrefix(strings.TrimPrefix(in.valuesPrefix, at), "."), "meshConfig")); m != nil {
				in.origins = slices.Insert(in.origins, 0, origin{object: o, prefix: p.prefix, fields: m, fixed: true})
			}
		}
		if contains(istiodCharts, chart) {
			in.home = lookupString(fields, "spec.destination.namespace")
		}
		if list, _ := lookup(s.fields, "helm.valueFiles"); list != nil {
			in.takesElsewhere(s.path + ".helm.valueFiles")
		}
		return in
	}
	return nil
}

// helmParameters reads what an Application sets one by one: each as values, with the
// field that sets them.
func helmParameters(fields map[string]any, at string) []origin {
	list, _ := lookup(fields, "helm.parameters")
	items, _ := list.([]any)
	var out []origin
	for i, e := range items {
		name, value := lookupString(asMap(e), "name"), lookupString(asMap(e), "value")
		if tree, err := applyFlags(map[string]any{}, []string{name + "=" + value}); name != "" && err == nil {
			out = append(out, origin{prefix: item(at, i) + ".value", fields: lookupMap(tree, "spec")})
		}
	}
	return out
}
