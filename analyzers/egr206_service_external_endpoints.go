package analyzers

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR206", Name: "service-external-endpoints", Severity: Warning, SecuritySeverity: 6.0,
	Run: runExternalEndpoints,
	Doc: Doc{
		Title: "A Service of the cluster leads to addresses outside of it",
		What: "The mesh is `REGISTRY_ONLY`. A Service has endpoints that are public addresses (by Endpoints or an EndpointSlice written by hand, or by a WorkloadEntry that it selects), " +
			"and workloads get out by it.",
		Why: "Every Service is registered, so that REGISTRY_ONLY lets its clients through, to hosts that no ServiceEntry names. Rules about external hosts, reviews of ServiceEntries and " +
			"routes to the egress gateway see nothing of it.",
		Bad:    documents(closedMesh, shopNamespace, ordersDeployment, manualService("52.20.30.40")),
		Good:   documents(closedMesh, shopNamespace, ordersDeployment, manualService("10.20.30.40")),
		Fix:    "Declare the host in a ServiceEntry, and send it where the mesh's other external hosts are sent.",
		Silent: "Private addresses; `externalIPs`, which lead into the cluster; meshes that are not REGISTRY_ONLY for any workload that sees the Service; requests that a NetworkPolicy stops, or whose outcome is unknown.",
		Sources: []string{
			"istio pilot/pkg/serviceregistry/kube/controller/endpointslice.go",
			"https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors",
		},
	},
})

func runExternalEndpoints(p *Pass) {
	in := intentOf(p)
	closed := in.closedClasses()
	if len(closed) == 0 {
		return
	}
	for _, s := range in.push.Services() {
		if !s.Kubernetes() || s.Resolution == model.Alias {
			continue
		}
		var outside []model.Endpoint
		var addresses []string
		for _, e := range in.push.OwnEndpoints(s, nil) {
			a, err := netip.ParseAddr(e.Address)
			if err != nil || e.Workload != nil || !publicIPv4.Contains(a) && !netip.MustParsePrefix("2000::/3").Contains(a) || slices.Contains(addresses, e.Address) {
				continue
			}
			outside, addresses = append(outside, e), append(addresses, e.Address)
		}
		if len(outside) == 0 {
			continue
		}
		for _, port := range s.Ports {
			request := flow.Flow{Host: string(s.Hostname), Port: port.Number, Scheme: speaks(port)}
			o := in.tryClosed(closed, s, request, func(t *flow.Trace) bool { return leaves(t, s.Object) })
			if o == nil {
				continue
			}
			e := outside[0]
			p.Report(o.finding(Finding{
				Object: e.Object, Field: e.Field, Label: "outside the cluster",
				Message: fmt.Sprintf("Service %s leads to %s outside the cluster, so that %s there on port %d although %s is REGISTRY_ONLY and no ServiceEntry names the host; declare it in a ServiceEntry",
					s.Object.ID(), upTo3(addresses), o.who("gets", "get"), port.Number, o.closedText()),
				Related: []Related{{s.Object, "spec", "this Service has no pods of its own there"}},
			}))
			break
		}
	}
}

// manualService is a Service of namespace shop with an endpoint written by hand.
func manualService(address string) string {
	return `apiVersion: v1
kind: Service
metadata:
  name: partner
  namespace: shop
spec:
  clusterIP: 10.96.0.20
  ports:
  - name: tcp
    port: 5432
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: partner-1
  namespace: shop
  labels:
    kubernetes.io/service-name: partner
addressType: IPv4
ports:
- name: tcp
  port: 5432
endpoints:
- addresses: ["` + address + `"]
`
}
