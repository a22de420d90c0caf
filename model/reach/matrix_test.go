package reach_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// Every workload and destination is in exactly one rectangle, and the rectangle
// says of it what its own traces say.
func TestRectanglesCoverEachTupleOnce(t *testing.T) {
	type tuple struct {
		workload    *model.Workload
		destination reach.Destination
	}
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		m := r.Matrix(reach.Query{})
		if want, got := names(r.Clients()), names(m.Workloads); !slices.Equal(want, got) {
			t.Errorf("the matrix is about %q, the clients are %q", got, want)
		}
		if !slices.Equal(m.Destinations, r.Universe()) {
			t.Errorf("the matrix is about %v, the universe is %v", m.Destinations, r.Universe())
		}
		covered := map[tuple]int{}
		for _, rect := range m.Rectangles {
			if len(rect.Workloads) == 0 || len(rect.Destinations) == 0 {
				t.Errorf("an empty rectangle: %s", jsonText(rect.Answers))
			}
			want := jsonText(rect.Answers)
			for _, w := range rect.Workloads {
				for _, d := range rect.Destinations {
					covered[tuple{w, d}]++
					if got := jsonText(r.Answers(w, d)); got != want {
						t.Errorf("%s to %v\n\tits rectangle says %s\n\tits answers are  %s", w.ID(), d, want, got)
					}
				}
			}
		}
		for _, w := range m.Workloads {
			for _, d := range m.Destinations {
				if n := covered[tuple{w, d}]; n != 1 {
					t.Errorf("%s to %v is in %d rectangles", w.ID(), d, n)
				}
				delete(covered, tuple{w, d})
			}
		}
		for extra := range covered {
			t.Errorf("%s to %v is in a rectangle but not asked for", extra.workload.ID(), extra.destination)
		}
	})
}

func names(list []*model.Workload) []string {
	var out []string
	for _, w := range list {
		out = append(out, reach.From(w))
	}
	slices.Sort(out)
	return out
}

// An answer that is not "depends" is the trace of its flow, and says of each
// protocol one thing for each kind of address.
func TestAnswersAreTracesOfTheirFlows(t *testing.T) {
	eachMesh(t, func(t *testing.T, r *reach.Reach) {
		for _, rect := range r.Matrix(reach.Query{}).Rectangles {
			d := rect.Destinations[0]
			var kinds []string
			for _, a := range rect.Answers {
				kinds = append(kinds, string(a.Protocol)+" "+string(a.Address))
				// The flow is that of the first tuple asked for, not of this one.
				for _, w := range rect.Workloads {
					f := a.Flow
					f.From, f.Host, f.Port = reach.From(w), d.Host, d.Port
					if a.Flow.Host != d.Host {
						continue
					}
					trace := r.Trace(f)
					if a.Outcome == reach.Depends {
						continue
					}
					if trace.Outcome != a.Outcome || trace.Via != a.Via || trace.Reason != a.Reason || trace.Policy != a.Policy || trace.HTTPStatus != a.HTTPStatus || trace.UpstreamTLS != a.UpstreamTLS {
						t.Errorf("%s\n\tanswer %s\n\ttrace  %s", jsonText(f), jsonText(a), fate(trace))
					}
					if a.EveryAllowed != (a.Outcome == flow.Allowed) || a.EveryAllowed && !a.SomeAllowed {
						t.Errorf("%s\n\tthe answer contradicts itself: %s", jsonText(f), jsonText(a))
					}
				}
			}
			slices.Sort(kinds)
			if len(slices.Compact(kinds)) != len(rect.Answers) {
				t.Errorf("%v has two answers for one protocol and address: %s", d, jsonText(rect.Answers))
			}
			for _, p := range []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP} {
				if !slices.ContainsFunc(rect.Answers, func(a reach.Answer) bool { return a.Protocol == p }) {
					t.Errorf("%v has no answer for %s", d, p)
				}
			}
		}
	})
}

// Where conditions on requests give more combinations than are tried, the matrix
// says for which destination.
func TestMatrixSaysWhatIsNotTried(t *testing.T) {
	mesh := func(n int) string {
		var routes, rules strings.Builder
		for i := range n {
			fmt.Fprintf(&routes, "  - {match: [{uri: {prefix: /r%d}}], route: [{destination: {host: api.example.com}}]}\n", i)
			fmt.Fprintf(&rules, "  - {to: [{operation: {paths: [/p%d], methods: [GET]}}]}\n", i)
		}
		return `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: cart, image: i}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: egress}
spec: {template: {metadata: {labels: {istio: egress}}, spec: {containers: [{name: istio-proxy, image: proxyv2, args: [proxy, router]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: egress}
spec: {selector: {istio: egress}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: egress}
spec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: egress}
spec: {selector: {istio: egress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [api.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: to, namespace: egress}
spec: {hosts: [api.example.com], http: [{route: [{destination: {host: gateway.egress.svc.cluster.local}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: out, namespace: egress}
spec:
  hosts: [api.example.com]
  gateways: [gateway]
  http:
` + routes.String() + `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: egress}
spec:
  rules:
` + rules.String()
	}
	for n, want := range map[int]bool{5: false, 40: true} {
		m := loadText(t, mesh(n)).Matrix(reach.Query{To: []reach.Destination{{Host: "api.example.com", Port: 80}}})
		got := slices.ContainsFunc(m.Assumptions, func(a string) bool {
			return strings.Contains(a, "more than 2000 combinations of what requests to api.example.com:80 hold")
		})
		if got != want {
			t.Errorf("%d routes and rules: said %v, want %v: %q", n, got, want, m.Assumptions)
		}
	}
}

// An endpoint whose name has one label is another one in each namespace: whose proxy
// looks it up decides.
func TestEndpointsOfOneLabel(t *testing.T) {
	r := loadText(t, injectedPods("a", "b")+`apiVersion: v1
kind: Service
metadata: {name: db, namespace: b}
spec: {selector: {app: b}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: x, namespace: c}
spec: {hosts: [x.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: db}]}
`)
	to := reach.Destination{Host: "x.example.com", Port: 80}
	want := map[string]flow.Reason{"a": flow.OK, "b": flow.InMesh}
	for _, w := range r.Clients() {
		if got := r.Answer(w, to, flow.HTTP).Reason; got != want[w.Namespace] {
			t.Errorf("from %s: %s, want %s", w.ID(), got, want[w.Namespace])
		}
	}
}

// Names of a set of clusters are told apart before any proxy is asked.
func TestNamesOfAClusterSet(t *testing.T) {
	for _, sidecar := range []string{"", `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: a}
spec: {egress: [{hosts: ["./*"]}]}
`} {
		r := loadText(t, injectedPods("a")+`apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod}}
    spec: {containers: [{name: discovery, env: [{name: ENABLE_MCS_HOST, value: "true"}, {name: ENABLE_MCS_SERVICE_DISCOVERY, value: "true"}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec: {action: ALLOW, rules: [{to: [{operation: {hosts: ["x.b.svc.clusterset.local"]}}]}]}
`+sidecar)
		w := r.Clients()[0]
		for name, want := range map[string]flow.Outcome{"x.b.svc.clusterset.local": flow.Unknown, "unregistered.egresslint.invalid": flow.Blocked} {
			i := slices.IndexFunc(r.Universe(), func(d reach.Destination) bool { return d.Host == name && d.Port == 80 })
			if i < 0 {
				t.Fatalf("%s is not asked for", name)
			}
			if got := r.Answer(w, r.Universe()[i], flow.HTTP).Outcome; got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
}
