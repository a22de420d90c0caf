package netpol

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// world are the pods of all tables. Namespace dark is not declared.
const world = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: red}}
---
apiVersion: v1
kind: Namespace
metadata: {name: gate, labels: {team: blue}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client, tier: front}}
spec: {serviceAccountName: buyer, containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: shop, labels: {app: server}}
spec:
  initContainers:
  - {name: side, image: i, restartPolicy: Always, ports: [{name: extra, containerPort: 9000}]}
  - {name: once, image: i, ports: [{name: gone, containerPort: 9001}]}
  containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: egress, namespace: gate, labels: {app: egress}}
spec: {containers: [{name: c, image: i, ports: [{name: https, containerPort: 8443}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: gate, labels: {app: host}}
spec: {hostNetwork: true, containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: dark, labels: {app: other}}
spec: {containers: [{name: c, image: i}]}
`

// load makes a mesh of the world and more. It must have no problems.
func load(t *testing.T, more string) *model.Mesh {
	t.Helper()
	mesh := tryLoad(t, more)
	for _, p := range mesh.Problems {
		t.Fatalf("%s: %s", p.Object, p.Message)
	}
	return mesh
}

func tryLoad(t *testing.T, more string) *model.Mesh {
	t.Helper()
	mesh, _, err := model.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(world + "\n---\n" + more),
	}, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return mesh
}

func workload(t *testing.T, mesh *model.Mesh, id string) *model.Workload {
	t.Helper()
	for _, w := range mesh.Workloads {
		if w.ID() == id {
			return w
		}
	}
	t.Fatalf("no workload %s", id)
	return nil
}

var words = map[Decision]string{Allowed: "allowed", Denied: "denied", Undecided: "undecided"}

// ask answers "pod -> to:port" or "pod <- from:port", where the other end is a
// pod, an address ("8.8.8.8:443", "[2a00::1]:443"), a name, or "internet", and
// the port may have "/UDP" behind it. Of the internet it says "open", "closed",
// "some" or "undecided".
func ask(t *testing.T, mesh *model.Mesh, question string) (string, Verdict) {
	t.Helper()
	f := strings.Fields(question)
	pod := workload(t, mesh, f[0])
	at := strings.LastIndex(f[2], ":")
	other, ports := strings.Trim(f[2][:at], "[]"), f[2][at+1:]
	ports, proto, udp := strings.Cut(ports, "/")
	protocol := corev1.ProtocolTCP
	if udp {
		protocol = corev1.Protocol(proto)
	}
	port, err := strconv.Atoi(ports)
	if err != nil {
		t.Fatal(question)
	}
	p := New(mesh)
	peer := Peer{Port: port, Protocol: protocol}
	if addr, err := netip.ParseAddr(other); err == nil {
		peer.Addr = addr
	} else if strings.Contains(other, "/") {
		peer.Workload = workload(t, mesh, other)
	} else if other == "internet" {
		open := p.Internet(pod, port, protocol)
		switch {
		case open.Unknown != nil:
			return "undecided", *open.Unknown
		case open.All(false) && open.All(true):
			return "open", Verdict{Because: open.Because}
		case open.Closed():
			return "closed", Verdict{Because: open.Because}
		default:
			return "some", Verdict{Because: open.Because}
		}
	} else {
		v := p.Named(pod, other, port, protocol)
		return words[v.Decision], v
	}
	v := p.Egress(pod, peer)
	if f[1] == "<-" {
		v = p.Ingress(pod, port, protocol, peer)
	}
	return words[v.Decision], v
}

// row is a case: policies, and what is answered with them.
type row struct {
	name     string
	policies string
	// wants are lines "question: answer", with "(text)" behind where the
	// verdict's text must contain it.
	wants string
}

func run(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			mesh := load(t, r.policies)
			for _, line := range strings.Split(strings.TrimSpace(r.wants), "\n") {
				line, text, _ := strings.Cut(strings.TrimSpace(line), " (")
				text = strings.TrimSuffix(text, ")")
				at := strings.LastIndex(line, ": ")
				question, want := line[:at], line[at+2:]
				got, v := ask(t, mesh, question)
				if got != want || !strings.Contains(v.Text, text) {
					t.Errorf("%s: %s (%s), want %s (%s)", question, got, v.Text, want, text)
				}
				if got == "denied" && len(v.Because) == 0 {
					t.Errorf("%s: denied by nobody", question)
				}
			}
		})
	}
}

func np(spec string) string {
	return "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: shop}\nspec: " + spec + "\n"
}

// TestNetworkPolicy has the cases that people get wrong.
func TestNetworkPolicy(t *testing.T) {
	run(t, []row{
		{"none", "", `
			shop/client -> 8.8.8.8:443: allowed (no network policy)
			shop/client -> internet:443: open`},
		{"an empty list with the type denies everything", np(`{podSelector: {}, policyTypes: [Egress], egress: []}`), `
			shop/client -> 8.8.8.8:443: denied (NetworkPolicy shop/np does not let it connect to 8.8.8.8)
			shop/client -> internet:443: closed
			shop/client -> shop/server:8080: denied
			shop/client <- shop/server:80: allowed
			gate/egress -> 8.8.8.8:443: allowed`},
		{"an empty list without types isolates ingress alone", np(`{podSelector: {}, egress: []}`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> internet:443: open
			shop/client <- shop/server:80: denied`},
		{"a rule without types restricts both directions", np(`{podSelector: {}, egress: [{ports: [{port: 53, protocol: UDP}]}]}`), `
			shop/client -> 8.8.8.8:53/UDP: allowed
			shop/client -> 8.8.8.8:53: denied
			shop/client <- shop/server:80: denied`},
		{"an empty rule allows everything", np(`{podSelector: {}, policyTypes: [Egress], egress: [{}]}`), `
			shop/client -> 8.8.8.8:443: allowed (NetworkPolicy shop/np lets it)
			shop/client -> internet:443: open`},
		{"an empty list of peers is everybody", np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [], ports: [{port: 443}]}]}`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> 8.8.8.8:80: denied`},
		{"selectors of one element are united by and, elements by or", np(`{podSelector: {}, policyTypes: [Egress], egress: [
			{to: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: server}}}]},
			{to: [{podSelector: {matchLabels: {app: server}}}]}]}`), `
			shop/client -> gate/egress:8443: denied
			shop/client -> shop/server:8080: allowed`},
		{"without namespace selector a pod selector keeps to the namespace", np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}`), `
			shop/client -> gate/egress:8443: denied
			shop/client -> shop/server:8080: allowed`},
		{"the internet in IPv4 is not that in IPv6", np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`), `
			shop/client -> 8.8.8.8:443: allowed
			shop/client -> [2a00:1450::1]:443: denied
			shop/client -> internet:443: some
			shop/client -> example.com:443: allowed`},
		{"exceptions", np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [8.0.0.0/8, 010.0.0.0/8]}}]}]}`), `
			shop/client -> 8.8.8.8:443: denied
			shop/client -> 10.0.0.1:443: denied
			shop/client -> 9.9.9.9:443: allowed
			shop/client -> example.com:443: undecided (only some public addresses)`},
		{"the address of a pod is not known", np(`{podSelector: {}, policyTypes: [Egress], egress: [
			{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 1}]}, {to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 2}]},
			{to: [{ipBlock: {cidr: 142.250.0.0/15}}], ports: [{port: 3}]}]}`), `
			shop/client -> shop/server:1: undecided (the address of shop/server)
			shop/client -> shop/server:2: allowed
			shop/client -> shop/server:3: denied`},
		{"a namespace that is not declared has a name but no known labels", np(`{podSelector: {}, policyTypes: [Egress], egress: [
			{to: [{namespaceSelector: {matchLabels: {team: blue}}}], ports: [{port: 1}]},
			{to: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}], ports: [{port: 2}]},
			{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: dark}}}], ports: [{port: 3}]},
			{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bright, team: blue}}}], ports: [{port: 4}]},
			{to: [{namespaceSelector: {}}], ports: [{port: 5}]},
			{to: [{namespaceSelector: {matchLabels: {team: blue}, matchExpressions: [{key: team, operator: NotIn, values: [blue]}]}}], ports: [{port: 6}]}]}`), `
			shop/client -> dark/other:1: undecided (the labels of namespace dark)
			shop/client -> dark/other:2: undecided (the labels of namespace dark)
			shop/client -> dark/other:3: allowed
			shop/client -> dark/other:4: denied
			shop/client -> dark/other:5: allowed
			shop/client -> dark/other:6: denied
			shop/client -> gate/egress:1: allowed
			shop/client -> gate/egress:2: denied`},
		{"ports by name are those of the pod that listens", np(`{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: web}, {port: extra}, {port: gone}, {port: dns, protocol: UDP}]}]}`), `
			shop/client -> shop/server:8080: allowed
			shop/client -> shop/server:9000: allowed
			shop/client -> shop/server:9001: denied
			shop/client -> shop/server:53/UDP: allowed
			shop/client -> shop/server:53: denied
			shop/client -> 8.8.8.8:8080: denied
			shop/client -> internet:8080: closed`},
		{"ranges of ports", np(`{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 80, endPort: 90}, {protocol: UDP}]}]}`), `
			shop/client -> 8.8.8.8:79: denied
			shop/client -> 8.8.8.8:80: allowed
			shop/client -> 8.8.8.8:90: allowed
			shop/client -> 8.8.8.8:91: denied
			shop/client -> 8.8.8.8:9/UDP: allowed`},
		{"a pod on its host's network is not isolated", strings.ReplaceAll(np(`{podSelector: {}, policyTypes: [Egress, Ingress]}`), "namespace: shop", "namespace: gate"), `
			gate/host -> 8.8.8.8:443: allowed (network policies are usually not applied)
			gate/host <- shop/client:443: allowed (usually not applied)
			gate/egress -> 8.8.8.8:443: denied`},
		{"selectors may match a pod on its host's network or not", np(`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}`), `
			shop/client -> gate/host:443: undecided (on its host's network)`},
	})
}

