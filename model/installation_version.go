package model

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// sourcedVersion is a version of Istio with the object that names it.
type sourcedVersion struct {
	versionClaim
	object *manifest.Object
}

// versionPattern finds the version in the tag of an image of Istio's.
var versionPattern = regexp.MustCompile(`^v?(\d+\.\d+(?:\.\d+)?)(?:[-+.].*)?$`)

// IstioVersion returns the version of Istio that the input shows, as
// "1.24.2", with the object and field that show it; "", nil and "" if none
// does. The image of the control plane counts before what an installation asks
// for, and that before the images of proxies; among equals the first counts.
func (m *Mesh) IstioVersion() (version string, o *manifest.Object, field string) {
	for _, w := range m.Workloads {
		if istiodOf(w) == nil {
			continue
		}
		if v, field := imageVersion(w, "discovery"); v != "" {
			return v, w.Object, field
		}
	}
	for _, claim := range m.versions {
		if v := plainVersion(claim.version); v != "" {
			return v, claim.object, claim.field
		}
	}
	for _, w := range m.Workloads {
		if v, field := imageVersion(w, ProxyContainer); v != "" && w.Object.Implied == "" {
			return v, w.Object, field
		}
	}
	return "", nil, ""
}

// plainVersion is the version in a tag, "" for tags such as "latest".
func plainVersion(tag string) string {
	if match := versionPattern.FindStringSubmatch(tag); match != nil {
		return match[1]
	}
	return ""
}

// imageVersion is the version of the image of a container, and its field.
func imageVersion(w *Workload, container string) (version, field string) {
	if w.Pod == nil {
		return "", ""
	}
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"spec.containers", w.Pod.Containers}, {"spec.initContainers", w.Pod.InitContainers}} {
		for i, c := range list.containers {
			if c.Name != container {
				continue
			}
			image, _, _ := strings.Cut(c.Image, "@")
			if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
				if v := plainVersion(image[colon+1:]); v != "" {
					return v, w.Field(item(list.name, i) + ".image")
				}
			}
		}
	}
	return "", ""
}
