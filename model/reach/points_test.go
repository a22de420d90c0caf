package reach_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/reach"
)

// A matrix of random meshes says of each tuple what asking for this very tuple
// says, and has it in exactly one rectangle.
func TestMatrixSaysWhatSingleRequestsSay(t *testing.T) {
	random := seeded(t)
	tuples, alike := 0, 0
	for range 40 {
		text := randomMesh(random)
		r := loadText(t, text)
		seen := map[string][]reach.Answer{}
		for _, rect := range r.Matrix(reach.Query{}).Rectangles {
			for _, w := range rect.Workloads {
				for _, d := range rect.Destinations {
					key := fmt.Sprint(reach.From(w), d)
					if seen[key] != nil {
						t.Fatalf("%s is in two rectangles", key)
					}
					seen[key] = rect.Answers
				}
			}
			if len(rect.Destinations) > 1 {
				alike++
			}
		}
		for _, w := range r.Clients() {
			for _, d := range r.Universe() {
				tuples++
				want := r.Alone(w, d)
				if got := r.Answers(w, d); !reach.Same(got, want) {
					t.Fatalf("%s to %s:%d: the row says\n%s\nthe simulation\n%s\nof\n%s", reach.From(w), d.Host, d.Port, jsonText(got), jsonText(want), text)
				}
				if got := seen[fmt.Sprint(reach.From(w), d)]; !reach.Same(got, want) {
					t.Fatalf("%s to %s:%d: the matrix says\n%s\nthe simulation\n%s\nof\n%s", reach.From(w), d.Host, d.Port, jsonText(got), jsonText(want), text)
				}
			}
		}
	}
	if tuples < 1000 || alike == 0 {
		t.Errorf("%d tuples, %d rectangles of several destinations: too few to say anything", tuples, alike)
	}
}

// A verdict that is told of one client for another is the one that he gets himself,
// word by word.
func TestVerdictsOfOthersAreOnesOwn(t *testing.T) {
	random := seeded(t)
	alike, others := 0, 0
	for range 30 {
		r := loadText(t, randomMesh(random))
		traced := map[string]bool{}
		for _, d := range r.Universe() {
			for _, class := range r.Classes() {
				for _, scheme := range []flow.Scheme{flow.HTTP, flow.TLS, flow.TCP} {
					f := flow.Flow{From: reach.From(class[0]), Host: d.Host, Port: d.Port, Scheme: scheme}
					got, want := jsonText(r.Verdict(f, class[0])), jsonText(r.Sim.Verdict(f))
					if got != want {
						t.Fatalf("%s: got\n%s\nwant\n%s", jsonText(f), got, want)
					}
					if key := fmt.Sprint(d, scheme); traced[key] {
						alike++
					} else {
						traced[key] = true
						others++
					}
				}
			}
		}
	}
	if alike == 0 || others == 0 {
		t.Error("no flows to compare")
	}
}

// Where the client that was asked first is also where requests end, its proxy there is
// not the client's.
func TestVerdictsOfTheDestination(t *testing.T) {
	r := loadText(t, injectedPods("a", "b", "c")+`apiVersion: v1
kind: Service
metadata: {name: db, namespace: a}
spec: {selector: {app: a}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: x, namespace: d}
spec: {hosts: [x.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: db.a.svc.cluster.local}]}
`)
	for _, w := range r.Clients() {
		f := flow.Flow{From: reach.From(w), Host: "x.example.com", Port: 80, Scheme: flow.HTTP}
		got := r.Verdict(f, w)
		if last := got.Hops[len(got.Hops)-1].Proxy; last != "a/w" {
			t.Errorf("from %s: it ends at %q, not at a/w", w.ID(), last)
		}
		if got, want := jsonText(got), jsonText(r.Sim.Verdict(f)); got != want {
			t.Errorf("from %s: got\n%s\nwant\n%s", w.ID(), got, want)
		}
	}
}

// Tuples finds what a walk over all classes and destinations finds, in its order.
func TestTuplesAreThoseOfAWalk(t *testing.T) {
	random := seeded(t)
	found := 0
	for range 20 {
		r := loadText(t, randomMesh(random))
		want := func(d reach.Destination) bool { return d.Port == 443 }
		of := func(class []*model.Workload) bool { return class[0].Namespace != "b" }
		keep := func(answers []reach.Answer) bool { return answers[0].SomeAllowed }
		var walked, got []string
		for _, d := range r.Universe() {
			for _, class := range r.Classes() {
				if want(d) && of(class) && keep(r.Answers(class[0], d)) {
					walked = append(walked, fmt.Sprint(d, class[0].ID()))
				}
			}
		}
		for d, class := range r.Tuples(want, of, keep) {
			got = append(got, fmt.Sprint(d, class[0].ID()))
		}
		if !slices.Equal(got, walked) {
			t.Fatalf("got %q, want %q", got, walked)
		}
		found += len(got)
	}
	if found == 0 {
		t.Error("no mesh had a tuple")
	}
}

