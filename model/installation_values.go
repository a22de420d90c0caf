package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/egresslint/egresslint/model/manifest"
)

// istiodCharts are the names under which the chart of istiod is published.
var istiodCharts = []string{"istiod", "istio-discovery"}

// valuesInstallation reads Helm values, which stand at prefix in their object:
// values of istiod's chart, at the top or under the name of a subchart, or those
// of Big Bang. Nil if they have nothing to do with Istio.
func valuesInstallation(o *manifest.Object, fields map[string]any, prefix string) *installation {
	holder, at := meshHolder(fields)
	in := &installation{object: o, controlPlane: true}
	in.enabled, in.enabledBy = enabledAt(fields, at)
	if holder == nil {
		switch {
		case o.Kind == manifest.KindValues && isMeshConfig(fields):
			in.mesh, in.patched, in.origins = fields, fields, []origin{{object: o, prefix: prefix, fields: fields}}
			return in
		case o.Kind == manifest.KindValues:
			holder, at = fields, ""
			if nested := lookupMap(fields, "istio.values"); nested != nil {
				holder, at = nested, "istio.values"
			}
		case o.Kind == "HelmRelease" && contains(istiodCharts, releasedChart(o)):
			holder = fields
		default:
			return nil
		}
	}
	in.valuesPrefix = join(prefix, at)
	in.takeValues(holder)
	if o.Kind == manifest.KindValues {
		in.postRenderers(fields)
	}
	return in
}

// takeValues settles what the values of istiod's chart configure.
func (in *installation) takeValues(user map[string]any) {
	profile, note := helmProfile("istio-control/istio-discovery", user)
	in.note(in.object, note)
	in.values = overlay(profile, user)
	in.revision = revisionName(lookupString(in.values, "revision"))
	in.tags = stringList(in.values["revisionTags"])
	in.namespace = istioNamespace(in.values)
	in.mesh = chartMesh(in.values, in.namespace, in.revision)
	in.origins = []origin{{object: in.object, prefix: join(in.valuesPrefix, "meshConfig"), fields: lookupMap(user, "meshConfig")}}
	if m := lookupMap(profile, "meshConfig"); m != nil {
		in.origins = append(in.origins, origin{object: in.object, prefix: join(in.valuesPrefix, "profile"), fields: m, fixed: true})
	}
	in.withoutMap()
	in.takeEnvironment(user, in.valuesPrefix)
	for _, field := range []string{"pilot.tag", "global.tag", "tag"} {
		if v := lookupString(in.values, field); v != "" {
			in.version = versionClaim{v, join(in.valuesPrefix, field)}
			break
		}
	}
}

// isBaseValues reports whether a values file is the one that charts ship.
func isBaseValues(o *manifest.Object) bool { return o.Name == "values.yaml" || o.Name == "values.yml" }

// layer puts other Helm values on top, as helm -f A -f B does.
func (in *installation) layer(over *installation) {
	note := fmt.Sprintf("%s is put on top of %s, as helm -f does in this order", title(over.object), title(in.object))
	if differ := differences(in.origins, over.origins); len(differ) > 0 {
		note += fmt.Sprintf("; they differ in %s: if they are of different environments, give those of one only", strings.Join(shortened(differ), ", "))
		if slices.ContainsFunc(differ, decisive) {
			in.assumption = note
		}
	}
	origins, notes := slices.Concat(over.origins, in.origins), slices.Concat(in.notes, over.notes, []string{note})
	in.gateways = slices.Concat(in.gateways, over.gateways)
	in.patched = overlay(in.patched, over.patched)
	if over.enabled != nil {
		in.enabled, in.enabledBy = over.enabled, over.enabledBy
	}
	set := mergeMaps(in.environmentAt, over.environmentAt)
	in.takeValues(overlay(in.values, over.values))
	in.environmentAt = set
	in.mesh = overlay(in.mesh, in.patched)
	in.origins, in.notes = origins, notes
}

// shortened keeps three of a list.
func shortened(list []string) []string {
	if len(list) > 3 {
		return append(list[:3:3], "…")
	}
	return list
}

// meshHolder finds the shallowest map that has a meshConfig, at most three
// levels deep, and its path.
func meshHolder(fields map[string]any) (map[string]any, string) {
	type level struct {
		fields map[string]any
		path   string
	}
	for depth, next := 0, []level{{fields, ""}}; depth <= 3 && len(next) > 0; depth++ {
		var below []level
		for _, l := range next {
			if _, ok := l.fields["meshConfig"].(map[string]any); ok {
				return l.fields, l.path
			}
			for _, key := range slices.Sorted(maps.Keys(l.fields)) {
				if m, ok := l.fields[key].(map[string]any); ok {
					below = append(below, level{m, child(l.path, key)})
				}
			}
		}
		next = below
	}
	return nil, ""
}

