package model

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"istio.io/istio/manifests"
)

var update = flag.Bool("update", false, "write validate_schema.json and installation_shipped.json anew from what Istio ships")

// TestSchemaIsIstios holds validate_schema.json against the CRDs of the Istio
// version in go.mod. `go test ./model -run TestSchemaIsIstios -update` writes it.
func TestSchemaIsIstios(t *testing.T) {
	data, err := manifests.FS.ReadFile("charts/base/files/crd-all.gen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]crdKind{}
	for _, doc := range bytes.Split(data, []byte("\n---\n")) {
		var crd struct {
			Spec struct {
				Group string `json:"group"`
				Names struct {
					Kind string `json:"kind"`
				} `json:"names"`
				Versions []struct {
					Name   string `json:"name"`
					Served bool   `json:"served"`
					Schema struct {
						OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(doc, &crd); err != nil {
			t.Fatal(err)
		}
		name := crd.Spec.Names.Kind
		if istioKinds[name] == nil {
			continue
		}
		k := crdKind{Group: crd.Spec.Group}
		for _, v := range crd.Spec.Versions {
			if !v.Served {
				continue
			}
			k.Versions = append(k.Versions, v.Name)
			properties := v.Schema.OpenAPIV3Schema["properties"].(map[string]any)
			delete(properties, "status")
			schema, err := json.Marshal(compact(v.Schema.OpenAPIV3Schema))
			if err != nil {
				t.Fatal(err)
			}
			if k.Schema != nil && !bytes.Equal(k.Schema, schema) {
				t.Fatalf("%s: versions have different schemas", name)
			}
			k.Schema = schema
		}
		slices.Sort(k.Versions)
		kinds[name] = k
	}
	for name := range istioKinds {
		if kinds[name].Schema == nil {
			t.Errorf("Istio ships no CRD for %s", name)
		}
	}
	// A line for each kind keeps the file small and its changes readable.
	var want []byte
	for _, name := range sortedKeys(kinds) {
		line, err := json.Marshal(kinds[name])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf(",\n%q:%s", name, line)...)
	}
	want = append(append([]byte("{"), bytes.TrimPrefix(want, []byte(","))...), "\n}\n"...)
	if *update {
		if err := os.WriteFile("validate_schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, schemaFile) {
		t.Error("validate_schema.json is not what Istio's CRDs say: run go test ./model -run TestSchemaIsIstios -update")
	}
}

// compact keeps of a schema what decides about an object.
func compact(schema map[string]any) map[string]any {
	out := map[string]any{}
	for key, v := range schema {
		switch key {
		case "description", "format", "default", "title", "example", "x-kubernetes-validations":
		case "properties":
			properties := map[string]any{}
			for name, p := range v.(map[string]any) {
				properties[name] = compact(p.(map[string]any))
			}
			out[key] = properties
		case "items", "not", "additionalProperties":
			if m, ok := v.(map[string]any); ok {
				v = compact(m)
			}
			out[key] = v
		case "oneOf", "anyOf", "allOf":
			var list []any
			for _, e := range v.([]any) {
				list = append(list, compact(e.(map[string]any)))
			}
			out[key] = list
		default:
			out[key] = v
		}
	}
	return out
}
