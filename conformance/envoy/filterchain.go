package envoy

import (
	"fmt"
	"net/netip"
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// chainKey is one combination of the criteria of a filter chain, those about the
// source left out (see add). Envoy expands every chain into all its combinations
// and refuses a listener in which two chains share one.
type chainKey struct {
	port        uint32
	prefix      netip.Prefix // zero for any
	serverName  string
	transport   string
	application string
}

// chainTable finds the filter chain of a connection by Envoy's steps: each
// keeps the most specific value and never goes back
// (FilterChainManagerImpl::findFilterChain).
type chainTable struct {
	chains map[chainKey]*compiledChain
	// prefixes are all destination prefixes, by port.
	prefixes map[uint32]map[netip.Prefix]bool
	ports    map[uint32]bool
	// partial indexes for the steps without going back.
	names        map[nameKey]map[string]bool
	transports   map[transportKey]map[string]bool
	applications map[applicationKey]map[string]bool

	fallback *compiledChain
	rejected string
}

type nameKey struct {
	port   uint32
	prefix netip.Prefix
}

type transportKey struct {
	nameKey
	name string
}

type applicationKey struct {
	transportKey
	transport string
}

func newChainTable(l *listener.Listener, compile func(*listener.FilterChain) *compiledChain) *chainTable {
	t := &chainTable{
		chains:       map[chainKey]*compiledChain{},
		prefixes:     map[uint32]map[netip.Prefix]bool{},
		ports:        map[uint32]bool{},
		names:        map[nameKey]map[string]bool{},
		transports:   map[transportKey]map[string]bool{},
		applications: map[applicationKey]map[string]bool{},
	}
	for _, chain := range l.GetFilterChains() {
		t.add(chain, compile(chain))
	}
	if l.GetDefaultFilterChain() != nil {
		t.fallback = compile(l.GetDefaultFilterChain())
	}
	return t
}

func (t *chainTable) add(chain *listener.FilterChain, compiled *compiledChain) {
	match := chain.GetFilterChainMatch()
	prefixes, ok := toPrefixes(match)
	if !ok {
		t.rejected = fmt.Sprintf("filter chain %q has an invalid address", chain.GetName())
		return
	}
	names := []string{""}
	if len(match.GetServerNames()) > 0 {
		names = nil
		for _, name := range match.GetServerNames() {
			switch {
			case strings.HasPrefix(name, "*."):
				// Kept as ".suffix", as Envoy does.
				names = append(names, strings.ToLower(name[1:]))
			case strings.Contains(name, "*"):
				t.rejected = fmt.Sprintf("filter chain %q has a partial wildcard in server name %q", chain.GetName(), name)
				return
			default:
				names = append(names, strings.ToLower(name))
			}
		}
	}
	applications := []string{""}
	if len(match.GetApplicationProtocols()) > 0 {
		applications = match.GetApplicationProtocols()
	}
	port := match.GetDestinationPort().GetValue()
	transport := match.GetTransportProtocol()
	if len(match.GetSourcePrefixRanges())+len(match.GetDirectSourcePrefixRanges())+len(match.GetSourcePorts()) > 0 ||
		match.GetSourceType() != listener.FilterChainMatch_ANY {
		t.rejected = fmt.Sprintf("filter chain %q is chosen by the source, which is not modelled", chain.GetName())
		return
	}
	for _, prefix := range prefixes {
		for _, name := range names {
			for _, application := range applications {
				key := chainKey{port: port, prefix: prefix, serverName: name, transport: transport, application: application}
				if other, found := t.chains[key]; found {
					t.rejected = fmt.Sprintf("filter chains %q and %q match the same connections (port %d, prefix %s, server name %q, transport %q, application %q)",
						other.name, compiled.name, port, prefix, name, transport, application)
					return
				}
				t.chains[key] = compiled
				t.ports[port] = true
				insert(t.prefixes, port, prefix)
				at := nameKey{port, prefix}
				insert(t.names, at, name)
				insert(t.transports, transportKey{at, name}, transport)
				insert(t.applications, applicationKey{transportKey{at, name}, transport}, application)
			}
		}
	}
}

func insert[K, V comparable](m map[K]map[V]bool, key K, value V) {
	if m[key] == nil {
		m[key] = map[V]bool{}
	}
	m[key][value] = true
}

func toPrefixes(match *listener.FilterChainMatch) ([]netip.Prefix, bool) {
	if len(match.GetPrefixRanges()) == 0 {
		return []netip.Prefix{{}}, true
	}
	var prefixes []netip.Prefix
	for _, r := range match.GetPrefixRanges() {
		address, err := netip.ParseAddr(r.GetAddressPrefix())
		if err != nil {
			return nil, false
		}
		prefix, err := address.Prefix(int(r.GetPrefixLen().GetValue()))
		if err != nil {
			return nil, false
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, true
}

// inspected is what the listener filters found out about a connection.
type inspected struct {
	destination  netip.AddrPort
	serverName   string
	transport    string
	applications []string
}

// find returns the chain of a connection, nil if none matches.
func (t *chainTable) find(in inspected) *compiledChain {
	port := uint32(in.destination.Port())
	if !t.ports[port] {
		port = 0
	}
	if chain := t.findPrefix(port, in); chain != nil {
		return chain
	}
	return t.fallback
}

func (t *chainTable) findPrefix(port uint32, in inspected) *compiledChain {
	best, found := netip.Prefix{}, false
	for prefix := range t.prefixes[port] {
		if !prefix.IsValid() {
			found = true
			continue
		}
		if prefix.Contains(in.destination.Addr()) && prefix.Bits() >= best.Bits() {
			best, found = prefix, true
		}
	}
	if !found {
		return nil
	}
	return t.findName(nameKey{port, best}, in)
}

func (t *chainTable) findName(at nameKey, in inspected) *compiledChain {
	names := t.names[at]
	name := strings.ToLower(in.serverName)
	if names[name] {
		return t.findTransport(transportKey{at, name}, in)
	}
	// The suffixes from the second character on, longest first.
	for position := nextDot(name, 1); position >= 0 && position < len(name)-1; position = nextDot(name, position+1) {
		if suffix := name[position:]; names[suffix] {
			return t.findTransport(transportKey{at, suffix}, in)
		}
	}
	if names[""] {
		return t.findTransport(transportKey{at, ""}, in)
	}
	return nil
}

func nextDot(text string, from int) int {
	if from > len(text) {
		return -1
	}
	i := strings.IndexByte(text[from:], '.')
	if i < 0 {
		return -1
	}
	return from + i
}

func (t *chainTable) findTransport(at transportKey, in inspected) *compiledChain {
	transports := t.transports[at]
	for _, transport := range []string{in.transport, ""} {
		if transports[transport] {
			return t.findApplication(applicationKey{at, transport}, in)
		}
	}
	return nil
}

func (t *chainTable) findApplication(at applicationKey, in inspected) *compiledChain {
	applications := t.applications[at]
	for _, application := range append(append([]string{}, in.applications...), "") {
		if applications[application] {
			return t.chains[chainKey{port: at.port, prefix: at.prefix, serverName: at.name, transport: at.transport, application: application}]
		}
	}
	return nil
}
