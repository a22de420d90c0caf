package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR214", Name: "protocol-port-mismatch", Severity: Error, SecuritySeverity: 6.0,
	Run: runProtocolMismatch,
	Doc: Doc{
		Title: "A ServiceEntry declares a port with a protocol that clients do not speak there",
		What: "A ServiceEntry declares port 443, 8443 or 6443 as HTTP (or HTTP2, GRPC), or port 80 as HTTPS or TLS, or a port as TCP (or a protocol above it, or none) that a route to a gateway takes as HTTP or TLS, and what clients really send there finds no way: " +
			"it is closed (an error), or passes through as if nothing registered the host (a warning where a route sends the host to a gateway, else a note). " +
			"On 8443 and 6443, where TLS is only likely, it is a note.",
		Why: "The protocol decides what a sidecar expects. On an HTTP port it matches plaintext requests only, and TLS falls to the policy for unknown hosts; " +
			"on a TLS port it is the other way round. Routes and policies for the host never see these connections.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, entryOn443("HTTP")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, entryOn443("TLS")),
		Fix:  "Declare port 443 as TLS (or HTTPS, which means the same) and port 80 as HTTP.",
		Silent: "HTTP ports that a DestinationRule opens TLS on, whoever uses it, or that have another `targetPort` (clients speak plaintext there on purpose); " +
			"connections that get through to the host, as with a second ServiceEntry or a waypoint; hosts that no client with a sidecar sees; unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/networking/core/listener.go (buildListenerFromEntry)",
			"https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/",
		},
	},
})

