package traffic

import (
	"fmt"
	"net/netip"
	"slices"
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
	if found := byProtocol(byServerName(byAddress(l.chains, c.dst.Addr()), c.sni()), c); found != nil {
		return found
	}
	return l.fallback
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

func byServerName(chains []*chain, sni string) []*chain {
	with := func(name string) []*chain {
		var out []*chain
		for _, c := range chains {
			if !c.anySNI() && slices.ContainsFunc(c.sni, func(s string) bool { return strings.EqualFold(s, name) }) {
				out = append(out, c)
			}
		}
		return out
	}
	if sni != "" {
		if out := with(sni); out != nil {
			return out
		}
		for rest := sni; ; {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if out := with("*." + rest); out != nil {
				return out
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(chains), func(c *chain) bool { return !c.anySNI() })
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
	mesh := c.outer() != nil && c.outer().origin == meshTLS
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

// newRouteTable indexes virtual hosts by domain.
// inspectsTLS reports whether a gateway's listener reads server names at all
// (istio pilot/pkg/networking/core/gateway.go buildGatewayListener).
func (l *listener) inspectsTLS() bool {
	return slices.ContainsFunc(l.chains, func(c *chain) bool { return c.opens || !c.anySNI() })
}

func newRouteTable(name string, hosts []*virtualHost) *routeTable {
	t := &routeTable{name: name, hosts: hosts, byDomain: map[string]*virtualHost{}}
	for _, vh := range hosts {
		for _, d := range vh.domains {
			d = strings.ToLower(d)
			if t.byDomain[d] == nil {
				t.byDomain[d] = vh
			}
		}
	}
	return t
}

// find returns the virtual host for a host name without port: the exact domain,
// then the longest "*suffix", then the longest "prefix*", then "*"
// (envoy source/common/router/config_impl.cc findVirtualHost).
func (t *routeTable) find(host string) *virtualHost {
	if vh := t.byDomain[host]; vh != nil {
		return vh
	}
	var best *virtualHost
	longest := 0
	for d, vh := range t.byDomain {
		if len(d) > 1 && d[0] == '*' && len(d) > longest && len(host) > len(d)-1 && strings.HasSuffix(host, d[1:]) {
			best, longest = vh, len(d)
		}
	}
	if best != nil {
		return best
	}
	for d, vh := range t.byDomain {
		if n := len(d) - 1; n > 0 && d[n] == '*' && len(d) > longest && len(host) > n && strings.HasPrefix(host, d[:n]) {
			best, longest = vh, len(d)
		}
	}
	if best != nil {
		return best
	}
	return t.byDomain["*"]
}
