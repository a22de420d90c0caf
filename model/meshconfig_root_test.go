package model

import (
	"slices"
	"strings"
	"testing"
)

// A placeholder for the root namespace or the trust domain is no name: it may stand for
// any of those that something in the input has to do with.
func TestPlaceholdersForNamesOfTheMesh(t *testing.T) {
	const sidecar = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: NAMESPACE}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}\n---\n"
	const policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n" +
		"spec: {rules: [{from: [{source: {principals: [td.example/ns/shop/sa/cart]}}]}]}\n---\n"
	in := func(ns string) string { return strings.Replace(sidecar, "NAMESPACE", ns, 1) }
	many := ""
	for _, ns := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		many += in(ns)
	}
	for name, test := range map[string]struct {
		mesh, objects string
		root          string
		others        []string
		opaque        bool
	}{
		"root namespace":                {"rootNamespace: ${NS}", in("admin"), "istio-system", []string{"admin"}, false},
		"nothing that would be of it":   {"rootNamespace: ${NS}", "", "istio-system", nil, false},
		"objects of the placeholder":    {"rootNamespace: ${NS}", in("'${NS}'"), "${NS}", nil, false},
		"protobuf's name":               {"root_namespace: ${NS}", in("admin"), "istio-system", []string{"admin"}, false},
		"more than are tried":           {"rootNamespace: ${NS}", many, "istio-system", nil, true},
		"a name":                        {"rootNamespace: admin", in("shop"), "admin", nil, false},
		"trust domain":                  {"trustDomain: ${TD}", policy, "istio-system", []string{"td.example"}, false},
		"trust domain that nobody asks": {"trustDomain: ${TD}", in("shop"), "istio-system", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, test.objects+"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: '"+test.mesh+"'}\n", Options{})
			if m.Config.RootNamespace != test.root {
				t.Errorf("root namespace %s, want %s", m.Config.RootNamespace, test.root)
			}
			var others []string
			for _, d := range m.Doubts() {
				others = append(others, d.Other)
				if c := m.Otherwise(d).Config; c.RootNamespace != d.Other && c.TrustDomain != d.Other {
					t.Errorf("%s is %s and %s in the other mesh", d.Other, c.RootNamespace, c.TrustDomain)
				}
			}
			if !slices.Equal(others, test.others) {
				t.Errorf("it may be %v, want %v", others, test.others)
			}
			if opaque := m.Config.Opaque() != nil; opaque != test.opaque {
				t.Errorf("opaque: %t", opaque)
			}
		})
	}
}
