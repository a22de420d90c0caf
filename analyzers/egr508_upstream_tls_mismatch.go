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
	ID: "EGR508", Name: "upstream-tls-mismatch", Severity: Error,
	Run: runUpstreamTLS,
	Doc: Doc{
		Title: "A DestinationRule opens TLS towards an external host where the server does not expect that TLS",
		What: "A proxy that sends requests out (a sidecar, the egress gateway or a waypoint) opens TLS because a DestinationRule says so, and the server outside cannot take it: " +
			"the mode is ISTIO_MUTUAL, which is the mesh's own TLS; the requests go to port 80; or the application sends TLS itself, which ends up in a second one.",
		Why: "Only proxies of a mesh with the same certificate authority understand ISTIO_MUTUAL. Servers speak plaintext on port 80, so that TLS origination needs a `targetPort` or another port. " +
			"And a rule that originates TLS for the gateway applies to every sidecar that finds it, also where the application speaks HTTPS to the same port.",
		Bad:  egressDoc(strings.Replace(verifiedRule(""), "mode: SIMPLE", "mode: ISTIO_MUTUAL", 1), entryPorts, entryOriginated),
		Good: egressDoc(verifiedRule(""), entryPorts, entryOriginated),
		Fix: "Use `tls.mode: SIMPLE` (or MUTUAL with a certificate of your own), set `targetPort: 443` on the port that clients call in plaintext, " +
			"and keep a rule that originates TLS on a port of its own, or export it to the gateway's namespace only.",
		Silent: "Hosts with a private name or private addresses; requests of which the outcome is unknown; ISTIO_MUTUAL with `subjectAltNames`, as towards another mesh of the same authority. TLS within TLS is a note where the same rule serves requests that come to the " +
			"gateway in plaintext: then nobody need call the other port.",
		Sources: []string{
			"istio pilot/pkg/networking/core/cluster_tls.go (buildUpstreamClusterTLSContext)",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-tls-origination/",
		},
	},
})

// maxPlain bounds the clients and hosts that are tried for TLS that goes to port 80.
const maxPlain = 4096

// wrongTLS is what a finding of EGR508 is about.
type wrongTLS struct {
	object *manifest.Object
	field  string
	kind   flow.Reason
}

func runUpstreamTLS(p *Pass) {
	in := intentOf(p)
	var found byKey[wrongTLS]
	exits := map[wrongTLS]*exit{}
	take := func(a *attempt) {
		k, e := in.wrongTLS(a.Trace)
		if e == nil {
			return
		}
		if exits[k] == nil {
			exits[k] = e
		}
		found.add(k, a)
	}
	registered := in.originatedHosts()
	if len(registered) == 0 {
		return
	}
	index := indexHosts(registered)
	for a := range in.attempts(
		func(d reach.Destination) bool { return index.covers(d.Host) },
		func(_ flow.Via, reason flow.Reason) bool {
			return reason == flow.DoubleTLS || reason == flow.TLSMismatch
		},
		flow.DoubleTLS, flow.TLSMismatch,
	) {
		take(a)
	}
	// What gets out tells nothing by itself: a few clients of each host show it.
	tried, all := map[reach.Destination]int{}, 0
	for a := range in.attemptsOf(
		func(d reach.Destination) bool { return !tlsPort(d.Port) && index.covers(d.Host) },
		func(d reach.Destination, _ *model.Workload) bool {
			tried[d]++
			all++
			return tried[d] <= maxNamed && all <= maxPlain
		},
		func(_ flow.Via, reason flow.Reason) bool { return reason == flow.OK },
	) {
		take(a)
	}
	for _, a := range in.waypointAttempts() {
		take(a)
	}
	for _, k := range found.keys {
		p.Report(found.of[k].finding(in.reportWrongTLS(k, found.of[k], exits[k])))
	}
}

// originatedHosts are the hosts of ServiceEntries for which some DestinationRule
// sets TLS.
func (in *intent) originatedHosts() []host.Name {
	var out []host.Name
	known, external := map[host.Name]bool{}, newExternals(in.pass, in.push)
	for _, r := range in.push.Mesh.DestinationRules {
		set := len(settingsOf(r.Spec.GetTrafficPolicy(), "")) > 0
		for _, s := range r.Spec.GetSubsets() {
			set = set || len(settingsOf(s.GetTrafficPolicy(), "")) > 0
		}
		if !set {
			continue
		}
		for _, s := range external.of(r) {
			if h := host.Name(strings.ToLower(string(s.Hostname))); !known[h] {
				known[h] = true
				out = append(out, h)
			}
		}
	}
	return out
}