// randomMesh writes a mesh in which hosts are registered for some namespaces,
// routed to a gateway or not, and workloads differ in all that the matrix looks
// at.
func randomMesh(random *rand.Rand) string {
	var b strings.Builder
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	maybe := func(text string) string {
		if random.IntN(2) == 0 {
			return text
		}
		return ""
	}
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n---\n", args...) }
	add(`apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: %s}"}`, pick("REGISTRY_ONLY", "ALLOW_ANY"))
	add(`apiVersion: apps/v1
kind: Deployment
metadata: {name: egress, namespace: istio-system}
spec: {template: {metadata: {labels: {istio: egressgateway}}, spec: {containers: [{name: istio-proxy, image: proxyv2, args: [proxy, router]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: egress, namespace: istio-system}
spec: {selector: {istio: egressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}, {name: tls, port: 443, targetPort: 8443}]}`)
	if random.IntN(4) == 0 {
		add(`apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: istio-system}
spec: {egress: [{hosts: ["./*", "istio-system/*", "%s/*"]}]}`, pick("a", "b"))
	}
	namespaces := []string{"a", "b", "c", "team-one", "team-two"}
	add(`apiVersion: v1
kind: Service
metadata: {name: local, namespace: b}
spec: {selector: {app: p}, ports: [{name: other, port: 8080}, {name: http, port: 80}, {name: tls, port: 443}]}`)
	hosts := []string{"one.example.com", "two.example.com", "three.example.org", "*.example.net", "deep.x.example.net"}
	for _, ns := range namespaces {
		add(`apiVersion: v1
kind: Namespace
metadata: {name: %s, labels: {team: one%s}}`, ns, maybe(", istio-injection: enabled"))
		for i := range 1 + random.IntN(3) {
			add(`apiVersion: v1
kind: Pod
metadata: {name: w%d, namespace: %s, labels: {app: %s}, annotations: {team: one%s%s}}
spec: {serviceAccountName: %s, containers: [{name: app, image: app}]}`, i, ns, pick("p", "q"),
				maybe(`, traffic.sidecar.istio.io/excludeOutboundPorts: "443"`),
				maybe(`, proxy.istio.io/config: '{"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}}'`),
				pick("default", "buyer", "seller"))
		}
		if random.IntN(2) == 0 {
			add(`apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: %s}
spec: {%s%segress: [{%shosts: [%s%s%s]}]}`, ns, maybe("workloadSelector: {labels: {app: p}}, "), pick("", "", "outboundTrafficPolicy: {mode: ALLOW_ANY}, ", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}, "),
				pick("", "", "", "port: {number: 443, protocol: TLS, name: tls}, "),
				pick(`"./*"`, `"a/*"`, `"*/one.example.com"`, `"*/*"`, `"b/*", "c/*"`, `"*/*.example.com"`, `"a/*", "~a/two.example.com"`), maybe(`, "./*"`), maybe(`, "istio-system/*"`))
		}
		if random.IntN(2) == 0 {
			add(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: %s}
spec: {podSelector: {%s}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}%s]}`, ns, maybe("matchLabels: {app: q}"),
				maybe(", {ports: [{port: 443}]}"))
		}
	}
	for i, h := range hosts {
		if random.IntN(4) == 0 {
			continue
		}
		ns := pick(namespaces...)
		resolution := pick("DNS", "DNS", "NONE", "DNS, endpoints: [{address: local}]")
		if strings.HasPrefix(h, "*") {
			resolution = "NONE"
		}
		add(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e%d, namespace: %s}
spec: {hosts: ["%s"], exportTo: ["%s"], resolution: %s%s, ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: %s}]}`,
			i, ns, h, pick("*", "*", ".", "a"), resolution, maybe(", addresses: [198.51.100."+fmt.Sprint(i+1)+"]"), pick("TLS", "HTTPS", "TCP"))
		if random.IntN(4) == 0 { // two of one host
			add(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: f%d, namespace: %s}
spec: {hosts: ["%s"], exportTo: ["%s"], resolution: NONE, ports: [{number: %s, protocol: %s}]}`,
				i, pick(namespaces...), h, pick("*", "."), pick("80, name: http", "443, name: tls", "8080, name: other"), pick("HTTP", "TLS", "TCP"))
		}
		if random.IntN(2) == 0 {
			continue
		}
		add(`apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g%d, namespace: istio-system}
