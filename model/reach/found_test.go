package reach_test

import (
	"slices"
	"testing"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// oneClient is a client with a sidecar, and two hosts that it may ask for.
const oneClient = `
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: default}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hosts, namespace: default}
spec: {hosts: [a.example.com, b.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
---
`

// oneGateway is an egress gateway for all hosts on port 80.
const oneGateway = `
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  template:
    metadata: {labels: {istio: egressgateway}}
    spec:
      containers: [{name: istio-proxy, image: "istio/proxyv2:1.28.0", args: [proxy, router]}]
---
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec: {selector: {istio: egressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: default}
spec: {selector: {istio: egressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
`

const throughGateway = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [egress]}]
    route: [{destination: {host: a.example.com}}]
---
`

// Where only some requests get out, the answer knows of them: it is not "blocked",
// and one of its conditions is about them.
func TestRequestsThatGetOutAreFound(t *testing.T) {
	tests := []struct {
		name, objects string
		// request gets out, and none that is not like it.
		request flow.Flow
	}{
		{"method", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{method: {exact: POST}}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Method: "POST"}},
		{"path and query of one match", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{uri: {exact: /pay}, queryParams: {token: {exact: "1"}}}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Path: "/pay?token=1"}},
		{"two query parameters", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{queryParams: {one: {exact: "1"}, two: {prefix: "2"}}}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Path: "/?one=1&two=2"}},
		{"expression that does not begin with a slash", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{uri: {regex: ".*\\.json"}}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Path: "/x.json"}},
		{"expression that begins with its anchor", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{uri: {regex: "^/v[0-9]+/(pay|refund)$"}}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Path: "/v7/refund"}},
		{"path in any case", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{uri: {exact: /PAY}, ignoreUriCase: true}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Path: "/pay"}},
		{"many things at once", `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{method: {exact: POST}, uri: {exact: /pay}, headers: {x-a: {exact: "1"}, x-b: {exact: "1"}, x-c: {exact: "1"}, x-d: {exact: "1"}}}]
    route: [{destination: {host: a.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Method: "POST", Path: "/pay", Headers: map[string]string{"x-a": "1", "x-b": "1", "x-c": "1", "x-d": "1"}}},
		{"what another host's route asks for", oneGateway + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - rewrite: {authority: b.example.com}
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: default}
spec:
  hosts: [b.example.com]
  gateways: [egress]
  http:
  - match: [{uri: {exact: /pay}}]
    route: [{destination: {host: b.example.com}}]
  - directResponse: {status: 451}
`, flow.Flow{Path: "/pay"}},
		{"what a gateway asks of the rewritten path", oneGateway + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh], uri: {prefix: /v1/}}]
    rewrite: {uri: /new/}
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [mesh]}]
    directResponse: {status: 452}
  - match: [{gateways: [egress], uri: {exact: /new/pay}}]
    route: [{destination: {host: a.example.com}}]
  - match: [{gateways: [egress]}]
    directResponse: {status: 451}
`, flow.Flow{Path: "/v1/pay"}},
		{"a policy that asks for a header to be there", oneGateway + throughGateway + `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec: {rules: [{when: [{key: "request.headers[x-token]", values: ["*"]}]}]}
`, flow.Flow{Headers: map[string]string{"x-token": "z"}}},
		{"a policy that asks for many things at once", oneGateway + throughGateway + `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec:
  rules:
  - to: [{operation: {methods: [PUT, POST], paths: [/a/b, /pay]}}]
    when:
    - {key: "request.headers[x-a]", values: ["1"]}
    - {key: "request.headers[x-b]", values: ["1"]}
    - {key: "request.headers[x-c]", values: ["1"]}
    - {key: "request.headers[x-d]", values: ["1"]}
`, flow.Flow{Method: "POST", Path: "/pay", Headers: map[string]string{"x-a": "1", "x-b": "1", "x-c": "1", "x-d": "1"}}},
		{"a route and a policy that ask for many things together", oneGateway + `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh], headers: {x-a: {exact: "1"}, x-b: {exact: "1"}, x-c: {exact: "1"}}}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [mesh]}]
    directResponse: {status: 451}
  - match: [{gateways: [egress]}]
    route: [{destination: {host: a.example.com}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec:
  rules:
  - to: [{operation: {methods: [PUT, POST], paths: [/a/b, /pay]}}]
    when: [{key: "request.headers[x-d]", values: ["1"]}]
`, flow.Flow{Method: "POST", Path: "/pay", Headers: map[string]string{"x-a": "1", "x-b": "1", "x-c": "1", "x-d": "1"}}},
		{"among many policies that are about other workloads", oneGateway + throughGateway + otherPolicies + `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec: {rules: [{to: [{operation: {methods: [POST], paths: [/pay]}}], when: [{key: "request.headers[x-a]", values: ["1"]}]}]}
`, flow.Flow{Method: "POST", Path: "/pay", Headers: map[string]string{"x-a": "1"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := loadText(t, oneClient+test.objects)
			client, d := r.Clients()[0], reach.Destination{Host: "a.example.com", Port: 80}
			f := test.request
			f.From, f.Host, f.Port, f.Scheme = reach.From(client), d.Host, d.Port, flow.HTTP
			if got := r.Trace(f); got.Outcome != flow.Allowed {
				t.Fatalf("the request does not get out: %s", fate(got))
			}
			plain := f
			plain.Method, plain.Path, plain.Headers = "", "", nil
			if got := r.Trace(plain); got.Outcome != flow.Blocked {
				t.Fatalf("any request gets out: %s", fate(got))
			}
			a := r.Answer(client, d, flow.HTTP)
			if a.Outcome != reach.Depends || !a.SomeAllowed || a.EveryAllowed ||
				!slices.ContainsFunc(a.When, func(c reach.Condition) bool { return c.Outcome == flow.Allowed }) {
				t.Errorf("%s gets out, but the answer is %s", jsonText(f), jsonText(a))
			}
		})
	}
}

// otherPolicies are about paths of workloads that no egress passes.
const otherPolicies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: others, namespace: default}
spec:
  selector: {matchLabels: {app: others}}
  rules:
  - to: [{operation: {methods: [DELETE, PATCH, OPTIONS], paths: [/1, /2, /3, /4, /5, /6, /7, /8, /9, /10, /11, /12]}}]
    when: [{key: "request.headers[x-b]", values: ["1", "2", "3"]}, {key: "request.headers[x-c]", values: ["1", "2", "3"]}]
---
`

// Where all requests fare alike but for the reason, none is said to get out.
func TestDependsThatLetsNothingOut(t *testing.T) {
	r := loadText(t, oneClient+`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  http:
  - match: [{uri: {prefix: /a}}]
    directResponse: {status: 451}
  - directResponse: {status: 452}
`)
	a := r.Answer(r.Clients()[0], reach.Destination{Host: "a.example.com", Port: 80}, flow.HTTP)
	if a.SomeAllowed || a.EveryAllowed || len(a.When) != 2 {
		t.Errorf("no request gets out, but the answer is %s", jsonText(a))
	}
}
