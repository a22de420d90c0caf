package analyzers

import (
	"fmt"

	security "istio.io/api/security/v1beta1"

	"github.com/egresslint/egresslint/model"
)

var _ = register(&Analyzer{
	ID: "EGR410", Name: "peerauth-does-not-guard-gateway", Severity: Warning, SecuritySeverity: 5.5,
	Run: peerAuthAtGateway,
	Doc: Doc{
		Title: "A STRICT PeerAuthentication for the egress gateway does not make it ask for mesh TLS",
		What: "A PeerAuthentication with mode STRICT selects an egress gateway's pods, or stands in the gateway's namespace, and a server of the gateway forwards " +
			"for processes that come without mesh TLS. It is a warning where the PeerAuthentication selects the gateway, else a note.",
		Why: "PeerAuthentication is about what sidecars take in. How a gateway takes connections is said by the `tls` of its Gateway's servers alone, " +
			"so that STRICT changes nothing there, although it reads as if it did.",
		Bad:    plainEgressDoc(strictDoc),
		Good:   egressDoc(strictDoc),
		Fix:    "Use `tls.mode: ISTIO_MUTUAL` in the Gateway's servers (protocol HTTPS or TLS), and the same mode in the clients' DestinationRule.",
		Silent: "The mesh-wide PeerAuthentication of the root namespace; gateways whose servers ask for mesh TLS, or that forward nothing for processes without it (EGR313).",
		Sources: []string{
			"istio pilot/pkg/networking/core/gateway.go (buildGatewayListenerTLSContext)",
			"https://istio.io/latest/docs/reference/config/security/peer_authentication/",
		},
	},
})

const strictDoc = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: strict
  namespace: istio-egress
spec:
  selector:
    matchLabels:
      istio: egressgateway
  mtls:
    mode: STRICT
`

func peerAuthAtGateway(p *Pass) {
	for _, g := range egressGateways(p) {
		if !g.blind() {
			continue
		}
		for _, a := range p.Mesh.PeerAuthentications {
			selector := a.Spec.GetSelector().GetMatchLabels()
			if a.Spec.GetMtls().GetMode() != security.PeerAuthentication_MutualTLS_STRICT || a.Namespace != g.Namespace || !hasLabels(g.Labels, selector) ||
				len(selector) == 0 && a.Namespace == g.push.RootNamespace() {
				continue
			}
			g.reportPeerAuth(p, a)
		}
	}
}

// reportPeerAuth reports a PeerAuthentication if a process without mesh TLS shows
// that it does nothing.
func (g *egressGateway) reportPeerAuth(p *Pass, a *model.PeerAuthentication) {
	for _, d := range g.doors() {
		o := d.open(p)
		if o == nil {
			continue
		}
		s := o.witness.Servers[0]
		at := modePlace(s)
		f := Finding{
			Severity: Note, SecuritySeverity: 3.5, Object: a.Object, Field: "spec.mtls.mode", Label: "not about gateways",
			Message: fmt.Sprintf("PeerAuthentication %s (STRICT) does not guard egress gateway %s: %s takes %s, and requests of %s without mesh TLS are forwarded; use ISTIO_MUTUAL in the Gateway",
				a.ID(), g.ID(), serverText(s), modeText(s), upTo3(workloadIDs(o.callers))),
			Help: mutualHelp, Workloads: workloadIDs(o.callers),
			Flow: &o.witness.Flow, Trace: p.Reach.Trace(o.witness.Flow),
			Related: []Related{{at.Object, at.Field, "decides how the gateway takes connections"}},
		}
		if len(a.Spec.GetSelector().GetMatchLabels()) > 0 {
			f.Severity, f.SecuritySeverity = Warning, 5.5
		}
		p.Report(f)
		return
	}
}
