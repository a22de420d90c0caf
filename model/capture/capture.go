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
	"slices"
	"strconv"
	"strings"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// Mode is the kind of proxy that a workload has.
type Mode int

const (
	// None is no proxy: what the workload sends goes out as it is.
	None Mode = iota
	// Sidecar is an Envoy beside the application that takes what iptables redirects.
	Sidecar
	// Router says that the pod is a gateway. What its proxy sends is configured, what
	// other processes in it send is not seen.
	Router
	// Ambient says that the node's ztunnel takes every TCP connection.
	Ambient
	// Waypoint says that the pod is a waypoint.
	Waypoint
	// Undecided is where the manifests do not tell, or where the pod is refused
	// or does not start, so that what it will send is up to a repair.
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
	// DNSCapture: the client resolves names through its proxy. AutoAddresses: it
	// finds the addresses that istiod allocates, too.
	DNSCapture, AutoAddresses bool
	// Tunnels: it is Undecided, and may be in ambient mode.
	Tunnels bool
	// OwnCertificates: its proxy presents a certificate from files instead of the
	// mesh's (ISTIO_META_TLS_CLIENT_CERT_CHAIN).
	OwnCertificates bool
	// IPv4Only is a Service that shows a cluster of both families, where the
	// redirect of a sidecar may cover IPv4 alone: it goes by the pod's first
	// address, unless it is told of both (ISTIO_DUAL_STACK; istio
	// tools/common/config/config.go getLocalIP). nil where nothing shows that.
	IPv4Only *model.KubeService

	rules []rule
}

// rule is one line of the redirect, in the order in which iptables tries them.
type rule struct {
	captured bool
	// some: it holds for some containers of the pod only.
	some    bool
	matches func(netip.AddrPort) bool
	why     string
	because []flow.Because
}

// Verdict says whether the sidecar sees a connection, and why.
type Verdict struct {
	Captured bool
	// Some: it holds for some containers of the pod only; see [Capture.Others].
	Some    bool
	Why     string
	Because []flow.Because
}

// Of decides about a workload. config is the mesh configuration of its revision.
func Of(mesh *model.Mesh, config *model.MeshConfig, w *model.Workload) *Capture {
	s := &subject{mesh: mesh, config: config, w: w, ns: namespaceOf(mesh, w)}
	c := s.injection()
	c.OwnCertificates = s.variable("ISTIO_META_TLS_CLIENT_CERT_CHAIN") != ""
	if c.Mode == Sidecar {
		if c.IPv4Only = mesh.DualStack(); c.IPv4Only != nil {
			if both, err := strconv.ParseBool(s.metadata()["ISTIO_DUAL_STACK"]); err == nil && both && s.perhapsDualStack() {
				c.IPv4Only = nil
			}
		}
		s.compile(c)
	}
	return c
}

// Outbound decides about a TCP connection to dst. It is only asked for
// workloads with a sidecar.
//
// Containers of one pod may differ: some may run with an identity that the
// redirect leaves alone. They come first.
func (c *Capture) Outbound(dst netip.AddrPort) Verdict { return c.outbound(dst, true) }

// Others decides for the other containers where [Capture.Outbound] does for some.
func (c *Capture) Others(dst netip.AddrPort) Verdict { return c.outbound(dst, false) }

