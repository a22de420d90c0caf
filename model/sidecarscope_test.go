package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

func sidecar(name, namespace, created, spec string) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: %s, namespace: %s%s}\nspec: %s\n", name, namespace, timestamp(created), spec)
}

// The Sidecar with a selector that fits, else the oldest without, else that of the
// root namespace (istio pilot/pkg/model/push_context.go getSidecarScope).
func TestSidecarChoice(t *testing.T) {
	const none = "{egress: [{hosts: ['./*']}]}"
	p := pushOf(t, sidecar("b-plain", "default", "", none)+sidecar("a-plain", "default", "", none)+
		sidecar("z-selects", "default", "", "{workloadSelector: {labels: {app: x}}, egress: [{hosts: ['./*']}]}")+
		sidecar("y-selects", "default", "", "{workloadSelector: {labels: {app: x, tier: web}}, egress: [{hosts: ['./*']}]}")+
		sidecar("mesh", "istio-system", "", none)+
		sidecar("only-some", "third", "", "{workloadSelector: {labels: {app: x}}, egress: [{hosts: ['./*']}]}")+
		sidecar("new", "aged", "2024-05-02T00:00:00Z", none)+sidecar("old", "aged", "2024-05-01T00:00:00Z", none))
	for _, test := range []struct {
		namespace string
		labels    map[string]string
		want      string
	}{
		{"default", nil, "default/a-plain"},
		{"default", map[string]string{"app": "x"}, "default/z-selects"},
		{"default", map[string]string{"app": "x", "tier": "web"}, "default/y-selects"},
		{"third", map[string]string{"app": "x"}, "third/only-some"},
		{"third", nil, "istio-system/mesh"},
		{"elsewhere", map[string]string{"app": "x"}, "istio-system/mesh"},
		{"aged", nil, "aged/old"},
	} {
		got := p.SidecarFor(test.namespace, test.labels)
		if got == nil || got.ID() != test.want {
			t.Errorf("%s %v: %v, want %s", test.namespace, test.labels, got, test.want)
		}
	}
	if got := pushOf(t, entry("e", "default", "a.example.com", "")).SidecarFor("default", nil); got != nil {
		t.Errorf("without any: %s, want none", got.ID())
	}
}

// What egress.hosts imports (istio pilot/pkg/model/sidecar.go): namespaces and
// hosts, "./" being the workload's namespace, "~" excluding.
func TestSidecarHosts(t *testing.T) {
	text := entry("own", "default", "own.example.com", "") + entry("other", "other", "other.example.com", "") +
		entry("sub", "other", "x.sub.example.com", "") + strings.Replace(entry("wild", "other", "*.example.com", ""), "DNS", "NONE", 1) +
		entry("private", "other", "private.example.com", "", `exportTo: ["."]`)
	for _, test := range []struct {
		hosts string
		want  []string
	}{
		{"'*/*'", []string{"*.example.com", "other.example.com", "own.example.com", "x.sub.example.com"}},
		{"'./*'", []string{"own.example.com"}},
		{"'other/*'", []string{"*.example.com", "other.example.com", "x.sub.example.com"}},
		{"'~/*'", nil},
		{"'*/*.example.com'", []string{"*.example.com", "other.example.com", "own.example.com", "x.sub.example.com"}},
		{"'*/*.sub.example.com'", []string{"x.sub.example.com"}},
		{"'*/own.example.com'", []string{"own.example.com"}},
		{"'*/*', '~other/*'", []string{"own.example.com"}},
		{"'*/*', '~*/*.sub.example.com'", []string{"*.example.com", "other.example.com", "own.example.com"}},
		{"'./*', 'other/other.example.com'", []string{"other.example.com", "own.example.com"}},
		{"'other/private.example.com'", nil},
	} {
		p := pushOf(t, text+sidecar("s", "default", "", "{egress: [{hosts: ["+test.hosts+"]}]}"))
		scope := p.NewSidecarScope("default", p.SidecarFor("default", nil))
		var got []string
		for _, s := range scope.Services {
			got = append(got, string(s.Hostname))
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("%s imports %v, want %v", test.hosts, got, test.want)
		}
	}
}

