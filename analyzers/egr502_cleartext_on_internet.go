package analyzers

import (
	"fmt"

	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR502", Name: "cleartext-on-internet", Severity: Warning, SecuritySeverity: 6.0,
	Run: runCleartext,
	Doc: Doc{
		Title:  "Requests that are sent through the egress gateway leave the cluster as plaintext HTTP",
		What:   "A route of the mesh sends a host's plaintext requests to the egress gateway, and the gateway sends them on to the host without TLS.",
		Why:    "The way to the gateway may well be protected by mesh TLS; it ends there. On the internet everybody on the way can read and change the requests and answers, credentials included.",
		Bad:    egressDoc(""),
		Good:   egressDoc(verifiedRule(""), entryPorts, entryOriginated),
		Fix:    "Let the gateway open TLS: register port 443 (or `targetPort: 443`) for the host, and give the gateway's namespace a DestinationRule for it with `tls.mode: SIMPLE`.",
		Silent: "Hosts with a private name or private addresses only, hosts that no route sends to a gateway, requests that go out to port 443 without TLS (EGR501), unknown verdicts.",
		Sources: []string{
			"https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway-tls-origination/",
			"istio pilot/pkg/networking/core/cluster_tls.go",
		},
	},
})

func runCleartext(p *Pass) {
	in := intentOf(p)
	type key struct {
		object *manifest.Object
		field  string
	}
	var found byKey[key]
	exits := map[key]*exit{}
	for a := range in.steered() {
		e := in.plaintextExit(a)
		if e == nil || a.Trace.Via != flow.ViaGateway || e.At != flow.AtGateway || e.route.Object == nil {
			continue
		}
		s, port := in.serviceAt(e, namespaceOf(e.Proxy))
		if port == nil || private(s) || tlsPort(outgoing(s, port)) {
			continue
		}
		k := key{e.route.Object, e.route.Field}
		if exits[k] == nil {
			exits[k] = e
		}
		found.add(k, a)
	}
	for _, k := range found.keys {
		c, e := found.of[k], exits[k]
		s, port := in.serviceAt(e, namespaceOf(e.Proxy))
		inside := ""
		if l := in.legOf(c.first.Trace); l != nil && l.client.TLS == istioMutual {
			inside = ", although they come to the gateway over mesh TLS"
		}
		p.Report(c.finding(Finding{
			Object: k.object, Field: k.field, Severity: Warning, SecuritySeverity: 6.0,
			Message: fmt.Sprintf("requests for %s leave egress gateway %s as plaintext HTTP on port %d%s; let the gateway open TLS to port 443",
				upTo3(c.hosts), e.Proxy, outgoing(s, port), inside),
			Label:   "goes out without TLS",
			Help:    fmt.Sprintf("set targetPort 443 on the port of %s (or register port 443 and send the requests there), with a DestinationRule of tls.mode SIMPLE that the gateway's namespace sees", s.Object),
			Related: []Related{c.first.By.related(), {s.Object, port.Field, fmt.Sprintf("%s registers the port", s.Object)}},
		}))
	}
}

// plaintextExit is the exit of a plaintext request that gets out without TLS, nil
// for any other.
func (in *intent) plaintextExit(a *attempt) *exit {
	t := a.Trace
	if a.Flow.Scheme != flow.HTTP || t.Outcome != flow.Allowed || t.Reason != flow.OK || t.UpstreamTLS != flow.UpstreamNone || len(t.Branches) > 0 {
		return nil
	}
	return exitOf(t)
}

// tlsPort reports whether servers on a port speak TLS by convention.
func tlsPort(port int) bool { return port == 443 || port == 8443 || port == 6443 }
