package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR213", Name: "overbroad-service-entry", Severity: Warning, SecuritySeverity: 6.5,
	Run: runOverbroadEntry,
	Doc: Doc{
		Title: "A ServiceEntry allows hosts under which anybody can have a name",
		What: "The mesh is `REGISTRY_ONLY`, and a ServiceEntry registers a wildcard directly below a public suffix (`*.com`, `*.co.uk`) or below a domain " +
			"of a provider who gives names in it to customers (`*.amazonaws.com`, `*.github.io`), and clients get out by it.",
		Why:  "The registry is the list of what may be reached. Anybody can have a host under such a suffix in minutes, and data can be sent there.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, wildcardEntry("*.amazonaws.com")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, wildcardEntry("*.example.com")),
		Fix:  "List the hosts that are needed. Where that is not possible, send the wildcard through an egress gateway whose policies name what is allowed.",
		Silent: "Meshes that are not REGISTRY_ONLY for any workload that sees the entry; suffixes that the public suffix list does not have, such as those of a company's own network; hosts that " +
			"a policy of the gateway denies; unknown verdicts.",
		Sources: []string{
			"https://publicsuffix.org/list/",
			"https://istio.io/latest/docs/ops/best-practices/security/#understand-traffic-capture-limitations",
		},
	},
})

// sharedDomains are domains of providers in which customers get names, as far as
// the public suffix list does not have them itself.
var sharedDomains = []string{
	"aliyuncs.com", "amazonaws.com", "amazonaws.com.cn", "azure-api.net", "azurecr.io", "cloudapp.net", "core.windows.net", "dropboxusercontent.com",
	"googleapis.com", "ibmcloud.com", "myqcloud.com", "oraclecloud.com", "sharepoint.com", "slack.com", "windows.net",
}

func runOverbroadEntry(p *Pass) {
	in := intentOf(p)
	closed := in.closedClasses()
	if len(closed) == 0 {
		return
	}
	done := map[model.Place]bool{}
	for _, s := range in.push.Services() {
		kind, score := breadthOf(string(s.Hostname))
		k := model.Place{Object: s.Object, Field: s.HostField}
		if s.Entry == nil || kind == "" || done[k] {
			continue
		}
		done[k] = true
		var found *opening
		var to string
		for _, d := range p.Reach.Universe() {
			if d.Stands != string(s.Hostname) || found != nil {
				continue
			}
			port := s.PortByNumber(d.Port)
			if port == nil {
				continue
			}
			to = d.Host
			found = in.tryClosed(closed, s, flow.Flow{Host: d.Host, Port: d.Port, Scheme: speaks(port)}, func(t *flow.Trace) bool {
				return t.Outcome == flow.Allowed && t.Reason == flow.OK && (sends(t, flow.AtSidecar, s.Object) || sends(t, flow.AtGateway, s.Object))
			})
		}
		if found == nil {
			continue
		}
		p.Report(found.finding(Finding{
			Object: s.Object, Field: s.HostField, Severity: Warning, SecuritySeverity: score, Label: "anybody can have a host here",
			Message: fmt.Sprintf("ServiceEntry %s allows %q, %s, so that %s hosts that belong to anybody, as %s; list the hosts that are needed",
				s.Object.ID(), s.Hostname, kind, found.who("reaches", "reach"), to),
		}))
	}
}

// breadthOf says what makes a wildcard too broad, and how bad it is; "" if it is
// not.
func breadthOf(h string) (kind string, score float64) {
	domain, ok := strings.CutPrefix(strings.ToLower(h), "*.")
	if !ok || !host.Name(h).IsWildCarded() {
		return "", 0
	}
	suffix, listed := publicsuffix.PublicSuffix(domain)
	switch {
	case suffix == domain && listed:
		return "a public suffix", 6.5
	case suffix == domain && strings.Contains(domain, "."):
		return "under which a provider gives names to customers", 5.5
	case slices.Contains(sharedDomains, domain), slices.ContainsFunc(sharedDomains, func(s string) bool { return strings.HasSuffix(domain, "."+s) && shallow(domain, s) }):
		return "under which a provider gives names to customers", 5.5
	default:
		return "", 0
	}
}

// shallow reports whether a domain is a service or a region of a provider's domain
// rather than a customer's own name: "s3.amazonaws.com", "blob.core.windows.net".
func shallow(domain, shared string) bool {
	return strings.Count(strings.TrimSuffix(domain, "."+shared), ".") == 0 && slices.Contains(sharedServices, strings.TrimSuffix(domain, "."+shared))
}

// sharedServices are names within [sharedDomains] below which customers have
// theirs.
var sharedServices = []string{"blob", "dfs", "file", "queue", "s3", "storage", "table", "vault", "web"}

// wildcardEntry is a ServiceEntry of namespace shop for a wildcard.
func wildcardEntry(wildcard string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: cloud
  namespace: shop
spec:
  hosts:
  - "` + wildcard + `"
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: NONE
`
}
