package model

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

// installation_shipped.json holds, by path and as JSON, the profiles and the
// values of the charts that Istio ships in istio.io/istio/manifests: linking
// that package would add all charts and CRDs to the program. TestShippedIsIstios
// makes it from the Istio version in go.mod.
//
//go:embed installation_shipped.json
var shippedFile []byte

var shippedFiles = sync.OnceValue(func() map[string]json.RawMessage {
	var files map[string]json.RawMessage
	if err := json.Unmarshal(shippedFile, &files); err != nil {
		panic(fmt.Sprintf("installation_shipped.json: %v", err)) // a defect of the build, covered by every test
	}
	return files
})

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
	data, ok := shippedFiles()[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	var out map[string]any
	err := json.Unmarshal(data, &out)
	return out, err
}

// dashed writes a version as revision names have it: v1.24.2 is v1-24-2.
func dashed(version string) string { return strings.ReplaceAll(version, ".", "-") }
