package model

import (
	"testing"
)

// A host with placeholders may be any name that has what is certain of it where it is.
func TestHostsWithPlaceholders(t *testing.T) {
	for _, test := range []struct {
		host         string
		about, never []string
		any          bool
	}{
		{"${HOST}", []string{"api.example.com", "pay.shop.svc.cluster.local"}, nil, true},
		{"<your-host>", []string{"api.example.com"}, nil, true},
		{"${ENV}.example.com", []string{"api.example.com", "a.b.example.com"}, []string{"example.com", "api.example.org"}, false},
		{"api.${DOMAIN}", []string{"api.example.com"}, []string{"apis.example.com", "x.api.example.com"}, false},
		{"${A}.mid.${B}", []string{"x.mid.y"}, []string{"x.y", "mid"}, false},
		{"*.${DOMAIN}", []string{"api.example.com"}, []string{"localhost"}, false},
		{"Api.Example.COM", []string{"api.example.com"}, []string{"www.example.com"}, false},
	} {
		t.Run(test.host, func(t *testing.T) {
			m := load(t, "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, namespace: shop}\n"+
				"spec: {hosts: [\""+test.host+"\"], resolution: DNS, ports: [{number: \"${PORT}\", name: tls, protocol: TLS}]}\n", Options{})
			if n := len(m.Unfilled()); n != 1 {
				t.Fatalf("%d objects with placeholders, want 1: %v", n, m.Problems)
			}
			u := m.Unfilled()[0]
			for _, name := range test.about {
				if !u.About(name) {
					t.Errorf("it is not about %s", name)
				}
			}
			for _, name := range test.never {
				if u.About(name) {
					t.Errorf("it is about %s", name)
				}
			}
			if u.Any() != test.any {
				t.Errorf("Any is %t", u.Any())
			}
			names, _ := u.Witnesses()
			for _, name := range names {
				if !u.About(name) {
					t.Errorf("its witness %s is none", name)
				}
			}
			if len(names) == 0 && !test.any {
				t.Error("it has no witness")
			}
		})
	}
}
