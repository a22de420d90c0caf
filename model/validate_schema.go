package model

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

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

// compiledSchemas has a *jsonschema.Schema for each kind that was asked for.
var compiledSchemas sync.Map

func schemaOf(name string) *jsonschema.Schema {
	if s, ok := compiledSchemas.Load(name); ok {
		return s.(*jsonschema.Schema)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(crdKinds()[name].Schema)))
	if err != nil {
		panic(fmt.Sprintf("validate_schema.json, %s: %v", name, err))
	}
	c := jsonschema.NewCompiler()
	// OpenAPI 3.0 speaks the dialect of draft 4.
	c.DefaultDraft(jsonschema.Draft4)
	url := "mem:" + name
	if err := c.AddResource(url, doc); err != nil {
		panic(fmt.Sprintf("validate_schema.json, %s: %v", name, err))
	}
	s, _ := compiledSchemas.LoadOrStore(name, c.MustCompile(url))
	return s.(*jsonschema.Schema)
}

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
	if fastSchemaOf(name).fits(tree) {
		return nil
	}
	s := schemaOf(name)
	err := s.Validate(any(tree))
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []complaint{{message: err.Error()}}
	}
	var out []complaint
	var collect func(e *jsonschema.ValidationError)
	collect = func(e *jsonschema.ValidationError) {
		if _, ok := e.ErrorKind.(*kind.OneOf); ok {
			out = append(out, complaint{fieldOf(tree, e.InstanceLocation), exclusive(s, e.InstanceLocation)})
			return
		}
		if len(e.Causes) == 0 {
			out = append(out, complaint{fieldOf(tree, e.InstanceLocation), schemaMessage(e)})
		}
		for _, cause := range e.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	slices.SortStableFunc(out, func(a, b complaint) int { return strings.Compare(a.field, b.field) })
	return out
}

var english = message.NewPrinter(language.English)

func schemaMessage(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be of type %s, not %s", strings.Join(k.Want, " or "), k.Got)
	case *kind.Enum:
		var supported []string
		for _, v := range k.Want {
			supported = append(supported, fmt.Sprintf("%q", fmt.Sprint(v)))
		}
		return fmt.Sprintf("unsupported value %q: supported values: %s", fmt.Sprint(k.Got), strings.Join(supported, ", "))
	case *kind.Required:
		return "required field is missing: " + strings.Join(k.Missing, ", ")
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, not %s", rational(k.Want), rational(k.Got))
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, not %s", rational(k.Want), rational(k.Got))
	case *kind.MinLength: // 1 wherever Istio has it
		return "must not be empty"
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters, not %d", k.Want, k.Got)
	case *kind.MinItems:
		return "must not be empty"
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items, not %d", k.Want, k.Got)
	case *kind.Pattern:
		return fmt.Sprintf("value %q must match %s", k.Got, k.Want)
	default:
		return k.LocalizedString(english)
	}
}

// rational writes a number of a schema or a document.
func rational(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// exclusive words the failure of a oneOf, which CRDs use for fields of which
// at most one may be set.
func exclusive(s *jsonschema.Schema, location []string) string {
	for _, token := range location {
		switch {
		case s == nil:
		case s.Properties[token] != nil:
			s = s.Properties[token]
		default:
			next, _ := s.AdditionalProperties.(*jsonschema.Schema)
			if next == nil {
				next, _ = s.Items.(*jsonschema.Schema)
			}
			s = next
		}
	}
	if s == nil {
		return "at most one of its alternatives may be set"
	}
	var names []string
	for _, of := range append([]*jsonschema.Schema{s}, s.AllOf...) {
		for _, alternative := range of.OneOf {
			names = append(names, alternative.Required...)
		}
	}
	return "at most one of these may be set: " + strings.Join(names, ", ")
}

// fieldOf turns the tokens of a JSON pointer into a field path.
func fieldOf(tree any, tokens []string) string {
	field := ""
	for _, token := range tokens {
		switch v := tree.(type) {
		case []any:
			field += "[" + token + "]"
			if i, err := strconv.Atoi(token); err == nil && i < len(v) {
				tree = v[i]
			}
		case map[string]any:
			field = child(field, token)
			tree = v[token]
		}
	}
	return field
}

// child is the field path of a key of the mapping at field.
func child(field, key string) string { return join(field, manifest.FieldPath(key)) }