// TestPublicAddresses samples the ranges of RFC 6890 and their neighbours.
func TestPublicAddresses(t *testing.T) {
	open := New(load(t, "")).Internet(&model.Workload{Namespace: "shop"}, 443, corev1.ProtocolTCP)
	for text, want := range map[string]bool{
		"0.255.255.255": false, "1.0.0.0": true, "9.255.255.255": true, "10.0.0.0": false, "11.0.0.0": true, "100.63.255.255": true, "100.64.0.0": false,
		"100.128.0.0": true, "127.0.0.1": false, "128.0.0.0": true, "169.254.169.254": false, "169.255.0.0": true, "172.15.255.255": true, "172.16.0.0": false,
		"172.31.255.255": false, "172.32.0.0": true, "192.0.0.8": false, "192.0.1.0": true, "192.0.2.1": false, "192.88.99.1": false, "192.167.255.255": true,
		"192.168.0.0": false, "192.169.0.0": true, "198.17.255.255": true, "198.18.0.0": false, "198.19.255.255": false, "198.20.0.0": true,
		"198.51.100.1": false, "198.51.101.0": true, "203.0.113.255": false, "203.0.114.0": true, "223.255.255.255": true, "224.0.0.1": false, "240.0.0.1": false,
		"255.255.255.255": false, "::1": false, "::ffff:8.8.8.8": false, "64:ff9b::1": true, "fc00::1": false, "fe80::1": false, "ff02::1": false, "2001::1": false,
		"2001:db8::1": false, "2002::1": false, "2001:4860::1": true, "2a00:1450::1": true, "3fff:ffff::1": true, "4000::": false, "1fff:ffff::1": false,
	} {
		if got := open.Addresses.Contains(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public %v, want %v", text, got, want)
		}
	}
}

