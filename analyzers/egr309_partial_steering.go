package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR309", Name: "partial-steering", Severity: Error, SecuritySeverity: 7.6,
	Run: runPartialSteering,
	Doc: Doc{
		Title: "A route sends only a part of a host's requests through the egress gateway",
		What: "A route of the mesh has several weighted destinations, one the egress gateway and another straight outside; " +
			"or it sends the requests to the gateway and mirrors a copy straight outside (a warning). Where a NetworkPolicy stops what goes straight out, so many requests fail, which is a warning.",
		Why: "Each weight above 0 is a way out. A canary of 10% for the gateway leaves 90% of the requests without its policies and logs, " +
			"and a copy carries the same data as the request.",
		Bad:     egressDoc("", toGatewayOnly, toGatewayOnly+"      weight: 90\n    - destination:\n        host: api.example.com\n        port:\n          number: 80\n      weight: 10\n"),
		Good:    egressDoc(""),
		Fix:     "Leave the gateway as the only destination, or give the other one weight 0; send copies through the gateway as well, or nowhere.",
		Silent:  "Destinations of weight 0, splits between gateways, mirrors to Services of the cluster or to hosts that the clients do not see, unknown verdicts.",
		Sources: []string{"istio pilot/pkg/networking/core/route/route.go (applyHTTPRouteDestination)"},
	},
})

// toGatewayOnly is the destination of the documented route to the gateway.
const toGatewayOnly = `        host: egress.istio-egress.svc.cluster.local
        port:
          number: 443
`

// part is what a finding of EGR309 is about: a destination beside the gateway.
type part struct {
	object *manifest.Object
	field  string
	weight string
	// stopped: NetworkPolicies stop what goes there.
	stopped bool
}

func runPartialSteering(p *Pass) {
	in := intentOf(p)
	reportSplits(p, in)
	for _, s := range in.steerings {
		if s.Scheme == flow.HTTP && s.Route.OfGatewayAPI == "" {
			reportMirrors(p, in, s)
		}
	}
}

func reportSplits(p *Pass, in *intent) {
	var split []host.Name
	for _, s := range in.steerings {
		if s.shared() {
			split = append(split, s.Hosts...)
		}
	}
	if len(split) == 0 {
		return
	}
	var found byKey[part]
	policies := map[part]string{} // the first that stops it
	index := indexHosts(split)
	for a := range in.attempts(
		func(d reach.Destination) bool { return index.covers(d.Host) },
		func(flow.Via, flow.Reason) bool { return true },
	) {
		if a.By == nil {
			continue
		}
		total := 0
		for _, b := range a.Trace.Branches {
			total += b.Weight
		}
		for i := range a.Trace.Branches {
			b := &a.Trace.Branches[i]
			e := exitOf(&b.Trace)
			if e == nil || e.At != flow.AtSidecar || e.route.Object == nil {
				continue
			}
			k := part{e.route.Object, e.route.Field, fmt.Sprintf("%d%%", b.Weight*100/max(total, 1)), false}
			switch {
			case b.Outcome == flow.Allowed && b.Via == flow.ViaDirect && b.Reason == flow.OK:
				found.add(k, a)
			case stoppedByNetwork(&b.Trace) && !inCluster(in.push, e.host):
				k.stopped = true
				if policies[k] == "" {
					policies[k] = b.Policy
				}
				found.add(k, a)
			}
		}
	}
	for _, k := range found.keys {
		c := found.of[k]
		if k.stopped {
			p.Report(c.finding(Finding{
				Object: k.object, Field: k.field, Severity: Warning,
				Message: fmt.Sprintf("%s sends %s of the requests for %s straight out instead of to %s, where NetworkPolicy %s stops them: so many requests of %s fail; remove this destination, or give it weight 0",
					c.first.By.Route.Title(), k.weight, upTo3(c.hosts), c.first.By.gateway(), policies[k], upTo3(c.workloads())),
				Label: "a part fails", Help: "leave the gateway as the only destination", Related: []Related{c.first.By.related()},
			}))
			continue
		}
		p.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Error, SecuritySeverity: 7.6,
			Message: fmt.Sprintf("%s sends %s of the requests for %s straight out instead of to %s: %s around the gateway with these; remove this destination, or give it weight 0",
				c.first.By.Route.Title(), k.weight, upTo3(c.hosts), c.first.By.gateway(), c.who("goes", "go")),
			Label: "a part goes around the gateway", Help: "leave the gateway as the only destination", Related: []Related{c.first.By.related()},
		}))
	}
}

