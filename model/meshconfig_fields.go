package model

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	meshconfig "istio.io/api/mesh/v1alpha1"
)

// reportUnknown reports the fields of a mesh configuration that Istio does not
// know: istiod ignores them (istio pkg/util/protomarshal ApplyYAML).
func (c *configuring) reportUnknown(config *MeshConfig) {
	descriptor := (&meshconfig.MeshConfig{}).ProtoReflect().Descriptor()
	for _, o := range config.origins {
		if o.fixed {
			continue
		}
		for _, field := range unknownIn(o.fields, descriptor, "") {
			at := join(o.prefix, field)
			p := unknownField(o.object, at, o.object.AtKey(at))
			p.Message = printable(fmt.Sprintf("mesh configuration of %s: Istio has no field %q: it is ignored and decides nothing", title(o.object), field))
			c.mesh.Problems = append(c.mesh.Problems, p)
		}
	}
}

// unknownIn lists the field paths of a decoded value that a message does not
// have, neither by the name of its JSON nor by that of its protobuf definition.
func unknownIn(fields map[string]any, message protoreflect.MessageDescriptor, prefix string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		field := message.Fields().ByJSONName(key)
		if field == nil {
			field = message.Fields().ByName(protoreflect.Name(key))
		}
		path := child(prefix, key)
		switch {
		case field == nil:
			out = append(out, path)
		case field.IsMap():
			if value := field.MapValue(); value.Message() != nil && !freeForm(value.Message()) {
				entries := asMap(fields[key])
				for _, k := range slices.Sorted(maps.Keys(entries)) {
					if m, ok := entries[k].(map[string]any); ok {
						out = append(out, unknownIn(m, value.Message(), child(path, k))...)
					}
				}
			}
		case field.Message() == nil || freeForm(field.Message()):
		case field.IsList():
			list, _ := fields[key].([]any)
			for i, e := range list {
				if m, ok := e.(map[string]any); ok {
					out = append(out, unknownIn(m, field.Message(), item(path, i))...)
				}
			}
		default:
			if m, ok := fields[key].(map[string]any); ok {
				out = append(out, unknownIn(m, field.Message(), path)...)
			}
		}
	}
	return out
}

// freeForm reports whether a message has a JSON form of its own.
func freeForm(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "google.protobuf"
}

// jsonNames returns a decoded message with the names of its JSON form in place
// of those of the protobuf definition ("sni_hosts"). istiod's decoder takes
// both, and manifests of Istio's early years have the latter.
func jsonNames(fields map[string]any, message protoreflect.MessageDescriptor) map[string]any {
	out := make(map[string]any, len(fields))
	for key, v := range fields {
		field := message.Fields().ByJSONName(key)
		if field == nil {
			if field = message.Fields().ByName(protoreflect.Name(key)); field != nil {
				if _, both := fields[field.JSONName()]; !both {
					key = field.JSONName()
				}
			}
		}
		if field != nil {
			v = jsonNamesIn(v, field)
		}
		out[key] = v
	}
	return out
}

func jsonNamesIn(v any, field protoreflect.FieldDescriptor) any {
	inner := field.Message()
	if field.IsMap() {
		inner = field.MapValue().Message()
	}
	if inner == nil || freeForm(inner) {
		return v
	}
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = e
			if m, ok := e.(map[string]any); ok {
				out[i] = jsonNames(m, inner)
			}
		}
		return out
	case map[string]any:
		if !field.IsMap() {
			return jsonNames(v, inner)
		}
		out := make(map[string]any, len(v))
		for key, e := range v {
			out[key] = e
			if m, ok := e.(map[string]any); ok {
				out[key] = jsonNames(m, inner)
			}
		}
		return out
	default:
		return v
	}
}