func TestUnknownPods(t *testing.T) {
	mesh := load(t, np(`{podSelector: {matchLabels: {app: secret}}, policyTypes: [Egress]}`))
	pod := &model.Workload{Namespace: "shop", Name: "operator", PodUnknown: "the template is not shown"}
	v := New(mesh).Egress(pod, Peer{Addr: netip.MustParseAddr("8.8.8.8"), Port: 443, Protocol: corev1.ProtocolTCP})
	if v.Decision != Undecided || !strings.Contains(v.Text, "the labels of the pods of shop/operator") {
		t.Errorf("%v: %s", v.Decision, v.Text)
	}
	// What a policy allows that may not hold is not sure to be allowed.
	mesh = load(t, strings.Replace(np(`{podSelector: {matchLabels: {app: secret}}, policyTypes: [Egress], egress: [{}]}`), "name: np", "name: may", 1)+
		np(`{podSelector: {}, policyTypes: [Egress]}`))
	if v := New(mesh).Egress(pod, Peer{Addr: netip.MustParseAddr("8.8.8.8"), Port: 443, Protocol: corev1.ProtocolTCP}); v.Decision != Undecided {
		t.Errorf("%v: %s", v.Decision, v.Text)
	}
	mesh = load(t, np(`{podSelector: {}, policyTypes: [Egress]}`))
	if v := New(mesh).Egress(pod, Peer{Addr: netip.MustParseAddr("8.8.8.8"), Port: 443, Protocol: corev1.ProtocolTCP}); v.Decision != Denied {
		t.Errorf("%v: %s; a policy for all pods holds for every pod", v.Decision, v.Text)
	}
}

