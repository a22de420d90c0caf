package model

import (
	"bytes"

	"github.com/egresslint/egresslint/model/manifest"
)

// unread is the [manifest.Options] Unread of [Decode]: it tells the objects of
// which nothing is read but who they are.
func unread(o *manifest.Object, text []byte) bool {
	switch {
	case o.Kind == "Secret" || o.Kind == "MutatingWebhookConfiguration":
		return false // their labels may tell otherwise
	case o.Group() == "" && o.Kind == "ServiceAccount":
	case o.Group() == "" && o.Kind == "ConfigMap":
		if named(o.Name, meshMapName) || named(o.Name, injectorMapName) || o.Name == cniMapName || bytes.Contains(text, []byte("mesh")) {
			return false // it may hold mesh configuration
		}
		key, found := firstOfData(text)
		if _, overlay := gatewayOverlays[key]; overlay || !found || o.Labels[gatewayClassDefaults] != "" {
			return false // it may hold parameters of Gateways
		}
	case classOf(o) != ignoredClass:
		return false
	}
	o.Labels = nil
	o.Annotations = trimAnnotations(o.Annotations)
	return true
}

// firstOfData finds the first key below data where that is a mapping with lines
// of its own.
func firstOfData(text []byte) (key string, found bool) {
	_, below, found := bytes.Cut(text, []byte("\ndata:\n"))
	line, _, _ := bytes.Cut(below, []byte("\n"))
	name, _, isKey := bytes.Cut(line, []byte(":"))
	return string(bytes.TrimLeft(name, " ")), found && isKey && len(name) > 0 && name[0] == ' ' && !bytes.ContainsAny(name, "#\"'[{")
}
