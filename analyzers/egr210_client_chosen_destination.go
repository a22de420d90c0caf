package analyzers

import (
	"fmt"
	"slices"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR210", Name: "client-chosen-destination", Severity: Error, SecuritySeverity: 6.4,
	Run: runClientChosen,
	Doc: Doc{
		Title: "With resolution NONE the client chooses the address, and only names are checked",
		What: "A ServiceEntry declares an HTTP or TLS port with resolution NONE, which is also the default, in a mesh that is `REGISTRY_ONLY`: the sidecar " +
			"compares the Host header or the server name and forwards to the address that the application dialled. " +
			"Where a route sends such a host to an egress gateway, the gateway has no address to forward to.",
		Why: "A process that names an allowed host reaches any address of the internet: `curl --connect-to`, or an entry in /etc/hosts. " +
			"A gateway cannot go to the address that the application dialled, since it was dialled itself: requests end with 503.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, resolvedEntry("NONE")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, resolvedEntry("DNS")),
		Fix:  "Use resolution DNS, so that the proxy looks the name up itself (DYNAMIC_DNS for wildcards, from Istio 1.31), or STATIC with endpoints.",
		Silent: "TCP ports (EGR209); TLS ports with listed addresses, which the client has to dial; connections to which the proxy adds TLS, so that it checks the certificate; meshes that " +
			"are not REGISTRY_ONLY for any workload that sees the entry; MESH_INTERNAL entries; requests that do not get out, or nobody knows.",
		Sources: []string{
			"istio pilot/pkg/networking/core/cluster.go (convertResolution)",
			"https://istio.io/latest/blog/2023/egress-sni/",
			"https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry-Resolution",
		},
	},
})

// chosen is one ServiceEntry with the ports on which clients choose the address.
type chosen struct {
	entry *manifest.Object
	hosts []string
	ports []int
	shown *opening
}

func runClientChosen(p *Pass) {
	in := intentOf(p)
	closed := in.closedClasses()
	var order []*chosen
	byEntry := map[*manifest.Object]*chosen{}
	for _, s := range in.push.Services() {
		if s.Entry == nil || s.Resolution != model.Passthrough || !s.MeshExternal {
			continue
		}
		for _, port := range s.Ports {
			if opaque(port) || port.Protocol == protocol.UDP {
				continue
			}
			request := requestTo(s, port)
			request.DstIP = in.push.PublicAddress(reach.AnyAddress).String()
			o := in.tryClosed(closed, s, request, func(t *flow.Trace) bool { return leaves(t, s.Object) && t.UpstreamTLS == flow.UpstreamNone })
			if o == nil {
				continue
			}
			c := byEntry[s.Object]
			if c == nil {
				c = &chosen{entry: s.Object, shown: o}
				byEntry[s.Object] = c
				order = append(order, c)
			}
			if h := string(s.Hostname); !slices.Contains(c.hosts, h) {
				c.hosts = append(c.hosts, h)
			}
			if !slices.Contains(c.ports, port.Number) {
				c.ports = append(c.ports, port.Number)
			}
		}
	}
	for _, c := range order {
		mend := "use resolution DNS"
		if slices.ContainsFunc(c.hosts, func(h string) bool { return host.Name(h).IsWildCarded() }) {
			mend = "list the hosts and use resolution DNS, or DYNAMIC_DNS for the wildcard"
		}
		p.Report(c.shown.finding(Finding{
			Object: c.entry, Field: "spec.resolution", Severity: Warning, SecuritySeverity: 6.4, Label: "the client chooses the address",
			Message: fmt.Sprintf("ServiceEntry %s has resolution NONE for %s, so that %s any address on %s by naming it; %s",
				c.entry.ID(), upTo3(c.hosts), c.shown.who("reaches", "reach"), portsText(c.ports), mend),
			Help: "with resolution NONE only the Host header or the server name is checked, and the connection goes to the address that the application dialled",
		}))
	}
	in.nowhereToGo()
}

// nowhereToGo reports entries with resolution NONE behind an egress gateway.
func (in *intent) nowhereToGo() {
	none := map[host.Name]*model.Service{}
	for _, s := range in.push.Services() {
		if s.Entry != nil && s.Resolution == model.Passthrough {
			none[s.Hostname] = s
		}
	}
	if len(none) == 0 || len(in.steerings) == 0 {
		return
	}
	var found byKey[*manifest.Object]
	stopped := func(via flow.Via, reason flow.Reason) bool {
		return via == flow.ViaGateway && reason == flow.NoEndpoints
	}
	want := func(d reach.Destination) bool {
		h := host.Name(d.Host)
		if d.Stands != "" {
			h = host.Name(d.Stands)
		}
		return none[h] != nil && len(in.covering(d.Host)) > 0
	}
	for a := range in.attempts(want, stopped, flow.NoEndpoints) {
		if a.By == nil {
			continue
		}
		for _, s := range in.push.Services() {
			if none[s.Hostname] == s && sends(a.Trace, flow.AtGateway, s.Object) {
				found.add(s.Object, a)
				break
			}
		}
	}
	for _, entry := range found.keys {
		c := found.of[entry]
		f := Finding{
			Object: entry, Field: "spec.resolution", Severity: Error, Label: "a gateway has no address to go to",
			Message: fmt.Sprintf("ServiceEntry %s has resolution NONE, and %s %s sent through %s, which has no address to go to, so that requests of %s on %s fail; use resolution DNS",
				entry.ID(), upTo3(c.hosts), c.are(), c.first.By.gateway(), upTo3(c.workloads()), portsText(c.ports)),
			Help:    "a gateway was dialled itself, and does not know the address that the application meant",
			Related: []Related{c.first.By.related()},
		}
		in.pass.Report(c.finding(f))
	}
}

// resolvedEntry is a ServiceEntry of namespace shop for api.example.com.
func resolvedEntry(resolution string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - api.example.com
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: ` + resolution + "\n"
}
