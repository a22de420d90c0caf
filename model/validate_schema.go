package model

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/egresslint/egresslint/model/manifest"
)

// validate_schema.json holds, for each Istio kind of [istioKinds], what its
// CustomResourceDefinition demands, without descriptions and without CEL rules
// (istiod's own validation has the same rules in Go; istio
// pkg/config/validation/openapi_test.go holds the two against each other).
// TestSchemaIsIstios makes it from the CRDs that Istio ships.
//
//go:embed validate_schema.json
var schemaFile []byte

// crdKind is what a CRD says about a kind.
type crdKind struct {
	Group    string          `json:"group"`
	Versions []string        `json:"versions"`
	Schema   json.RawMessage `json:"schema"`
}

var crdKinds = sync.OnceValue(func() map[string]crdKind {
	var kinds map[string]crdKind
	if err := json.Unmarshal(schemaFile, &kinds); err != nil {
		panic(fmt.Sprintf("validate_schema.json: %v", err)) // a defect of the build, covered by every test
	}
	return kinds
})

// complaint is one reason for which an object is refused.
type complaint struct {
	field   string // field path within the object
	message string
}

// pruneNulls removes null values of mappings: the API server takes them for
// absent before it looks at the schema. It reports whether there were any.
func pruneNulls(v any) bool {
	found := false
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e == nil {
				delete(v, k)
				found = true
			} else if pruneNulls(e) {
				found = true
			}
		}
	case []any:
		for _, e := range v {
			if pruneNulls(e) {
				found = true
			}
		}
	}
	return found
}

// checkSchema says what the API server would refuse about an object of an
// Istio kind before istiod sees it: wrong types, values that an enumeration
// does not have, missing fields, alternatives given together. Complaints are in
// the order of their fields.
func checkSchema(name string, tree map[string]any) []complaint {
	out := schemaOf(name).complain(nil, tree, "")
	sort.SliceStable(out, func(i, j int) bool { return out[i].field < out[j].field })
	return out
}

// complain adds what is wrong with a value at a field.
func (s *crdSchema) complain(out []complaint, v any, field string) []complaint {
	say := func(format string, args ...any) {
		out = append(out, complaint{field, fmt.Sprintf(format, args...)})
	}
	if got := jsonType(v); s.kind != "" && s.kind != got && (s.kind != "integer" || !isWhole(v)) {
		say("must be of type %s, not %s", s.kind, got)
		return out
	}
	if text, isText := v.(string); s.enum != nil && (!isText || !contains(s.enum, text)) {
		var supported []string
		for _, value := range s.enum {
			supported = append(supported, fmt.Sprintf("%q", value))
		}
		say("unsupported value %q: supported values: %s", fmt.Sprint(v), strings.Join(supported, ", "))
		return out
	}
	switch v := v.(type) {
	case map[string]any:
		return s.complainOfObject(out, v, field)
	case []any:
		if s.minItems != nil && len(v) < *s.minItems {
			say("must not be empty") // 1 wherever Istio has it
		}
		if s.maxItems != nil && len(v) > *s.maxItems {
			say("must have at most %d items, not %d", *s.maxItems, len(v))
		}
		for i, e := range v {
			if s.items != nil {
				out = s.items.complain(out, e, item(field, i))
			}
		}
	case string:
		n := utf8.RuneCountInString(v)
		if s.minLength != nil && n < *s.minLength {
			say("must not be empty") // 1 wherever Istio has it
		}
		if s.maxLength != nil && n > *s.maxLength {
			say("must have at most %d characters, not %d", *s.maxLength, n)
		}
		if s.pattern != nil && !s.pattern.MatchString(v) {
			say("value %q must match %s", v, s.pattern)
		}
	case int64, float64:
		n := asFloat(v)
		if s.minimum != nil && n < *s.minimum {
			say("must be at least %s, not %s", shortest(*s.minimum), shortest(n))
		}
		if s.maximum != nil && n > *s.maximum {
			say("must be at most %s, not %s", shortest(*s.maximum), shortest(n))
		}
	}
	return out
}

func (s *crdSchema) complainOfObject(out []complaint, v map[string]any, field string) []complaint {
	if s.minProperties != nil && len(v) < *s.minProperties {
		out = append(out, complaint{field, "must not be empty"}) // 1 wherever Istio has it
	}
	if s.maxProperties != nil && len(v) > *s.maxProperties {
		out = append(out, complaint{field, fmt.Sprintf("must have at most %d entries, not %d", *s.maxProperties, len(v))})
	}
	var missing []string
	for _, name := range s.required {
		if _, has := v[name]; !has {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		out = append(out, complaint{field, "required field is missing: " + strings.Join(missing, ", ")})
	}
	for _, name := range sortedKeys(v) {
		of := s.properties[name]
		if of == nil {
			of = s.others
		}
		if of != nil {
			out = of.complain(out, v[name], child(field, name))
		}
	}
	for _, names := range s.exclusive {
		if !atMostOne(v, names) {
			out = append(out, complaint{field, "at most one of these may be set: " + strings.Join(slices.Concat(s.exclusive...), ", ")})
		}
	}
	return out
}

// atMostOne reports that an object has no two of some fields.
func atMostOne(v map[string]any, names []string) bool {
	n := 0
	for _, name := range names {
		if _, has := v[name]; has {
			n++
		}
	}
	return n <= 1
}

// jsonType names what a value is in JSON.
func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	default:
		return "number"
	}
}

func isWhole(v any) bool {
	switch v := v.(type) {
	case int64:
		return true
	case float64:
		return v == math.Trunc(v)
	default:
		return false
	}
}

func asFloat(v any) float64 {
	if i, ok := v.(int64); ok {
		return float64(i)
	}
	f, _ := v.(float64)
	return f
}

// shortest writes a number of a schema or a document.
func shortest(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// child is the field path of a key of the mapping at field.
func child(field, key string) string { return join(field, manifest.FieldPath(key)) }
