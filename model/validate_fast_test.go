package model

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// TestFastSchemaIsRight holds that an object of which the quick form of a schema
// is sure fits the schema itself, and that it is sure of nearly all that fit.
func TestFastSchemaIsRight(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
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
			for range 30 {
				tree := integers(unmarshalled(doc))
				object, _ := tree.(map[string]any)
				kind, _ := object["kind"].(string)
				if istioKinds[kind] == nil {
					break
				}
				for range r.IntN(3) {
					spoil(r, object["spec"], odd())
				}
				asked++
				fits := schemaOf(kind).Validate(tree) == nil
				quick := fastSchemaOf(kind).fits(tree)
				if quick && !fits {
					t.Fatalf("%s, %s: sure of %v, but %v", file, kind, tree, schemaOf(kind).Validate(tree))
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
