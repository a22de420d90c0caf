package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR505", Name: "credential-ignored-on-sidecar", Severity: Error, SecuritySeverity: 7.0,
	Run: runCredentialIgnored,
	Doc: Doc{
		Title: "Sidecars ignore the TLS settings of a DestinationRule with credentialName and send plaintext",
		What: "A DestinationRule for an external host opens TLS with `credentialName` and has no `workloadSelector`, and sidecars use it for plaintext requests of their applications. " +
			"Or an egress gateway or a waypoint uses it, and the input has that Secret in another namespace than the proxy's alone, or one there of nearly that name (a warning).",
		Why: "Istio gives Secrets only to gateways, and to sidecars that a `workloadSelector` names. For all other sidecars it leaves out the TLS settings as a whole, without any error: " +
			"what the application hands over in the belief that the proxy encrypts it leaves the cluster in plaintext.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, originatedEntry, credentialRule("")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, originatedEntry, credentialRule("  workloadSelector:\n    matchLabels:\n      app: orders\n")),
		Fix: "Give the DestinationRule a `workloadSelector` for the clients (and let their ServiceAccount read the Secret), send the requests through an egress gateway, " +
			"use a ConfigMap (`credentialName: configmap://…`) if only certificate authorities are needed, or drop `credentialName` to use those of the operating system.",
		Silent:  "Rules that only gateways and waypoints use, if the input has their Secret beside the proxy, or neither it nor one of nearly that name; clients that speak TLS themselves, requests with unknown verdicts.",
		Sources: []string{"istio pilot/pkg/networking/core/cluster_tls.go (buildUpstreamClusterTLSContext)"},
	},
})

const originatedEntry = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - api.example.com
  ports:
  - number: 80
    name: http
    protocol: HTTP
    targetPort: 443
  resolution: DNS
`

func credentialRule(more string) string {
	return `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: api
  namespace: shop
spec:
  host: api.example.com
` + more + `  trafficPolicy:
    tls:
      mode: SIMPLE
      credentialName: api-ca
`
}

func runCredentialIgnored(p *Pass) {
	in := intentOf(p)
	for _, s := range originations(p) {
		if s.GetCredentialName() != "" {
			in.reportSecretElsewhere(s)
		}
		if s.GetCredentialName() == "" || strings.HasPrefix(s.GetCredentialName(), "configmap://") || s.rule.Spec.GetWorkloadSelector() != nil {
			continue
		}
		c := &collected{}
		for a := range in.attempts(s.covers, func(via flow.Via, _ flow.Reason) bool { return via == flow.ViaDirect }) {
			plaintext := slices.ContainsFunc(a.Trace.Hops, func(h flow.Hop) bool {
				return h.At == flow.AtSidecar && h.TLS == "" && slices.Contains(h.Because, flow.Because{Object: s.rule.Object, Field: s.field + ".mode"})
			})
			if a.Flow.Scheme == flow.HTTP && a.Trace.Outcome == flow.Allowed && plaintext {
				c.add(a)
			}
		}
		if c.first == nil {
			continue
		}
		p.Report(c.finding(Finding{
			Object: s.rule.Object, Field: s.field + ".credentialName", Severity: Error, SecuritySeverity: 7.0,
			Message: fmt.Sprintf("%s names Secret %q without workloadSelector, so that sidecars open no TLS: %s %s in plaintext on %s; add a workloadSelector, or send the requests through an egress gateway",
				s.rule, s.GetCredentialName(), c.who("calls", "call"), upTo3(c.hosts), portsText(c.ports)),
			Label: "no sidecar gets this Secret", Help: "add a workloadSelector that selects these workloads, or drop credentialName if public certificate authorities are enough",
			Related: []Related{{s.services[0].Object, s.services[0].HostField, fmt.Sprintf("%s registers the host", s.services[0].Object)}},
		}))
	}
}