// shared reports whether the route of a steering has other destinations than the
// gateway's.
func (s *steering) shared() bool {
	for _, r := range s.Route.HTTP {
		if r.Object == s.Object && strings.HasPrefix(s.To, r.Field+".") && len(r.GetRoute()) > 1 {
			return true
		}
	}
	several := func(routes []*networking.RouteDestination, field string) bool {
		return len(routes) > 1 && s.Object == s.Route.Object && strings.HasPrefix(s.To, field+".")
	}
	for i, r := range s.Route.TLS {
		if several(r.GetRoute(), fmt.Sprintf("spec.tls[%d]", i)) {
			return true
		}
	}
	for i, r := range s.Route.TCP {
		if several(r.GetRoute(), fmt.Sprintf("spec.tcp[%d]", i)) {
			return true
		}
	}
	return false
}

// reportMirrors reports the copies that the route of a steering sends outside,
// once for each route.
func reportMirrors(p *Pass, in *intent, s *steering) {
	for _, r := range s.Route.HTTP {
		if r.Object != s.Object || s.To != r.Destination(0).Field {
			continue
		}
		if first := slices.IndexFunc(in.steerings, func(x *steering) bool { return x.key() == s.key() }); in.steerings[first] != s {
			return // another condition of the same route
		}
		type copyTo struct {
			to    *networking.Destination
			field string
		}
		var copies []copyTo
		if m := r.GetMirror(); m != nil && (r.GetMirrorPercentage() == nil || r.GetMirrorPercentage().GetValue() > 0) {
			copies = append(copies, copyTo{m, r.Field + ".mirror"})
		}
		for i, m := range r.GetMirrors() {
			if m.GetPercentage() == nil || m.GetPercentage().GetValue() > 0 {
				copies = append(copies, copyTo{m.GetDestination(), fmt.Sprintf("%s.mirrors[%d].destination", r.Field, i)})
			}
		}
		for _, m := range copies {
			h := host.Name(m.to.GetHost())
			if inCluster(in.push, h) {
				continue
			}
			c := in.copied(s, h, int(m.to.GetPort().GetNumber()))
			if c.first == nil {
				continue
			}
			p.Report(c.finding(Finding{
				Object: r.Object, Field: m.field, Severity: Warning, SecuritySeverity: 6.0,
				Message: fmt.Sprintf("%s copies the requests for %s that it sends to %s straight to %s: the copies of %s leave around the gateway; mirror inside the cluster, or not at all",
					s.Route.Title(), upTo3(c.hosts), s.gateway(), h, upTo3(c.workloads())),
				Label: "copies go around the gateway", Help: "remove the mirror, or send it to a Service of the cluster", Related: []Related{s.related()},
			}))
		}
	}
}

// copied returns the requests that a steering takes, of clients whose sidecars
// see the host that copies go to.
func (in *intent) copied(s *steering, h host.Name, port int) *collected {
	c := &collected{}
	for a := range in.attempts(func(d reach.Destination) bool { return s.covers(host.Name(d.Host)) },
		func(via flow.Via, _ flow.Reason) bool { return via == flow.ViaGateway }) {
		if a.By == nil || a.By.key() != s.key() || a.Trace.Outcome == flow.Unknown {
			continue
		}
		svc := in.seen(a.Class[0], h)
		if port == 0 {
			port = a.To.Port
		}
		if svc != nil && svc.Entry != nil && svc.PortByNumber(port) != nil && svc.Resolution != model.Passthrough {
			c.add(a)
		}
	}
	return c
}

// seen returns the service of a host that a workload's sidecar sees, nil if it
// sees none.
func (in *intent) seen(w *model.Workload, h host.Name) *model.Service {
	push := in.pushFor(w)
	if sidecar := push.SidecarFor(w.Namespace, w.Labels); sidecar != nil {
		return in.scopeOf(push, w.Namespace, sidecar).Service(h)
	}
	return visibleService(push, h, w.Namespace)
}
