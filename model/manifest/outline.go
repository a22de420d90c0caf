package manifest

import (
	"reflect"
)

// Outline says what of a value in a document nobody asks for, so that it need not
// be parsed where the document is plain: most of a pod template are probes,
// resources and variables. What an outline does not speak of is parsed, and so is
// whatever does not fit: a document of which parts were dropped decodes to the
// same as the whole.
type Outline struct {
	// Drop says that the value is dropped if it fits Fits, that is if
	// [Document.Fill] takes it and finds no unknown field in it. Anything
	// fits nil.
	Drop bool
	Fits *Shape

	// Stays says of a collection of which all is dropped that its key is not.
	Stays bool
	// Fields are the outlines of the values of a mapping, Others gives those of
	// the keys that are not among them. Items is that of the items of a list.
	Fields map[string]*Outline
	Others func(key string) *Outline
	Items  *Outline

	// Unless is when nothing of a list is dropped after all.
	Unless *Condition
}

// Condition is one on the items of a list, each a mapping: that one of them has a
// key with a certain value.
type Condition struct {
	Key string
	// Holds is told the text of the value, "" for a list or mapping.
	Holds func(value string) bool
}

// Omission is what an [Outline] does with a field of a struct.
type Omission struct {
	Drop   bool
	Unless *Condition
}

// Outline makes an outline of values that are decoded into the shape's type: the
// fields are dropped that the shape drops, and those for which omit says so. It
// is nil if that is none.
func (s *Shape) Outline(omit func(of reflect.Type, field string) Omission) *Outline {
	return outlines{known: map[*Shape]*Outline{}, omit: omit}.of(s)
}

type outlines struct {
	known map[*Shape]*Outline
	omit  func(reflect.Type, string) Omission
}

func (c outlines) of(s *Shape) *Outline {
	s = s.target()
	if o, ok := c.known[s]; ok {
		return o
	}
	c.known[s] = nil // a type that leads back to itself is kept
	var o *Outline
	switch {
	case s.self:
	case s.kind == reflect.Slice && s.elem != nil:
		if items := c.of(s.elem); items != nil {
			o = &Outline{Items: items}
		}
	case s.kind == reflect.Struct:
		o = c.ofStruct(s)
	}
	c.known[s] = o
	return o
}

func (c outlines) ofStruct(s *Shape) *Outline {
	fields := map[string]*Outline{}
	for name, f := range s.fields {
		omission := c.omit(s.typ, s.typ.FieldByIndex(f.index).Name)
		switch inner := c.of(f.Shape); {
		case f.drop || omission.Drop:
			fields[name] = &Outline{Drop: true, Fits: f.Shape, Unless: omission.Unless}
		case inner != nil && omission.Unless != nil:
			list := *inner
			list.Unless = omission.Unless
			fields[name] = &list
		case inner != nil:
			fields[name] = inner
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return &Outline{Fields: fields}
}

// target is the shape of what a pointer points to.
func (s *Shape) target() *Shape {
	for !s.self && s.kind == reflect.Pointer {
		s = s.elem
	}
	return s
}
