package traffic_test

import (
	"context"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/traffic"
)

// forced is a mesh in which shop/cart reaches pay.example.com by the egress
// gateway alone, whatever its process does: NetworkPolicies leave it no other
// way, and the gateway takes nobody without a mesh identity.
const forced = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: egress}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: example.com/cart}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: gateway-only, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: egress}}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: egress}
spec:
  template:
    metadata: {labels: {istio: egress}, annotations: {inject.istio.io/templates: gateway}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: egress}
spec:
  selector: {istio: egress}
  ports: [{name: tls, port: 443, targetPort: 8443}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay, namespace: egress}
spec:
  hosts: [pay.example.com]
  resolution: DNS
  ports: [{number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: egress}
spec:
  selector: {istio: egress}
  servers:
  - port: {number: 443, name: tls, protocol: TLS}
    hosts: [pay.example.com]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: gateway, namespace: egress}
spec:
  host: gateway.egress.svc.cluster.local
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: pay.example.com}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pay, namespace: egress}
spec:
  hosts: [pay.example.com]
  gateways: [mesh, gateway]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [pay.example.com]}]
    route: [{destination: {host: gateway.egress.svc.cluster.local, port: {number: 443}}}]
  tcp:
  - match: [{gateways: [gateway], port: 443}]
    route: [{destination: {host: pay.example.com, port: {number: 443}}}]
