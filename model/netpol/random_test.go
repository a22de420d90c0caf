package netpol

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// generator makes random policies over few labels, ports and prefixes, so that
// much of it matches.
type generator struct{ *rand.Rand }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

func (g generator) labels() map[string]string {
	out := map[string]string{}
	for _, k := range []string{"app", "team"} {
		if v := pick(g, "", "x", "y", "z"); v != "" {
			out[k] = v
		}
	}
	return out
}

func (g generator) selector() metav1.LabelSelector {
	s := metav1.LabelSelector{}
	if g.IntN(3) == 0 {
		s.MatchLabels = map[string]string{pick(g, "app", "team"): pick(g, "x", "y")}
	}
	if g.IntN(3) == 0 {
		e := metav1.LabelSelectorRequirement{Key: pick(g, "app", "team"), Operator: pick(g,
			metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist)}
		if e.Operator == metav1.LabelSelectorOpIn || e.Operator == metav1.LabelSelectorOpNotIn {
			e.Values = pick(g, []string{"x"}, []string{"x", "z"})
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

func (g generator) namespaceSelector() metav1.LabelSelector {
	if g.IntN(3) == 0 {
		return metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": pick(g, "a", "b", "dark")}}
	}
	return g.selector()
}

var blocks = []networkingv1.IPBlock{
	{CIDR: "0.0.0.0/0"}, {CIDR: "::/0"}, {CIDR: "8.8.8.8/32"}, {CIDR: "8.0.0.0/7"}, {CIDR: "10.0.0.0/8"}, {CIDR: "2a00::/12"},
	{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}},
	{CIDR: "0.0.0.0/0", Except: []string{"8.8.8.0/24", "128.0.0.0/1"}}, {CIDR: "128.0.0.0/1"}, {CIDR: "8.8.8.8/31", Except: []string{"8.8.8.9/32"}},
	{CIDR: "::/0", Except: []string{"2a00:1450::/32"}}, {CIDR: "2a00:1450:4001::/48"}, {CIDR: "10.244.0.0/16", Except: []string{"10.244.1.0/24"}},
	{CIDR: "255.255.255.255/32"}, {CIDR: "8.8.8.7/8"},
}

func (g generator) peers() []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for range g.IntN(4) {
		p := networkingv1.NetworkPolicyPeer{}
		switch g.IntN(5) {
		case 0:
			s := g.selector()
			p.PodSelector = &s
		case 1:
			s := g.namespaceSelector()
			p.NamespaceSelector = &s
		case 2:
			s, n := g.selector(), g.namespaceSelector()
			p.PodSelector, p.NamespaceSelector = &s, &n
		default:
			b := blocks[g.IntN(len(blocks))]
			p.IPBlock = &b
		}
		out = append(out, p)
	}
	return out
}

func (g generator) ports() []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for range g.IntN(3) {
		p := networkingv1.NetworkPolicyPort{}
		if g.IntN(2) == 0 {
			protocol := pick(g, corev1.ProtocolTCP, corev1.ProtocolUDP)
			p.Protocol = &protocol
		}
		switch g.IntN(4) {
		case 0:
			port := intstr.FromInt32(int32(pick(g, 80, 443)))
			p.Port = &port
		case 1:
			port, end := intstr.FromInt32(80), int32(pick(g, 80, 81, 443))
			p.Port, p.EndPort = &port, &end
		case 2:
			port := intstr.FromString(pick(g, "web", "dns"))
			p.Port = &port
		}
		out = append(out, p)
	}
	return out
}

func (g generator) policy(i int) *model.NetworkPolicy {
	spec := networkingv1.NetworkPolicySpec{PodSelector: g.selector()}
	spec.PolicyTypes = pick(g, nil, []networkingv1.PolicyType{"Egress"}, []networkingv1.PolicyType{"Ingress"}, []networkingv1.PolicyType{"Ingress", "Egress"})
	for range g.IntN(3) {
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{To: g.peers(), Ports: g.ports()})
	}
	for range g.IntN(3) {
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: g.peers(), Ports: g.ports()})
	}
	object := &manifest.Object{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: pick(g, "a", "a", "b", "dark"), Name: fmt.Sprint("p", i)}
	return &model.NetworkPolicy{Object: object, Spec: &networkingv1.NetworkPolicy{Spec: spec}}
}

func (g generator) mesh() *model.Mesh {
	mesh := &model.Mesh{Namespaces: map[string]*model.Namespace{}}
	for _, name := range []string{"a", "b", "dark"} {
		ns := &model.Namespace{Name: name, Labels: map[string]string{}, Declared: name != "dark"}
		if ns.Declared {
			ns.Labels = g.labels()
		}
		ns.Labels["kubernetes.io/metadata.name"] = name
		mesh.Namespaces[name] = ns
		for i := range 2 {
			pod := &corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
				{Name: "web", ContainerPort: int32(pick(g, 80, 443))}, {Name: "dns", ContainerPort: 80, Protocol: corev1.ProtocolUDP}}}}}
			mesh.Workloads = append(mesh.Workloads, &model.Workload{Kind: "Pod", Namespace: name, Name: fmt.Sprint("w", i), Labels: g.labels(), Pod: pod})
		}
	}
	for i := range 1 + g.IntN(4) {
		mesh.NetworkPolicies = append(mesh.NetworkPolicies, g.policy(i))
	}
	return mesh
}

