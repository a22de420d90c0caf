package model_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// pushOf makes the push context of manifests, with the lines of a mesh
// configuration. Nothing of them may be refused.
func pushOf(t *testing.T, text string, config ...string) *model.PushContext {
	t.Helper()
	if len(config) > 0 {
		text += "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    " + strings.Join(config, "\n    ") + "\n"
	}
	m, _, err := model.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text),
	}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Problems {
		t.Fatalf("%v: %s: %s", p.Position, p.Object, p.Message)
	}
	return model.NewPushContext(m, m.Config, 0)
}

// entry is a ServiceEntry; more are further lines of its spec.
func entry(name, namespace, host, created string, more ...string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s, namespace: %s%s}
spec:
  hosts: [%q]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
  %s
`, name, namespace, timestamp(created), host, strings.Join(more, "\n  "))
}

func timestamp(created string) string {
	if created == "" {
		return ""
	}
	return fmt.Sprintf(", creationTimestamp: %q", created)
}

// object is any other object with its spec as YAML in one line.
func object(apiVersion, kind, name, namespace, spec string) string {
	return fmt.Sprintf("\n---\napiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: %s\n", apiVersion, kind, name, namespace, spec)
}

const (
	networking = "networking.istio.io/v1"
	security   = "security.istio.io/v1"
)

// pod is a Pod with labels as YAML.
func pod(name, namespace, labels string) string {
	return fmt.Sprintf("\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s, labels: %s}\nspec: {containers: [{name: app, image: app}]}\n", name, namespace, labels)
}

// ids lists the objects of services as "namespace/name".
func ids(services []*model.Service) []string {
	var out []string
	for _, s := range services {
		out = append(out, s.Object.ID())
	}
	return out
}

// Services are ordered by age, name (the host of a ServiceEntry), namespace
// (istio pilot/pkg/model/push_context.go SortServicesByCreationTime).
func TestServicesAreOrderedByAge(t *testing.T) {
	p := pushOf(t, entry("z", "zz", "a.example.com", "")+
		entry("w", "aa", "a.example.com", "")+
		entry("x", "aa", "b.example.com", "")+
		entry("new", "aa", "a.example.org", "2024-05-02T00:00:00Z")+
		entry("old", "aa", "z.example.org", "2024-05-01T00:00:00Z")+
		object("v1", "Service", "a.svc", "default", "{ports: [{port: 80}]}"))
	want := []string{"aa/w", "zz/z", "default/a.svc", "aa/x", "aa/old", "aa/new"}
	if got := ids(p.Services()); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestVisibility(t *testing.T) {
	for _, test := range []struct {
		name, exportTo string
		config         []string
		own, named, b  bool // seen in the entry's namespace, in "named", elsewhere
	}{
		{"unset", "", nil, true, true, true},
		{"everybody", `exportTo: ["*"]`, nil, true, true, true},
		{"own", `exportTo: ["."]`, nil, true, false, false},
		{"nobody", `exportTo: ["~"]`, nil, false, false, false},
		{"named", `exportTo: [named]`, nil, false, true, false},
		{"own and named", `exportTo: [".", named]`, nil, true, true, false},
		{"mesh default own", "", []string{`defaultServiceExportTo: ["."]`}, true, false, false},
		{"mesh default nobody", "", []string{`defaultServiceExportTo: ["~"]`}, false, false, false},
		{"its own beats the default", `exportTo: ["*"]`, []string{`defaultServiceExportTo: ["."]`}, true, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pushOf(t, entry("e", "own", "a.example.com", "", test.exportTo), test.config...)
			s := p.ServiceIn("a.example.com", "own")
			for ns, want := range map[string]bool{"own": test.own, "named": test.named, "elsewhere": test.b} {
				if got := p.Visible(s, ns); got != want {
					t.Errorf("visible in %s: %v, want %v", ns, got, want)
				}
			}
		})
	}
}

// One host and one address make one service (istio
// serviceentry/conversion.go convertServices).
func TestServicesOfAnEntry(t *testing.T) {
	p := pushOf(t, `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e, namespace: default}
spec:
  hosts: [a.example.com, b.example.com]
  addresses: [192.0.2.1, 192.0.2.7/32, 198.51.100.0/24]
  resolution: NONE
  ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]
