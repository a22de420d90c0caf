package model

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"istio.io/istio/pkg/config/protocol"
	"istio.io/istio/pkg/config/visibility"
)

// unfilledExport is what exportTo says: nothing, or a list, with others in it that are open.
type unfilledExport struct {
	list        ExportTo
	given, open bool
}

func readExport(value any) (x unfilledExport) {
	list, isList := value.([]any)
	x.given, x.open = value != nil && (!isList || len(list) > 0), value != nil && !isList
	for _, e := range list {
		if text, isText := e.(string); isText && !open(text) {
			x.list = append(x.list, text)
		} else {
			x.open = true
		}
	}
	return x
}

// visible reports whether proxies of a namespace may see an object that is exported
// by its spec, or else by the default of the mesh.
func (u *Unfilled) visible(namespace string, standard ExportTo) bool {
	list := standard
	if u.exported.given {
		list = u.exported.list
	}
	return u.exported.open || list.VisibleTo(u.Namespace, namespace) || u.anywhere && list.has(visibility.Private)
}

// public reports whether everybody sees it, whatever its namespace.
func (u *Unfilled) public(standard ExportTo) bool {
	return u.exported.given && u.exported.list.Public() || !u.exported.given && standard.Public()
}

// entryPort is a port of an entry.
type entryPort struct {
	number   int
	known    bool
	protocol protocol.Instance
}

// readPorts reads the ports of an entry, nil where there is no list.
func readPorts(value any) []entryPort {
	list, isList := value.([]any)
	if !isList {
		return nil
	}
	out := make([]entryPort, 0, len(list))
	for _, e := range list {
		port := entryPort{protocol: protocol.Parse(lookupString(asMap(e), "protocol"))}
		port.number, port.known = portNumber(asMap(e)["number"])
		out = append(out, port)
	}
	return out
}

func portNumber(v any) (int, bool) {
	switch v := v.(type) {
	case float64:
		return int(v), true
	case int64:
		return int(v), true
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil
	default:
		return 0, false
	}
}

// entryAddresses are the addresses of an entry.
type entryAddresses struct {
	some, open bool
	prefixes   []netip.Prefix
}

func readAddresses(value any) (a entryAddresses) {
	list, isList := value.([]any)
	a.open = value != nil && !isList
	for _, e := range list {
		text := fmt.Sprint(e)
		if prefix, err := netip.ParsePrefix(text); err == nil {
			a.prefixes = append(a.prefixes, prefix)
		} else if address, err := netip.ParseAddr(text); err == nil {
			a.prefixes = append(a.prefixes, netip.PrefixFrom(address, address.BitLen()))
		} else {
			a.open = true
		}
		a.some = true
	}
	return a
}

func (a *entryAddresses) has(dst netip.Addr) bool {
	return dst.IsValid() && slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(dst) })
}

// Straight reports whether it is an entry that, once filled in, leads to whatever host
// it then has, at that host's own address and port, and with http is about requests in
// plaintext alone, else about TLS.
func (u *Unfilled) Straight(http bool) bool {
	if u.Kind != "ServiceEntry" || u.spec["endpoints"] != nil || u.spec["workloadSelector"] != nil || u.spec["addresses"] != nil {
		return false
	}
	switch resolution := u.spec["resolution"]; resolution {
	case nil, "NONE", "DNS", "DNS_ROUND_ROBIN":
	default:
		return false
	}
	ports, isList := u.spec["ports"].([]any)
	return isList && !slices.ContainsFunc(ports, func(e any) bool {
		parsed := protocol.Parse(lookupString(asMap(e), "protocol"))
		fits := parsed.IsTLS() || parsed.IsHTTP() && parsed != protocol.HTTP_PROXY
		if http {
			fits = parsed == protocol.HTTP
		}
		return asMap(e)["targetPort"] != nil || !fits
	})
}

// Addressed reports whether it is an entry with addresses, some of them open.
func (u *Unfilled) Addressed() bool {
	return u.reached.open
}

// Waypoint reports whether it is a Gateway of the Gateway API that may be a waypoint.
func (u *Unfilled) Waypoint() bool {
	class, ok := u.spec["gatewayClassName"].(string)
	return u.Group() == kubeGatewayGroup && u.Kind == "Gateway" && !u.Homeless && (!ok || open(class) || class == gatewayClassWaypoint)
}

// Ports are the ports that an entry gives for certain.
func (u *Unfilled) Ports() []int {
	var out []int
	list, _ := u.spec["ports"].([]any)
	for _, e := range list {
		if n, known := portNumber(asMap(e)["number"]); known && n > 0 && n < 65536 {
			out = append(out, n)
		}
	}
	return out
}
