package analyzers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR806", Name: "mtls-mode-mismatch", Severity: Error,
	Run: runModeMismatch,
	Doc: Doc{
		Title: "What clients bring to the egress gateway is not what its server expects",
		What: "A route of the mesh sends requests to an egress gateway, and the TLS that the client's sidecar adds (or does not add) does not fit the Gateway server: " +
			"plaintext to a TLS server, mesh TLS to a plaintext or PASSTHROUGH server, the application's own TLS to an ISTIO_MUTUAL server, TLS inside of an HTTPS server.",
		Why: "The handshake fails: clients see a reset or 503. The usual reason is a DestinationRule that is missing, lies where these clients do not look, or speaks of another port or subset; " +
			"or a server that was changed without it.",
		Bad:  egressDoc("", "    tls:\n      mode: ISTIO_MUTUAL\n      sni: api.example.com\n", "    tls:\n      mode: DISABLE\n"),
		Good: egressDoc(""),
		Fix: "Use ISTIO_MUTUAL on both sides: in the Gateway server (protocol HTTPS for HTTP, TLS for anything else) and in the DestinationRule for the gateway's Service, " +
			"on the port and subset that the route uses, where the clients find it. For PASSTHROUGH servers the rule must set no TLS at all.",
		Silent: "Servers with certificates of their own (SIMPLE, MUTUAL), which depend on files; TLS towards the external host; destinations of which some request gets through.",
		Sources: []string{
			"istio pilot/pkg/networking/core/gateway.go (buildGatewayListenerTLSContext)",
			"istio pilot/pkg/networking/core/cluster_tls.go",
			"https://github.com/istio/istio/issues/39206",
		},
	},
})

// mismatch is what a finding of EGR806 is about: the node to edit, and the two
// sides that do not fit.
type mismatch struct {
	object *manifest.Object
	field  string
	pod    *model.Workload
	// brings is what the client brings and why a clause about it, expects a
	// clause about the server.
	brings, why, expects string
	todo                 string
}

func (k *mismatch) blame(at model.Place) { k.object, k.field = at.Object, at.Field }

func runModeMismatch(p *Pass) {
	in := intentOf(p)
	var found byKey[mismatch]
	servers, related := map[mismatch][]string{}, map[mismatch][]Related{}
	for a := range in.failing(flow.TLSMismatch, flow.ProtocolError, flow.NoFilterChain) {
		l := in.legOf(a.Trace)
		if l == nil || l.pod == nil {
			continue
		}
		s := in.refusing(l, a)
		if s == nil {
			continue
		}
		k := in.mismatch(l, a, s)
		if k.brings == "" {
			continue
		}
		if servers[k] == nil {
			related[k] = append([]Related{a.By.related()}, in.rulesElsewhere(l, a.Class[0])...)
		}
		if name := s.Title(); !slices.Contains(servers[k], name) {
			servers[k] = append(servers[k], name)
			at := modePlace(s)
			related[k] = append(related[k], Related{at.Object, at.Field, fmt.Sprintf("%s, %s", name, k.expects)})
		}
		found.add(k, a)
	}
	for _, k := range found.keys {
		c := found.of[k]
		p.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("%s %s%s to %s at egress gateway %s, %s: requests for %s fail; %s",
				c.who("brings", "bring"), k.brings, k.why, upTo3(servers[k]), k.pod.ID(), k.expects, upTo3(c.hosts), k.todo),
			Label: "does not fit the other side", Help: k.todo, Related: related[k],
		}))
	}
}

// refusing returns the server for the host that a connection did not fit, nil if
// that is not what stops the request.
func (in *intent) refusing(l *leg, a *attempt) *model.GatewayServer {
	switch a.Trace.Reason {
	case flow.TLSMismatch, flow.ProtocolError:
		return in.server(l, a.Trace, a.To.Host)
	case flow.NoFilterChain:
		// Chains of TLS servers match by server name, which plaintext has not.
		servers, _ := in.serversAt(l)
		i := slices.IndexFunc(servers, func(s *model.GatewayServer) bool { return serves(s, host.Name(a.To.Host)) })
		if i >= 0 && l.client.TLS == "" && a.Flow.Scheme == flow.HTTP {
			return servers[i]
		}
	}
	return nil
}