func entryOn443(protocol string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - api.example.com
  ports:
  - number: 443
    name: web
    protocol: ` + protocol + `
  resolution: DNS
`
}

// misdeclared is what a finding of EGR214 is about.
type misdeclared struct {
	object *manifest.Object
	field  string
	// passes: connections pass through, else they are closed. usual: on this port
	// clients are known to speak something else, not only likely to.
	passes, steered, usual bool
	// straight: they go straight out although a route sends them to a gateway, stopped:
	// a network policy stops them there.
	straight, stopped bool
	// routed: a route to a gateway says what clients speak, not the number of the port.
	routed bool
	// is and means are what is declared, and the protocol that clients speak.
	is, means string
}

func runProtocolMismatch(p *Pass) {
	in := intentOf(p)
	type suspect struct {
		service *model.Service
		port    *model.Port
		speaks  flow.Scheme
	}
	suspects, anyRouted := map[int][]suspect{}, false // by port
	var hosts []host.Name
	tls := originations(p)
	for _, s := range in.push.Services() {
		if s.Entry == nil {
			continue
		}
		for _, port := range s.Ports {
			speaks := spokenOn(port)
			if routed := in.routedAs(s, port); speaks == "" && routed != "" {
				suspects[port.Number] = append(suspects[port.Number], suspect{s, port, routed})
				hosts, anyRouted = append(hosts, s.Hostname), true
				continue
			}
			if speaks == "" || speaks == flow.TLS && (outgoing(s, port) != port.Number || slices.ContainsFunc(tls, func(t tlsSetting) bool {
				return (t.port == 0 || t.port == port.Number) && slices.ContainsFunc(t.services, func(x *model.Service) bool { return x.Hostname == s.Hostname })
			})) {
				continue
			}
			suspects[port.Number] = append(suspects[port.Number], suspect{s, port, speaks})
			hosts = append(hosts, s.Hostname)
		}
	}
	if len(hosts) == 0 {
		return
	}
	index := indexHosts(hosts)
	var found byKey[misdeclared]
	for a := range in.attempts(
		func(d reach.Destination) bool { return suspects[d.Port] != nil && index.covers(d.Host) },
		func(via flow.Via, reason flow.Reason) bool {
			return anyRouted && (via == flow.ViaDirect || reason == flow.NetworkPolicy) || via == flow.ViaPassthrough || reason == flow.Blackhole || reason == flow.ProtocolError || reason == flow.NoFilterChain
		},
	) {
		passes := a.Trace.Outcome == flow.Allowed && a.Trace.Via == flow.ViaPassthrough
		straight, stopped := a.direct(), a.By == nil && stoppedByNetwork(a.Trace)
		if !passes && !straight && (a.Trace.Outcome != flow.Blocked || a.Trace.Via != flow.ViaNone) {
			continue
		}
		for _, s := range suspects[a.To.Port] {
			seen := in.seen(a.Class[0], s.service.Hostname)
			if s.speaks != a.Flow.Scheme || !host.Name(a.To.Host).SubsetOf(s.service.Hostname) || seen == nil || seen.Object != s.service.Object {
				continue
			}
			steered := slices.ContainsFunc(in.covering(a.To.Host), func(x *steering) bool { return x.isFor(a.Class[0]) })
			is := map[bool]string{true: "as TLS", false: "as HTTP"}[s.port.Protocol.IsTLS()]
			routed := opaque(s.port)
			if routed {
				is = asProtocol(s.port)
			} else if straight || stopped {
				continue
			}
			found.add(misdeclared{s.service.Object, s.port.Field + ".protocol", passes, passes && steered, routed || a.To.Port == 80 || a.To.Port == 443,
				straight, stopped, routed, is, strings.ToUpper(string(s.speaks))}, a)
			break
		}
	}
	for _, k := range found.keys {
		c, is, means := found.of[k], k.is, k.means
		f := Finding{Object: k.object, Field: k.field, Severity: Error, Label: "not what clients speak on this port", Help: fmt.Sprintf("set protocol %s", means), Fix: "protocol: " + means + "\n"}
		effect := whatClientsSee(c)
		if k.routed && !k.straight && !k.stopped && slices.ContainsFunc(found.keys, func(other misdeclared) bool {
			return other.object == k.object && other.field == k.field && (other.straight || other.stopped)
		}) {
			continue // some clients fare so, and others go out: that says it
		}
		switch {
		case k.straight:
			f.SecuritySeverity = 6.0
			effect = fmt.Sprintf("no route but tcp sees it, and the %s of %s goes straight out, around the gateway", means, upTo3(c.workloads()))
		case k.stopped:
			effect = fmt.Sprintf("no route but tcp sees it, and the %s of %s goes straight out, where a network policy stops it", means, upTo3(c.workloads()))
		case k.steered:
			f.Severity, f.SecuritySeverity = Warning, 6.0
			effect = fmt.Sprintf("the %s of %s passes straight out, as if nothing registered the host, and around the gateway", means, upTo3(c.workloads()))
		case k.passes:
			f.Severity = Note
			effect = fmt.Sprintf("the %s of %s passes through as if nothing registered the host, past all its routes", means, upTo3(c.workloads()))
		}
		if !k.usual {
			f.Severity, f.SecuritySeverity = Note, 0
		}
		f.Message = fmt.Sprintf("%s declares %s of %s %s, while clients speak %s there: %s; declare it as %s",
			k.object, portsText(c.ports), upTo3(c.hosts), is, means, effect, means)
		p.Report(c.finding(f))
	}
}

// routedAs returns what a route to a gateway expects on a port that is declared as
// TCP or a protocol above it, for which sidecars read tcp routes alone (istio
// pilot/pkg/networking/core/tls.go buildSidecarOutboundTCPFilterChainOpts); or on one
// without protocol, where they find out HTTP by themselves, but not server names. It
// returns "" for other ports.
func (in *intent) routedAs(s *model.Service, port *model.Port) flow.Scheme {
	// Where another entry declares the host otherwise, it is the second that is wrong
	// (EGR215, EGR216).
	otherwise := func(other *model.Service) bool {
		p := other.PortByNumber(port.Number)
		return p != nil && p.Protocol != port.Protocol
	}
	if !opaque(port) || slices.ContainsFunc(in.declaring(in.push, model.LowerHost(s.Hostname)), otherwise) {
		return ""
	}
	for _, x := range in.covering(string(s.Hostname)) {
		if x.Scheme != flow.TCP && x.Port == port.Number && (x.Scheme != flow.HTTP || !port.Protocol.IsUnsupported() && port.Protocol != "") {
			return x.Scheme
		}
	}
	return ""
}

// openedAsTCP reports whether a request gets out by a port that is declared as TCP,
// although a route to a gateway expects something else there.
func (in *intent) openedAsTCP(a *attempt) bool {
	object, _, field := a.entry()
	e := in.entries[object]
	return e != nil && slices.ContainsFunc(e.Spec.GetHosts(), func(h string) bool {
		return slices.ContainsFunc(in.declaring(in.push, model.LowerHost(host.Name(h))), func(s *model.Service) bool {
			return s.Object == object && slices.ContainsFunc(s.Ports, func(port *model.Port) bool { return port.Field == field && in.routedAs(s, port) != "" })
		})
	})
}

// spokenOn returns what clients speak on a port by convention where it is not what
// is declared, "" otherwise.
func spokenOn(port *model.Port) flow.Scheme {
	switch {
	case tlsPort(port.Number) && port.Protocol.IsHTTP():
		return flow.TLS
	case port.Number == 80 && port.Protocol.IsTLS():
		return flow.HTTP
	default:
		return ""
	}
}
