package traffic_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/traffic"
)

// What an AuthorizationPolicy with a placeholder decides is unknown, be it one that the
// API server refuses as it stands or one that it admits; what others decide is not.
func TestPlaceholdersInAuthorizationPolicies(t *testing.T) {
	const mesh = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec: {serviceAccountName: cart, containers: [{name: cart, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pay, namespace: shop, labels: {app: pay}}
spec: {containers: [{name: pay, image: i, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: http, port: 8080}]}
`
	policy := func(name, spec string) string {
		return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name + ", namespace: shop}\nspec: {" + spec + "}\n"
	}
	const (
		open     = "rules: [{from: [{source: {namespaces: ['${CLIENTS}']}}]}]"
		refused  = "rules: [{from: [{source: {ipBlocks: ['${CIDR}']}}]}]"
		literal  = "rules: [{from: [{source: {namespaces: [shop]}}]}]"
		nobody   = "rules: [{from: [{source: {namespaces: [other]}}]}]"
		selected = ", selector: {matchLabels: {app: pay}}"
		others   = ", selector: {matchLabels: {app: other}}"
	)
	for _, test := range []struct{ name, policies, want string }{
		{"none", "", "allowed in_mesh"},
		{"ALLOW", policy("a", "action: ALLOW, "+open), "unknown template"},
		{"ALLOW that selects it", policy("a", "action: ALLOW, "+open+selected), "unknown template"},
		{"ALLOW that selects others", policy("a", "action: ALLOW, "+open+others), "allowed in_mesh"},
		{"ALLOW beside one that allows", policy("a", "action: ALLOW, "+open) + policy("b", "action: ALLOW, "+literal), "allowed in_mesh"},
		{"ALLOW beside one that does not", policy("a", "action: ALLOW, "+open) + policy("b", "action: ALLOW, "+nobody), "unknown template"},
		{"ALLOW with a rule that allows", policy("a", "action: ALLOW, "+strings.Replace(open, "]}}]}]", "]}}]}, {from: [{source: {namespaces: [shop]}}]}]", 1)), "allowed in_mesh"},
		{"ALLOW under one that denies", policy("a", "action: ALLOW, "+open) + policy("b", "action: DENY, "+literal), "blocked rbac_denied"},
		{"ALLOW that selects nobody knows whom", policy("a", "action: ALLOW, selector: {matchLabels: {app: '${APP}'}}, "+nobody), "unknown template"},
		{"DENY", policy("a", "action: DENY, "+open), "unknown template"},
		{"DENY that selects others", policy("a", "action: DENY, "+open+others), "allowed in_mesh"},
		{"DENY that selects nobody knows whom", policy("a", "action: DENY, selector: {matchLabels: {app: '${APP}'}}, "+literal), "unknown template"},
		{"DENY beside one that denies", policy("a", "action: DENY, "+open) + policy("b", "action: DENY, "+literal), "blocked rbac_denied"},
		{"DENY where nothing is allowed", policy("a", "action: DENY, "+open) + policy("b", "action: ALLOW, "+nobody), "blocked rbac_denied"},
		{"AUDIT", policy("a", "action: AUDIT, "+open), "allowed in_mesh"},
		{"refused ALLOW", policy("a", "action: ALLOW, "+refused), "unknown template"},
		{"refused ALLOW that selects others", policy("a", "action: ALLOW, "+refused+others), "allowed in_mesh"},
		{"refused DENY", policy("a", "action: DENY, "+refused), "unknown template"},
		{"refused ALLOW beside one that does not", policy("a", "action: ALLOW, "+refused) + policy("b", "action: ALLOW, "+nobody), "unknown template"},
		{"unknown action", policy("a", "action: '${ACTION}', "+literal), "unknown template"},
		{"unknown action of others", policy("a", "action: '${ACTION}', "+literal+others), "allowed in_mesh"},
		{"refused for something else", policy("a", "action: SOMETHING, "+literal), "allowed in_mesh"},
		{"one of Istio's own patterns", policy("a", "action: DENY, rules: [{to: [{operation: {paths: ['/{*}/{**}']}}]}]"), "allowed in_mesh"},
	} {
		t.Run(test.name, func(t *testing.T) {
			trace := traffic.New(loaded(t, mesh+test.policies)).Trace(flow.Flow{From: "shop/cart", Host: "pay.shop.svc.cluster.local", Port: 8080, Scheme: flow.HTTP})
			if got := string(trace.Outcome) + " " + string(trace.Reason); got != test.want {
				t.Errorf("%s (%s), want %s", got, trace.Detail, test.want)
			}
		})
	}
}

// Whatever a server name is like, it is looked through for the service that it may name.
func TestOddServerNamesBesidePlaceholders(t *testing.T) {
	sim := traffic.New(loaded(t, `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: cart, image: i}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: open, namespace: shop}
spec: {hosts: ["${HOST}"], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}
`))
	for _, sni := range []string{"outbound_.", "outbound_._.", "outbound_.443_._.x.example.com", "_.", "."} {
		f := flow.Flow{From: "shop/cart", Host: "x.example.com", Port: 443, Scheme: flow.TLS, SNI: sni}
		if trace := sim.Trace(f); trace.Outcome != flow.Unknown && trace.Outcome != flow.Allowed {
			t.Errorf("server name %q: %s %s", sni, trace.Outcome, trace.Reason)
		}
	}
}

// What pods, Services and Namespaces with a placeholder leave open is unknown, and what
// does not depend on it is not.
func TestPlaceholdersInPodsServicesAndNamespaces(t *testing.T) {
	const mesh = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: INJECTION, tier: TIER}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: CART, sidecar.istio.io/inject: INJECT}}
spec: {serviceAccountName: ACCOUNT, containers: [{name: cart, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pay, namespace: shop, labels: {app: pay}}
spec: {containers: [{name: pay, image: i, ports: [{name: web, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop}
spec: {selector: {app: pay}, ports: [{name: NAME, port: 80, targetPort: TARGET}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, rules: [RULE]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: pay, namespace: shop}
spec: {podSelector: {matchLabels: {app: pay}}, policyTypes: [Ingress], ingress: [{from: [PEER]}]}
`
	plain := []string{"INJECTION", "enabled", "TIER", "front", "CART", "cart", "INJECT", `"true"`, "ACCOUNT", "cart", "NAME", "http", "TARGET", "web",
		"RULE", `{from: [{source: {principals: ["*/sa/cart"]}}]}`, "PEER", "{namespaceSelector: {matchLabels: {tier: front}}}"}
	for _, test := range []struct {
		name, want string
		with       []string
	}{
		{"none", "allowed in_mesh", nil},
		{"injection of the namespace", "unknown capture", []string{"INJECTION", `'${X}'`}},
		{"injection of the pod", "unknown capture", []string{"INJECT", `'${X}'`}},
		{"label of the namespace", "unknown network_policy", []string{"TIER", `'${X}'`}},
		{"label of the namespace that nothing asks for", "allowed in_mesh", []string{"TIER", `'${X}'`, "PEER", "{podSelector: {}}"}},
		{"label of the pod that nothing asks for", "allowed in_mesh", []string{"CART", `'${X}'`}},
		{"label of the pod", "unknown network_policy", []string{"CART", `'${X}'`, "PEER", "{podSelector: {matchLabels: {app: cart}}}"}},
		{"label of the pod that cannot be meant", "blocked network_policy", []string{"CART", `'${X}-v1'`, "PEER", "{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}"}},
		{"account", "unknown template", []string{"ACCOUNT", `'${X}'`}},
		{"account that cannot be meant", "blocked rbac_denied", []string{"ACCOUNT", `'${X}-admin'`}},
		{"account of which nobody asks", "allowed in_mesh", []string{"ACCOUNT", `'${X}'`, "RULE", "{to: [{operation: {methods: [GET]}}]}"}},
		{"name of the port", "unknown template", []string{"NAME", `'${X}'`}},
		{"target port", "unknown template", []string{"TARGET", `'${X}'`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.NewReplacer(slices.Concat(test.with, plain)...).Replace(mesh)
			trace := traffic.New(loaded(t, text)).Trace(flow.Flow{From: "shop/cart", Host: "pay.shop.svc.cluster.local", Port: 80, Scheme: flow.HTTP})
			if got := string(trace.Outcome) + " " + string(trace.Reason); got != test.want {
				t.Errorf("%s (%s), want %s", got, trace.Detail, test.want)
			}
		})
	}
}
