package model

import (
	"reflect"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// TestWebhookIsKubernetes holds MutatingWebhookConfiguration against the type of
// k8s.io/api: a decoder must see no difference.
func TestWebhookIsKubernetes(t *testing.T) {
	want := decodedFields("", reflect.TypeFor[admissionv1.MutatingWebhookConfiguration]())
	got := decodedFields("", reflect.TypeFor[MutatingWebhookConfiguration]())
	if len(want) < 20 {
		t.Fatalf("only %d fields: the comparison sees nothing", len(want))
	}
	for path, kind := range want {
		if got[path] != kind {
			t.Errorf("%s is %q, in Kubernetes %q", path, got[path], kind)
		}
	}
	for path := range got {
		if want[path] == "" {
			t.Errorf("Kubernetes has no %s", path)
		}
	}
}

// decodedFields lists what a decoder looks for in a type, with the kinds of the
// values.
func decodedFields(path string, t reflect.Type) map[string]string {
	out := map[string]string{}
	var walk func(path, kinds string, t reflect.Type)
	walk = func(path, kinds string, t reflect.Type) {
		kinds += t.Kind().String() + " "
		switch {
		case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice:
			walk(path, kinds, t.Elem())
		case t.Kind() == reflect.Struct && !strings.HasPrefix(t.PkgPath(), "k8s.io/apimachinery"):
			for i := range t.NumField() {
				f := t.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name == "" { // its fields are those of t
					walk(path, strings.TrimSuffix(kinds, "struct "), f.Type)
				} else {
					walk(path+"."+name, kinds, f.Type)
				}
			}
		case t.Kind() == reflect.Struct:
			out[path+" "+t.String()] = t.String()
		default:
			out[path] = kinds
		}
	}
	walk(path, "", t)
	return out
}
