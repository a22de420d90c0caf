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
	ID: "EGR501", Name: "plaintext-to-tls-port", Severity: Error,
	Run: runPlaintextToTLS,
	Doc: Doc{
		Title: "A proxy sends plaintext HTTP to port 443 of an external host",
		What: "Applications call a host in plaintext, a route or a `targetPort` leads the requests to its port 443, " +
			"and the proxy that sends them out (the egress gateway, a waypoint, or the clients' sidecars) finds no DestinationRule that opens TLS.",
		Why: "The server expects TLS and answers 400 or closes the connection. The rule that should open TLS may well exist: a proxy looks in its own namespace first, " +
			"then in that of the ServiceEntry, then in the root namespace, and for the gateway its own namespace is the one of its pods.",
		Bad:    egressDoc("", entryPorts, entryOriginated),
		Good:   egressDoc(verifiedRule(""), entryPorts, entryOriginated),
		Fix:    "Put a DestinationRule for the host with `tls.mode: SIMPLE` where that proxy finds it, and see to it that its port settings are for the port that the route names.",
		Silent: "Clients that call port 443 themselves (EGR214), `credentialName` that sidecars ignore (EGR505), hosts with a private name or private addresses, unknown verdicts.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (destinationRule)",
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-tls-origination/",
		},
	},
})

func runPlaintextToTLS(p *Pass) {
	in := intentOf(p)
	type key struct {
		object *manifest.Object
		field  string
		proxy  flow.Place
	}
	var found byKey[key]
	exits, whys := map[key]*exit{}, map[key]*unused{}
	take := func(a *attempt) {
		e := in.plaintextExit(a)
		if e == nil || tlsPort(a.To.Port) {
			return
		}
		s, port := in.serviceAt(e, namespaceOf(e.Proxy))
		if port == nil || s.Entry == nil || private(s) || outgoing(s, port) != 443 {
			return
		}
		if e.At == flow.AtSidecar && a.By == nil && slices.ContainsFunc(in.covering(a.To.Host), func(s *steering) bool { return s.takes(a.To.Port, a.Flow.Scheme) }) {
			return // it is not to go out there at all: EGR302
		}
		k, why := key{s.Object, port.Field, e.At}, in.noOrigination(e, s, namespaceOf(e.Proxy))
		if why == nil {
			return
		}
		if why.object != nil {
			k.object, k.field = why.object, why.field
		}
		if exits[k] == nil {
			exits[k], whys[k] = e, why
		}
		found.add(k, a)
	}
	for alike := range in.inquire(&inquiry{want: in.redirected, alike: true, keep: func(via flow.Via, reason flow.Reason) bool {
		return reason == flow.OK && (via == flow.ViaDirect || via == flow.ViaGateway)
	}}) {
		switch e := in.plaintextExit(alike); {
		case e == nil || tlsPort(alike.To.Port):
		case e.At != flow.AtSidecar:
			take(alike)
		default:
			if s, port := in.serviceAt(e, namespaceOf(e.Proxy)); port == nil || s.Entry == nil || outgoing(s, port) != 443 {
				continue // nor is it for the others
			}
			for a := range in.each(alike, nil) {
				a.personal()
				take(a)
			}
		}
	}
	for _, a := range in.waypointAttempts() {
		take(a)
	}
	for _, k := range found.keys {
		c, e, why := found.of[k], exits[k], whys[k]
		s, port := in.serviceAt(e, namespaceOf(e.Proxy))
		who := "the sidecar of " + upTo3(c.workloads())
		switch e.At {
		case flow.AtGateway:
			who = "egress gateway " + e.Proxy
		case flow.AtWaypoint:
			who = "waypoint " + e.Proxy
		}
		f := Finding{
			Object: k.object, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("plaintext HTTP for %s goes to port 443: %s; no server takes that; %s", upTo3(c.hosts), fmt.Sprintf(why.text, who), why.todo),
			Label:   "nobody opens TLS", Help: why.todo,
			Related: []Related{{s.Object, port.Field, fmt.Sprintf("%s registers the port", s.Object)}},
		}
		if e.route.Object != nil {
			f.Related = append(f.Related, Related{e.route.Object, e.route.Field, "the route leads there"})
		}
		p.Report(c.finding(f))
	}
}

// redirected reports whether requests for a destination may go out to another
// port than the one that clients call: a route is about its host, or its port of
// a ServiceEntry has a targetPort.
func (in *intent) redirected(d reach.Destination) bool {
	h := host.Name(strings.ToLower(d.Host))
	return !tlsPort(d.Port) && (len(in.wantedBy(in.push).routes.Covering(h)) > 0 || slices.ContainsFunc(in.registering(in.push, h), func(s *model.Service) bool {
		port := s.PortByNumber(d.Port)
		return s.Entry != nil && port != nil && outgoing(s, port) == 443
	}))
}

