package manifest

import (
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Shape is how documents are decoded into a Go type without JSON in between.
type Shape struct {
	kind   reflect.Kind // Invalid: not here, the whole document goes another way
	self   bool         // the type has an UnmarshalJSON
	typ    reflect.Type
	elem   *Shape // of pointers, lists and mappings
	fields map[string]shapeField
}

// shapeField is a field of a struct. One that is dropped is looked at and not
// kept.
type shapeField struct {
	*Shape
	index []int
	drop  bool
}

// ShapeOf compiles the shape of a struct type with json tags. The fields for
// which drop returns true are checked as all others, but left empty; drop may be
// nil.
func ShapeOf(t reflect.Type, drop func(of reflect.Type, field string) bool) *Shape {
	if drop == nil {
		drop = func(reflect.Type, string) bool { return false }
	}
	return shapes{known: map[reflect.Type]*Shape{}, drop: drop}.of(t)
}

var textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()

type shapes struct {
	known map[reflect.Type]*Shape
	drop  func(reflect.Type, string) bool
}

func (c shapes) of(t reflect.Type) *Shape {
	if known := c.known[t]; known != nil {
		return known
	}
	s := &Shape{kind: t.Kind(), typ: t}
	c.known[t] = s // a type may lead back to itself
	switch {
	case reflect.PointerTo(t).Implements(unmarshalerType):
		s.self = true
	case reflect.PointerTo(t).Implements(textUnmarshalerType):
		s.kind = reflect.Invalid
	case s.kind == reflect.Pointer:
		s.elem = c.of(t.Elem())
	case s.kind == reflect.Slice && t.Elem().Kind() != reflect.Uint8: // bytes are text in base64
		s.elem = c.of(t.Elem())
	case s.kind == reflect.Map && t.Key().Kind() == reflect.String:
		s.elem = c.of(t.Elem())
	case s.kind == reflect.Struct:
		s.fields = map[string]shapeField{}
		if !c.add(s, t, nil) {
			s.kind = reflect.Invalid
		}
	case s.kind == reflect.String, s.kind == reflect.Bool, s.kind == reflect.Int32, s.kind == reflect.Int64:
	default:
		s.kind = reflect.Invalid
	}
	return s
}

// add adds the fields of a struct, and of those that are embedded in it without
// a name. It returns false where encoding/json would have to choose.
func (c shapes) add(s *Shape, t reflect.Type, index []int) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := append(append([]int{}, index...), i)
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			if !c.add(s, f.Type, at) {
				return false
			}
		case name == "" || options == "string":
			return false
		default:
			if _, twice := s.fields[name]; twice {
				return false
			}
			s.fields[name] = shapeField{c.of(f.Type), at, c.drop(t, f.Name)}
		}
	}
	return true
}

// Fill decodes the value at a field path into a pointer to the shape's type as
// Unmarshal would, and tells whether there is a field below it that the type does
// not have. It returns false, and leaves rubbish in into, for whatever is not
// plain: anchors, tags, keys that stand twice, values that do not fit. That is
// for Unmarshal, which has the error messages too.
func (d *Document) Fill(path string, into any, s *Shape) (filled, unknown bool) {
	if !d.plain {
		return false, false
	}
	h := d.find(parsePath(path))
	v := reflect.ValueOf(into).Elem()
	if !h.found || h.in != d.tree || v.Type() != s.typ {
		return false, false
	}
	f := filling{}
	return f.value(h.value, v, s), f.unknown
}

type filling struct{ unknown bool }

// value sets v, or only looks whether the node fits where v is the zero Value.
func (f *filling) value(n *yaml.Node, v reflect.Value, s *Shape) bool {
	if s.self {
		return f.itself(n, v, s)
	}
	switch s.kind {
	case reflect.Pointer:
		if isNull(n) {
			return true
		}
		if !v.IsValid() {
			return f.value(n, v, s.elem)
		}
		v.Set(reflect.New(s.elem.typ))
		return f.value(n, v.Elem(), s.elem)
	case reflect.Struct:
		return f.object(n, v, s)
	case reflect.Slice:
		return f.list(n, v, s)
	case reflect.Map:
		return f.mapping(n, v, s)
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		return n.Kind == yaml.ScalarNode && setScalar(n, v, s.kind)
	default:
		return false
	}
}

func (f *filling) object(n *yaml.Node, v reflect.Value, s *Shape) bool {
	if n.Kind != yaml.MappingNode {
		return isNull(n)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		field, known := s.fields[n.Content[i].Value]
		if !known {
			f.unknown = true
			continue
		}
		var at reflect.Value
		if v.IsValid() && !field.drop {
			at = v.FieldByIndex(field.index)
		}
		if !f.value(n.Content[i+1], at, field.Shape) {
			return false
		}
	}
	return true
}

func (f *filling) list(n *yaml.Node, v reflect.Value, s *Shape) bool {
	if s.elem == nil {
		return false
	}
	if n.Kind != yaml.SequenceNode {
		return isNull(n)
	}
	if v.IsValid() {
		v.Set(reflect.MakeSlice(s.typ, len(n.Content), len(n.Content)))
	}
	for i, item := range n.Content {
		var at reflect.Value
		if v.IsValid() {
			at = v.Index(i)
		}
		if !f.value(item, at, s.elem) {
			return false
		}
	}
	return true
}

func (f *filling) mapping(n *yaml.Node, v reflect.Value, s *Shape) bool {
	if s.elem == nil {
		return false
	}
	if n.Kind != yaml.MappingNode {
		return isNull(n)
	}
	if v.IsValid() {
		v.Set(reflect.MakeMapWithSize(s.typ, len(n.Content)/2))
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		var element reflect.Value
		if v.IsValid() {
			element = reflect.New(s.elem.typ).Elem()
		}
		if !f.value(n.Content[i+1], element, s.elem) {
			return false
		}
		if v.IsValid() {
			v.SetMapIndex(reflect.ValueOf(intern(n.Content[i].Value)).Convert(s.typ.Key()), element)
		}
	}
	return true
}

// itself lets a type decode itself.
func (f *filling) itself(n *yaml.Node, v reflect.Value, s *Shape) bool {
	c := converter{opts: &Options{MaxDepth: math.MaxInt}, plain: true}
	text, err := c.appendJSON(nil, n)
	if err != nil {
		return false
	}
	if !v.IsValid() {
		v = reflect.New(s.typ).Elem()
	}
	return v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text) == nil
}

// setScalar sets a text, a boolean or a number.
func setScalar(n *yaml.Node, v reflect.Value, kind reflect.Kind) bool {
	if isString(n) {
		if kind == reflect.String && v.IsValid() {
			v.SetString(internShort(n.Value))
		}
		return kind == reflect.String
	}
	value, err := scalar(n)
	if number, ok := value.(json.Number); ok { // of a document in JSON
		value, err = strconv.ParseInt(number.String(), 10, 64)
	}
	if err != nil {
		return false
	}
	switch value := value.(type) {
	case nil:
		return true // as if it were not there
	case bool:
		if kind == reflect.Bool && v.IsValid() {
			v.SetBool(value)
		}
		return kind == reflect.Bool
	case int64:
		if kind == reflect.Int32 && (value < math.MinInt32 || value > math.MaxInt32) || kind != reflect.Int32 && kind != reflect.Int64 {
			return false
		}
		if v.IsValid() {
			v.SetInt(value)
		}
		return true
	default:
		return false
	}
}

// internShort makes equal texts share their bytes where they are likely to be
// many.
func internShort(s string) string {
	if len(s) > 24 {
		return s
	}
	return intern(s)
}