`

// TestGuarantee changes one thing of a mesh that enforces its gateway. "" is a
// guarantee that is not known.
func TestGuarantee(t *testing.T) {
	const cart = "containers: [{name: cart, image: example.com/cart}]"
	pod := func(spec string) [2]string { return [2]string{cart, spec + ", " + cart} }
	container := func(fields string) [2]string {
		return [2]string{cart, "containers: [{name: cart, image: example.com/cart, " + fields + "}]"}
	}
	const rule = "  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: egress}}}]\n"
	const policies = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: more, namespace: NS}\nspec: {podSelector: {SELECTOR}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: '0.0.0.0/0'}}]}]}\n"
	more := func(namespace, selector string) string {
		return strings.NewReplacer("NS", namespace, "SELECTOR", selector).Replace(policies)
	}
	for _, test := range []struct {
		name   string
		change [2]string // what is replaced, and by what
		more   string
		want   string
	}{
		{"as it is", [2]string{}, "", "enforced"},

		// Ways around that the sidecar does not see are closed by the policy.
		{"excluded port", [2]string{"labels: {app: cart}", "labels: {app: other}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '8443'}"}, "", "enforced"},
		{"the proxy's user, so that nothing gets out", container("securityContext: {runAsUser: 1337}"), "", "enforced"},
		{"may set its user", container("securityContext: {capabilities: {add: [NET_ADMIN]}}"), "", "enforced"},
		{"an init container before the redirect", pod("initContainers: [{name: first, image: i}]"), "", "enforced"},

		// Whoever leaves the pod's network leaves its policies.
		{"privileged", container("securityContext: {privileged: true}"), "", "best_effort"},
		{"privileged init container", pod("initContainers: [{name: first, image: i, securityContext: {privileged: true}}]"), "", "best_effort"},
		{"administers the system", container("securityContext: {capabilities: {add: [CAP_SYS_ADMIN]}}"), "", "best_effort"},
		{"sees the node's processes", pod("hostPID: true"), "", "best_effort"},
		{"loads modules into the kernel", container("securityContext: {capabilities: {add: [SYS_MODULE]}}"), "", "best_effort"},
		{"reads any file", container("securityContext: {capabilities: {add: [DAC_READ_SEARCH]}}"), "", "best_effort"},
		{"reads the memory of the node", container("securityContext: {capabilities: {add: [cap_sys_rawio]}}"), "", "best_effort"},
		{"has all capabilities", container("securityContext: {capabilities: {add: [ALL]}}"), "", "best_effort"},
		{"has none but harmless capabilities", container("securityContext: {capabilities: {drop: [ALL], add: [DAC_OVERRIDE, NET_RAW]}}"), "", "enforced"},
		{"has the socket of the container runtime", pod("volumes: [{name: v, hostPath: {path: /var/run/docker.sock}}]"), "", "best_effort"},
		{"has the whole node", pod("volumes: [{name: v, hostPath: {path: /}}]"), "", "best_effort"},
		{"has logs of the node", pod("volumes: [{name: v, hostPath: {path: /var/log/cart}}, {name: w, emptyDir: {}}]"), "", "enforced"},
		{"host network", pod("hostNetwork: true"), "", "none"},

		// What the policies leave open.
		{"IPv6", [2]string{rule, rule + "  - to: [{ipBlock: {cidr: '2000::/3'}}]\n"}, "", "best_effort"},
		{"IPv4 by translation", [2]string{rule, rule + "  - to: [{ipBlock: {cidr: '64:ff9b::/96'}}]\n"}, "", "best_effort"},
		{"private addresses", [2]string{rule, rule + "  - to: [{ipBlock: {cidr: 10.0.0.0/8}}]\n"}, "", "enforced"},
		{"UDP", [2]string{rule, rule + "  - {to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: UDP, port: 443}]}\n"}, "", "best_effort"},
		{"another port", [2]string{rule, rule + "  - {to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 80}]}\n"}, "", "enforced"},
		{"a few addresses", [2]string{rule, rule + "  - to: [{ipBlock: {cidr: 9.9.9.0/24}}]\n"}, "", "best_effort"},
		{"selects somebody else", [2]string{"podSelector: {}", "podSelector: {matchLabels: {app: till}}"}, "", "best_effort"},
		{"restricts what comes in only", [2]string{"policyTypes: [Egress]", "policyTypes: [Ingress]"}, "", "best_effort"},
		{"another policy opens", [2]string{}, more("shop", ""), "best_effort"},
		{"another policy of another pod", [2]string{}, more("shop", "matchLabels: {app: till}"), "enforced"},
		{"another namespace's policy", [2]string{}, more("egress", ""), "enforced"},
		{"a policy for injected pods opens", [2]string{}, more("shop", "matchLabels: {security.istio.io/tlsMode: istio}"), "best_effort"},
		{"a policy for some of the pods opens", [2]string{}, more("shop", "matchLabels: {pod-template-hash: abc}"), ""},
		{"a policy of a kind that is not known", [2]string{}, "---\napiVersion: crd.antrea.io/v1beta1\nkind: NetworkPolicy\nmetadata: {name: x, namespace: shop}\nspec: {}\n", ""},

		// Gateways that forward for anybody.
		{"another server of the gateway", [2]string{}, "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: open, namespace: egress}\nspec: {selector: {istio: egress}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]}\n" +
			"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: open, namespace: egress}\nspec: {hosts: [anything.example.com], gateways: [open], http: [{route: [{destination: {host: pay.example.com, port: {number: 443}}}]}]}\n", "best_effort"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := forced
			if test.change[0] != "" {
				text = strings.Replace(forced, test.change[0], test.change[1], 1)
				if text == forced {
					t.Fatalf("the mesh has no %q", test.change[0])
				}
			}
			m := meshOf(t, text+test.more)
			trace := traffic.New(m).Trace(flow.Flow{From: "shop/cart", Host: "pay.example.com", Port: 443, Scheme: flow.HTTPS})
			if trace.Guarantee != test.want {
				t.Errorf("guarantee %q of %s via %s (%s %s), want %q", trace.Guarantee, trace.Outcome, trace.Via, trace.Reason, trace.Detail, test.want)
			}
		})
	}
}

// TestGuaranteeOfListedAddresses: policies that close the internet may leave open
// the private addresses that manifests give for a host.
func TestGuaranteeOfListedAddresses(t *testing.T) {
	const rule = "  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: egress}}}]\n"
	const entry = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: db, namespace: egress}\nspec: {hosts: [db.example.com], exportTo: ['.'], resolution: STATIC, ports: [{number: 5432, name: tcp, protocol: TCP}], endpoints: [{address: 10.9.9.9}]}\n" +
		"---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: only, namespace: shop}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ['./*']}]}\n"
	for open, want := range map[string]string{"": "enforced", "  - to: [{ipBlock: {cidr: 10.0.0.0/8}}]\n": "best_effort", "  - to: [{ipBlock: {cidr: 192.168.0.0/16}}]\n": "enforced"} {
		m := meshOf(t, strings.Replace(forced, rule, rule+open, 1)+entry)
		trace := traffic.New(m).Trace(flow.Flow{From: "shop/cart", Host: "db.example.com", Port: 5432, Scheme: flow.TCP})
		if trace.Outcome != flow.Blocked || trace.Guarantee != want {
			t.Errorf("policy with %q: %s (%s), guarantee %q, want blocked, %q", open, trace.Outcome, trace.Reason, trace.Guarantee, want)
		}
	}
}

// TestSomeContainersAround: what stops the containers that the redirect leaves
// alone does not stop the others, and the way of either is open if one is.
func TestSomeContainersAround(t *testing.T) {
	const cart = "containers: [{name: cart, image: example.com/cart}]"
	const pair = "containers: [{name: cart, image: example.com/cart}, {name: tool, image: example.com/tool, securityContext: {runAsUser: 1337}}]"
	const alone = "containers: [{name: tool, image: example.com/tool, securityContext: {runAsUser: 1337}}]"
	const only = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: only, namespace: shop}\nspec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ['./*']}]}\n"
	unlocked := strings.Replace(forced, "podSelector: {}", "podSelector: {matchLabels: {app: till}}", 1)
	for _, test := range []struct{ name, mesh, host, want string }{
		{"the others go by the gateway", strings.Replace(forced, cart, pair, 1), "pay.example.com", "allowed gateway"},
		{"there are no others", strings.Replace(forced, cart, alone, 1), "pay.example.com", "blocked none"},
		{"only they get out", strings.Replace(unlocked, cart, pair, 1) + only, "other.example.com", "allowed uncaptured"},
		{"none gets out", strings.Replace(forced, cart, pair, 1) + only, "other.example.com", "blocked none"},
	} {
		trace := traffic.New(meshOf(t, test.mesh)).Trace(flow.Flow{From: "shop/cart", Host: test.host, Port: 443, Scheme: flow.HTTPS})
		if got := string(trace.Outcome) + " " + string(trace.Via); got != test.want {
			t.Errorf("%s: %s (%s), want %s", test.name, got, trace.Reason, test.want)
		}
	}
}

// unpoliced is the part of the mesh in front of its NetworkPolicy: namespaces and
// the client.
func unpoliced() string {
	clients, _, _ := strings.Cut(forced, "---\napiVersion: networking.k8s.io/v1")
	return clients
}

// meshOf makes a mesh of manifests in which nothing is wrong, loaded of any.
func meshOf(t *testing.T, text string) *model.Mesh {
	t.Helper()
	m := loaded(t, text)
	for _, p := range m.Problems {
		t.Errorf("%s: %s", p.Position, p.Message)
	}
	return m
}

func loaded(t *testing.T, text string) *model.Mesh {
	t.Helper()
	m, _, err := model.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text),
	}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLabelsOfRunTime asks about selectors over labels that templates do not
// have: those that the injector sets match, and where nobody knows the value the
// answer is that it is not known.
func TestLabelsOfRunTime(t *testing.T) {
	const only = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: only, namespace: shop}\nspec: {workloadSelector: {labels: {KEY}}, outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ['./*']}]}\n"
	for _, test := range []struct{ key, want string }{
		{"app: cart", "blocked"},
		{"app: till", "allowed"},
		{"service.istio.io/canonical-name: cart", "blocked"},
		{"service.istio.io/canonical-name: till", "allowed"},
		{"service.istio.io/canonical-revision: latest", "blocked"},
		{"security.istio.io/tlsMode: istio", "blocked"},
		{"pod-template-hash: abc", "unknown"},
		{"topology.kubernetes.io/zone: a", "unknown"},
		{"topology.istio.io/cluster: east", "unknown"},
		{"pod-template-hash: abc, app: till", "allowed"},
	} {
		t.Run(test.key, func(t *testing.T) {
			m := meshOf(t, unpoliced()+strings.ReplaceAll(only, "KEY", test.key))
			trace := traffic.New(m).Trace(flow.Flow{From: "shop/cart", Host: "other.example.com", Port: 443, Scheme: flow.HTTPS})
			if string(trace.Outcome) != test.want {
				t.Errorf("%s (%s: %s), want %s", trace.Outcome, trace.Reason, trace.Detail, test.want)
			}
		})
	}
}

// TestSubsetsOfRunTime is about subsets by labels that istiod adds to endpoints.
func TestSubsetsOfRunTime(t *testing.T) {
	const services = `
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: i}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db-0, namespace: shop}
spec: {selector: {statefulset.kubernetes.io/pod-name: db-0}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: shop}
spec: {host: db, subsets: [{name: some, labels: {topology.kubernetes.io/zone: a}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: shop}
spec: {hosts: [db], http: [{match: [{uri: {prefix: /zone}}], route: [{destination: {host: db, subset: some}}]}, {route: [{destination: {host: db}}]}]}
`
	m := meshOf(t, unpoliced()+services)
	sim := traffic.New(m)
	for _, test := range []struct{ host, path, want string }{
		{"db", "/", "allowed"},
		{"db", "/zone", "unknown"},
		{"db-0", "/", "unknown"},
	} {
		trace := sim.Trace(flow.Flow{From: "shop/cart", Host: test.host, Port: 80, Scheme: flow.HTTP, Path: test.path})
		if string(trace.Outcome) != test.want {
			t.Errorf("%s%s: %s (%s: %s), want %s", test.host, test.path, trace.Outcome, trace.Reason, trace.Detail, test.want)
		}
	}
}
