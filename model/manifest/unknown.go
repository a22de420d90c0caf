package manifest

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is a field that its kind does not have.
type Field struct {
	// Path is the field path from the object on, Name its last key.
	Path, Name string
	// Position is that of the key.
	Position Position
	// Near is the field that was probably meant, "" if none is like it.
	Near string
}

// UnknownFields lists the fields below a field path that t does not have, in the
// order of the document. t is a struct with json tags, a pointer to one, its
// reflect.Type, or a proto.Message, of which both the JSON names and the names
// in the .proto file count. Names are compared case by case, as API servers do.
// Parts that may hold anything are skipped: maps, google.protobuf.Struct and
// Any, types that decode themselves. Below the path may be a text that holds
// YAML. At most 100 fields are listed.
func (d *Document) UnknownFields(path string, t any) []Field {
	h := d.find(parsePath(path))
	if !h.found {
		return nil
	}
	if n := follow(h.value); n != nil && n.Kind == yaml.ScalarNode {
		inner := h.in.within(n)
		if inner == nil {
			return nil
		}
		h = hit{found: true, in: inner, value: inner.root}
	}
	u := unknown{in: h.in, shown: d.shown, c: converter{opts: d.opts, plain: h.in.plain}, base: path}
	switch t := t.(type) {
	case proto.Message:
		u.message(h.value, t.ProtoReflect().Descriptor())
	case reflect.Type:
		u.value(h.value, t)
	default:
		u.value(h.value, reflect.TypeOf(t))
	}
	return u.found
}

// unknown collects unknown fields.
type unknown struct {
	in    *tree
	shown string
	c     converter
	// base and steps lead to the value that is looked at; most documents have no
	// unknown field, so a path is written only for one.
	base  string
	steps []step
	found []Field
}

func (u *unknown) enter(s step) { u.steps = append(u.steps, s) }
func (u *unknown) leave()       { u.steps = u.steps[:len(u.steps)-1] }

// report adds the key where u is, which is that of e.
func (u *unknown) report(e entry, known func(string) string) {
	if len(u.found) >= 100 { // it is another kind of thing
		return
	}
	path := u.base
	for _, s := range u.steps {
		if s.index >= 0 {
			path = joinPath(path, FieldPath(s.index))
		} else {
			path = joinPath(path, FieldPath(s.key))
		}
	}
	u.found = append(u.found, Field{
		Path: path, Name: e.name, Position: named(u.in.spanOf(e.key), u.shown), Near: known(e.name),
	})
}

// entries returns the keys of a mapping; of anything else none: that its type is
// wrong is for decoding to say.
func (u *unknown) entries(n *yaml.Node) []entry {
	n = follow(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	entries, err := u.c.entries(n)
	if err != nil {
		return nil
	}
	return entries
}

// each calls f for a value, or for the items of a list.
func (u *unknown) each(n *yaml.Node, list bool, f func(*yaml.Node)) {
	if !list {
		f(n)
		return
	}
	if n = follow(n); n != nil && n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			u.enter(step{index: i})
			f(item)
			u.leave()
		}
	}
}

// message looks at a value of a protobuf message type.
func (u *unknown) message(n *yaml.Node, m protoreflect.MessageDescriptor) {
	if m.FullName().Parent() == "google.protobuf" || u.c.visit(n) != nil {
		return // they have JSON forms of their own
	}
	fields := m.Fields()
	for _, e := range u.entries(n) {
		u.enter(step{key: e.name, index: -1})
		field := fields.ByJSONName(e.name)
		if field == nil {
			field = fields.ByTextName(e.name)
		}
		switch {
		case field == nil:
			u.report(e, func(name string) string {
				names := make([]string, fields.Len())
				for i := range names {
					names[i] = fields.Get(i).JSONName()
				}
				return nearest(name, names)
			})
		case field.IsMap():
			if value := field.MapValue(); value.Message() != nil {
				for _, item := range u.entries(e.value) {
					u.enter(step{key: item.name, index: -1})
					u.message(item.value, value.Message())
					u.leave()
				}
			}
		case field.Message() != nil:
			u.each(e.value, field.IsList(), func(n *yaml.Node) { u.message(n, field.Message()) })
		}
		u.leave()
	}
}

// value looks at a value of a Go type.
func (u *unknown) value(n *yaml.Node, t reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || u.c.visit(n) != nil {
		return
	}
	switch known := shapeOf(t); known.kind {
	case messageShape:
		u.message(n, known.message)
	case listShape:
		u.each(n, true, func(n *yaml.Node) { u.value(n, t.Elem()) })
	case mapShape:
		for _, e := range u.entries(n) {
			u.enter(step{key: e.name, index: -1})
			u.value(e.value, t.Elem())
			u.leave()
		}
	case structShape:
		for _, e := range u.entries(n) {
			u.enter(step{key: e.name, index: -1})
			if field, has := known.types[e.name]; has {
				u.value(e.value, field)
			} else {
				u.report(e, func(name string) string { return nearest(name, known.names) })
			}
			u.leave()
		}
	}
}

var (
	messageType     = reflect.TypeFor[proto.Message]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

// shape is what a Go type looks like to a decoder.
type shape struct {
	kind    int
	message protoreflect.MessageDescriptor // of a messageShape
	structFields
}

// Kinds of shapes. A scalarShape has nothing below, or decodes itself.
const (
	scalarShape = iota
	messageShape
	listShape
	mapShape
	structShape
)

var knownShapes sync.Map // of reflect.Type to *shape

func shapeOf(t reflect.Type) *shape {
	if known, ok := knownShapes.Load(t); ok {
		return known.(*shape)
	}
	s := &shape{}
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(messageType):
		s.kind = messageShape
		s.message = reflect.New(t).Interface().(proto.Message).ProtoReflect().Descriptor()
	case pointer.Implements(unmarshalerType):
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		s.kind = listShape
	case t.Kind() == reflect.Map:
		s.kind = mapShape
	case t.Kind() == reflect.Struct:
		s.kind = structShape
		s.types = map[string]reflect.Type{}
		s.add(t)
	}
	knownShapes.Store(t, s)
	return s
}

// structFields are the fields that encoding/json decodes into a struct.
type structFields struct {
	types map[string]reflect.Type
	names []string // in the order of the struct
}

func (f *structFields) add(t reflect.Type) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case name == "" && field.Anonymous && inner.Kind() == reflect.Struct:
			f.add(inner)
		case !field.IsExported():
		default:
			if name == "" {
				name = field.Name
			}
			f.types[name] = field.Type
			f.names = append(f.names, name)
		}
	}
}

// nearest finds the name that was probably meant: the same but for case, "-" and
// "_", or the one with the fewest letters different, two at most and fewer in
// short names.
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, limit := "", min(2, len(name)/4)+1
	for _, k := range known {
		if bare(k) == bare(name) {
			return k
		}
		if d := distance(name, k); d < limit {
			best, limit = k, d
		}
	}
	return best
}

func bare(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
