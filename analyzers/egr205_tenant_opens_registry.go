package analyzers

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/capture"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID: "EGR205", Name: "tenant-opens-registry", Severity: Warning, SecuritySeverity: 5.3,
	Run: runTenantOpens,
	Doc: Doc{
		Title: "A ServiceEntry in an application's namespace opens a host for the whole mesh",
		What: "The mesh is `REGISTRY_ONLY`. A ServiceEntry for a host outside lies in a namespace of applications and is exported to every namespace " +
			"(`exportTo` is absent or `*`), and workloads of other namespaces get out by it.",
		Why: "Under REGISTRY_ONLY the registry is the list of what may be reached. Whoever may write ServiceEntries in one application's namespace decides " +
			"what all others reach, and does so without meaning it: everybody is the default.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, billingApp, entryOf("")),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, billingApp, entryOf("  exportTo: [\".\"]\n")),
		Fix: "Write `exportTo: [\".\"]`, or set `defaultServiceExportTo: [\".\"]` in the mesh configuration; declare hosts that are meant for everybody in a namespace that the platform " +
			"owns. `serviceEntryVisibility` with `applyToSidecars` caps what tenants export.",
		Silent: "ServiceEntries of the root namespace, of namespaces with a gateway or without application workloads; an `exportTo` that names namespaces; hosts that such a " +
			"namespace registers for everybody anyway; meshes with one application namespace; clients of other namespaces do not get out by it, or nobody knows.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (serviceExportTo)",
			"https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry",
			"https://istio.io/latest/news/security/istio-security-2026-002/",
		},
	},
})

// fewTried is how many classes of clients are tried for each ServiceEntry of a
// tenant: a mesh may have thousands, and one client proves the finding.
const fewTried = 4

func runTenantOpens(p *Pass) {
	in := intentOf(p)
	closed := in.closedClasses()
	tenants := in.tenants()
	if len(closed) == 0 || len(tenants) < 2 {
		return
	}
	byEntry := map[*manifest.Object][]*model.Service{}
	var entries []*manifest.Object
	for _, s := range in.push.Services() {
		if s.Entry == nil || !tenants[s.Namespace] || s.Entry.Spec.GetLocation() != networking.ServiceEntry_MESH_EXTERNAL ||
			len(s.ExportTo) > 0 && !s.ExportTo.Public() || in.sharedAnyway(s, tenants) {
			continue
		}
		if byEntry[s.Object] == nil {
			entries = append(entries, s.Object)
		}
		byEntry[s.Object] = append(byEntry[s.Object], s)
	}
	for _, e := range entries {
		in.reportTenant(e, byEntry[e], closed)
	}
}

func (in *intent) reportTenant(e *manifest.Object, services []*model.Service, closed []closedClass) {
	var hosts []string
	var shown *opening
	for _, s := range services {
		hosts = append(hosts, string(s.Hostname))
		for _, port := range s.Ports {
			if shown == nil {
				shown = in.tryOthers(fewTried, closed, e.Namespace, s, requestTo(s, port), func(t *flow.Trace) bool {
					return t.Outcome == flow.Allowed && t.Reason == flow.OK && (t.Via == flow.ViaDirect || t.Via == flow.ViaGateway) && sends(t, flow.AtSidecar, e)
				})
			}
		}
	}
	if shown == nil {
		return
	}
	in.pass.Report(shown.finding(Finding{
		Object: e, Field: "spec.exportTo", Label: "exported to every namespace",
		Message: fmt.Sprintf("ServiceEntry %s of an application namespace opens %s for every namespace of a REGISTRY_ONLY mesh, so that %s it; write exportTo [\".\"]",
			e.ID(), upTo3(hosts), shown.who("reaches", "reach")),
		Help: "declare hosts that are meant for everybody in a namespace that the platform owns",
		Fix:  "spec:\n  exportTo:\n  - \".\"\n",
	}))
}

// requestTo is a request for a host and port as its ServiceEntry declares it, with
// a name for a wildcard.
func requestTo(s *model.Service, port *model.Port) flow.Flow {
	f := flow.Flow{Host: string(s.Hostname), Port: port.Number, Scheme: speaks(port)}
	if s.Hostname.IsWildCarded() {
		f.Host = "witness" + f.Host[1:]
	}
	return f
}

// tenants are the namespaces of applications: those with clients that have a
// proxy, without the root namespace, those of Kubernetes and Istio, and those with
// a gateway.
func (in *intent) tenants() map[string]bool {
	out := map[string]bool{}
	for _, class := range in.pass.Reach.Classes() {
		w := class[0]
		switch in.pass.Reach.Sim.Capture(w).Mode {
		case capture.Sidecar, capture.Ambient:
			if !out[w.Namespace] && !systemNamespace(in.pass, w.Namespace) {
				out[w.Namespace] = true
			}
		}
	}
	for _, w := range in.pass.Mesh.Workloads {
		if in.pass.Reach.Sim.Capture(w).Mode == capture.Router {
			delete(out, w.Namespace)
		}
	}
	return out
}

// sharedAnyway reports whether a namespace that is no application's registers the
// host for everybody.
func (in *intent) sharedAnyway(s *model.Service, tenants map[string]bool) bool {
	for namespace, other := range in.push.Registered(s.Hostname) {
		if !tenants[namespace] && (len(other.ExportTo) == 0 || other.ExportTo.Public()) {
			return true
		}
	}
	return false
}

// billingApp is a second application, in a namespace of its own.
const billingApp = `apiVersion: v1
kind: Namespace
metadata:
  name: billing
  labels:
    istio-injection: enabled
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: invoices
  namespace: billing
spec:
  selector:
    matchLabels: {app: invoices}
  template:
    metadata:
      labels: {app: invoices}
    spec:
      containers:
      - name: invoices
        image: registry.example/invoices:1
`

// entryOf is a ServiceEntry of namespace shop for api.example.com, with a line of
// its spec.
func entryOf(line string) string {
	return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: shop
spec:
` + line + `  hosts:
  - api.example.com
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`
}
