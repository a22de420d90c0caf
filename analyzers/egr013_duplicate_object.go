package analyzers

import (
	"path"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID:        "EGR013",
	Name:      "duplicate-object",
	Precision: PrecisionMedium,
	Doc: Doc{
		Title: "The same object is defined twice",
		What: "Two documents have the same kind, namespace and name (the API version does not count). " +
			"With the same content, or with differences that bear on nothing here (images, replicas, how requests for a Service are split), that is a note, because the answers are the same whichever counts; " +
			"with other differences it is a warning. The last one counts, " +
			"in the order of the given paths and of the names of files.",
		Why: "In a cluster there is one object: the one that was applied last, which nobody can tell from the manifests. " +
			"Definitions in different directories are often those of different meshes, whose answers must not be mixed.",
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
		Silent: "More than three objects of one directory that stand again in the same or in another one are one finding, and where more than three pairs of directories have such objects, " +
			"as in a collection of examples or of environments, all of it is one. A base and its overlays, which a kustomization puts together, are no duplicates, nor is what the name of its file or directory says to be a patch (EGR014), neither are objects with `generateName`, " +
			"nor objects whose name or namespace is a placeholder (`${NAMESPACE}`), which may be filled in differently each time. " +
			"Kinds without bearing on egress do not matter here.",
		Sources: []string{"https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"},
	},
	Severity: Warning,
	Run:      runDuplicateObject,
})

func runDuplicateObject(p *Pass) {
	ignored := map[string]bool{}
	for kind := range p.Mesh.Ignored { // "apiVersion Kind"
		ignored[kind[strings.LastIndexByte(kind, ' ')+1:]] = true
	}
	groups := map[manifest.ProblemKind][]*repetition{}
	for _, x := range p.Mesh.Problems {
		if !slices.Contains(repetitions, x.Kind) {
			continue
		}
		kind, id, _ := strings.Cut(x.Object, " ")
		if ignored[kind] && (!openEnded[kind] || !strings.Contains(id, "istio")) {
			continue
		}
		if strings.ContainsAny(id, "$<") {
			continue // no name has these: what is filled in may differ from one document to the next
		}
		dir, other := path.Dir(x.Position.File), path.Dir(x.Other.File)
		i := slices.IndexFunc(groups[x.Kind], func(r *repetition) bool { return r.dir == dir && r.other == other })
		if i < 0 {
			i = len(groups[x.Kind])
			groups[x.Kind] = append(groups[x.Kind], &repetition{dir: dir, other: other})
		}
		groups[x.Kind][i].problems = append(groups[x.Kind][i].problems, x)
	}
	for _, kind := range repetitions {
		var within, across []*repetition
		for _, r := range groups[kind] {
			if r.dir == r.other {
				within = append(within, r)
			} else {
				across = append(across, r)
			}
		}
		reportAgain(p, kind, within, "the same directory")
		reportAgain(p, kind, across, "another directory")
	}
}

// openEnded are kinds of which most objects have no bearing on egress, and those
// of an installation of Istio do.
var openEnded = map[string]bool{"ConfigMap": true, "Secret": true, "MutatingWebhookConfiguration": true}
