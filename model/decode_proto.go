package model

import (
	"math"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/egresslint/egresslint/model/manifest"
)

// fill sets the fields of an empty message from a mapping, as istiod's decoder does
// (istio pkg/util/protomarshal UnmarshalAllowUnknown), without the JSON that it
// wants. It returns false, and a message of no use, where there is anything but the
// plain case (a null, a number in quotes, an unknown field, a field by its protobuf
// name, two alternatives, a wrong type …): that is for istiod's own decoder, which
// has the error messages too.
func fill(m protoreflect.Message, fields manifest.Value) bool {
	known := m.Descriptor().Fields()
	for i := range fields.Len() {
		key, v := fields.Entry(i)
		field := known.ByJSONName(key)
		if field == nil {
			return false
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

func fillField(m protoreflect.Message, field protoreflect.FieldDescriptor, v manifest.Value) bool {
	switch {
	case field.IsList():
		if !v.IsList() {
			return false
		}
		value := m.NewField(field)
		list := value.List()
		for i := range v.Len() {
			element, ok := fillValue(list.NewElement, field, v.Item(i))
			if !ok {
				return false
			}
			list.Append(element)
		}
		m.Set(field, value)
		return true
	case field.IsMap():
		if !v.IsMapping() || field.MapKey().Kind() != protoreflect.StringKind {
			return false
		}
		value := m.NewField(field)
		for i := range v.Len() {
			key, item := v.Entry(i)
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
func fillValue(fresh func() protoreflect.Value, field protoreflect.FieldDescriptor, v manifest.Value) (protoreflect.Value, bool) {
	var none protoreflect.Value
	if field.Kind() == protoreflect.MessageKind {
		value := fresh()
		return value, fillMessage(value.Message(), v)
	}
	scalar, _ := v.Scalar()
	switch field.Kind() {
	case protoreflect.StringKind:
		s, ok := scalar.(string)
		return protoreflect.ValueOfString(s), ok
	case protoreflect.BoolKind:
		b, ok := scalar.(bool)
		return protoreflect.ValueOfBool(b), ok
	case protoreflect.Int32Kind:
		i, ok := scalar.(int64)
		return protoreflect.ValueOfInt32(int32(i)), ok && i >= math.MinInt32 && i <= math.MaxInt32
	case protoreflect.Uint32Kind:
		i, ok := scalar.(int64)
		return protoreflect.ValueOfUint32(uint32(i)), ok && i >= 0 && i <= math.MaxUint32
	case protoreflect.EnumKind:
		name, ok := scalar.(string)
		if !ok {
			return none, false
		}
		value := field.Enum().Values().ByName(protoreflect.Name(name))
		if value == nil {
			return none, false
		}
		return protoreflect.ValueOfEnum(value.Number()), true
	default:
		return none, false
	}
}

func fillMessage(m protoreflect.Message, v manifest.Value) bool {
	name := m.Descriptor().FullName()
	if name.Parent() != "google.protobuf" {
		return v.IsMapping() && fill(m, v)
	}
	switch name.Name() {
	case "BoolValue", "StringValue", "UInt32Value", "Int32Value":
		return fillField(m, m.Descriptor().Fields().ByName("value"), v)
	case "Duration":
		text, ok := v.Text()
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
