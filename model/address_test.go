package model_test

import (
	"net/netip"
	"strings"
	"testing"
)

// What a client finds for a name in a default installation.
func TestResolve(t *testing.T) {
	text := pod("db-0", "shop", "{app: db}") +
		object("v1", "Service", "store", "shop", "{clusterIP: 10.96.7.7, ports: [{port: 80}]}") +
		object("v1", "Service", "db", "shop", "{clusterIP: None, selector: {app: db}, ports: [{port: 80}]}") +
		object("v1", "Service", "alias", "shop", "{type: ExternalName, externalName: store.shop.svc.cluster.local}") +
		object("v1", "Service", "out", "shop", "{type: ExternalName, externalName: listed.example.com}") +
		object("v1", "Service", "ring", "shop", "{type: ExternalName, externalName: ring.shop.svc.cluster.local}") +
		listed("one", "aa", "listed.example.com", "192.0.2.1, 192.0.2.2") + listed("two", "zz", "listed.example.com", "192.0.2.9") +
		listed("net", "aa", "net.example.com", "198.51.100.0/24") +
		entry("auto", "aa", "auto.example.com", "")
	p := pushOf(t, text)
	for _, test := range []struct {
		namespace, name string
		dns             bool
		want            string // "" is a public address that nobody lists
	}{
		{"shop", "store", false, "10.96.7.7"},
		{"default", "store.shop", false, "10.96.7.7"},
		{"default", "store.shop.svc", false, "10.96.7.7"},
		{"default", "STORE.shop.svc.cluster.local.", false, "10.96.7.7"},
		{"default", "store", false, ""},
		{"shop", "db", false, p.PodAddress(p.Mesh.Workloads[0]).String()},
		{"shop", "alias", false, "10.96.7.7"},
		{"shop", "out", false, "192.0.2.1"},
		{"shop", "ring", false, ""},
		{"default", "listed.example.com", false, "192.0.2.1"},
		{"zz", "listed.example.com", false, "192.0.2.9"},
		{"default", "net.example.com", false, "198.51.100.1"},
		{"default", "auto.example.com", false, ""},
		{"default", "203.0.113.5", false, "203.0.113.5"},
		{"default", "2001:db8::5", false, "2001:db8::5"},
		{"default", "unknown.example.com", false, ""},
	} {
		got := p.Resolve(test.namespace, test.name, test.dns)
		if test.want != "" && got.Addr.String() != test.want {
			t.Errorf("%s from %s: %s, want %s", test.name, test.namespace, got.Addr, test.want)
		}
		if test.want == "" && (got.Addr != p.Resolve(test.namespace, test.name, test.dns).Addr || got.Addr.IsPrivate() || p.ServiceAt(got.Addr) != nil || p.WorkloadAt(got.Addr) != nil || got.Listed != nil) {
			t.Errorf("%s from %s: %+v, want some public address, the same each time", test.name, test.namespace, got)
		}
	}
	auto := p.Resolve("default", "auto.example.com", true)
	if auto.Listed == nil || auto.Listed.AutoAddress != auto.Addr.String() || !netip.MustParsePrefix("240.240.0.0/16").Contains(auto.Addr) {
		t.Errorf("with DNS capture auto.example.com is %+v, want an automatic address", auto)
	}
}

// listed is an entry with addresses; one with a prefix goes to what is dialled.
func listed(name, namespace, host, addresses string) string {
	if strings.Contains(addresses, "/") {
		return strings.Replace(entry(name, namespace, host, "", "addresses: ["+addresses+"]"), "DNS", "NONE", 1)
	}
	return strings.Replace(entry(name, namespace, host, "", "addresses: ["+addresses+"]", "endpoints: [{address: 203.0.113.1}]"), "DNS", "STATIC", 1)
}

// Addresses that are made up are nobody else's: not those of Services and
// entries, and of no two workloads.
func TestMadeUpAddresses(t *testing.T) {
	text := pod("a", "default", "{}") + pod("b", "default", "{}") +
		object("v1", "Service", "given", "default", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}") +
		object("v1", "Service", "other", "default", "{ports: [{port: 80}]}") +
		listed("pods", "default", "pods.example.com", "10.244.0.0/30")
	p := pushOf(t, text)
	a, b := p.PodAddress(p.Mesh.Workloads[0]), p.PodAddress(p.Mesh.Workloads[1])
	if a == b || netip.MustParsePrefix("10.244.0.0/30").Contains(a) || netip.MustParsePrefix("10.244.0.0/30").Contains(b) {
		t.Errorf("pods have %s and %s", a, b)
	}
	if p.WorkloadAt(a) != p.Mesh.Workloads[0] || p.WorkloadAt(b) != p.Mesh.Workloads[1] {
		t.Error("addresses do not lead back to their pods")
	}
	given, other := p.ServiceIn("given.default.svc.cluster.local", "default"), p.ServiceIn("other.default.svc.cluster.local", "default")
	if given.Address != "10.96.0.1" || other.Address == given.Address {
		t.Errorf("Services have %s and %s", given.Address, other.Address)
	}
	if p.ServiceAt(netip.MustParseAddr(other.Address)) != other {
		t.Error("a cluster address does not lead back to its Service")
	}
	if x, again := p.PublicAddress("x"), p.PublicAddress("x"); x != again || x == p.PublicAddress("z") {
		t.Error("public addresses are not one for each name")
	}
}

// Whoever lists all addresses gets no answer worth waiting for, and no panic.
func TestUnlistedAddresses(t *testing.T) {
	const entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: all, namespace: shop}\nspec: {hosts: [all.example.com], addresses: [LIST], ports: [{number: 80, name: tcp, protocol: TCP}]}\n" +
		"---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: auto, namespace: shop}\nspec: {hosts: [auto.example.com], resolution: DNS, ports: [{number: 81, name: tcp, protocol: TCP}]}\n" +
		"---\napiVersion: v1\nkind: Pod\nmetadata: {name: cart, namespace: shop}\nspec: {containers: [{name: cart, image: i}]}\n"
	for list, want := range map[string][2]string{
		"198.51.100.1":           {"10.244.0.1", "240.240.0.1"},
		"10.244.0.0/30":          {"10.244.0.4", "240.240.0.1"},
		"0.0.0.0/1":              {"128.0.0.0", "240.240.0.1"},
		"0.0.0.0/1, 128.0.0.0/1": {"10.244.0.1", "240.240.0.1"},
		"240.240.0.1":            {"10.244.0.1", "240.240.0.2"},
	} {
		p := pushOf(t, strings.Replace(entry, "LIST", list, 1))
		got := [2]string{p.PodAddress(p.Mesh.Workloads[0]).String(), p.Resolve("shop", "auto.example.com", true).Addr.String()}
		if got != want {
			t.Errorf("%s: %v, want %v", list, got, want)
		}
	}
}
