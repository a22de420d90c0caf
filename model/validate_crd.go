package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/egresslint/egresslint/model/manifest"
)

// crdSchema is the schema of a kind, in the little of OpenAPI that Istio's CRDs
// use. Most objects fit, which is found out quickly (fits); what is wrong with the
// others is worded by complain.
type crdSchema struct {
	kind       string // "object", "array", … or "" for anything
	properties map[string]*crdSchema
	others     *crdSchema // of properties that are not listed, nil for anything
	items      *crdSchema
	required   []string
	// exclusive are fields of which at most one may be there.
	exclusive                    [][]string
	enum                         []string
	pattern                      *regexp.Regexp
	minimum, maximum             *float64
	minLength, maxLength         *int
	minItems, maxItems           *int
	minProperties, maxProperties *int
	// unsure is set where there is more in the schema than is understood here, which
	// a test excludes.
	unsure bool
}

// crdSchemas has a *crdSchema for each kind that was asked for.
var crdSchemas sync.Map

func schemaOf(kind string) *crdSchema {
	if s, ok := crdSchemas.Load(kind); ok {
		return s.(*crdSchema)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(crdKinds()[kind].Schema, &raw); err != nil {
		panic(fmt.Sprintf("validate_schema.json, %s: %v", kind, err))
	}
	s, _ := crdSchemas.LoadOrStore(kind, newSchema(raw))
	return s.(*crdSchema)
}

// newSchema compiles a schema. A schema with a keyword that is not known
// here is sure of nothing.
func newSchema(raw map[string]json.RawMessage) *crdSchema {
	s := &crdSchema{}
	for keyword, value := range raw {
		var into any
		switch keyword {
		case "type":
			into = &s.kind
		case "required":
			into = &s.required
		case "enum":
			into = &s.enum
		case "minimum":
			into = &s.minimum
		case "maximum":
			into = &s.maximum
		case "minLength":
			into = &s.minLength
		case "maxLength":
			into = &s.maxLength
		case "minItems":
			into = &s.minItems
		case "maxItems":
			into = &s.maxItems
		case "minProperties":
			into = &s.minProperties
		case "maxProperties":
			into = &s.maxProperties
		case "items":
			s.items = subSchema(value)
			continue
		case "additionalProperties":
			s.others = subSchema(value)
			continue
		case "properties":
			var properties map[string]json.RawMessage
			s.unsure = s.unsure || json.Unmarshal(value, &properties) != nil
			s.properties = make(map[string]*crdSchema, len(properties))
			for name, p := range properties {
				s.properties[name] = subSchema(p)
			}
			continue
		case "pattern":
			var pattern string
			var err error
			if err = json.Unmarshal(value, &pattern); err == nil {
				s.pattern, err = regexp.Compile(pattern)
			}
			s.unsure = s.unsure || err != nil
			continue
		case "oneOf", "allOf":
			continue // below, in their order
		case "nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-map-keys", "x-kubernetes-list-type":
			continue // nothing to the validator either
		default:
			s.unsure = true
			continue
		}
		s.unsure = s.unsure || json.Unmarshal(value, into) != nil
	}
	if one := raw["oneOf"]; one != nil {
		s.atMostOne(one)
	}
	if raw["allOf"] != nil {
		var all []map[string]json.RawMessage
		s.unsure = s.unsure || json.Unmarshal(raw["allOf"], &all) != nil
		for _, one := range all {
			if len(one) == 1 && one["oneOf"] != nil {
				s.atMostOne(one["oneOf"])
			} else {
				s.unsure = true
			}
		}
	}
	return s
}

func subSchema(value json.RawMessage) *crdSchema {
	var raw map[string]json.RawMessage
	if json.Unmarshal(value, &raw) != nil {
		return &crdSchema{unsure: true}
	}
	return newSchema(raw)
}

// atMostOne reads a oneOf in the only form that Istio's CRDs have: none of some
// fields, or exactly one of them.
func (s *crdSchema) atMostOne(value json.RawMessage) {
	type alternative struct {
		Required []string `json:"required"`
		Not      *struct {
			AnyOf []struct {
				Required []string `json:"required"`
			} `json:"anyOf"`
		} `json:"not"`
	}
	var list []alternative
	if json.Unmarshal(value, &list) != nil || len(list) < 2 || list[0].Not == nil {
		s.unsure = true
		return
	}
	var none, one []string
	for _, a := range list[0].Not.AnyOf {
		none = append(none, a.Required...)
		s.unsure = s.unsure || len(a.Required) != 1
	}
	for _, a := range list[1:] {
		one = append(one, a.Required...)
		s.unsure = s.unsure || len(a.Required) != 1 || a.Not != nil
	}
	s.unsure = s.unsure || !slices.Equal(none, one)
	s.exclusive = append(s.exclusive, one)
}

// fits reports that a value surely fits the schema.
func (s *crdSchema) fits(v manifest.Value) bool {
	switch {
	case s.unsure:
		return false
	case v.IsMapping():
		return (s.kind == "object" || s.kind == "") && s.enum == nil && s.fitsObject(v)
	case v.IsList():
		if s.kind != "array" && s.kind != "" || s.enum != nil || !between(v.Len(), s.minItems, s.maxItems) {
			return false
		}
		for i := range v.Len() {
			if s.items != nil && !s.items.fits(v.Item(i)) {
				return false
			}
		}
		return true
	}
	scalar, _ := v.Scalar()
	switch v := scalar.(type) {
	case string:
		return (s.kind == "string" || s.kind == "") && (s.enum == nil || contains(s.enum, v)) &&
			(s.pattern == nil || s.pattern.MatchString(v)) &&
			(s.minLength == nil && s.maxLength == nil || between(utf8.RuneCountInString(v), s.minLength, s.maxLength))
	case bool:
		return (s.kind == "boolean" || s.kind == "") && s.enum == nil
	case int64:
		return (s.kind == "integer" || s.kind == "number" || s.kind == "") && s.enum == nil &&
			v > -1<<53 && v < 1<<53 && (s.minimum == nil || float64(v) >= *s.minimum) && (s.maximum == nil || float64(v) <= *s.maximum)
	default:
		return false
	}
}

func (s *crdSchema) fitsObject(v manifest.Value) bool {
	if !between(v.Len(), s.minProperties, s.maxProperties) {
		return false
	}
	for _, name := range s.required {
		if _, has := v.Field(name); !has {
			return false
		}
	}
	for _, names := range s.exclusive {
		n := 0
		for i := range v.Len() {
			if name, _ := v.Entry(i); contains(names, name) {
				n++
			}
		}
		if n > 1 {
			return false
		}
	}
	for i := range v.Len() {
		name, value := v.Entry(i)
		of := s.properties[name]
		if of == nil {
			of = s.others
		}
		if of != nil && !of.fits(value) {
			return false
		}
	}
	return true
}

func between(n int, least, most *int) bool {
	return (least == nil || n >= *least) && (most == nil || n <= *most)
}