const istioMutual = "ISTIO_MUTUAL"

// mismatch says what does not fit; it brings nothing where the request failed for
// another reason.
func (in *intent) mismatch(l *leg, a *attempt, s *model.GatewayServer) mismatch {
	place, says := in.tlsPlace(l, a.Class[0])
	k := mismatch{object: place.Object, field: place.Field, pod: l.pod, expects: fmt.Sprintf("where %s is expected", modeText(s)), why: " (" + says + ")"}
	opens := s.GetTls() != nil && !s.Protocol().IsHTTP() && !s.Passthrough()
	// What the gateway forwards fails beyond it, unless it is the client's mesh
	// TLS that it passed on unopened.
	if slices.ContainsFunc(a.Trace.Hops, func(h flow.Hop) bool { return h.At == flow.AtGateway && h.Cluster != "" }) &&
		(!s.Passthrough() || l.client.TLS != istioMutual) {
		return mismatch{}
	}
	application := a.Flow.Scheme == flow.TLS
	switch brought := l.client.TLS; {
	case brought == istioMutual && a.Trace.Reason == flow.ProtocolError:
		k.brings, k.expects, k.why = "the application's TLS inside of mesh TLS", "where HTTP is expected inside of it", ""
		k.blame(serverPlace(s, "port.protocol"))
		k.todo = "give the server protocol TLS and a tcp route"
	case a.Trace.Reason == flow.ProtocolError && brought == "" && application && s.GetTls() != nil:
		k.brings, k.expects, k.why = "the application's TLS", "which has protocol "+s.GetPort().GetProtocol()+" and takes plaintext, so that its tls settings count for nothing", ""
		k.blame(serverPlace(s, "port.protocol"))
		k.todo = "give the server protocol TLS"
	case a.Trace.Reason == flow.ProtocolError:
		// An HTTP chain was reached by something that is no HTTP: the ports do
		// not fit, not the TLS settings.
		return mismatch{}
	case brought == "" && application && !opens:
		k.brings, k.why = "the application's TLS", ""
		k.blame(modePlace(s))
		k.todo = "give the server protocol TLS with tls.mode PASSTHROUGH, or use ISTIO_MUTUAL on both sides"
	case brought == "" && application:
		k.brings, k.todo = "the application's TLS without mesh TLS around it", in.askFor(l, s)
		in.subsetMeant(&k, l, a)
	case brought == "":
		k.brings, k.todo = "plaintext", in.askFor(l, s)
		in.subsetMeant(&k, l, a)
	case brought == istioMutual && opens && len(in.accepted(l, a.Class[0])) > 0:
		k.brings = fmt.Sprintf("mesh TLS that accepts only %s", quoted(in.accepted(l, a.Class[0])))
		k.expects = fmt.Sprintf("where the gateway is %q", in.push.Identity(l.pod))
		k.field = strings.TrimSuffix(k.field, ".mode") + ".subjectAltNames"
		k.todo = fmt.Sprintf("add %q to subjectAltNames, or drop them", in.push.Identity(l.pod))
	case brought == istioMutual && s.Passthrough():
		k.brings, k.expects = "mesh TLS", "which passes it on unopened to a server that does not understand it"
		k.todo = "let the server open it (tls.mode ISTIO_MUTUAL), or take the TLS settings out of the DestinationRule"
	case brought == istioMutual && !opens:
		k.brings = "mesh TLS"
		k.todo = "let the server open it (protocol HTTPS or TLS, tls.mode ISTIO_MUTUAL)"
	case brought != istioMutual:
		k.brings, k.todo = fmt.Sprintf("TLS of mode %s", brought), "use ISTIO_MUTUAL on both sides"
	}
	if k.object == nil {
		k.blame(modePlace(s))
		in.ruleElsewhere(&k, l, a.Class[0])
	}
	return k
}

