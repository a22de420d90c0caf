package analyzers

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR219", Name: "metadata-endpoint-registered", Severity: Warning, SecuritySeverity: 6.8,
	Run: runMetadataEndpoint,
	Doc: Doc{
		Title: "A ServiceEntry leads to the metadata service of a cloud",
		What: "A ServiceEntry, or a WorkloadEntry that it selects, has an endpoint that is the metadata service of a cloud (169.254.169.254 and its kin), under a name of its own; or, in a mesh that is " +
			"`REGISTRY_ONLY`, lists that address among its own, so that workloads reach it.",
		Why: "The metadata service hands out the credentials of the node or of the workload to whoever asks. A name that leads there gets past everything that looks " +
			"for the address, and an application that can be made to fetch a URL can be made to fetch these.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, endpointEntry("169.254.169.254")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, endpointEntry("10.20.30.40")),
		Fix:  "Remove the address. Let workloads that need credentials of the cloud get them by its workload identity, and close the address to all others with a NetworkPolicy.",
		Silent: "Other link-local addresses, such as that of a DNS cache on the node; listed addresses where the mesh is ALLOW_ANY, which registers nothing new; " +
			"entries that no workload with a sidecar gets out by, or nobody knows.",
		Sources: []string{
			"istio pilot/pkg/serviceregistry/serviceentry/conversion.go (convertServiceEntryToInstances)",
			"https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html",
		},
	},
})

// metadataAddresses are where clouds hand out credentials: the instance metadata
// of most, tasks and pods at Amazon, Alibaba, Oracle.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("169.254.170.23"),
	netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("fd20:ce::254"),
}

func runMetadataEndpoint(p *Pass) {
	in := intentOf(p)
	done := map[model.Place]bool{}
	for _, s := range in.push.Services() {
		if s.Entry == nil {
			continue
		}
		for _, e := range in.push.OwnEndpoints(s, nil) {
			k := model.Place{Object: e.Object, Field: e.Field}
			if a, err := netip.ParseAddr(e.Address); err == nil && slices.Contains(metadataAddresses, a) && !done[k] {
				done[k] = true
				in.reportMetadata(s, a, e.Object, e.Field, "leads %s to", in.sidecarClasses())
			}
		}
		a, ok := metadataIn(s.Address)
		if k := (model.Place{Object: s.Object, Field: s.AddressField}); ok && !done[k] {
			done[k] = true
			in.reportMetadata(s, a, s.Object, s.AddressField, "registers %s at", in.closedClasses())
		}
	}
}

// metadataIn returns the metadata address that is a listed address, or in a small
// range of it.
func metadataIn(address string) (netip.Addr, bool) {
	for _, m := range metadataAddresses {
		if address == m.String() {
			return m, true
		}
		// Wide ranges are about other things.
		if prefix, err := netip.ParsePrefix(address); err == nil && prefix.Contains(m) && prefix.Bits() >= m.BitLen()/2 {
			return m, true
		}
	}
	return netip.Addr{}, false
}

func (in *intent) reportMetadata(s *model.Service, a netip.Addr, o *manifest.Object, field, verb string, classes []closedClass) {
	for _, port := range s.Ports {
		request := requestTo(s, port)
		request.DstIP = ""
		if o == s.Object && field == s.AddressField {
			request.DstIP = a.String()
		}
		found := in.tryClosed(classes, s, request, func(t *flow.Trace) bool { return leaves(t, s.Object) })
		if found == nil {
			continue
		}
		f := Finding{
			Object: o, Field: field, Label: "hands out credentials",
			Message: fmt.Sprintf("%s %s %s, the metadata service of a cloud, so that %s it on port %d; remove the address",
				o, fmt.Sprintf(verb, s.Hostname), a, found.who("reaches", "reach"), port.Number),
			Help: "close the address with a NetworkPolicy to all workloads that do not need it",
		}
		if o != s.Object {
			f.Related = append(f.Related, Related{s.Object, s.HostField, fmt.Sprintf("%s selects it", s.Object)})
		}
		in.pass.Report(found.finding(f))
		return
	}
}

// sidecarClasses are all clients with a sidecar; nothing closes some of them.
func (in *intent) sidecarClasses() []closedClass {
	var out []closedClass
	for _, class := range in.pass.Reach.Classes() {
		if in.captured(class[0]) {
			because, _ := in.closes(class[0])
			out = append(out, closedClass{class, because})
		}
	}
	return out
}

// endpointEntry is a ServiceEntry of namespace shop with an endpoint.
func endpointEntry(address string) string {
	return `apiVersion: networking.istio.io/v1
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
  resolution: STATIC
  endpoints:
  - address: ` + address + "\n"
}