// boundaries are the first and last addresses of all prefixes of blocks and of
// the internet, and their neighbours.
func boundaries() []netip.Addr {
	seen := map[netip.Addr]bool{}
	var out []netip.Addr
	add := func(addr netip.Addr) {
		for _, a := range []netip.Addr{addr.Prev(), addr, addr.Next()} {
			if a.IsValid() && !seen[a] {
				seen[a] = true
				out = append(out, a)
			}
		}
	}
	for _, b := range blocks {
		for _, s := range append([]string{b.CIDR}, b.Except...) {
			for _, r := range prefixes(netip.MustParsePrefix(s).Masked()).Ranges() {
				add(r.From())
				add(r.To())
			}
		}
	}
	for _, r := range public.Ranges() {
		add(r.From())
		add(r.To())
	}
	return out
}

func TestAgainstTheDocumentation(t *testing.T) {
	seed := testseed.New(t)
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	samples := boundaries()
	seen := map[Decision]int{}
	for range 400 {
		mesh := g.mesh()
		p := New(mesh)
		from := mesh.Workloads[g.IntN(len(mesh.Workloads))]
		port, protocol := pick(g, 79, 80, 81, 443), pick(g, corev1.ProtocolTCP, corev1.ProtocolUDP)
		open := p.Internet(from, port, protocol)
		if open.Unknown != nil {
			t.Fatalf("seed %d: which public addresses are open is never unknown", seed)
		}
		for _, addr := range samples {
			peer := Peer{Addr: addr, Port: port, Protocol: protocol}
			want := naive{mesh: mesh}.egress(from, peer, addr)
			v := p.Egress(from, peer)
			seen[v.Decision]++
			if (v.Decision == Allowed) != want || v.Decision == Undecided {
				t.Fatalf("seed %d: %s to %s port %d/%s: %s (%s), documentation: %v\n%s", seed, from.ID(), addr, port, protocol, words[v.Decision], v.Text, want, describe(mesh))
			}
			if got := open.Addresses.Contains(addr); got != (want && public.Contains(addr)) {
				t.Fatalf("seed %d: %s to %s port %d/%s: in the address set %v, documentation %v\n%s", seed, from.ID(), addr, port, protocol, got, want, describe(mesh))
			}
			in := p.Ingress(from, port, protocol, Peer{Addr: addr})
			if want := (naive{mesh: mesh}).ingress(from, port, protocol, Peer{}, addr); (in.Decision == Allowed) != want {
				t.Fatalf("seed %d: %s from %s port %d/%s: %s (%s), documentation: %v\n%s", seed, from.ID(), addr, port, protocol, words[in.Decision], in.Text, want, describe(mesh))
			}
		}
		for _, to := range mesh.Workloads {
			for _, egress := range []bool{true, false} {
				pod, other := from, to
				v := p.Egress(from, Peer{Workload: to, Port: port, Protocol: protocol})
				if !egress {
					pod, other = to, from
					v = p.Ingress(to, port, protocol, Peer{Workload: from})
				}
				seen[v.Decision]++
				want, doubts := inAllWorlds(mesh, pod, other, port, protocol, egress, samples)
				if v.Decision != want && (v.Decision != Undecided || doubts < 2) {
					t.Fatalf("seed %d: %s and %s port %d/%s (egress %v): %s (%s), documentation: %s\n%s", seed, pod.ID(), other.ID(), port, protocol, egress,
						words[v.Decision], v.Text, words[want], describe(mesh))
				}
			}
		}
	}
	t.Logf("seed %d, decisions %v", seed, seen)
	for d := range words {
		if seen[d] == 0 {
			t.Errorf("seed %d: never %s", seed, words[d])
		}
	}
}

// inAllWorlds asks the documentation with every set of labels that an
// undeclared namespace may have and every address that a pod may have. doubts
// counts the peers of policies that not all worlds agree on: with two of them
// the product may not see that one matches where the other does not.
func inAllWorlds(mesh *model.Mesh, pod, other *model.Workload, port int, protocol corev1.Protocol, egress bool, samples []netip.Addr) (Decision, int) {
	counts, worlds := map[bool]int{}, 0
	matched := map[*networkingv1.NetworkPolicyPeer]int{}
	values := []string{"", "x", "y", "z"}
	for _, addr := range samples {
		if !podSpace.Contains(addr) {
			continue
		}
		for i := range 16 {
			n := naive{mesh: mesh, matched: matched, dark: map[string]string{}}
			for j, k := range []string{"app", "team"} {
				if v := values[i>>(2*j)&3]; v != "" {
					n.dark[k] = v
				}
			}
			n.dark["kubernetes.io/metadata.name"] = "dark"
			worlds++
			peer := Peer{Workload: other, Port: port, Protocol: protocol}
			if egress {
				counts[n.egress(pod, peer, addr)]++
			} else {
				counts[n.ingress(pod, port, protocol, peer, addr)]++
			}
		}
	}
	doubts := 0
	for _, n := range matched {
		if n > 0 && n < worlds {
			doubts++
		}
	}
	switch {
	case counts[false] == 0:
		return Allowed, doubts
	case counts[true] == 0:
		return Denied, doubts
	default:
		return Undecided, doubts
	}
}

func describe(mesh *model.Mesh) string {
	out := ""
	for _, name := range []string{"a", "b", "dark"} {
		out += fmt.Sprintf("namespace %s %v\n", name, mesh.Namespaces[name].Labels)
	}
	for _, w := range mesh.Workloads {
		out += fmt.Sprintf("%s %v %v\n", w.ID(), w.Labels, w.Pod.Containers[0].Ports)
	}
	for _, np := range mesh.NetworkPolicies {
		text, _ := json.Marshal(np.Spec.Spec) // of strings and numbers
		out += fmt.Sprintf("%s %s\n", np.ID(), text)
	}
	return out
}
