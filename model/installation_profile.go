package model

import (
	"fmt"
	"io/fs"
	"strings"

	"sigs.k8s.io/yaml"

	"istio.io/istio/manifests"
)

// Profiles, chart defaults and the like are read from what Istio itself ships
// (istio.io/istio/manifests embeds it), so that they are those of the Istio
// version in go.mod.

// operatorProfile is an IstioOperator profile on top of the default one, as
// istioctl takes it (istio operator/pkg/render/manifest.go readProfile). ok is
// false where Istio has no such profile; then it is the default one.
func operatorProfile(name string) (profile map[string]any, ok bool) {
	base, err := shipped("profiles/default.yaml")
	if err != nil {
		return map[string]any{}, false
	}
	if name == "" || name == "default" {
		return base, true
	}
	top, err := shipped("profiles/" + name + ".yaml")
	if err != nil {
		return base, false
	}
	return overlay(base, top), true
}

// helmProfile is what the profile, compatibility version and platform that Helm
// values choose add to a chart's defaults (istio manifests/zzz_profile.yaml). The
// note says what cannot be found.
func helmProfile(chart string, values map[string]any) (profile map[string]any, note string) {
	profile = map[string]any{}
	var missing []string
	for _, choice := range []struct{ kind, prefix string }{
		{"profile", "profile-"}, {"compatibilityVersion", "profile-compatibility-version-"}, {"platform", "profile-platform-"},
	} {
		name := lookupString(values, choice.kind)
		if name == "" && choice.kind != "compatibilityVersion" {
			name = lookupString(values, "global."+choice.kind)
		}
		if name == "" || choice.kind == "profile" && name == "default" {
			continue
		}
		add, err := shipped("charts/" + chart + "/files/" + choice.prefix + name + ".yaml")
		if err != nil && choice.kind == "profile" {
			// Some profiles only choose components: they set no values.
			if _, known := operatorProfile(name); known {
				continue
			}
		}
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s %q", choice.kind, name))
			continue
		}
		profile = overlay(profile, add)
	}
	if len(missing) > 0 {
		note = "Istio ships no " + strings.Join(missing, " and no ") + ": what it would set is not known"
	}
	return profile, note
}

// shipped reads a YAML file of Istio's manifests.
func shipped(path string) (map[string]any, error) {
	// fs.ValidPath keeps a profile name such as "../x" inside.
	if !fs.ValidPath(path) {
		return nil, fs.ErrInvalid
	}
	data, err := manifests.FS.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := yaml.Unmarshal(data, &out); err != nil {
		return nil, err
	}
	return out, nil
}

// dashed writes a version as revision names have it: v1.24.2 is v1-24-2.
func dashed(version string) string { return strings.ReplaceAll(version, ".", "-") }
