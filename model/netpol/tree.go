package netpol

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"go4.org/netipx"
)

// Objects of Cilium and Calico are read as encoding/json reads them into any.

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func listOf(v any) []any {
	l, _ := v.([]any)
	return l
}

// text is a scalar as it is written; "" for everything else.
func text(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case float64, int64, int, json.Number:
		return fmt.Sprint(t)
	default:
		return ""
	}
}

// number reads a port.
func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err
}

// foreignKey is the first key of a map that is not among those that are
// understood, "" if there is none.
func foreignKey(m map[string]any, known ...string) string {
	for _, k := range sortedKeys(m) {
		if !contains(known, k) && m[k] != nil {
			return k
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// prefixSet reads prefixes and single addresses.
func prefixSet(list []any) (*netipx.IPSet, bool) {
	var out []netip.Prefix
	for _, v := range list {
		s := text(v)
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		} else if prefix, err := netip.ParsePrefix(s); err == nil {
			out = append(out, prefix.Masked())
		} else {
			return nil, false
		}
	}
	return prefixes(out...), true
}
