package model

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/manifest"
)

// TestFillAgreesWithIstiod holds the messages that fill makes against those of
// istiod's decoder, over the manifests of the tests and what becomes of them with
// random values in random places.
func TestFillAgreesWithIstiod(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	plain, all := 0, 0
	for _, doc := range append(testDocuments(t), meshDocuments(t)...) {
		var object struct {
			Kind string         `json:"kind"`
			Spec map[string]any `json:"spec"`
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(doc, &object); err != nil || istioKinds[object.Kind] == nil || object.Spec == nil {
			continue
		}
		for round := range 8 {
			if round > 0 {
				object.Spec, _ = disturb(r, any(object.Spec), 1).(map[string]any)
			}
			if object.Spec == nil {
				break
			}
			spec := istioKinds[object.Kind].newSpec()
			into := spec.ProtoReflect()
			data, err := json.Marshal(object.Spec)
			if err != nil {
				t.Fatal(err)
			}
			filled := false
			withValue(t, object.Spec, r.IntN(2) == 0, func(v manifest.Value) {
				spec, has := v.Field("tree")
				filled = has && spec.IsMapping() && fill(into, spec)
			})
			if round == 0 {
				all++
			}
			if !filled {
				continue
			}
			if round == 0 {
				plain++
			}
			want := istioKinds[object.Kind].newSpec()
			if err := protomarshal.UnmarshalAllowUnknown(data, want); err != nil {
				t.Errorf("%s %s: istiod says %v", object.Kind, data, err)
			} else if !proto.Equal(spec, want) {
				t.Errorf("%s %s\n  got  %v\n  want %v", object.Kind, data, spec, want)
			}
		}
	}
	if plain < 400 || plain < all*9/10 {
		t.Errorf("only %d of %d specs are the plain case", plain, all)
	}
}

// withValue calls f with a document, in JSON or YAML, that has a tree under "tree".
func withValue(t *testing.T, tree any, inJSON bool, f func(manifest.Value)) {
	t.Helper()
	object := map[string]any{"apiVersion": "example.com/v1", "kind": "Test", "metadata": map[string]any{"name": "x"}, "tree": tree}
	text, err := yaml.Marshal(object)
	if inJSON {
		text, err = json.Marshal(object)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = manifest.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(text),
		Decode: func(_ *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			if v, plain := doc.Plain(); plain {
				f(v)
			}
			return nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// meshDocuments are the documents of the simulation's cases, as JSON.
func meshDocuments(t *testing.T) [][]byte {
	t.Helper()
	files, err := filepath.Glob("../testdata/mesh/*/manifests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var docs [][]byte
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range bytes.Split(text, []byte("\n---\n")) {
			if data, err := yaml.YAMLToJSON(doc); err == nil {
				docs = append(docs, data)
			}
		}
	}
	return docs
}