spec: {selector: {istio: egressgateway}, servers: [{port: {number: 80, name: http%d, protocol: %s}, hosts: ["%s"]}, {port: {number: 443, name: tls%d, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: ["%s"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v%d, namespace: %s}
spec:
  hosts: ["%s"]
  exportTo: ["%s"]
  gateways: [mesh, istio-system/g%d]
  http:
  - {match: [{gateways: [mesh], port: 80%s}], route: [{destination: {host: egress.istio-system.svc.cluster.local, port: {number: 80}}}]}
  - {match: [{gateways: [istio-system/g%d], port: 80}], route: [{destination: {host: "%s", port: {number: 80}}}]}
  tls:
  - {match: [{gateways: [mesh], port: 443, sniHosts: ["%s"]}], route: [{destination: {host: egress.istio-system.svc.cluster.local, port: {number: 443}}}]}
  - {match: [{gateways: [istio-system/g%d], port: 443, sniHosts: ["%s"]}], route: [{destination: {host: "%s", port: {number: 443}}}]}`,
			i, i, pick("HTTP", "HTTPS}, tls: {mode: ISTIO_MUTUAL"), h, i, h, i, ns, h, pick("*", ".", "b"), i, pick("", "", `, method: {exact: GET}`, ", sourceNamespace: a", ", sourceLabels: {app: p}"), i, h, h, i, h, h)
		if random.IntN(3) == 0 {
			add(`apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d%d, namespace: %s}
spec: {host: "%s", exportTo: ["%s"], %strafficPolicy: {tls: {mode: SIMPLE}}}`, i, pick(namespaces...), h, pick("*", ".", "c"), maybe("workloadSelector: {matchLabels: {app: p}}, "))
		}
	}
	for i := range max(0, random.IntN(5)-2) { // placeholders that nobody has filled in
		add(`apiVersion: networking.istio.io/v1
kind: %s`, pick(
			fmt.Sprintf(`ServiceEntry
metadata: {name: t%d, namespace: %s}
spec: {hosts: ["%s"], exportTo: ["%s"], resolution: %s, ports: [{number: 443, name: tls, protocol: TLS}]}`, i, pick(namespaces...), pick("${HOST}", "${HOST}.example.com"), pick("*", ".", "a"), pick("DNS", "NONE")),
			fmt.Sprintf(`VirtualService
metadata: {name: t%d, namespace: %s}
spec: {hosts: ["%s"], exportTo: ["%s"], http: [{route: [{destination: {host: "${DEST}"}}]}]}`, i, pick(namespaces...), pick("${HOST}", "one.example.com", "new.example.com"), pick("*", ".", "b")),
			fmt.Sprintf(`Sidecar
metadata: {name: t%d, namespace: %s}
spec: {workloadSelector: {labels: {app: %s}}, egress: [{hosts: ["${NS}/*"]}]}`, i, pick(namespaces...), pick("p", "q")),
			fmt.Sprintf(`DestinationRule
metadata: {name: t%d, namespace: %s}
spec: {host: "%s", exportTo: ["%s"], trafficPolicy: {tls: {mode: "${MODE}"}}}`, i, pick(namespaces...), pick("${HOST}", "one.example.com"), pick("*", ".", "c"))))
	}
	for i := range random.IntN(3) {
		add(`apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egress%d, namespace: %s}
spec: {host: egress.istio-system.svc.cluster.local, exportTo: ["%s"], trafficPolicy: {tls: {mode: %s}}}`,
			i, pick("a", "b", "istio-system"), pick("*", ".", "c"), pick("ISTIO_MUTUAL", "DISABLE"))
	}
	for i := range random.IntN(3) {
		add(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p%d, namespace: istio-system}
spec: {%saction: %s, rules: [{from: [{source: {%s}}], to: [{operation: {%s}}]}]}`, i, maybe("selector: {matchLabels: {istio: egressgateway}}, "), pick("ALLOW", "DENY"),
			pick(`principals: ["cluster.local/ns/a/sa/buyer"]`, `principals: ["*/sa/seller"]`, `namespaces: [b]`, `notPrincipals: ["cluster.local/ns/c/sa/default"]`, `ipBlocks: ["10.244.0.2/31"]`),
			pick(`hosts: [one.example.com]`, `hosts: ["*.example.net", "one.example.com:*"]`, `ports: ["8443"]`, `methods: [GET]`, `notHosts: [two.example.com]`))
	}
	return b.String()
}

// Select finds for each of several selections what Tuples finds for it alone.
func TestSelectionsDoNotMix(t *testing.T) {
	random := seeded(t)
	found := 0
	for range 20 {
		r := loadText(t, randomMesh(random))
		selections := []reach.Selection{
			{
				Want: func(d reach.Destination) bool { return d.Port == 443 },
				Of:   func(class []*model.Workload) bool { return class[0].Namespace != "b" },
				Keep: func(answers []reach.Answer) bool { return answers[0].SomeAllowed },
			},
			{
				Want: func(d reach.Destination) bool { return strings.HasSuffix(d.Host, ".com") },
				Of:   func([]*model.Workload) bool { return true },
				Keep: func(answers []reach.Answer) bool { return !answers[0].EveryAllowed },
			},
		}
		var together, alone [2][]string
		for x := range r.Select(selections) {
			for i := range selections {
				if x.By>>i&1 != 0 {
					together[i] = append(together[i], fmt.Sprint(x.To, x.Class[0].ID()))
				}
			}
		}
		for i, s := range selections {
			for d, class := range r.Tuples(s.Want, s.Of, s.Keep) {
				alone[i] = append(alone[i], fmt.Sprint(d, class[0].ID()))
			}
			if !slices.Equal(together[i], alone[i]) {
				t.Fatalf("selection %d: got %q, want %q", i, together[i], alone[i])
			}
			found += len(alone[i])
		}
	}
	if found == 0 {
		t.Error("no mesh had a tuple")
	}
}