// wrongTLS says whether the last proxy of a trace opens TLS that the server cannot
// take; the exit is nil if it does not.
func (in *intent) wrongTLS(t *flow.Trace) (wrongTLS, *exit) {
	e := exitOf(t)
	if e == nil {
		return wrongTLS{}, nil // passed through, or split between destinations
	}
	s, port := in.serviceAt(e, namespaceOf(e.Proxy))
	if port == nil || s.Entry == nil || private(s) {
		return wrongTLS{}, nil
	}
	k := wrongTLS{kind: t.Reason}
	for _, b := range e.Because {
		if b.Object.Kind == "DestinationRule" && strings.HasSuffix(b.Field, ".tls.mode") {
			k.object, k.field = b.Object, b.Field
		}
	}
	if e.TLS == istioMutual && in.namesPeer(k) {
		return wrongTLS{}, nil // the proxy of another mesh, of the same authority
	}
	switch {
	case k.object == nil:
		return wrongTLS{}, nil
	case t.Outcome == flow.Blocked && (t.Reason == flow.DoubleTLS || t.Reason == flow.TLSMismatch && e.TLS == istioMutual):
		return k, e
	case t.Outcome == flow.Allowed && t.Reason == flow.OK && t.UpstreamTLS != flow.UpstreamNone && outgoing(s, port) == 80:
		k.object, k.field = s.Object, port.Field
		return k, e
	}
	return wrongTLS{}, nil
}

// namesPeer reports whether the TLS settings of a field say by whose identity the
// other side is known.
func (in *intent) namesPeer(k wrongTLS) bool {
	t := in.settingAt(k.object, k.field)
	return t != nil && len(t.GetSubjectAltNames()) > 0
}

// plaintextPort reports whether applications may call a service in plaintext, on
// another port than the one that the rule opens TLS on.
func plaintextPort(s *model.Service) bool {
	return slices.ContainsFunc(s.Ports, func(port *model.Port) bool { return port.Protocol.IsHTTP() && !tlsPort(port.Number) })
}

// reportWrongTLS words a finding.
func (in *intent) reportWrongTLS(k wrongTLS, c *collected, e *exit) Finding {
	f := Finding{Object: k.object, Field: k.field, Severity: Error, Label: "not what the server takes"}
	who := "the sidecars of " + upTo3(c.workloads())
	switch e.At {
	case flow.AtGateway:
		who = "egress gateway " + e.Proxy
	case flow.AtWaypoint:
		who = "waypoint " + e.Proxy
	}
	s, port := in.serviceAt(e, namespaceOf(e.Proxy))
	if k.object != s.Object {
		f.Related = append(f.Related, Related{s.Object, port.Field, fmt.Sprintf("%s registers the port", s.Object)})
	}
	hosts := upTo3(c.hosts)
	switch k.kind {
	case flow.TLSMismatch:
		f.Severity, f.Help = Warning, "use SIMPLE"
		f.Edits = []Edit{{k.object, k.field, "SIMPLE"}}
		f.Message = fmt.Sprintf("%s wraps what %s sends to %s in mesh TLS (ISTIO_MUTUAL), which only a mesh of the same certificate authority understands: requests of %s fail elsewhere; use SIMPLE", k.object, who, hosts, upTo3(c.workloads()))
	case flow.DoubleTLS:
		if plaintextPort(s) {
			f.Severity = Note
		}
		f.Help = fmt.Sprintf("originate TLS on a port that applications call in plaintext, or export the rule where they do not find it (exportTo %q)", s.Namespace)
		f.Message = fmt.Sprintf("%s opens TLS on %s of %s around the TLS of the applications themselves: what %s send there is TLS within TLS, which no server takes; keep the rule from these clients, or let them send plaintext",
			k.object, portsText(c.ports), hosts, upTo3(c.workloads()))
	default:
		f.Label = "TLS goes to port 80"
		f.Help = "set targetPort 443"
		f.Message = fmt.Sprintf("%s opens TLS for %s and sends it to port 80, where servers speak plaintext: requests of %s fail; set targetPort 443 on the port of %s", who, hosts, upTo3(c.workloads()), s.Object)
		for _, b := range e.Because {
			if b.Object.Kind == "DestinationRule" {
				f.Related = append(f.Related, Related{b.Object, b.Field, "asks for TLS"})
			}
		}
	}
	return f
}