`)
	var got []string
	for _, s := range p.Services() {
		got = append(got, fmt.Sprint(s.Hostname, " ", s.Address, " ", s.AddressField, " ", s.HostField, " dialled=", s.Resolution == model.Passthrough, " external=", s.MeshExternal))
		if len(s.Ports) != 1 || s.Ports[0].Number != 443 || s.Ports[0].TargetPort != 8443 || !s.Ports[0].Protocol.IsTLS() {
			t.Errorf("ports %+v", s.Ports)
		}
	}
	want := []string{
		"a.example.com 192.0.2.1 spec.addresses[0] spec.hosts[0] dialled=true external=true",
		"a.example.com 192.0.2.7 spec.addresses[1] spec.hosts[0] dialled=true external=true",
		"a.example.com 198.51.100.0/24 spec.addresses[2] spec.hosts[0] dialled=true external=true",
		"b.example.com 192.0.2.1 spec.addresses[0] spec.hosts[1] dialled=true external=true",
		"b.example.com 192.0.2.7 spec.addresses[1] spec.hosts[1] dialled=true external=true",
		"b.example.com 198.51.100.0/24 spec.addresses[2] spec.hosts[1] dialled=true external=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Which of several entries of one host, namespace and second counts is left to
// chance, and so is which address of an entry; another time or namespace settles
// it.
func TestTies(t *testing.T) {
	p := pushOf(t, entry("one", "default", "a.example.com", "")+entry("two", "default", "a.example.com", "")+
		entry("three", "other", "a.example.com", "")+entry("four", "default", "b.example.com", "2024-05-01T00:00:00Z")+
		entry("five", "default", "b.example.com", "2024-05-02T00:00:00Z"))
	if got := p.Ties(); got != 2 {
		t.Errorf("%d choices, want 2", got)
	}
	var names []string
	for _, group := range p.TiedServices() {
		names = append(names, ids(group)...)
	}
	if want := []string{"default/one", "default/two"}; !slices.Equal(names, want) {
		t.Errorf("tied are %v, want %v", names, want)
	}
	first := p.ServiceIn("a.example.com", "default").Object.ID()
	second := model.NewPushContext(p.Mesh, p.Config, 1).ServiceIn("a.example.com", "default").Object.ID()
	if first == second {
		t.Errorf("both choices take %s", first)
	}
	if got := pushOf(t, entry("one", "default", "a.example.com", "")).Ties(); got != 1 {
		t.Errorf("a single entry gives %d choices, want 1", got)
	}
}

// Each choice puts another address of an entry first, and more than eight are
// not tried unless a flow asks for one of them.
func TestTiesOfAddresses(t *testing.T) {
	many := entry("e", "default", "a.example.com", "", "addresses: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5, 192.0.2.6, 192.0.2.7, 192.0.2.8, 192.0.2.9, 192.0.2.10]")
	few := entry("e", "default", "a.example.com", "", "addresses: [192.0.2.1, 192.0.2.2, 192.0.2.3]")
	p := pushOf(t, few)
	if got := p.Ties(); got != 3 {
		t.Errorf("%d choices, want 3", got)
	}
	var first []string
	for tie := range p.Ties() {
		first = append(first, model.NewPushContext(p.Mesh, p.Config, tie).ServiceIn("a.example.com", "default").Address)
	}
	if want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}; !slices.Equal(first, want) {
		t.Errorf("first are %v, want %v", first, want)
	}
	for tie := range 3 {
		if r := model.NewPushContext(p.Mesh, p.Config, tie).Resolve("default", "a.example.com", false); r.Addr.String() != "192.0.2.1" {
			t.Errorf("with choice %d clients find %s, want the address listed first", tie, r.Addr)
		}
	}
	p = pushOf(t, many)
	if got := p.Ties(); got != 8 {
		t.Errorf("%d choices, want 8", got)
	}
	place, tied := p.Tied(netip.MustParseAddr("192.0.2.9"))
	if !tied || place != 8 {
		t.Errorf("an address in the ninth is at %d, %v", place, tied)
	}
	if got := model.NewPushContext(p.Mesh, p.Config, model.TieWithFirst(8)).ServiceIn("a.example.com", "default").Address; got != "192.0.2.9" {
		t.Errorf("asked for the ninth, %s is first", got)
	}
	if _, tied := p.Tied(netip.MustParseAddr("203.0.113.1")); tied {
		t.Error("an address that no entry lists ties")
	}
}

// Names of ExternalName Services stand for the service at the end of the chain
// (istio pilot/pkg/model/push_context.go resolveServiceAliases).
func TestAliases(t *testing.T) {
	alias := func(name, to string) string {
		return object("v1", "Service", name, "default", "{type: ExternalName, externalName: "+to+"}")
	}
	p := pushOf(t, entry("e", "default", "a.example.com", "")+alias("one", "a.example.com")+alias("two", "one.default.svc.cluster.local")+
		alias("ring", "gnir.default.svc.cluster.local")+alias("gnir", "ring.default.svc.cluster.local"))
	var got []string
	for _, a := range p.ServiceIn("a.example.com", "default").Aliases {
		got = append(got, string(a))
	}
	if want := []string{"one.default.svc.cluster.local", "two.default.svc.cluster.local"}; !slices.Equal(got, want) {
		t.Errorf("aliases %v, want %v", got, want)
	}
	if s := p.ServiceIn("ring.default.svc.cluster.local", "default"); s == nil || s.Resolution != model.Alias || len(s.Aliases) > 0 {
		t.Errorf("a ring of aliases resolves: %+v", s)
	}
}
