package model

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/manifest"
)

// TestSchemasAreUnderstood holds that there is nothing in the schemas of Istio's
// CRDs that is passed over.
func TestSchemasAreUnderstood(t *testing.T) {
	var understood func(s *crdSchema) bool
	understood = func(s *crdSchema) bool {
		for _, of := range s.properties {
			if !understood(of) {
				return false
			}
		}
		return !s.unsure && (s.items == nil || understood(s.items)) && (s.others == nil || understood(s.others))
	}
	for kind := range istioKinds {
		if !understood(schemaOf(kind)) {
			t.Errorf("the schema of %s says more than crdSchema understands", kind)
		}
	}
}

// TestComplaintsAreTrue holds that an object fits the schema of its kind by a
// validator of JSON schemas if it does by ours, and that both complain of the same
// fields.
func TestComplaintsAreTrue(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	files, err := filepath.Glob("../testdata/*/*/*/*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatal("no files", err)
	}
	odd := func() []any {
		return []any{nil, "", "x", "UNSET", true, int64(-1), int64(0), int64(443), int64(99999999999), 1.5, map[string]any{}, []any{}, []any{nil}, map[string]any{"exact": "a", "prefix": "b"}, strings.Repeat("é", 300)}
	}
	sure, fit, asked := 0, 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range strings.Split(string(text), "\n---") {
			for range 10 {
				tree := integers(unmarshalled(doc))
				object, _ := tree.(map[string]any)
				name, _ := object["kind"].(string)
				if istioKinds[name] == nil {
					break
				}
				for range r.IntN(3) {
					spoil(r, object["spec"], odd())
				}
				asked++
				fits, quick := validator(t, name).Validate(tree) == nil, false
				withValue(t, tree, r.IntN(2) == 0, func(v manifest.Value) {
					v, _ = v.Field("tree")
					quick = schemaOf(name).fits(v)
				})
				got, want := checkSchema(name, object), complaintsOf(validator(t, name).Validate(tree), tree)
				if quick && !fits || !slices.EqualFunc(got, want, alike) {
					t.Fatalf("%s, %s: fits %v for sure: %v\nwrong: %v\nbut by its schema wrong: %v", file, name, tree, quick, got, want)
				}
				if fits {
					fit++
				}
				if quick {
					sure++
				}
			}
		}
	}
	if fit == asked || sure < fit*9/10 {
		t.Errorf("of %d objects %d fit, and of %d it is sure", asked, fit, sure)
	}
}

// alike compares complaints; which alternatives there are, the validator does not say.
func alike(a, b complaint) bool {
	return a.field == b.field && (a.message == b.message || strings.HasSuffix(b.message, ": ") && strings.HasPrefix(a.message, b.message))
}

// validators has a *jsonschema.Schema for each kind that was asked for.
var validators = map[string]*jsonschema.Schema{}

func validator(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	if validators[name] == nil {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(crdKinds()[name].Schema)))
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft4) // the dialect of OpenAPI 3.0
		if err == nil {
			err = c.AddResource("mem:"+name, doc)
		}
		if err != nil {
			t.Fatal(err)
		}
		validators[name] = c.MustCompile("mem:" + name)
	}
	return validators[name]
}

// complaintsOf words what a validator has found.
func complaintsOf(err error, tree any) []complaint {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil
	}
	var out []complaint
	var collect func(e *jsonschema.ValidationError)
	collect = func(e *jsonschema.ValidationError) {
		field := fieldOf(tree, e.InstanceLocation)
		if _, ok := e.ErrorKind.(*kind.OneOf); ok {
			out = append(out, complaint{field, "at most one of these may be set: "})
			return
		}
		if len(e.Causes) == 0 {
			out = append(out, complaint{field, wording(e)})
		}
		for _, cause := range e.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	slices.SortStableFunc(out, func(a, b complaint) int { return strings.Compare(a.field, b.field) })
	return out
}

func wording(e *jsonschema.ValidationError) string {
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
	case *kind.MinProperties:
		return "must not be empty"
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d entries, not %d", k.Want, k.Got)
	default:
		return fmt.Sprintf("%T", k)
	}
}

// rational writes a number of a schema or a document.
func rational(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
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

func unmarshalled(doc string) any {
	var tree any
	if yaml.Unmarshal([]byte(doc), &tree) != nil {
		return nil
	}
	return tree
}

// integers makes the whole numbers of decoded JSON int64, as Decode has them.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

// spoil replaces, adds or takes out one value somewhere.
func spoil(r *rand.Rand, v any, odd []any) {
	value := odd[r.IntN(len(odd))]
	switch v := v.(type) {
	case map[string]any:
		keys := sortedKeys(v)
		if len(keys) == 0 {
			return
		}
		key := keys[r.IntN(len(keys))]
		switch r.IntN(8) {
		case 0:
			v[key] = value
		case 1:
			delete(v, key)
		case 2:
			v[[]string{"exact", "prefix", "regex", "simple", "port", "number", "action"}[r.IntN(7)]] = value
		default:
			spoil(r, v[key], odd)
		}
	case []any:
		if len(v) > 0 {
			if i := r.IntN(len(v)); r.IntN(4) == 0 {
				v[i] = value
			} else {
				spoil(r, v[i], odd)
			}
		}
	}
}
