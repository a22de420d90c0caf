package model

import (
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fill sets the fields of an empty message from the values of a document, as
// istiod's decoder does (istio pkg/util/protomarshal UnmarshalAllowUnknown),
// without the JSON that it wants. It returns false, and a message of no use,
// where there is anything but the plain case (a null, a number in quotes, a field
// by its protobuf name, two alternatives, a wrong type …): that is for istiod's
// own decoder, which has the error messages too.
func fill(m protoreflect.Message, fields map[string]any) bool {
	known := m.Descriptor().Fields()
	for key, v := range fields {
		field := known.ByJSONName(key)
		if field == nil {
			if known.ByName(protoreflect.Name(key)) != nil || strings.HasPrefix(key, "[") {
				return false
			}
			continue // unknown: dropped
		}
		if of := field.ContainingOneof(); of != nil && m.WhichOneof(of) != nil {
			return false
		}
		if !fillField(m, field, v) {
			return false
		}
	}
	return true
}

func fillField(m protoreflect.Message, field protoreflect.FieldDescriptor, v any) bool {
	switch {
	case field.IsList():
		items, ok := v.([]any)
		if !ok {
			return false
		}
		value := m.NewField(field)
		list := value.List()
		for _, item := range items {
			element, ok := fillValue(list.NewElement, field, item)
			if !ok {
				return false
			}
			list.Append(element)
		}
		m.Set(field, value)
		return true
	case field.IsMap():
		entries, ok := v.(map[string]any)
		if !ok || field.MapKey().Kind() != protoreflect.StringKind {
			return false
		}
		value := m.NewField(field)
		for key, item := range entries {
			element, ok := fillValue(value.Map().NewValue, field.MapValue(), item)
			if !ok {
				return false
			}
			value.Map().Set(protoreflect.ValueOfString(key).MapKey(), element)
		}
		m.Set(field, value)
		return true
	}
	value, ok := fillValue(func() protoreflect.Value { return m.NewField(field) }, field, v)
	if ok {
		m.Set(field, value)
	}
	return ok
}

// fillValue makes one value of a field's type; fresh gives an empty message.
func fillValue(fresh func() protoreflect.Value, field protoreflect.FieldDescriptor, v any) (protoreflect.Value, bool) {
	var none protoreflect.Value
	switch field.Kind() {
	case protoreflect.StringKind:
		s, ok := v.(string)
		return protoreflect.ValueOfString(s), ok
	case protoreflect.BoolKind:
		b, ok := v.(bool)
		return protoreflect.ValueOfBool(b), ok
	case protoreflect.Int32Kind:
		i, ok := v.(int64)
		return protoreflect.ValueOfInt32(int32(i)), ok && i >= math.MinInt32 && i <= math.MaxInt32
	case protoreflect.Uint32Kind:
		i, ok := v.(int64)
		return protoreflect.ValueOfUint32(uint32(i)), ok && i >= 0 && i <= math.MaxUint32
	case protoreflect.EnumKind:
		name, ok := v.(string)
		if !ok {
			return none, false
		}
		value := field.Enum().Values().ByName(protoreflect.Name(name))
		if value == nil {
			return none, false
		}
		return protoreflect.ValueOfEnum(value.Number()), true
	case protoreflect.MessageKind:
		value := fresh()
		return value, fillMessage(value.Message(), v)
	default:
		return none, false
	}
}

func fillMessage(m protoreflect.Message, v any) bool {
	name := m.Descriptor().FullName()
	if name.Parent() != "google.protobuf" {
		fields, ok := v.(map[string]any)
		return ok && fill(m, fields)
	}
	switch name.Name() {
	case "BoolValue", "StringValue", "UInt32Value", "Int32Value":
		return fillField(m, m.Descriptor().Fields().ByName("value"), v)
	case "Duration":
		text, ok := v.(string)
		d, err := time.ParseDuration(text)
		if !ok || err != nil {
			return false
		}
		fields := m.Descriptor().Fields()
		m.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(d.Nanoseconds()/1e9))
		m.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(int32(d.Nanoseconds()%1e9)))
		return true
	default:
		return false
	}
}
