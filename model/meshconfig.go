package model

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model/manifest"
)

// MeshConfig is the effective mesh configuration of one control plane, with
// Istio's defaults filled in (istio.io/istio/pkg/config/mesh.DefaultMeshConfig).
type MeshConfig struct {
	*meshconfig.MeshConfig

	// Revision is "" for the default control plane.
	Revision string
	// Source is the object that holds the configuration, nil where the input
	// has none and Istio's defaults are taken.
	Source *manifest.Object
	// Prefix is the field path of the mesh configuration in Source:
	// "data.mesh", "spec.meshConfig", "istio.values.meshConfig".
	Prefix string
	// Refused says that Source has a configuration that istiod does not take,
	// so that Istio's defaults are in force.
	Refused bool
	// Assumptions are sentences, without their final periods, that say what is taken
	// for granted when Source is taken: that istiod runs in its namespace, that of
	// several installations which differ it is the one that counts.
	Assumptions []string
	// Values are the Helm values of the installation (as "global.proxy"), as
	// far as the input tells, with those of its profile and without the
	// charts' own defaults; nil if not at all. They are shared: do not change
	// them.
	Values map[string]any
	// ValuesSource and ValuesPrefix locate Values as Source and Prefix do.
	ValuesSource *manifest.Object
	ValuesPrefix string
	// flagValues are those of Values that the command line sets, by flagObject.
	flagValues map[string]any
	flagObject *manifest.Object
	// Environment are the environment variables of istiod that the input sets
	// (PILOT_…, ENABLE_…).
	Environment map[string]string
	// environmentAt is what sets each of them, reading what [MeshConfig.Reads] found
	// out about kinds.
	environmentAt map[string]Place
	reading       *sync.Map
	// doubts are what placeholders leave open.
	doubts []Doubt
	// openRoot: too many namespaces may be the root namespace to try them.
	openRoot bool
	// shared is the configuration that istiod reads before its own, nil for none.
	shared *installation

	// origins are the places where fields may be set; the first that has a
	// field decides it.
	origins []origin
}

// origin is a place of the input that sets fields of the mesh configuration.
type origin struct {
	object *manifest.Object
	prefix string
	fields map[string]any
	// fixed says that prefix itself is the place, whatever the field: a
	// profile sets several fields by its name.
	fixed bool
}

// Because returns the object and the field path within it that set a field of
// the mesh configuration ("outboundTrafficPolicy.mode", with the names of the
// protobuf JSON), or nil and "" where nothing in the input does and Istio's
// default is in force. A field that a command line flag sets has an implied
// object without position.
func (c *MeshConfig) Because(field string) (*manifest.Object, string) {
	for _, o := range c.origins {
		at, ok := spelt(o.fields, field)
		if !ok {
			continue
		}
		if o.fixed {
			return o.object, o.prefix
		}
		return o.object, join(o.prefix, at)
	}
	// A message that is there without the field sets it to its zero value, which is
	// not always Istio's default: "outboundTrafficPolicy: {}" is REGISTRY_ONLY. Only
	// defaultConfig is merged (istio pkg/config/mesh/mesh.go ApplyMeshConfig).
	if i := strings.LastIndexByte(field, '.'); i > 0 && !strings.HasPrefix(field, "defaultConfig.") {
		return c.Because(field[:i])
	}
	return nil, ""
}

// spelt finds a field that is given by its name in protobuf's JSON or, as istiod
// takes it too, in protobuf ("outbound_traffic_policy"), and returns its path as it
// is written.
func spelt(fields map[string]any, field string) (string, bool) {
	var path []string
	for v := any(fields); ; {
		name, rest, more := strings.Cut(field, ".")
		m, _ := v.(map[string]any)
		if m[name] == nil {
			name = snake(name)
		}
		if m[name] == nil {
			return "", false
		}
		path = append(path, name)
		if !more {
			return strings.Join(path, "."), true
		}
		v, field = m[name], rest
	}
}

// snake writes "outboundTrafficPolicy" as "outbound_traffic_policy".
func snake(name string) string {
	var out strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// Value returns the Helm value of a dotted path ("global.proxy.includeIPRanges")
// and whether the input sets it.
func (c *MeshConfig) Value(path string) (any, bool) { return lookup(c.Values, path) }

// ValuePlace returns where a Helm value stands that some input sets: a flag goes before
// the installation. The zero Place says that nothing sets values.
func (c *MeshConfig) ValuePlace(path string) Place {
	switch _, flag := lookup(c.flagValues, path); {
	case flag:
		return Place{c.flagObject, "spec.values." + path}
	case c.ValuesSource == nil:
		return Place{}
	default:
		return Place{c.ValuesSource, join(c.ValuesPrefix, path)}
	}
}

// lookup returns the value at a dotted path of nested maps.
func lookup(fields map[string]any, path string) (any, bool) {
	var v any = fields
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[key]; !ok || v == nil {
			return nil, false
		}
	}
	return v, true
}

// lookupMap is lookup for maps; nil where there is none.
//
//go:noinline
func lookupMap(fields map[string]any, path string) map[string]any {
	v, _ := lookup(fields, path)
	m, _ := v.(map[string]any)
	return m
}

