package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"istio.io/istio/operator/pkg/values"

	"github.com/egresslint/egresslint/model/manifest"
)

// operatorInstallation reads an IstioOperator, which stands at prefix within its
// object, as istioctl install does with it as its file and flags as its --set
// (istio operator/pkg/render/manifest.go MergeInputs).
func operatorInstallation(o *manifest.Object, user map[string]any, prefix string, flags []string) *installation {
	in := &installation{object: o}
	user, err := applyFlags(user, flags)
	if err != nil {
		in.refused = err.Error()
		return in
	}
	spec := lookupMap(user, "spec")
	name := lookupString(spec, "profile")
	base, known := operatorProfile(name)
	if !known {
		in.note(o, fmt.Sprintf("Istio ships no profile %q: the default profile is taken, without its gateways", name))
		base = overlay(base, map[string]any{"spec": map[string]any{"components": map[string]any{"ingressGateways": nil, "egressGateways": nil}}})
	}
	merged := overlay(base, user)

	// spec.meshConfig and the like become Helm values; values that the user
	// gives as such win over them.
	helm := lookupMap(merged, "spec.values")
	translated := map[string]any{}
	if m := lookupMap(merged, "spec.meshConfig"); m != nil {
		translated["meshConfig"] = m
	}
	for _, field := range []string{"revision", "compatibilityVersion"} {
		if v := lookupString(merged, "spec."+field); v != "" {
			translated[field] = v
		}
	}
	cni, _ := lookup(merged, "spec.components.cni.enabled")
	translated["pilot"] = map[string]any{"cni": map[string]any{"enabled": cni == true}}
	helm = overlay(overlay(helm, translated), lookupMap(spec, "values"))
	helm = overlay(helm, lookupMap(spec, "unvalidatedValues"))
	profile, note := helmProfile("istio-control/istio-discovery", helm)
	in.note(o, note)

	in.values = overlay(profile, helm)
	in.valuesPrefix = join(prefix, "spec.values")
	in.revision = revisionName(lookupString(in.values, "revision"))
	in.tags = stringList(in.values["revisionTags"])
	in.namespace = istioNamespace(in.values)
	// istio operator/pkg/component/component.go Get: istioctl installs a component
	// where it says, else into the namespace of Istio.
	in.home = cmp.Or(lookupString(merged, "spec.components.pilot.namespace"), in.namespace)
	pilot, _ := lookup(merged, "spec.components.pilot.enabled")
	in.controlPlane = pilot != false
	in.mesh = chartMesh(in.values, in.namespace, in.revision)
	in.origins = []origin{
		{object: o, prefix: join(prefix, "spec.values.meshConfig"), fields: lookupMap(spec, "values.meshConfig")},
		{object: o, prefix: join(prefix, "spec.meshConfig"), fields: lookupMap(spec, "meshConfig")},
		{object: o, prefix: join(prefix, "spec.profile"), fields: lookupMap(profile, "meshConfig"), fixed: true},
	}
	in.withoutMap()
	in.takeEnvironment(lookupMap(spec, "values"), in.valuesPrefix)
	for name := range lookupMap(spec, "unvalidatedValues.pilot.env") {
		in.environmentAt[name] = Place{o, join(prefix, "spec.unvalidatedValues.pilot.env."+name)}
	}
	in.componentEnvironment(merged, join(prefix, "spec.components.pilot.k8s.env"))
	if patches, _ := lookup(merged, "spec.components.pilot.k8s.overlays"); patches != nil {
		in.note(o, "the k8s.overlays of component pilot are not applied")
	}
	in.version = operatorVersion(spec, prefix)
	in.gateways = operatorGateways(in, merged, user, prefix)
	return in
}

// applyFlags puts --set flags on top of an IstioOperator, in istioctl's own
// words (istio operator/pkg/values). The argument is not changed.
func applyFlags(user map[string]any, flags []string) (out map[string]any, err error) {
	if len(flags) == 0 {
		return user, nil
	}
	// istioctl's code panics where a path goes through what is not a map; here
	// that is an error like any other.
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("a --set path does not fit the fields that are there: %v", r)
		}
	}()
	data, err := json.Marshal(user)
	if err != nil {
		return nil, err
	}
	tree, err := values.MapFromJSON(data)
	if err != nil {
		return nil, err
	}
	// A key without value would swallow what is set below it.
	pruneNulls(map[string]any(tree))
	if tree["spec"] == nil {
		tree["spec"] = map[string]any{}
	}
	if err := tree.SetSpecPaths(flags...); err != nil {
		return nil, err
	}
	// Through JSON once more: what was set has types of its own.
	return asTree(tree)
}

func asTree(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	err = json.Unmarshal(data, &tree)
	return tree, err
}

// CheckSet says what is wrong with one of Options.Set, nil if it can be read. A
// mesh with a wrong one is built without it and has a Problem.
func CheckSet(flag string) error {
	path, _, found := strings.Cut(flag, "=")
	switch {
	case !found:
		return fmt.Errorf("--set %q has no value: write it as path=value", flag)
	case strings.Trim(path, ". ") == "":
		return fmt.Errorf("--set %q has no path: write it as path=value", flag)
	}
	if _, err := applyFlags(map[string]any{}, []string{flag}); err != nil {
		return fmt.Errorf("--set %q: %w", flag, err)
	}
	return nil
}

// componentEnvironment puts the component's own variables, which stand in a list at
// a path of the object, on top of Helm's pilot.env.
func (in *installation) componentEnvironment(merged map[string]any, at string) {
	list, _ := lookup(merged, "spec.components.pilot.k8s.env")
	items, _ := list.([]any)
	for i, e := range items {
		m, _ := e.(map[string]any)
		name, _ := m["name"].(string)
		if _, ok := m["value"]; name == "" || !ok {
			continue
		}
		if in.environment == nil {
			in.environment = map[string]string{}
		}
		in.environment[name] = lookupString(m, "value")
		in.environmentAt[name] = Place{in.object, item(at, i) + ".value"}
	}
}

func operatorVersion(spec map[string]any, prefix string) versionClaim {
	for _, field := range []string{"components.pilot.tag", "tag", "values.global.tag", "values.pilot.tag"} {
		if v := lookupString(spec, field); v != "" {
			return versionClaim{v, join(prefix, "spec."+field)}
		}
	}
	return versionClaim{}
}

// stringList keeps the strings of a list.
func stringList(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok && !contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
