package envoy

import (
	"net/netip"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func chainNamed(name string, match *listener.FilterChainMatch) *listener.FilterChain {
	return &listener.FilterChain{Name: name, FilterChainMatch: match}
}

func prefix(address string, bits uint32) []*core.CidrRange {
	return []*core.CidrRange{{AddressPrefix: address, PrefixLen: wrapperspb.UInt32(bits)}}
}

func TestFilterChainChoice(t *testing.T) {
	l := &listener.Listener{
		FilterChains: []*listener.FilterChain{
			chainNamed("exact", &listener.FilterChainMatch{ServerNames: []string{"a.example.com"}, TransportProtocol: "tls"}),
			chainNamed("wildcard", &listener.FilterChainMatch{ServerNames: []string{"*.Example.com"}}),
			chainNamed("capitals", &listener.FilterChainMatch{ServerNames: []string{"Capitals.example.org"}}),
			chainNamed("deeper", &listener.FilterChainMatch{ServerNames: []string{"*.deep.example.com"}}),
			chainNamed("http", &listener.FilterChainMatch{TransportProtocol: "raw_buffer", ApplicationProtocols: []string{"http/1.1", "h2c"}}),
			chainNamed("wide", &listener.FilterChainMatch{PrefixRanges: prefix("203.0.113.0", 24)}),
			chainNamed("narrow", &listener.FilterChainMatch{PrefixRanges: prefix("203.0.113.0", 28), ServerNames: []string{"only.example.org"}}),
			chainNamed("port", &listener.FilterChainMatch{DestinationPort: wrapperspb.UInt32(15006), ServerNames: []string{"x.example.org"}}),
		},
		DefaultFilterChain: chainNamed("default", nil),
	}
	table := newChainTable(l, compileChain)
	if table.rejected != "" {
		t.Fatal(table.rejected)
	}
	for _, test := range []struct {
		name, want, address, serverName, transport string
		applications                               []string
	}{
		{name: "exact server name", want: "exact", serverName: "a.example.com", transport: "tls"},
		{name: "server names have no case", want: "exact", serverName: "A.Example.COM", transport: "tls"},
		{name: "server names of chains have no case", want: "capitals", serverName: "capitals.example.org", transport: "tls"},
		{name: "an exact server name is not left for a wildcard", want: "default", serverName: "a.example.com", transport: "raw_buffer"},
		{name: "wildcard of any depth", want: "wildcard", serverName: "x.y.example.com", transport: "tls"},
		{name: "longest wildcard", want: "deeper", serverName: "x.deep.example.com", transport: "tls"},
		{name: "a wildcard does not cover its apex", want: "default", serverName: "example.com", transport: "tls"},
		{name: "plaintext HTTP", want: "http", transport: "raw_buffer", applications: []string{"http/1.1"}},
		{name: "opaque bytes", want: "default", transport: "raw_buffer"},
		{name: "an address of a range", want: "wide", address: "203.0.113.77:80", transport: "raw_buffer"},
		{name: "the longest prefix is not left for a shorter one", want: "default", address: "203.0.113.7:80", transport: "tls", serverName: "other.example.org"},
		{name: "longest prefix", want: "narrow", address: "203.0.113.7:80", transport: "tls", serverName: "only.example.org"},
		{name: "a port is not left for chains of any port", want: "default", address: "198.51.100.1:15006", transport: "tls", serverName: "a.example.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := inspected{destination: netip.MustParseAddrPort("198.51.100.1:443"), serverName: test.serverName, transport: test.transport, applications: test.applications}
			if test.address != "" {
				in.destination = netip.MustParseAddrPort(test.address)
			}
			if got := table.find(in); got == nil || got.name != test.want {
				t.Errorf("chain %+v, want %q", got, test.want)
			}
		})
	}
}

func TestOverlappingFilterChainsAreRejected(t *testing.T) {
	for _, test := range []struct {
		name     string
		a, b     *listener.FilterChainMatch
		rejected bool
	}{
		{"one name of two lists", &listener.FilterChainMatch{ServerNames: []string{"a.test", "b.test"}}, &listener.FilterChainMatch{ServerNames: []string{"b.test", "c.test"}}, true},
		{"nothing in both", &listener.FilterChainMatch{}, nil, true},
		{"wildcard and exact", &listener.FilterChainMatch{ServerNames: []string{"*.test"}}, &listener.FilterChainMatch{ServerNames: []string{"a.test"}}, false},
		{"other transport", &listener.FilterChainMatch{TransportProtocol: "tls"}, &listener.FilterChainMatch{}, false},
		{"partial wildcard", &listener.FilterChainMatch{ServerNames: []string{"a*.test"}}, &listener.FilterChainMatch{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &listener.Listener{FilterChains: []*listener.FilterChain{chainNamed("a", test.a), chainNamed("b", test.b)}}
			if got := newChainTable(l, compileChain).rejected; (got != "") != test.rejected {
				t.Errorf("rejected: %q, want %v", got, test.rejected)
			}
		})
	}
}
