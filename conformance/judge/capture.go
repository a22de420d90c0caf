package judge

import (
	"net/netip"
	"strconv"
	"strings"
)

// captured says whether the pod's iptables send a TCP connection to its proxy
// (tools/istio-iptables/pkg/capture/run.go).
func captured(w *Workload, to netip.AddrPort, installation map[string]string) bool {
	annotations := w.Pod.Annotations
	setting := func(annotation, value string) (string, bool) {
		if text, found := annotations["traffic.sidecar.istio.io/"+annotation]; found {
			return text, true
		}
		text, found := installation[value]
		return text, found
	}
	if annotations["sidecar.istio.io/interceptionMode"] == "NONE" {
		return false
	}
	if to.Addr().IsLoopback() || to.Addr().String() == w.Pod.Status.PodIP {
		return false
	}
	if ports, _ := setting("excludeOutboundPorts", "excludeOutboundPorts"); portIn(ports, to.Port()) {
		return false
	}
	if ranges, _ := setting("excludeOutboundIPRanges", "excludeIPRanges"); addressIn(ranges, to.Addr()) {
		return false
	}
	if ports, _ := setting("includeOutboundPorts", "includeOutboundPorts"); portIn(ports, to.Port()) {
		return true
	}
	include, given := setting("includeOutboundIPRanges", "includeIPRanges")
	if !given {
		return true
	}
	return addressIn(include, to.Addr())
}

func portIn(list string, port uint16) bool {
	for _, part := range strings.Split(list, ",") {
		part = strings.TrimSpace(part)
		if part == "*" {
			return true
		}
		if n, err := strconv.ParseUint(part, 10, 16); err == nil && uint16(n) == port {
			return true
		}
	}
	return false
}

func addressIn(list string, address netip.Addr) bool {
	for _, part := range strings.Split(list, ",") {
		part = strings.TrimSpace(part)
		if part == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(part); err == nil && prefix.Contains(address) {
			return true
		}
		if single, err := netip.ParseAddr(part); err == nil && single == address {
			return true
		}
	}
	return false
}
