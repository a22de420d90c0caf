package analyzers

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID:   "EGR013",
	Name: "duplicate-object",
	Doc: Doc{
		Title: "The same object is defined twice",
		What: "Two documents have the same kind, namespace and name (the API version does not count). " +
			"With the same content that is a note, because the answers are the same whichever counts; with different content it is an error, and the last one counts, " +
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
		Silent: "More than three objects of one directory that stand again in another are one finding. A base and its overlays, which a kustomization puts together, are no duplicates, neither are objects with `generateName`, " +
			"nor objects whose name or namespace is a placeholder (`${NAMESPACE}`), which may be filled in differently each time. " +
			"Kinds without bearing on egress do not matter here.",
		Sources: []string{"https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"},
	},
	Severity: Error,
	Run:      runDuplicateObject,
})

func runDuplicateObject(p *Pass) {
	ignored := map[string]bool{}
	for kind := range p.Mesh.Ignored { // "apiVersion Kind"
		ignored[kind[strings.LastIndexByte(kind, ' ')+1:]] = true
	}
	type pair struct {
		kind       manifest.ProblemKind
		dir, other string
	}
	var order []pair
	groups := map[pair][]manifest.Problem{}
	for _, x := range p.Mesh.Problems {
		if x.Kind != manifest.Conflict && x.Kind != manifest.Duplicate {
			continue
		}
		kind, id, _ := strings.Cut(x.Object, " ")
		if ignored[kind] && (!openEnded[kind] || !strings.Contains(id, "istio")) {
			continue
		}
		if strings.ContainsAny(id, "$<") {
			continue // no name has these: what is filled in may differ from one document to the next
		}
		key := pair{x.Kind, path.Dir(x.Position.File), path.Dir(x.Other.File)}
		if len(groups[key]) == 0 {
			order = append(order, key)
		}
		groups[key] = append(groups[key], x)
	}
	for _, key := range order {
		severity := Note
		if key.kind == manifest.Conflict {
			severity = Error
		}
		group := groups[key]
		if len(group) <= maxNamed {
			for _, x := range group {
				p.Report(Finding{Severity: severity, Position: x.Position, Message: x.Message, Help: x.Help, Label: "defined again"})
			}
			continue
		}
		p.Report(Finding{Severity: severity, Position: group[0].Position, Message: definedAgain(group, key.dir, key.other), Help: group[0].Help, Label: "the first of them"})
	}
}

// definedAgain words what many objects of a directory have in common: they are
// two versions of one application, or two meshes.
func definedAgain(group []manifest.Problem, dir, other string) string {
	var names []string // each once, though one may be defined many times
	for _, x := range group {
		if !slices.Contains(names, x.Object) {
			names = append(names, x.Object)
		}
	}
	where := "in " + other
	if dir == other {
		where = "in the same directory"
	}
	what := "with the same content"
	if group[0].Kind == manifest.Conflict {
		what = "with different content: the last count"
	}
	if len(names) == 1 {
		return fmt.Sprintf("%s of %s is defined again %d times %s, %s", names[0], dir, len(group), where, strings.Replace(what, "last count", "last counts", 1))
	}
	return fmt.Sprintf("%s of %s are defined again %s, %s (%s)", counted(len(names), "object"), dir, where, what, upTo3(names))
}

// openEnded are kinds of which most objects have no bearing on egress, and those
// of an installation of Istio do.
var openEnded = map[string]bool{"ConfigMap": true, "Secret": true, "MutatingWebhookConfiguration": true}