// foreignManifest is an object of a kind that is not interpreted.
func foreignManifest(kind, namespace, spec string) string {
	group, name, _ := strings.Cut(kind, "/")
	if name == "*" {
		name = "FutureNetworkPolicy"
	}
	return "apiVersion: " + group + "/v9\nkind: " + name + "\nmetadata: {name: x, namespace: " + namespace + "}\nspec: " + spec + "\n"
}

func TestForeignKindsAreUndecided(t *testing.T) {
	for _, kind := range sortedKeys(foreignKinds) {
		mesh := load(t, np(`{podSelector: {}, policyTypes: [Egress]}`)+"---\n"+foreignManifest(kind, "shop", "{}"))
		for _, question := range []string{"shop/client -> 8.8.8.8:443", "shop/client -> shop/server:8080", "shop/client -> internet:443", "shop/client -> example.com:443"} {
			got, v := ask(t, mesh, question)
			if foreignKinds[kind].outsideOnly && strings.Contains(question, "shop/server") {
				if got != "denied" {
					t.Errorf("%s: %s: %s, want denied by the NetworkPolicy: %s", kind, question, got, v.Text)
				}
				continue
			}
			if got != "undecided" || !v.Foreign || len(v.Because) == 0 {
				t.Errorf("%s: %s: %s (foreign %v): %s", kind, question, got, v.Foreign, v.Text)
			}
		}
		if got, v := ask(t, mesh, "shop/server <- shop/client:8080"); (got == "undecided") == foreignKinds[kind].egressOnly {
			t.Errorf("%s: ingress is %s: %s", kind, got, v.Text)
		}
		if !foreignKinds[kind].namespaced {
			continue
		}
		mesh = load(t, foreignManifest(kind, "gate", "{}"))
		if got, v := ask(t, mesh, "shop/client -> 8.8.8.8:443"); got != "allowed" {
			t.Errorf("%s of another namespace: %s: %s", kind, got, v.Text)
		}
	}
}
