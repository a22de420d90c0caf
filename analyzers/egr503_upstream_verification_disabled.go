package analyzers

import "fmt"

var _ = register(&Analyzer{
	ID: "EGR503", Name: "upstream-verification-disabled", Severity: Error, SecuritySeverity: 7.4,
	Run: runVerificationDisabled,
	Doc: Doc{
		Title: "A DestinationRule turns the verification of an external server off",
		What:  "A DestinationRule for a host that a ServiceEntry registers opens TLS (SIMPLE or MUTUAL) with `insecureSkipVerify: true`.",
		Why: "The proxy then accepts any certificate from whoever answers: a forged DNS answer or a machine on the way is enough to read and change what applications " +
			"believe to be protected, and the egress gateway vouches for a server that nobody has checked.",
		Bad:  egressDoc(verifiedRule("      insecureSkipVerify: true\n"), entryPorts, entryOriginated),
		Good: egressDoc(verifiedRule(""), entryPorts, entryOriginated),
		Fix: "Remove `insecureSkipVerify`. Without `caCertificates` proxies verify against the certificate authorities of the operating system; " +
			"a server with a certificate of a private authority needs `caCertificates` (or `credentialName`) instead.",
		Silent: "Hosts that nothing registers, Services of the cluster, modes DISABLE and ISTIO_MUTUAL (which ignore the field), " +
			"and rules in a namespace where no proxy looks. That `caCertificates` is unset is no finding: Istio verifies all the same.",
		Sources: []string{
			"istio pilot/pkg/networking/core/cluster_tls.go (constructUpstreamTLS)",
			"https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings",
		},
	},
})

func runVerificationDisabled(p *Pass) {
	in := intentOf(p)
	for _, s := range originations(p) {
		if !s.GetInsecureSkipVerify().GetValue() {
			continue
		}
		f := Finding{
			Object: s.rule.Object, Field: s.field + ".insecureSkipVerify",
			Message: fmt.Sprintf("%s accepts any certificate for %s (insecureSkipVerify): whoever is on the way can read and change the requests; remove it",
				s.rule, upTo3(s.hosts())),
			Label: "nobody checks the server", Help: "remove the field, and give caCertificates if the server's certificate authority is a private one",
			Related: []Related{{s.services[0].Object, s.services[0].HostField, fmt.Sprintf("%s registers the host", s.services[0].Object)}},
		}
		if c := in.users(s); c != nil {
			f = c.finding(f)
		}
		p.Report(f)
	}
}

// verifiedRule is a DestinationRule for the documented host, with more lines in
// its TLS settings.
func verifiedRule(more string) string {
	return `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: api
  namespace: istio-egress
spec:
  host: api.example.com
  trafficPolicy:
    tls:
      mode: SIMPLE
` + more
}

// entryOriginated are the ports of the documented ServiceEntry where proxies open
// TLS.
const entryOriginated = `    protocol: HTTP
    targetPort: 443
  resolution: DNS
`