// subsetMeant blames a route that picks no subset of the gateway's Service, where the
// DestinationRule that applies opens mesh TLS for the host in one.
func (in *intent) subsetMeant(k *mismatch, l *leg, a *attempt) {
	rule, _ := in.clientRule(l, a.Class[0])
	if rule == nil || l.subset != "" || a.By.Route.OfGatewayAPI != "" {
		return
	}
	for _, subset := range rule.Subsets {
		for _, t := range settingsOf(subset.GetTrafficPolicy(), "") {
			if t.GetMode() == networking.ClientTLSSettings_ISTIO_MUTUAL && strings.EqualFold(t.GetSni(), a.To.Host) && (t.port == 0 || t.port == l.port) {
				k.blame(model.Place{Object: a.By.Object, Field: a.By.To})
				k.why = fmt.Sprintf(" (the route of %s picks no subset, and %s opens mesh TLS for the host in subset %q alone)", a.By.Route.Title(), subset.From, subset.GetName())
				k.todo = fmt.Sprintf("add subset: %s to the destination", subset.GetName())
				return
			}
		}
	}
}

// askFor says how to make clients bring what a server opens.
func (in *intent) askFor(l *leg, s *model.GatewayServer) string {
	if s.Passthrough() {
		return "let the server open mesh TLS (tls.mode ISTIO_MUTUAL), or let applications speak TLS"
	}
	sni := ""
	if len(s.SNIHosts) > 0 && s.SNIHosts[0] != "*" {
		sni = fmt.Sprintf(" and sni %q", s.SNIHosts[0])
	}
	return fmt.Sprintf("set tls.mode ISTIO_MUTUAL%s in a DestinationRule for %s that these clients find, as in namespace %q",
		sni, l.host, cmp.Or(l.service.Namespace, l.pod.Namespace))
}

// accepted returns the identities that the client's DestinationRule accepts, none
// if it accepts any.
func (in *intent) accepted(l *leg, w *model.Workload) []string {
	rule, subset := in.clientRule(l, w)
	if rule == nil {
		return nil
	}
	if subset != nil && subset.GetTrafficPolicy().GetTls() != nil {
		return subset.GetTrafficPolicy().GetTls().GetSubjectAltNames()
	}
	return rule.Policy.GetTls().GetSubjectAltNames()
}

// ruleElsewhere blames a DestinationRule for the gateway's Service that the client
// does not find, if there is one.
func (in *intent) ruleElsewhere(k *mismatch, l *leg, w *model.Workload) {
	for _, r := range in.push.Mesh.DestinationRules {
		if model.ResolveHost(r.Spec.GetHost(), r.Namespace) != l.host {
			continue
		}
		if field, text, todo := in.overlooked(r, w.Namespace, l.service.Namespace); field != "" {
			k.object, k.field, k.todo = r.Object, field, todo
			k.why = fmt.Sprintf(" (%s %s)", r, text)
			return
		}
	}
}

// rulesElsewhere are the DestinationRules for the gateway's Service that the
// client does not use, and why.
func (in *intent) rulesElsewhere(l *leg, w *model.Workload) []Related {
	rule, _ := in.clientRule(l, w)
	var out []Related
	for _, r := range in.push.Mesh.DestinationRules {
		if model.ResolveHost(r.Spec.GetHost(), r.Namespace) != l.host || rule != nil && slices.Contains(rule.From, r) {
			continue
		}
		if field, text, _ := in.overlooked(r, w.Namespace, l.service.Namespace); field != "" {
			out = append(out, Related{r.Object, field, fmt.Sprintf("%s is for the same host, but %s", r, text)})
		}
	}
	return out
}
