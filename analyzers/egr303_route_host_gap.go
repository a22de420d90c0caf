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
	ID: "EGR303", Name: "route-host-gap", Severity: Error, SecuritySeverity: 7.8,
	Run: runRouteHostGap,
	Doc: Doc{
		Title: "A ServiceEntry registers more hosts than its routes send through the egress gateway",
		What: "A ServiceEntry registers several hosts or a wildcard, and a route of the mesh sends some of these hosts to the egress gateway. " +
			"For the other hosts on the same port no route exists, so that sidecars connect to them directly.",
		Why: "A sidecar goes straight to a registered host where no VirtualService covers it. `*.example.com` in a ServiceEntry for HTTP and `www.example.com` in " +
			"the VirtualService leave every other name below example.com outside of the gateway's control. (A `tls` route whose `hosts` overlap a host of the ServiceEntry takes " +
			"that host's whole port: server names that it does not list count as unregistered then.)",
		Bad: egressDoc("", "  hosts:\n  - api.example.com\n  ports:\n", "  hosts:\n  - api.example.com\n  - files.example.com\n  ports:\n"),
		Good: egressDoc("", "  hosts:\n  - api.example.com\n  ports:\n", "  hosts:\n  - api.example.com\n  - files.example.com\n  ports:\n",
			"    hosts:\n    - api.example.com\n", "    hosts:\n    - api.example.com\n    - files.example.com\n",
			"  hosts:\n  - api.example.com\n  gateways:\n", "  hosts:\n  - api.example.com\n  - files.example.com\n  gateways:\n",
			legFromGateway, filesFromGateway+legFromGateway),
		Fix: "Let the VirtualService's `hosts` (for TLS the `sniHosts`) and the Gateway server's `hosts` cover what the ServiceEntry registers, " +
			"or register only what they cover.",
		Silent: "ServiceEntries none of whose hosts is sent to a gateway on that port, hosts that the simulation does not let out directly, clients without a sidecar.",
		Sources: []string{
			"istio pilot/pkg/networking/core/tls.go (buildSidecarOutboundTLSFilterChainOpts)",
			"istio pilot/pkg/networking/core/httproute.go (BuildSidecarOutboundVirtualHosts)",
		},
	},
})

// legFromGateway is where the rule of [egressDoc] for the gateway begins,
// filesFromGateway a rule of the same for another host.
const (
	legFromGateway   = "  - match:\n    - gateways:\n      - egress\n      port: 443\n"
	filesFromGateway = legFromGateway + `      authority:
        exact: files.example.com
    route:
    - destination:
        host: files.example.com
        port:
          number: 80
`
)

// hostGap is what a finding of EGR303 is about: a ServiceEntry, and the
// VirtualService that covers a part of its hosts.
type hostGap struct{ entry, route *manifest.Object }

func runRouteHostGap(p *Pass) {
	in := intentOf(p)
	beside := in.hostsBeside()
	if len(beside) == 0 {
		return
	}
	var found byKey[hostGap]
	for alike := range in.inquire(&inquiry{
		want:  func(d reach.Destination) bool { return slices.ContainsFunc(beside, host.Name(d.Host).SubsetOf) },
		keep:  func(via flow.Via, reason flow.Reason) bool { return via == flow.ViaDirect && reason == flow.OK },
		alike: true,
	}) {
		if !alike.direct() {
			continue
		}
		for a := range in.each(alike, nil) {
			if in.gap(a) == partHost {
				entry, _, _ := a.entry()
				found.add(hostGap{entry, in.siblings(a)[0].Route.Object}, a)
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		by := in.siblings(c.first)[0]
		_, field, _ := c.first.entry()
		p.Report(c.finding(Finding{
			Object: k.entry, Field: field, Severity: Error, SecuritySeverity: 7.8,
			Message: fmt.Sprintf("%s %s covered by %s but by no route to %s: %s %s directly on %s; widen the hosts of %s, or register fewer",
				upTo3(c.hosts), c.are(), k.entry, by.gateway(), c.who("reaches", "reach"), c.them(), portsText(c.ports), by.Route.Title()),
			Label:   "no route sends this to the gateway",
			Help:    fmt.Sprintf("let %s of %s cover the same hosts as the ServiceEntry, at the gateway too", by.hostsField(), by.Route.Title()),
			Related: []Related{by.related(), {by.Object, by.hostsField(), "covers only " + upTo3(hostNames(by.Hosts))}},
		}))
	}
}

// hostsField is the field that says which hosts a steering covers.
func (s *steering) hostsField() string {
	if s.Route.OfGatewayAPI != "" {
		return "spec.parentRefs"
	}
	if strings.HasPrefix(s.Match, "spec.tls[") {
		return s.Match + ".sniHosts"
	}
	return "spec.hosts"
}

// entryHosts returns the hosts of a ServiceEntry, none for nil.
func (in *intent) entryHosts(object *manifest.Object) []host.Name {
	e := in.entries[object]
	if e == nil {
		return nil
	}
	out := make([]host.Name, 0, len(e.Spec.GetHosts()))
	for _, h := range e.Spec.GetHosts() {
		out = append(out, host.Name(strings.ToLower(h)))
	}
	return out
}

// siblings returns the steerings that are meant for a client and take the port
// and protocol of its direct request, but for other hosts of the same
// ServiceEntry, or for a part of the same wildcard.
func (in *intent) siblings(a *attempt) []*steering {
	entry, _, _ := a.entry()
	hosts := in.entryHosts(entry)
	var out []*steering
	for _, s := range in.steerings {
		if s.takes(a.To.Port, a.Flow.Scheme) && s.isFor(a.Class[0]) && overlap(hosts, s.Hosts) {
			out = append(out, s)
		}
	}
	return out
}

// hostsBeside returns the hosts of the ServiceEntries of which routes send some
// host to a gateway.
func (in *intent) hostsBeside() []host.Name {
	var out []host.Name
	for _, e := range in.push.Mesh.ServiceEntries {
		hosts := in.entryHosts(e.Object)
		if slices.ContainsFunc(model.LowerHosts(hosts), func(h host.Name) bool { return len(in.byHost.Overlapping(h)) > 0 }) {
			out = append(out, hosts...)
		}
	}
	return out
}
