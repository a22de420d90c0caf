// Package capture decides whether a proxy sees what a workload sends, and which
// part of it: injection, interception, and the traffic annotations.
//
// Sources: istio pkg/kube/inject/inject.go, the webhook of
// manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml,
// and tools/istio-iptables/pkg/capture/run.go.
package capture

import (
	"fmt"
	"net/netip"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// Mode is the kind of proxy that a workload has.
type Mode int

const (
	// None is no proxy; what the workload sends goes out as it is.
	None Mode = iota
	// Sidecar is an Envoy beside the application takes what iptables redirects.
	Sidecar
	// Router says that the pod is a gateway. What its proxy sends is configured, what
	// other processes in it send is not seen.
	Router
	// Ambient says that the node's ztunnel takes every TCP connection.
	Ambient
	// Waypoint says that the pod is a waypoint.
	Waypoint
	// Undecided says that the manifests do not tell.
	Undecided
)

// Capture is what is known about one workload's proxy.
type Capture struct {
	Mode Mode
	// Why is a clause: "namespace default is labelled istio-injection=enabled".
	Why     string
	Because []flow.Because
	// Assumption is set where Mode rests on one.
	Assumption string
	// DNSCapture: the client resolves names through its proxy.
	DNSCapture bool

	rules []rule
}

// rule is one line of the redirect, in the order in which iptables tries them.
type rule struct {
	captured bool
	matches  func(netip.AddrPort) bool
	why      string
	because  []flow.Because
}

// Verdict says whether the sidecar sees a connection, and why.
type Verdict struct {
	Captured bool
	Why      string
	Because  []flow.Because
}

// Of decides about a workload. config is the mesh configuration of its revision.
func Of(mesh *model.Mesh, config *model.MeshConfig, w *model.Workload) *Capture {
	c := injection(mesh, config, w)
	if c.Mode == Sidecar {
		c.compile(config, w)
	}
	return c
}

// Outbound decides about a TCP connection to dst. It is only asked for
// workloads with a sidecar.
func (c *Capture) Outbound(dst netip.AddrPort) Verdict {
	for _, r := range c.rules {
		if r.matches(dst) {
			return Verdict{r.captured, r.why, r.because}
		}
	}
	return Verdict{Captured: true, Why: "the sidecar takes all outbound TCP connections"}
}

// because points to a field of the workload's pod.
func because(w *model.Workload, field string) flow.Because {
	return flow.Because{Object: w.Object, Field: w.Field(field)}
}

// compile builds the redirect rules in the order of
// tools/istio-iptables/pkg/capture/run.go; the first that matches decides.
func (c *Capture) compile(config *model.MeshConfig, w *model.Workload) {
	add := func(captured bool, why string, from []flow.Because, matches func(netip.AddrPort) bool) {
		c.rules = append(c.rules, rule{captured, matches, why, from})
	}
	if mode, from := interceptionMode(config, w); mode == "NONE" {
		add(false, "interception mode NONE: nothing is redirected to the sidecar", from, func(netip.AddrPort) bool { return true })
	}
	s := settingsOf(config, w)
	if ports := s.excludePorts; len(ports.ports) > 0 {
		add(false, fmt.Sprintf("outbound port %s is excluded from the sidecar", ports), ports.because,
			func(a netip.AddrPort) bool { return ports.has(a.Port()) })
	}
	if from, all := proxyIdentity(w); all {
		add(false, "the application runs with the proxy's own user or group id, which the redirect leaves alone", from,
			func(netip.AddrPort) bool { return true })
	}
	add(false, "connections to the pod's own loopback are not redirected", nil,
		func(a netip.AddrPort) bool { return a.Addr().IsLoopback() })
	if ranges := s.excludeRanges; len(ranges.prefixes) > 0 {
		add(false, fmt.Sprintf("addresses in %s are excluded from the sidecar", ranges), ranges.because,
			func(a netip.AddrPort) bool { return ranges.has(a.Addr()) })
	}
	if ports := s.includePorts; len(ports.ports) > 0 || ports.all {
		add(true, fmt.Sprintf("outbound port %s is captured", ports), ports.because,
			func(a netip.AddrPort) bool { return ports.has(a.Port()) })
	}
	if ranges := s.includeRanges; !ranges.all {
		what := ranges.String()
		if what == "" {
			what = "no address"
		}
		add(true, fmt.Sprintf("the sidecar captures %s", what), ranges.because, func(a netip.AddrPort) bool { return ranges.has(a.Addr()) })
		add(false, fmt.Sprintf("the sidecar captures only %s", what), ranges.because, func(netip.AddrPort) bool { return true })
	}
}

// Signature is the same for workloads between which capture makes no difference.
func (c *Capture) Signature() string {
	out := fmt.Sprint(c.Mode, "|", c.Why, "|", c.Assumption, "|", c.DNSCapture)
	for _, r := range c.rules {
		out += fmt.Sprint("|", r.captured, " ", r.why)
	}
	return out
}
