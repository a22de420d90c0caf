package analyzers

import (
	"path"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

var duplicateObject = register(&Analyzer{
	ID:        "EGR013",
	Name:      "duplicate-object",
	Precision: PrecisionMedium,
	Doc: Doc{
		Title: "The same object is defined twice",
		What: "Two documents have the same kind, namespace and name (the API version does not count). " +
			"With the same content, or with differences that bear on nothing here (images, replicas, how requests for a Service are split), that is a note, because the answers are the same whichever counts; " +
			"with other differences it is a warning. It stays a note where no answer hangs on which counts: the definitions stand in different files and the input holds no workload, or in directories that are by their names parts of a kustomization (`base`, `overlays`, `components`), " +
			"or they are of a workload, a Service or a namespace and nothing in the input controls egress. The last one counts, " +
			"in the order of the given paths and of the names of files.",
		Why: "In a cluster there is one object: the one that was applied last, which nobody can tell from the manifests. " +
			"Definitions in different directories are often those of different meshes, whose answers must not be mixed: " +
			"where directories differ in more than three objects, what rests on all of the input being one mesh (EGR101, EGR200, EGR701, gateways that an IstioOperator disables) is a note, unless it is an error.",
		Bad: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  exportTo: ["."]
  hosts: [api.payments.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  hosts: [api.payments.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
`,
		Good: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  exportTo: ["."]
  hosts: [api.payments.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: billing
spec:
  hosts: [api.payments.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
`,
		Fix: "Keep one definition. If the directories belong to different meshes, run egresslint on each alone.",
		Silent: "More than three objects of which the definitions differ, as in a collection of examples or of environments, are one finding. A base and its overlays, which a kustomization puts together, are no duplicates, nor is what the name of its file or directory says to be a patch (EGR014), neither are objects with `generateName`, " +
			"nor objects whose name or namespace is a placeholder (`${NAMESPACE}`), which may be filled in differently each time. " +
			"Kinds without bearing on egress do not matter here.",
		Sources: []string{"https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"},
	},
	Severity: Warning,
	Run:      runDuplicateObject,
})

func runDuplicateObject(p *Pass) {
	again, idle := repeated(p)
	reportAgain(p, Warning, "with different content: the last count", again[manifest.Conflict])
	reportAgain(p, Note, "with different content, on which nothing hangs here: the last count", idle)
	reportAgain(p, Note, "with differences that bear on nothing here: the last count", again[manifest.Variant])
	reportAgain(p, Note, "with the same content", again[manifest.Duplicate])
}

// repeated returns what is defined again; idle are conflicts on which no answer
// hangs.
func repeated(p *Pass) (again map[manifest.ProblemKind][]manifest.Problem, idle []manifest.Problem) {
	ignored := map[string]bool{}
	for kind := range p.Mesh.Ignored { // "apiVersion Kind"
		ignored[kind[strings.LastIndexByte(kind, ' ')+1:]] = true
	}
	again = map[manifest.ProblemKind][]manifest.Problem{}
	for _, x := range p.Mesh.Problems {
		if !slices.Contains(repetitions, x.Kind) {
			continue
		}
		kind, id, _ := strings.Cut(x.Object, " ")
		switch {
		case ignored[kind] && (!openEnded[kind] || !strings.Contains(id, "istio")):
		case strings.ContainsAny(id, "$<"): // no name has these: what is filled in may differ from one document to the next
		case x.Kind == manifest.Conflict && !decides(p, kind, x):
			idle = append(idle, x)
		default:
			again[x.Kind] = append(again[x.Kind], x)
		}
	}
	return again, idle
}

// decides reports whether an answer may hang on which definition of an object
// counts. Two in one file are a slip wherever they stand.
func decides(p *Pass, kind string, x manifest.Problem) bool {
	switch {
	case x.Position.File == x.Other.File:
		return true
	case len(p.Reach.Classes()) == 0 || putTogether(x):
		return false
	case !controlled[kind]:
		return true
	}
	in := intentOf(p)
	return len(in.steerings)+len(in.gateways)+len(p.Mesh.AuthorizationPolicies)+len(p.Mesh.NetworkPolicies)+len(p.Mesh.ClusterNetworkPolicies)+len(in.registryControl())+len(in.waypointHosts()) > 0
}

// putTogether reports whether the names of directories say that definitions are
// parts of Kustomize's, of which one takes the place of another or changes it.
func putTogether(x manifest.Problem) bool {
	a, b := path.Dir(x.Position.File), path.Dir(x.Other.File)
	return a != b && slices.ContainsFunc(strings.Split(a+"/"+b, "/"), func(part string) bool { return part == "base" || part == "overlays" || part == "components" })
}

// controlled are kinds that hold what is controlled, and no control.
var controlled = map[string]bool{
	"CronJob": true, "DaemonSet": true, "Deployment": true, "Job": true, "Namespace": true, "Pod": true, "ReplicaSet": true,
	"ReplicationController": true, "Rollout": true, "Service": true, "ServiceAccount": true, "StatefulSet": true, "Endpoints": true, "EndpointSlice": true,
}

// openEnded are kinds of which most objects have no bearing on egress, and those
// of an installation of Istio do.
var openEnded = map[string]bool{"ConfigMap": true, "Secret": true, "MutatingWebhookConfiguration": true}
