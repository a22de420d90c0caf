package traffic

import (
	"net/netip"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func to(address string, layers ...tlsLayer) connection {
	return connection{dst: netip.AddrPortFrom(netip.MustParseAddr(address), 443), layers: layers}
}

func tls(sni string) tlsLayer { return tlsLayer{origin: applicationTLS, sni: sni} }

// A filter chain is chosen as Envoy's documentation of FilterChainMatch says:
// destination address, server name, transport protocol, application protocol;
// each step keeps only the chains with the most specific match, and what a later
// step does not find is not looked for again
// (envoy source/common/listener_manager/filter_chain_manager_impl.cc findFilterChain).
func TestFilterChainChoice(t *testing.T) {
	http := func(c connection) connection {
		c.request = &request{method: "GET", path: "/", authority: "a.example.com"}
		return c
	}
	any := &chain{name: "any"}
	plaintext := &chain{name: "plaintext", plaintextHTTP: true}
	exact := &chain{name: "exact", sni: []string{"a.example.com"}}
	wild := &chain{name: "wild", sni: []string{"*.example.com"}}
	deep := &chain{name: "deep", sni: []string{"*.deep.example.com"}}
	star := &chain{name: "star", sni: []string{"*"}}
	net24 := &chain{name: "net24", prefixes: prefixes("192.0.2.0/24")}
	net25 := &chain{name: "net25", prefixes: prefixes("192.0.2.0/25")}
	net24exact := &chain{name: "net24exact", prefixes: prefixes("192.0.2.0/24"), sni: []string{"a.example.com"}}
	mesh := &chain{name: "mesh", sni: []string{"outbound_.80_._.a"}, meshALPN: true}
	for _, test := range []struct {
		name   string
		chains []*chain
		conn   connection
		want   string
	}{
		{"exact before wildcard", []*chain{wild, exact}, to("198.51.100.1", tls("a.example.com")), "exact"},
		{"wildcard of any depth", []*chain{wild}, to("198.51.100.1", tls("x.y.example.com")), "wild"},
		{"the longer wildcard", []*chain{wild, deep}, to("198.51.100.1", tls("x.deep.example.com")), "deep"},
		{"a wildcard is not its apex", []*chain{wild}, to("198.51.100.1", tls("example.com")), "fallback"},
		{"the apex of the longer is of the shorter", []*chain{wild, deep}, to("198.51.100.1", tls("deep.example.com")), "wild"},
		{"server names have no case", []*chain{exact}, to("198.51.100.1", tls("A.Example.COM")), "exact"},
		{"star is no condition", []*chain{exact, star}, to("198.51.100.1", tls("b.example.org")), "star"},
		{"no server name", []*chain{exact, star}, to("198.51.100.1", tls("")), "star"},
		{"plaintext has no server name", []*chain{exact}, to("198.51.100.1"), "fallback"},
		{"longest prefix", []*chain{net24, net25}, to("192.0.2.1"), "net25"},
		{"outside the longer", []*chain{net24, net25}, to("192.0.2.200"), "net24"},
		{"address before server name", []*chain{exact, net24}, to("192.0.2.1", tls("a.example.com")), "net24"},
		{"no way back from the address", []*chain{exact, net24exact}, to("192.0.2.1", tls("b.example.com")), "fallback"},
		{"no way back from the longer prefix", []*chain{net24exact, net25}, to("192.0.2.1", tls("a.example.com")), "net25"},
		{"no address condition for others", []*chain{exact, net24exact}, to("198.51.100.1", tls("a.example.com")), "exact"},
		{"plaintext HTTP", []*chain{plaintext, any}, http(to("198.51.100.1")), "plaintext"},
		{"TLS is not plaintext HTTP", []*chain{plaintext, any}, to("198.51.100.1", tls("b.example.org")), "any"},
		{"opaque bytes: raw_buffer is kept, HTTP is not found", []*chain{plaintext, any}, to("198.51.100.1"), "fallback"},
		{"mesh ALPN takes mesh TLS", []*chain{mesh}, to("198.51.100.1", tlsLayer{origin: meshTLS, sni: "outbound_.80_._.a"}), "mesh"},
		{"and no other", []*chain{mesh}, to("198.51.100.1", tls("outbound_.80_._.a")), "fallback"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &listener{bind: "0.0.0.0", port: 443, chains: test.chains, fallback: &chain{name: "fallback"}}
			if got := l.find(&test.conn); got.name != test.want {
				t.Errorf("chain %q, want %q", got.name, test.want)
			}
		})
	}
	l := &listener{chains: []*chain{exact}}
	c := to("198.51.100.1")
	if got := l.find(&c); got != nil {
		t.Errorf("without fallback: chain %q, want none", got.name)
	}
}

