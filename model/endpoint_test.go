package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
)

// endpoints writes what is behind the first port of a service; pods by name.
func endpoints(p *model.PushContext, namespace, host string) []string {
	var out []string
	for _, s := range p.Services() {
		if string(s.Hostname) != host || s.Namespace != namespace {
			continue
		}
		for _, e := range p.Endpoints(s, s.Ports[0]) {
			name := e.Address
			if e.Workload != nil {
				name = e.Workload.Name
			}
			if mode := e.TLSMode; mode != "" {
				name += " " + mode
			}
			out = append(out, fmt.Sprintf("%s:%d", name, e.Port))
		}
	}
	return out
}

func TestEndpointsOfEntries(t *testing.T) {
	spec := func(resolution, more string) string {
		return "{hosts: [a.example.com], location: MESH_INTERNAL, resolution: " + resolution + ", ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]" + more + "}"
	}
	for _, test := range []struct {
		name, spec string
		want       []string
	}{
		{"DNS: the host", spec("DNS", ""), []string{"a.example.com:8080"}},
		{"DNS with endpoints", spec("DNS", ", endpoints: [{address: b.example.com}, {address: 192.0.2.1, ports: {http: 9090}}]"), []string{"b.example.com:8080", "192.0.2.1:9090"}},
		{"STATIC", spec("STATIC", ", endpoints: [{address: 192.0.2.1}]"), []string{"192.0.2.1:8080"}},
		{"STATIC without any", spec("STATIC", ""), nil},
		{"NONE", spec("NONE", ""), nil},
		{"an account means mesh TLS", spec("STATIC", ", endpoints: [{address: 192.0.2.1, serviceAccount: web}]"), []string{"192.0.2.1 istio:8080"}},
		{"so does the label", spec("STATIC", ", endpoints: [{address: 192.0.2.1, labels: {security.istio.io/tlsMode: istio}}]"), []string{"192.0.2.1 istio:8080"}},
		{"selected pods and entries", spec("STATIC", ", workloadSelector: {labels: {app: web}}"), []string{"web:8080", "192.0.2.7:7070"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pushOf(t, pod("web", "default", "{app: web}")+pod("other", "default", "{app: other}")+pod("web", "elsewhere", "{app: web}")+
				object(networking, "WorkloadEntry", "vm", "default", "{address: 192.0.2.7, labels: {app: web}, ports: {http: 7070}}")+
				object(networking, "WorkloadEntry", "out", "elsewhere", "{address: 192.0.2.8, labels: {app: web}}")+
				object(networking, "ServiceEntry", "e", "default", test.spec))
			if got := endpoints(p, "default", "a.example.com"); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestEndpointsOfServices(t *testing.T) {
	const text = `
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web, v: one}}
spec: {containers: [{name: a, image: a, ports: [{name: web, containerPort: 8888}]}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual, namespace: default}
subsets: [{addresses: [{ip: 192.0.2.1}, {ip: 192.0.2.2}], ports: [{name: http, port: 8080}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: sliced-1, namespace: default, labels: {kubernetes.io/service-name: sliced}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.3]}]
ports: [{name: http, port: 8081}]
`
	for _, test := range []struct {
		name, service, spec string
		want                []string
	}{
		{"by number", "s", "{selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}", []string{"web:8080"}},
		{"without target", "s", "{selector: {app: web}, ports: [{name: http, port: 80}]}", []string{"web:80"}},
		{"by name", "s", "{selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}]}", []string{"web:8888"}},
		{"by a name that the pod lacks", "s", "{selector: {app: web}, ports: [{name: http, port: 80, targetPort: nobody}]}", nil},
		{"selecting nothing", "s", "{selector: {app: nobody}, ports: [{name: http, port: 80}]}", nil},
		{"selecting by two labels", "s", "{selector: {app: web, v: two}, ports: [{name: http, port: 80}]}", nil},
		{"Endpoints", "manual", "{ports: [{name: http, port: 80}]}", []string{"192.0.2.1:8080", "192.0.2.2:8080"}},
		{"EndpointSlice", "sliced", "{ports: [{name: http, port: 80}]}", []string{"192.0.2.3:8081"}},
		{"without any", "lonely", "{ports: [{name: http, port: 80}]}", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := pushOf(t, strings.TrimPrefix(text, "\n---\n")+object("v1", "Service", test.service, "default", test.spec))
			if got := endpoints(p, "default", test.service+".default.svc.cluster.local"); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// Whether a Service that selects pods has any is not known where the input has
// none of them.
func TestSelectsNothing(t *testing.T) {
	p := pushOf(t, pod("web", "default", "{app: web}")+
		object("v1", "Service", "some", "default", "{selector: {app: web}, ports: [{port: 80, targetPort: nobody}]}")+
		object("v1", "Service", "none", "default", "{selector: {app: other}, ports: [{port: 80}]}")+
		object("v1", "Service", "manual", "default", "{ports: [{port: 80}]}"))
	for name, want := range map[string]bool{"some": false, "none": true, "manual": false} {
		if got := p.SelectsNothing(p.ServiceIn(model.ServiceHost(name, "default"), "default")); got != want {
			t.Errorf("%s selects nothing: %v, want %v", name, got, want)
		}
	}
}
