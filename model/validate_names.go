package model

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/egresslint/egresslint/model/manifest"
)

// takesProtoNames reports whether the fields that an object writes by the names
// of the protobuf definition ("sni_hosts") are taken as meant. API servers drop
// them since Istio's CRDs have structural schemas. Objects of v1alpha3, the
// version of the years before, are documents of clusters that took them.
func takesProtoNames(o *manifest.Object) bool { return strings.HasSuffix(o.APIVersion, "/v1alpha3") }

// jsonNames returns a decoded message with the names of its JSON form in place
// of those of the protobuf definition, or, to prune, without the latter, as an
// API server makes it (but for [keptNames]).
func jsonNames(fields map[string]any, message protoreflect.MessageDescriptor, prune bool) map[string]any {
	out := make(map[string]any, len(fields))
	for key, v := range fields {
		field := message.Fields().ByJSONName(key)
		if field == nil {
			if field = message.Fields().ByName(protoreflect.Name(key)); field != nil {
				if prune && !keptNames[key] {
					continue
				}
				if _, both := fields[field.JSONName()]; !both {
					key = field.JSONName()
				}
			}
		}
		if field != nil {
			v = jsonNamesIn(v, field, prune)
		}
		out[key] = v
	}
	return out
}

// hasProtoNames reports whether a decoded message has a field by its protobuf
// name.
func hasProtoNames(fields map[string]any, message protoreflect.MessageDescriptor) bool {
	for key, v := range fields {
		field := message.Fields().ByJSONName(key)
		if field == nil {
			if message.Fields().ByName(protoreflect.Name(key)) != nil {
				return true
			}
			continue
		}
		inner := field.Message()
		if field.IsMap() {
			inner = field.MapValue().Message()
		}
		if inner == nil || freeForm(inner) {
			continue
		}
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if m, ok := e.(map[string]any); ok && hasProtoNames(m, inner) {
					return true
				}
			}
		case map[string]any:
			if !field.IsMap() {
				if hasProtoNames(v, inner) {
					return true
				}
				continue
			}
			for _, e := range v {
				if m, ok := e.(map[string]any); ok && hasProtoNames(m, inner) {
					return true
				}
			}
		}
	}
	return false
}

func jsonNamesIn(v any, field protoreflect.FieldDescriptor, prune bool) any {
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
				out[i] = jsonNames(m, inner, prune)
			}
		}
		return out
	case map[string]any:
		if !field.IsMap() {
			return jsonNames(v, inner, prune)
		}
		out := make(map[string]any, len(v))
		for key, e := range v {
			out[key] = e
			if m, ok := e.(map[string]any); ok {
				out[key] = jsonNames(m, inner, prune)
			}
		}
		return out
	default:
		return v
	}
}

// freeForm reports whether a message has a JSON form of its own.
func freeForm(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "google.protobuf"
}

// protoName is a field that a manifest calls by its protobuf name.
type protoName struct{ path, name, json string }

// keptNames are the protobuf names that Istio's CRDs have as well.
var keptNames = map[string]bool{"mirror_percent": true, "jwks_uri": true}

// protoNames lists the fields of a decoded message that are written by their
// protobuf names, in a fixed order.
func protoNames(fields map[string]any, message protoreflect.MessageDescriptor, path string) []protoName {
	var out []protoName
	for _, key := range sortedKeys(fields) {
		at := child(path, key)
		field := message.Fields().ByJSONName(key)
		if field == nil {
			if field = message.Fields().ByName(protoreflect.Name(key)); field == nil {
				continue
			}
			if !keptNames[key] {
				out = append(out, protoName{at, key, field.JSONName()})
			}
		}
		inner := field.Message()
		if field.IsMap() {
			inner = field.MapValue().Message()
		}
		if inner == nil || freeForm(inner) {
			continue
		}
		switch v := fields[key].(type) {
		case []any:
			for i, e := range v {
				if m, ok := e.(map[string]any); ok {
					out = append(out, protoNames(m, inner, item(at, i))...)
				}
			}
		case map[string]any:
			if !field.IsMap() {
				out = append(out, protoNames(v, inner, at)...)
				continue
			}
			for _, k := range sortedKeys(v) {
				if m, ok := v[k].(map[string]any); ok {
					out = append(out, protoNames(m, inner, child(at, k))...)
				}
			}
		}
	}
	return out
}