// Envoy refuses a listener with two chains of the same condition, and server
// names with a wildcard elsewhere than in front
// (envoy filter_chain_manager_impl.cc addFilterChains).
func TestListenerThatEnvoyRefuses(t *testing.T) {
	for _, test := range []struct {
		name    string
		chains  []*chain
		refused bool
	}{
		{"different names", []*chain{{sni: []string{"a"}}, {sni: []string{"b"}}}, false},
		{"overlapping names", []*chain{{sni: []string{"a"}}, {sni: []string{"a", "b"}}}, true},
		{"one name in another case", []*chain{{sni: []string{"a.test"}}, {sni: []string{"A.test"}}}, true},
		{"no condition twice", []*chain{{}, {sni: []string{"*"}}}, true},
		{"one name at two addresses", []*chain{{sni: []string{"a"}, prefixes: prefixes("192.0.2.0/24")}, {sni: []string{"a"}}}, false},
		{"one address written twice", []*chain{{prefixes: prefixes("192.0.2.0/24")}, {prefixes: prefixes("192.0.2.7/24")}}, true},
		{"wildcard in front", []*chain{{sni: []string{"*.a"}}}, false},
		{"wildcard elsewhere", []*chain{{sni: []string{"a.*.b"}}}, true},
		{"plaintext HTTP beside everything else", []*chain{{plaintextHTTP: true}, {}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &listener{chains: test.chains}
			l.check()
			if got := l.refused != ""; got != test.refused {
				t.Errorf("refused %v (%q), want %v", got, l.refused, test.refused)
			}
		})
	}
}

// A virtual host is found as Envoy does: the exact domain, the longest "*suffix",
// the longest "prefix*", then "*" (envoy source/common/router/config_impl.cc
// findVirtualHost).
func TestVirtualHostChoice(t *testing.T) {
	table := newRouteTable("80", []*virtualHost{
		{name: "exact", domains: []string{"a.example.com"}},
		{name: "suffix", domains: []string{"*.example.com"}},
		{name: "longer suffix", domains: []string{"*-x.example.com"}},
		{name: "prefix", domains: []string{"www.*"}},
		{name: "longer prefix", domains: []string{"www.example.*"}},
		{name: "everything", domains: []string{"*"}},
		{name: "late", domains: []string{"a.example.com", "late.example.com"}},
		{name: "mixed case", domains: []string{"Upper.Example.org"}},
	})
	for host, want := range map[string]string{
		"a.example.com":     "exact",
		"b.example.com":     "suffix",
		"q-x.example.com":   "longer suffix",
		".example.com":      "everything",
		"example.com":       "everything",
		"www.example.com":   "suffix",
		"www.example.net":   "longer prefix",
		"www.elsewhere.net": "prefix",
		"www.":              "everything",
		"late.example.com":  "late",
		"upper.example.org": "mixed case",
		"192.0.2.1":         "everything",
	} {
		if got := table.find(host); got == nil || got.name != want {
			t.Errorf("%s: %v, want %s", host, got, want)
		}
	}
	if got := newRouteTable("80", nil).find("a.example.com"); got != nil {
		t.Errorf("an empty table has virtual host %q", got.name)
	}
}