// noOrigination says why a proxy opens no TLS towards a service, and what to
// mend; without object where no rule asks for TLS. %s in the text is the proxy.
// It is nil where another rule tells it.
func (in *intent) noOrigination(e *exit, s *model.Service, namespace string) *unused {
	for _, b := range e.Because {
		if b.Object.Kind == "DestinationRule" && strings.HasSuffix(b.Field, ".tls.mode") {
			if set := in.settingAt(b.Object, b.Field); set != nil && set.GetMode() == networking.ClientTLSSettings_ISTIO_MUTUAL && e.At == flow.AtWaypoint {
				return &unused{object: b.Object, field: b.Field, text: b.Object.String() + " asks for ISTIO_MUTUAL, by which %s opens no TLS", todo: "write mode SIMPLE"}
			}
			if set := in.settingAt(b.Object, b.Field); set != nil && set.GetMode() == networking.ClientTLSSettings_DISABLE {
				return &unused{object: b.Object, field: b.Field, text: b.Object.String() + " sets tls.mode DISABLE, so that %s opens no TLS", todo: "write mode SIMPLE"}
			}
			return nil // its credentials are of no use here
		}
	}
	for _, t := range originations(in.pass) {
		if !slices.ContainsFunc(t.services, func(x *model.Service) bool { return x.Hostname == s.Hostname }) {
			continue
		}
		if t.port != 0 && t.port != e.port {
			return &unused{object: t.rule.Object, field: strings.TrimSuffix(t.field, ".tls") + ".port.number",
				text: fmt.Sprintf("%s opens TLS on port %d, while %%s uses port %d", t.rule, t.port, e.port), todo: fmt.Sprintf("set the number to %d", e.port)}
		}
		if field, text, todo := in.overlooked(t.rule, namespace, s.Namespace); field != "" {
			return &unused{object: t.rule.Object, field: field, text: fmt.Sprintf("%s, which would open TLS, does not apply at %%s (it %s)", t.rule, text), todo: todo}
		}
	}
	if r := in.misspelt(s); r != nil {
		return &unused{object: r.Object, field: "spec.host",
			text: fmt.Sprintf("%s, which would open TLS, is for host %q, which nothing registers, and does not apply at %%s", r, r.Spec.GetHost()),
			todo: fmt.Sprintf("is %q meant?", s.Hostname)}
	}
	if rule := in.push.DestinationRule(namespace, nil, s); rule != nil && !slices.ContainsFunc(settingsOf(rule.Policy, ""), func(t tlsSetting) bool { return t.port == 0 || t.port == e.port }) {
		r := rule.From[0]
		return &unused{object: r.Object, field: "spec", text: fmt.Sprintf("%s, which applies at %%s, asks for no TLS on port %d", r, e.port),
			todo: fmt.Sprintf("write tls.mode SIMPLE for port %d there", e.port)}
	}
	add := fmt.Sprintf("add one for the host with tls.mode SIMPLE in namespace %q", s.Namespace)
	for _, problem := range in.pass.Mesh.Problems {
		if problem.Kind == manifest.Rejected && strings.HasPrefix(problem.Object, "DestinationRule ") {
			return &unused{text: "no DestinationRule that opens TLS applies at %s, and " + strings.ReplaceAll(problem.Object, "%", "%%") + " is refused (EGR011)",
				todo: "mend that one if it is meant, or " + add}
		}
	}
	return &unused{text: "no DestinationRule that opens TLS applies at %s", todo: add}
}

// settingAt returns the TLS settings of which a field is the mode, nil if there are
// none.
func (in *intent) settingAt(object *manifest.Object, field string) *tlsSetting {
	for _, r := range in.push.Mesh.DestinationRules {
		if r.Object != object {
			continue
		}
		all := settingsOf(r.Spec.GetTrafficPolicy(), "spec.trafficPolicy")
		for i, subset := range r.Spec.GetSubsets() {
			all = append(all, settingsOf(subset.GetTrafficPolicy(), fmt.Sprintf("spec.subsets[%d].trafficPolicy", i))...)
		}
		if i := slices.IndexFunc(all, func(t tlsSetting) bool { return t.field+".mode" == field }); i >= 0 {
			return &all[i]
		}
	}
	return nil
}

// sameButTopLevel reports whether two hosts differ in their last label alone.
func sameButTopLevel(a, b string) bool {
	i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
	return i > 0 && j > 0 && a[:i] == b[:j]
}

// misspelt returns a DestinationRule that opens TLS for a host which nothing
// registers and which is a letter or two away from that of a service, or has another
// top-level domain; nil if there is none.
func (in *intent) misspelt(s *model.Service) *model.DestinationRule {
	for _, r := range in.push.Mesh.DestinationRules {
		h := model.ResolveHost(r.Spec.GetHost(), r.Namespace)
		if a, b := strings.ToLower(string(h)), strings.ToLower(string(s.Hostname)); !near(a, b) && !sameButTopLevel(a, b) || len(in.push.Registered(h)) > 0 {
			continue
		}
		for _, t := range settingsOf(r.Spec.GetTrafficPolicy(), "") {
			if m := t.GetMode(); m == networking.ClientTLSSettings_SIMPLE || m == networking.ClientTLSSettings_MUTUAL {
				return r
			}
		}
	}
	return nil
}
