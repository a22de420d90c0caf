package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR301", Name: "unsteered-port", Severity: Error, SecuritySeverity: 8.5,
	Run: runUnsteeredPort,
	Doc: Doc{
		Title: "A host that is sent through the egress gateway on one port is reached directly on another",
		What: "A VirtualService sends a host's requests to the egress gateway, but only on some of the ports that the host's ServiceEntry declares. " +
			"The clients' sidecars know the other ports as well and connect there straight to the host.",
		Why: "What the gateway logs, authorizes or filters does not exist for the other port. Most often plaintext HTTP on port 80 is sent to the gateway, " +
			"while https:// on port 443, which is what applications really use, goes out unseen.",
		Bad:  egressDoc("", entryPorts, entryPortsTLS),
		Good: egressDoc(""),
		Fix: "Send the port through the gateway too (a `tls` route with `sniHosts`, and a Gateway server with `tls.mode: PASSTHROUGH`, or an ISTIO_MUTUAL server with a `tcp` route), " +
			"or take it out of the ServiceEntry that clients see and declare it in one that only the gateway's namespace sees. " +
			"Under outboundTrafficPolicy ALLOW_ANY removing the port is not enough: what is not registered is passed through.",
		Silent: "Ports on which the simulation does not let the request out (TLS origination rules that break the application's own TLS, hosts that the client does not see), " +
			"clients without a sidecar, clients for which no route of the mesh sends the host to a gateway, and anything that rests on an unknown verdict. " +
			"A route that exists but does not apply to the client is EGR302, a host that the route leaves out EGR303, a port that is declared as TCP EGR214.",
		Sources: []string{
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/",
			"istio pilot/pkg/networking/core/tls.go (buildSidecarOutboundTLSFilterChainOpts)",
		},
	},
})

// The ports of the documented mesh's ServiceEntry, and the same with port 443.
const (
	entryPorts = `    protocol: HTTP
  resolution: DNS
`
	entryPortsTLS = `    protocol: HTTP
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`
)

// unsteeredPort is what a finding of EGR301 is about: the node that opens the
// port, and the gateway that it goes around.
type unsteeredPort struct {
	object  *manifest.Object
	field   string
	gateway string
	// stopped: a network policy stops the requests on their direct way.
	stopped bool
}

func runUnsteeredPort(p *Pass) {
	in := intentOf(p)
	var found, misread byKey[unsteeredPort]
	steered := map[string][]int{} // ports by host
	for alike := range in.steered() {
		if alike.By != nil && !slices.Contains(steered[alike.name()], alike.To.Port) {
			steered[alike.name()] = append(steered[alike.name()], alike.To.Port)
		}
		if !alike.direct() && !stoppedByNetwork(alike.Trace) {
			continue
		}
		for a := range in.each(alike, nil) {
			if !a.direct() && (a.Flow.Scheme != flow.TLS || !in.stopsShort(a)) || in.gap(a) != unsteered || in.openedAsTCP(a) {
				continue
			}
			if s := in.otherBlock(a); s != nil {
				misread.add(unsteeredPort{s.Object, s.Match, s.gateway(), !a.direct()}, a)
				continue
			}
			if k, ok := opens(a); ok && a.direct() {
				k.gateway = in.steeringOf(a).gateway()
				found.add(k, a)
			}
		}
	}
	for _, k := range misread.keys {
		in.reportOtherBlock(k, misread.of[k])
	}
	for _, k := range found.keys {
		c := found.of[k]
		s := in.steeringOf(c.first)
		f := Finding{
			Object: k.object, Field: k.field, Severity: Error, SecuritySeverity: 7.2,
			Label: "goes straight out, around the gateway", Related: []Related{s.related()},
		}
		for _, policed := range in.policed(s, c.first.To.Host) {
			f.SecuritySeverity = 8.5
			f.Related = append(f.Related, policed.related(c.first.name()))
		}
		direct := portsText(c.ports)
		f.Message = fmt.Sprintf("%s %s sent through %s%s, but %s %s directly on %s; send %s through the gateway too, or take it out of what clients see",
			upTo3(c.hosts), c.are(), k.gateway, in.steeredPorts(steered, c.hosts, c.ports), c.who("reaches", "reach"), c.them(), direct, direct)
		f.Help = fmt.Sprintf("add a route for %s to %s that leads to the gateway, or declare the port in a ServiceEntry that only the gateway's namespace sees", direct, s.Route.Title())
		if object, _ := c.first.explicit(); object != nil {
			f.Help = fmt.Sprintf("let the route for %s in %s lead to the gateway", direct, object)
		} else if len(c.ports) == 1 {
			f.Edits, f.Fix = in.splitFor(k.object, strings.TrimSuffix(k.field, ".number"), s, slices.Concat(c.classes...))
		}
		p.Report(c.finding(f))
	}
}

// steeringOf returns the first steering that is meant for the clients of an
// attempt and its host; there must be one.
func (in *intent) steeringOf(a *attempt) *steering {
	covering := in.covering(a.To.Host)
	return covering[slices.IndexFunc(covering, func(s *steering) bool { return s.isFor(a.Class[0]) })]
}

// opens returns the node that lets a direct request out: the destination of the
// route that it takes, else the port of the ServiceEntry.
func opens(a *attempt) (unsteeredPort, bool) {
	if object, field := a.explicit(); object != nil {
		return unsteeredPort{object: object, field: field}, true
	}
	entry, _, port := a.entry()
	if entry == nil || port == "" {
		return unsteeredPort{}, false
	}
	return unsteeredPort{object: entry, field: port + ".number"}, true
}

// gapKind tells the ways apart in which a direct request misses the gateway.
type gapKind int

const (
	// noGap: no route speaks of the host.
	noGap gapKind = iota
	// unsteered: the routes speak of the host, but not of this port (EGR301).
	unsteered
	// invisible: a route speaks of host and port, but this client does not use
	// it (EGR302).
	invisible
	// partHost: routes speak of the port, and of other hosts of the same
	// ServiceEntry, or of a part of the wildcard (EGR303).
	partHost
)

// gap says by what a direct request misses the gateway.
func (in *intent) gap(a *attempt) gapKind {
	h := a.To.Host
	if host.Name(a.To.Stands).IsWildCarded() {
		h = a.To.Stands
	}
	covering := in.covering(h)
	isFor := func(s *steering) bool { return s.isFor(a.Class[0]) }
	switch {
	case slices.ContainsFunc(covering, func(s *steering) bool { return s.takes(a.To.Port, a.Flow.Scheme) }):
		return invisible
	case len(in.siblings(a)) > 0:
		return partHost
	case slices.ContainsFunc(covering, isFor):
		return unsteered
	default:
		return noGap
	}
}

// steeredPorts names the ports on which requests for hosts are sent to a gateway,
// as seen, else as the routes have it, but those that a route has in vain, as it is for
// another protocol: " on port 80"; "" if none is.
func (in *intent) steeredPorts(seen map[string][]int, hosts []string, inVain []int) string {
	var ports []int
	for _, h := range hosts {
		ports = append(ports, seen[h]...)
	}
	if len(ports) == 0 {
		for _, h := range hosts {
			for _, s := range in.covering(h) {
				if s.Port > 0 && !slices.Contains(inVain, s.Port) {
					ports = append(ports, s.Port)
				}
			}
		}
	}
	if len(ports) == 0 {
		return ""
	}
	slices.Sort(ports)
	return " on " + portsText(slices.Compact(ports))
}
