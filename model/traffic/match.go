package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
)

func listenerName(bind string, port int) string { return bind + "_" + strconv.Itoa(port) }

// find chooses the filter chain for a connection as Envoy does: by destination
// address, then server name, then transport protocol, then application
// protocol; each step keeps only the most specific and never goes back. nil
// means that there is none, not even a fallback
// (envoy source/common/listener_manager/filter_chain_manager_impl.cc).
func (l *listener) find(c *connection) *chain {
	if found := byProtocol(l.byServerName(c), c); found != nil {
		return found
	}
	return l.fallback
}

// byServerName applies the first two steps; the second to all chains at once
// where none asks for an address.
func (l *listener) byServerName(c *connection) []*chain {
	if l.names == nil {
		l.names = indexNames(l.chains)
	}
	if l.names.addresses {
		return indexNames(byAddress(l.chains, c.dst.Addr())).find(c.sni())
	}
	return l.names.find(c.sni())
}

func byAddress(chains []*chain, addr netip.Addr) []*chain {
	best, bits := []*chain(nil), -1
	for _, c := range chains {
		for _, p := range c.prefixes {
			if !p.Contains(addr) || p.Bits() < bits {
				continue
			}
			if p.Bits() > bits {
				best, bits = nil, p.Bits()
			}
			if !slices.Contains(best, c) {
				best = append(best, c)
			}
		}
	}
	if best != nil {
		return best
	}
	return slices.DeleteFunc(slices.Clone(chains), func(c *chain) bool { return len(c.prefixes) > 0 })
}

// nameIndex finds chains by server name, in their order.
type nameIndex struct {
	byName map[string][]*chain
	// any are those that ask for no name.
	any []*chain
	// addresses: some chain asks for a destination address.
	addresses bool
}

func indexNames(chains []*chain) *nameIndex {
	x := &nameIndex{byName: map[string][]*chain{}}
	for _, c := range chains {
		x.addresses = x.addresses || len(c.prefixes) > 0
		if c.anySNI() {
			x.any = append(x.any, c)
			continue
		}
		for _, name := range c.sni {
			name = strings.ToLower(name)
			if list := x.byName[name]; len(list) == 0 || list[len(list)-1] != c {
				x.byName[name] = append(list, c)
			}
		}
	}
	return x
}

// find returns the chains of the most specific name that a connection's server
// name, in lower case, matches.
func (x *nameIndex) find(sni string) []*chain {
	if sni != "" {
		if out := x.byName[sni]; out != nil {
			return out
		}
		for rest := sni; ; {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if out := x.byName["*."+rest]; out != nil {
				return out
			}
		}
	}
	return x.any
}

// byProtocol applies the last two steps. Chains for plaintext HTTP ask for the
// transport raw_buffer and an HTTP application protocol; chains for mesh TLS
// ask for Istio's ALPN names.
func byProtocol(chains []*chain, c *connection) *chain {
	if c.outer() == nil {
		// Transport raw_buffer: if any chain asks for it, only those remain.
		var raw []*chain
		for _, f := range chains {
			if f.plaintextHTTP {
				raw = append(raw, f)
			}
		}
		if raw != nil {
			if c.plaintextHTTP() {
				return raw[0]
			}
			return nil
		}
	}
	mesh := c.outer() != nil && c.outer().announcesMesh()
	var any *chain
	for _, f := range chains {
		switch {
		case f.plaintextHTTP:
		case f.meshALPN && mesh:
			return f
		case !f.meshALPN && any == nil:
			any = f
		}
	}
	return any
}

// check fills in why Envoy would refuse the listener: two chains with the same
// condition, or a server name that it does not support.
func (l *listener) check() {
	seen := map[string]*chain{}
	for _, c := range l.chains {
		names := c.sni
		if c.anySNI() {
			names = []string{""}
		}
		prefixes := []string{""}
		if len(c.prefixes) > 0 {
			prefixes = nil
			for _, p := range c.prefixes {
				prefixes = append(prefixes, p.Masked().String())
			}
		}
		for _, name := range names {
			if strings.Contains(strings.TrimPrefix(name, "*."), "*") {
				l.refused = fmt.Sprintf("Envoy takes no server name like %q", name)
				return
			}
			for _, prefix := range prefixes {
				key := fmt.Sprint(prefix, "|", strings.ToLower(name), "|", c.plaintextHTTP, c.meshALPN)
				if first := seen[key]; first != nil && first != c {
					l.refused = fmt.Sprintf("two filter chains match %s, which Envoy refuses", matchText(prefix, name))
					return
				}
				seen[key] = c
			}
		}
	}
}

func matchText(prefix, name string) string {
	switch {
	case name != "" && prefix != "":
		return fmt.Sprintf("server name %q at %s", name, prefix)
	case name != "":
		return fmt.Sprintf("server name %q", name)
	case prefix != "":
		return "address " + prefix
	default:
		return "every connection"
	}
}

// inspectsTLS reports whether a gateway's listener reads server names at all
// (istio pilot/pkg/networking/core/gateway.go buildGatewayListener).
func (l *listener) inspectsTLS() bool {
	return slices.ContainsFunc(l.chains, func(c *chain) bool { return c.opens || !c.anySNI() })
}

// newRouteTable indexes virtual hosts by domain.
func newRouteTable(name string, hosts []*virtualHost) *routeTable {
	t := &routeTable{name: name, hosts: hosts, byDomain: map[string]*virtualHost{}}
	for _, vh := range hosts {
		for _, d := range vh.domains {
			d = strings.ToLower(d)
			if t.byDomain[d] != nil {
				continue
			}
			t.byDomain[d] = vh
			switch n := len(d) - 1; {
			case n < 1:
			case d[0] == '*':
				t.suffixes = append(t.suffixes, d)
			case d[n] == '*':
				t.prefixes = append(t.prefixes, d)
			}
		}
	}
	for _, list := range [][]string{t.suffixes, t.prefixes} { // the longest first
		sort.SliceStable(list, func(i, j int) bool { return len(list[i]) > len(list[j]) })
	}
	return t
}

// of returns the virtual host of a request, nil if there is none.
func (t *routeTable) of(r *request) *virtualHost {
	if t.ports {
		return t.find(strings.ToLower(r.authority))
	}
	return t.find(r.host())
}

// find returns the virtual host for a host name: the exact domain,
// then the longest "*suffix", then the longest "prefix*", then "*"
// (envoy source/common/router/config_impl.cc findVirtualHost).
func (t *routeTable) find(host string) *virtualHost {
	if vh := t.byDomain[host]; vh != nil {
		return vh
	}
	for _, d := range t.suffixes {
		if len(host) > len(d)-1 && strings.HasSuffix(host, d[1:]) {
			return t.byDomain[d]
		}
	}
	for _, d := range t.prefixes {
		if n := len(d) - 1; len(host) > n && strings.HasPrefix(host, d[:n]) {
			return t.byDomain[d]
		}
	}
	return t.byDomain["*"]
}
