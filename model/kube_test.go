package model

import (
	"reflect"
	"strings"
	"testing"

	kubediscovery "k8s.io/api/discovery/v1"
	kubenetworking "k8s.io/api/networking/v1"

	"github.com/egresslint/egresslint/model/kube/discoveryv1"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
)

// TestOwnTypesAreKubernetes holds that the types that stand for those of Kubernetes
// have all of their fields, by the same names.
func TestOwnTypesAreKubernetes(t *testing.T) {
	var same func(at string, own, theirs reflect.Type)
	same = func(at string, own, theirs reflect.Type) {
		if own == theirs {
			return
		}
		if own.Kind() != theirs.Kind() {
			t.Errorf("%s is %s, not %s", at, own.Kind(), theirs.Kind())
			return
		}
		switch own.Kind() {
		case reflect.Pointer, reflect.Slice:
			same(at, own.Elem(), theirs.Elem())
		case reflect.Map:
			same(at, own.Key(), theirs.Key())
			same(at, own.Elem(), theirs.Elem())
		case reflect.Struct:
			if own.NumField() != theirs.NumField() {
				t.Errorf("%s has %d fields, not %d", at, own.NumField(), theirs.NumField())
			}
			for i := range min(own.NumField(), theirs.NumField()) {
				a, b := own.Field(i), theirs.Field(i)
				if a.Name != b.Name || a.Tag.Get("json") != b.Tag.Get("json") || a.Anonymous != b.Anonymous {
					t.Errorf("%s has the field %s %q, not %s %q", at, a.Name, a.Tag, b.Name, b.Tag)
				}
				same(strings.TrimPrefix(at+"."+a.Name, "."), a.Type, b.Type)
			}
		}
	}
	same("NetworkPolicy", reflect.TypeFor[networkingv1.NetworkPolicy](), reflect.TypeFor[kubenetworking.NetworkPolicy]())
	same("EndpointSlice", reflect.TypeFor[discoveryv1.EndpointSlice](), reflect.TypeFor[kubediscovery.EndpointSlice]())
	if discoveryv1.LabelServiceName != kubediscovery.LabelServiceName {
		t.Errorf("the label is %q, not %q", discoveryv1.LabelServiceName, kubediscovery.LabelServiceName)
	}
}