// enabledAt says what values say of whether the subchart is installed whose values
// stand at a path, or one that has it; nil for nothing. Which value a chart's condition
// asks is not in its values, and is called so by custom.
func enabledAt(fields map[string]any, at string) (enabled *bool, field string) {
	var above []string
	for _, key := range fieldKeys(at) {
		above = append(above, key)
		by := strings.Join(above, ".") + ".enabled"
		v, _ := lookup(fields, by)
		if on, ok := v.(bool); ok && (enabled == nil || *enabled) {
			enabled, field = &on, by
		}
	}
	return enabled, field
}

// disabled reports whether the values say that istiod's chart is not installed.
func (in *installation) disabled() bool { return in.enabled != nil && !*in.enabled }

// isMeshConfig reports whether a map is a mesh configuration itself: it has a
// field of one, which no Helm values of Istio's have at the top.
func isMeshConfig(fields map[string]any) bool {
	known := (&meshconfig.MeshConfig{}).ProtoReflect().Descriptor().Fields()
	for key := range fields {
		if known.ByJSONName(key) != nil {
			return true
		}
	}
	return false
}

// releasedChart is the chart that a Flux HelmRelease installs.
func releasedChart(o *manifest.Object) string {
	doc, _ := o.Value.(*installationDoc)
	if doc == nil {
		return ""
	}
	return lookupString(doc.fields, "spec.chart.spec.chart")
}

// postRenderers reads what Big Bang's values patch into its IstioOperator: the
// patches of istio.postRenderers whose kind is IstioOperator.
func (in *installation) postRenderers(fields map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		section, _ := fields[key].(map[string]any)
		renderers, _ := section["postRenderers"].([]any)
		for i, r := range renderers {
			kustomize := lookupMap(asMap(r), "kustomize")
			at := item(child("", key)+".postRenderers", i) + ".kustomize"
			strategic, _ := kustomize["patchesStrategicMerge"].([]any)
			for j, p := range strategic {
				in.patch(p, item(at+".patchesStrategicMerge", j))
			}
			patches, _ := kustomize["patches"].([]any)
			for j, p := range patches {
				in.patch(asMap(p)["patch"], item(at+".patches", j)+".patch")
			}
		}
	}
}

// patch applies one patch, a map or YAML in a string, if it is one of an
// IstioOperator.
func (in *installation) patch(p any, at string) {
	if text, ok := p.(string); ok {
		var parsed any
		if yaml.Unmarshal([]byte(text), &parsed) != nil {
			return
		}
		p = parsed
	}
	patch := asMap(p)
	if patch["kind"] != "IstioOperator" {
		return
	}
	for _, path := range []string{"spec.meshConfig", "spec.values.meshConfig"} {
		if m := lookupMap(patch, path); m != nil {
			in.mesh, in.patched = overlay(in.mesh, m), overlay(in.patched, m)
			in.origins = slices.Insert(in.origins, 0, origin{object: in.object, prefix: join(at, path), fields: m})
		}
	}
	// What the chart itself installs is not in the values: only gateways that
	// the patch names are known.
	in.gateways = append(in.gateways, operatorGateways(in, patch, patch, at)...)
}

//go:noinline
func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// takesElsewhere says that some values of an installation are not in its object, and
// that they would go before Istio's defaults.
func (in *installation) takesElsewhere(field string) {
	text := fmt.Sprintf("%s also takes values from elsewhere (%s), which are not read", title(in.object), field)
	in.notes = append(in.notes, text)
	if _, set := lookup(in.mesh, "outboundTrafficPolicy.mode"); !set {
		in.assumption = text
	}
}

// foreignCharts are charts of Istio's that make nothing of mesh configuration, whatever
// their values say.
var foreignCharts = map[string]bool{"base": true, "cni": true, "gateway": true, "ztunnel": true, "istio-base": true, "istio-cni": true, "istio-egress": true, "istio-ingress": true}

// unrenderedNote says which objects would install something that is not in the
// input.
func unrenderedNote(objects []*manifest.Object) string {
	if len(objects) == 0 {
		return ""
	}
	text := title(objects[0])
	if more := len(objects) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more are not rendered: what they install is not analysed unless the input holds it", text, more)
	}
	return text + " is not rendered: what it installs is not analysed unless the input holds it"
}