// lookupString is lookup for strings; "" where there is none.
func lookupString(fields map[string]any, path string) string {
	v, _ := lookup(fields, path)
	switch v := v.(type) {
	case string:
		return v
	case int64, float64, bool:
		return fmt.Sprint(v)
	default:
		return ""
	}
}

// overlay merges maps as Helm merges values: maps are united, all else is
// replaced, null removes. Neither argument is changed, and the result shares
// parts of both.
func overlay(base, over map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(over))
	for k, v := range base {
		out[k] = v
	}
	for k, v := range over {
		if v == nil {
			delete(out, k)
			continue
		}
		b, isMap := out[k].(map[string]any)
		m, overMap := v.(map[string]any)
		if isMap && overMap {
			out[k] = overlay(b, m)
		} else {
			out[k] = v
		}
	}
	return out
}

// applyMesh reads a mesh configuration as istiod does. It returns Istio's
// defaults and what is wrong where istiod would drop it as a whole
// (istio pkg/config/mesh/meshwatcher/collection.go).
func applyMesh(fields map[string]any, base *meshconfig.MeshConfig) (*meshconfig.MeshConfig, []string) {
	silence()
	data, err := json.Marshal(fields)
	if err != nil {
		return base, []string{err.Error()}
	}
	config, err := mesh.ApplyMeshConfig(string(data), protomarshal.Clone(base))
	if err != nil {
		return base, messagesOf(err)
	}
	return config, nil
}

// meshRefusal is the problem of a mesh configuration that istiod does not take.
func meshRefusal(config *MeshConfig, fields map[string]any, base *meshconfig.MeshConfig, messages []string) manifest.Problem {
	o := config.Source
	complaint := messages[0]
	field := locate(fields, complaint, func(v any) []string {
		m, _ := v.(map[string]any)
		_, messages := applyMesh(m, base)
		return messages
	})
	position := o.At(config.Prefix)
	for _, origin := range config.origins {
		if _, ok := lookupField(origin.fields, field); ok && field != "" && !origin.fixed {
			o, position = origin.object, origin.object.At(join(origin.prefix, field))
			break
		}
	}
	if text := placeholderPattern.FindString(strings.Join(messages, " ")); text != "" {
		return manifest.Problem{
			Kind:     manifest.Template,
			Position: position,
			Object:   o.String(),
			Message: printable(fmt.Sprintf("mesh configuration of %s holds the placeholder %s and is refused as it stands: %s; %s",
				title(o), text, strings.Join(messages, "; "), config.instead())),
			Help: "fill it in before (envsubst, kustomize build, helm template)",
		}
	}
	return manifest.Problem{
		Kind:     manifest.Rejected,
		Position: position,
		Object:   o.String(),
		Message: printable(fmt.Sprintf("mesh configuration of %s is refused by istiod as a whole: %s; %s",
			title(o), flatField(fields, field, messages), config.instead())),
		Help: "correct the value: istiod keeps the last good configuration if it has one, else its defaults",
	}
}

// flatField words what is wrong with a mesh configuration. Where a field has a value in
// place of fields, Istio's own words tell it twice in the terms of Go.
func flatField(fields map[string]any, field string, messages []string) string {
	said := strings.Join(messages, "; ")
	value, ok := lookupField(fields, field)
	if !ok || field == "" || !strings.Contains(said, "into Go value of type map") {
		return said
	}
	switch value.(type) {
	case map[string]any, []any, nil:
		return said
	}
	out := fmt.Sprintf("%s is %q, where istiod expects fields", field, fmt.Sprint(value))
	if field == "outboundTrafficPolicy" {
		out += fmt.Sprintf(" (mode: %v below it)", value)
	}
	return out
}

// instead says what is in force in place of a configuration that is not taken.
func (c *MeshConfig) instead() string {
	if c.shared != nil {
		return fmt.Sprintf("what %s says is taken alone (outboundTrafficPolicy %s)", title(c.shared.object), c.GetOutboundTrafficPolicy().GetMode())
	}
	return "Istio's defaults are taken (outboundTrafficPolicy ALLOW_ANY)"
}

// lookupField is lookup for a field path with list indexes and quoted keys.
func lookupField(fields map[string]any, field string) (any, bool) {
	var v any = fields
	for _, key := range fieldKeys(field) {
		switch e := v.(type) {
		case map[string]any:
			next, ok := e[key]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i < 0 || i >= len(e) {
				return nil, false
			}
			v = e[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// fieldKeys splits a field path as [child] and [item] make it.
func fieldKeys(field string) []string {
	var keys []string
	for field != "" {
		switch {
		case strings.HasPrefix(field, "['"):
			key, rest, _ := strings.Cut(field[2:], "']")
			keys = append(keys, strings.NewReplacer(`\'`, "'", `\\`, `\`).Replace(key))
			field = rest
		case field[0] == '[':
			key, rest, _ := strings.Cut(field[1:], "]")
			keys = append(keys, key)
			field = rest
		case field[0] == '.':
			field = field[1:]
		default:
			end := strings.IndexAny(field, ".[")
			if end < 0 {
				end = len(field)
			}
			keys = append(keys, field[:end])
			field = field[end:]
		}
	}
	return keys
}