func (c *Capture) outbound(dst netip.AddrPort, some bool) Verdict {
	for _, r := range c.rules {
		if (some || !r.some) && r.matches(dst) {
			return Verdict{r.captured, r.some, r.why, r.because}
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
func (s *subject) compile(c *Capture) {
	add := func(captured bool, why string, from []flow.Because, matches func(netip.AddrPort) bool) {
		c.rules = append(c.rules, rule{captured: captured, matches: matches, why: why, because: from})
	}
	always := func(netip.AddrPort) bool { return true }
	if on, _ := s.pluginInstalled(); on && (s.config.GetProxyListenPort() != 15001 || s.config.GetProxyInboundListenPort() != 15006) {
		// Unlike istio-init, the plugin knows no other ports (istio
		// cni/pkg/plugin/sidecar_redirect.go defaultRedirectToPort).
		c.Mode = Undecided
		c.Why = "Istio's CNI plugin redirects to ports 15001 and 15006, and the mesh configuration has its sidecars listen on others (proxyListenPort, proxyInboundListenPort)"
		return
	}
	if mode, from := s.interceptionMode(); mode == "NONE" && s.initArgs() == nil {
		add(false, "interception mode NONE: nothing is redirected to the sidecar", from, always)
	}
	set := s.settings()
	if contains(set.interfaces, podInterface) {
		add(false, "network interface "+podInterface+" is excluded from the sidecar", set.interfacesFrom, always)
	} else if others := slices.DeleteFunc(slices.Clone(set.interfaces), func(name string) bool { return name == "lo" }); len(others) > 0 {
		c.Assumption = join(c.Assumption, fmt.Sprintf("the connection does not leave by network interface %s, which is excluded from the sidecar", strings.Join(others, " or ")))
	}
	if ports := set.excludePorts; len(ports.ports) > 0 {
		add(false, fmt.Sprintf("outbound port %s is excluded from the sidecar", ports), ports.because,
			func(a netip.AddrPort) bool { return ports.has(a.Port()) })
	}
	if names, from := s.proxyIdentity(); len(names) > 0 {
		add(false, fmt.Sprintf("container %s runs with the proxy's own user or group id, which the redirect leaves alone", strings.Join(names, ", ")), from, always)
		c.rules[len(c.rules)-1].some = len(names) < s.applications()
	}
	switch escapes, unknown := s.ownerGroups(); {
	case escapes:
		add(false, "the redirect leaves out the group that the application runs with (ISTIO_OUTBOUND_OWNER_GROUPS)", nil, always)
	case unknown:
		c.Mode, c.Why = Undecided, "the redirect is limited to certain groups (ISTIO_OUTBOUND_OWNER_GROUPS), and the manifest does not say with which group its containers run; set runAsGroup"
		c.rules = nil
		return
	}
	if on, _ := s.pluginInstalled(); on && c.DNSCapture {
		// The plugin knows no resolver and takes port 53 of all addresses.
		add(false, "TCP port 53 goes to the sidecar's DNS proxy, which forwards to the cluster's resolver what it does not know", nil,
			func(a netip.AddrPort) bool { return a.Port() == 53 && !a.Addr().IsLoopback() })
	}
	loopback := set.includeRanges.loopback()
	add(false, "connections to the pod's own loopback are not redirected", nil, func(a netip.AddrPort) bool {
		if loopback { // then only these two stay out
			return a.Addr().Unmap() == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a.Addr() == netip.IPv6Loopback()
		}
		return a.Addr().Unmap().IsLoopback()
	})
	if ranges := set.excludeRanges; len(ranges.prefixes) > 0 {
		add(false, fmt.Sprintf("addresses in %s are excluded from the sidecar", ranges), ranges.because,
			func(a netip.AddrPort) bool { return ranges.has(a.Addr()) })
	}
	if ports := set.includePorts; len(ports.ports) > 0 {
		add(true, fmt.Sprintf("outbound port %s is captured", ports), ports.because,
			func(a netip.AddrPort) bool { return ports.has(a.Port()) })
	}
	if ranges := set.includeRanges; !ranges.all {
		what := ranges.String()
		if what == "" {
			what = "no address"
		}
		add(true, fmt.Sprintf("the sidecar captures %s", what), ranges.because, func(a netip.AddrPort) bool { return ranges.has(a.Addr()) })
		add(false, fmt.Sprintf("the sidecar captures only %s", what), ranges.because, always)
	}
}

// podInterface is the interface that container runtimes give to pods.
const podInterface = "eth0"

// Signature is the same for workloads between which capture makes no difference.
func (c *Capture) Signature() string {
	out := fmt.Sprint(c.Mode, "|", c.Why, "|", c.Assumption, "|", c.DNSCapture, c.AutoAddresses, c.OwnCertificates, "|", c.IPv4Only != nil)
	for _, r := range c.rules {
		out += fmt.Sprint("|", r.captured, " ", r.some, " ", r.why)
	}
	return out
}
