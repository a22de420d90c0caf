package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"unicode/utf8"
)

// Most objects fit the schema of their kind. fastSchema is that schema in a form
// in which this is found out quickly; where it is not sure, the schema itself is
// asked, which has the messages too (checkSchema).
type fastSchema struct {
	kind       string // "object", "array", … or "" for anything
	properties map[string]*fastSchema
	others     *fastSchema // of properties that are not listed, nil for anything
	items      *fastSchema
	required   []string
	// exclusive are fields of which at most one may be there.
	exclusive                    [][]string
	enum                         []string
	pattern                      *regexp.Regexp
	minimum, maximum             *float64
	minLength, maxLength         *int
	minItems, maxItems           *int
	minProperties, maxProperties *int
	unsure                       bool
}

// fastSchemas has a *fastSchema for each kind that was asked for.
var fastSchemas sync.Map

func fastSchemaOf(kind string) *fastSchema {
	if s, ok := fastSchemas.Load(kind); ok {
		return s.(*fastSchema)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(crdKinds()[kind].Schema, &raw); err != nil {
		panic(fmt.Sprintf("validate_schema.json, %s: %v", kind, err))
	}
	s, _ := fastSchemas.LoadOrStore(kind, newFastSchema(raw))
	return s.(*fastSchema)
}

// newFastSchema compiles a schema. A schema with a keyword that is not known
// here is sure of nothing.
func newFastSchema(raw map[string]json.RawMessage) *fastSchema {
	s := &fastSchema{}
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
			s.properties = make(map[string]*fastSchema, len(properties))
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
		case "oneOf":
			s.atMostOne(value)
			continue
		case "allOf":
			var all []map[string]json.RawMessage
			s.unsure = s.unsure || json.Unmarshal(value, &all) != nil
			for _, one := range all {
				if len(one) == 1 && one["oneOf"] != nil {
					s.atMostOne(one["oneOf"])
				} else {
					s.unsure = true
				}
			}
			continue
		case "nullable", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-map-keys", "x-kubernetes-list-type":
			continue // nothing to the validator either
		default:
			s.unsure = true
			continue
		}
		s.unsure = s.unsure || json.Unmarshal(value, into) != nil
	}
	return s
}

func subSchema(value json.RawMessage) *fastSchema {
	var raw map[string]json.RawMessage
	if json.Unmarshal(value, &raw) != nil {
		return &fastSchema{unsure: true}
	}
	return newFastSchema(raw)
}

// atMostOne reads a oneOf in the only form that Istio's CRDs have: none of some
// fields, or exactly one of them.
func (s *fastSchema) atMostOne(value json.RawMessage) {
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
func (s *fastSchema) fits(v any) bool {
	if s.unsure {
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		return (s.kind == "object" || s.kind == "") && s.enum == nil && s.fitsObject(v)
	case []any:
		if s.kind != "array" && s.kind != "" || s.enum != nil || !between(len(v), s.minItems, s.maxItems) {
			return false
		}
		for _, item := range v {
			if s.items != nil && !s.items.fits(item) {
				return false
			}
		}
		return true
	case string:
		return (s.kind == "string" || s.kind == "") && (s.enum == nil || slices.Contains(s.enum, v)) &&
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

func (s *fastSchema) fitsObject(v map[string]any) bool {
	if !between(len(v), s.minProperties, s.maxProperties) {
		return false
	}
	for _, name := range s.required {
		if _, has := v[name]; !has {
			return false
		}
	}
	for _, names := range s.exclusive {
		n := 0
		for _, name := range names {
			if _, has := v[name]; has {
				n++
			}
		}
		if n > 1 {
			return false
		}
	}
	for name, value := range v {
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
