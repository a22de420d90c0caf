package analyzers

import (
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID:   "EGR013",
	Name: "duplicate-object",
	Doc: Doc{
		Title: "The same object is defined twice",
		What: "Two documents have the same kind, namespace and name (the API version does not count). " +
			"With the same content that is a warning; with different content it is an error, and the last one counts, " +
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
		Silent: "A base and its overlays, which a kustomization puts together, are no duplicates, neither are objects with `generateName`. " +
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
	for _, x := range p.Mesh.Problems {
		severity := Warning
		switch x.Kind {
		case manifest.Conflict:
			severity = Error
		case manifest.Duplicate:
		default:
			continue
		}
		kind, id, _ := strings.Cut(x.Object, " ")
		if ignored[kind] && (!openEnded[kind] || !strings.Contains(id, "istio")) {
			continue
		}
		p.Report(Finding{Severity: severity, Position: x.Position, Message: x.Message, Help: x.Help, Label: "defined again"})
	}
}

// openEnded are kinds of which most objects have no bearing on egress, and those
// of an installation of Istio do.
var openEnded = map[string]bool{"ConfigMap": true, "Secret": true, "MutatingWebhookConfiguration": true}