// What a VirtualService leads to is imported with it, on the ports that it names
// (istio pilot/pkg/model/sidecar.go collectImportedServices).
func TestScopeImportsDestinations(t *testing.T) {
	text := entry("a", "default", "a.example.com", "") + `
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: egress}
spec: {ports: [{name: http, port: 80}, {name: https, port: 443}]}
` + sidecar("s", "default", "", "{egress: [{hosts: ['./a.example.com']}]}")
	gateway := host.Name("gateway.egress.svc.cluster.local")
	for _, test := range []struct {
		destination string
		want        []int
	}{
		{"{host: " + string(gateway) + ", port: {number: 443}}", []int{443}},
		{"{host: " + string(gateway) + "}", []int{80, 443}},
		{"{host: " + string(gateway) + ", port: {number: 81}}", nil},
		{"{host: gateway}", nil}, // of default
	} {
		p := pushOf(t, text+object(networking, "VirtualService", "v", "default", "{hosts: [a.example.com], http: [{route: [{destination: "+test.destination+"}]}]}"))
		scope := p.NewSidecarScope("default", p.SidecarFor("default", nil))
		var got []int
		if s := scope.Service(gateway); s != nil {
			for _, port := range s.Ports {
				got = append(got, port.Number)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s imports ports %v of the gateway, want %v", test.destination, got, test.want)
		}
		if l := scope.Listener(80); l == nil || slices.ContainsFunc(l.Services, func(s *model.Service) bool { return s.Hostname == gateway }) {
			t.Errorf("%s: the gateway can be asked for by its own name", test.destination)
		}
	}
}

// One namespace for each host: the client's own, else that of a Kubernetes Service,
// else the oldest; entries of one namespace with the same settings unite their ports
// (istio pilot/pkg/model/sidecar.go selectServices, appendSidecarServices).
func TestOneServiceForEachHost(t *testing.T) {
	ports := func(list string) string { return strings.Replace("ports: [%]", "%", list, 1) }
	tls := "{number: 443, name: tls, protocol: TLS}"
	withPorts := func(text, list string) string {
		return strings.Replace(text, "ports: [{number: 80, name: http, protocol: HTTP}]", ports(list), 1)
	}
	text := entry("own", "default", "a.example.com", "") + withPorts(entry("theirs", "aa", "a.example.com", "2001-01-01T00:00:00Z"), tls) +
		entry("kube", "aa", "store.shop.svc.cluster.local", "2001-01-01T00:00:00Z") + object("v1", "Service", "store", "shop", "{ports: [{name: http, port: 8080}]}") +
		entry("one", "bb", "b.example.com", "") + withPorts(entry("two", "bb", "b.example.com", ""), tls) +
		entry("x", "cc", "c.example.com", "") + strings.Replace(withPorts(entry("z", "cc", "c.example.com", ""), tls), "DNS", "NONE", 1)
	p := pushOf(t, text)
	for _, test := range []struct {
		namespace string
		host      host.Name
		want      string
	}{
		{"default", "a.example.com", "default [80]"},
		{"elsewhere", "a.example.com", "default [80]"},
		{"aa", "a.example.com", "aa [443]"},
		{"elsewhere", "store.shop.svc.cluster.local", "shop [8080]"},
		{"aa", "store.shop.svc.cluster.local", "aa [80]"},
		{"elsewhere", "b.example.com", "bb [80 443]"},
		{"elsewhere", "c.example.com", "cc [80]"},
	} {
		s := p.NewSidecarScope(test.namespace, nil).Service(test.host)
		if s == nil {
			t.Errorf("%s does not see %s", test.namespace, test.host)
			continue
		}
		var numbers []int
		for _, port := range s.Ports {
			numbers = append(numbers, port.Number)
		}
		if got := fmt.Sprint(s.Namespace, " ", numbers); got != test.want {
			t.Errorf("%s sees %s as %s, want %s", test.namespace, test.host, got, test.want)
		}
	}
}
