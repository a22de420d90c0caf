package analyzers

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID:        "EGR012",
	Name:      "unknown-field",
	Precision: PrecisionVeryHigh,
	Doc: Doc{
		Title: "A field does not exist, so that it decides nothing",
		What: "An object has a field that its kind does not have: a misspelt name, the wrong case, the wrong indentation, " +
			"or the name of the protobuf definition (`sni_hosts`) in place of the one of the CustomResourceDefinition (`sniHosts`).",
		Why: "An API server drops unknown fields of custom resources, with a warning that nobody sees in a pipeline, or refuses the " +
			"object if the client asks for strict validation, as `kubectl apply` does. Either way the setting is not in force: " +
			"an `exportto` restricts nobody.",
		Bad: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  exportto: ["."]
  hosts: [api.payments.example]
  ports:
  - number: 443
    name: tls
    protocol: TLS
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
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`,
		Fix: "Write the field as the kind has it, at the place where it belongs, or remove it.",
		Silent: "Fields that may hold anything (labels, annotations, `google.protobuf.Struct`) and kinds without bearing on egress " +
			"are not checked, nor are fields that API servers themselves once wrote (`metadata.clusterName`), the directives of a patch (`$patch`), " +
			"and the mesh configuration where the input shows an Istio before 1.8, which had fields that today's has no more. What a refused object has of them is part of EGR011. A field that an object repeats is one finding.",
		Sources: []string{
			"https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#field-pruning",
			"https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation",
			"istio/istio manifests/charts/base/files/crd-all.gen.yaml",
		},
	},
	Severity: Warning,
	Run:      runUnknownField,
})

func runUnknownField(p *Pass) {
	minor := istioMinor(p.Mesh)
	old := minor == beforeOne || minor >= 0 && minor < 8
	refused := refusals(p)
	type mistake struct{ file, object, field string }
	var order []mistake
	again := map[mistake][]manifest.Problem{}
	for _, x := range p.Mesh.Problems {
		if x.Kind != manifest.UnknownField || old && strings.HasPrefix(x.Object, "ConfigMap ") || refused[placedObject(x)] {
			continue
		}
		field := x.Message
		if parts := strings.SplitN(x.Message, "\"", 3); len(parts) == 3 {
			field = indexPattern.ReplaceAllString(parts[1], "[]")
		}
		m := mistake{x.Position.File, x.Object, field}
		if len(again[m]) == 0 {
			order = append(order, m)
		}
		again[m] = append(again[m], x)
	}
	for _, m := range order {
		all := again[m]
		f := Finding{Position: all[0].Position, About: all[0].Object, Field: m.field, Message: all[0].Message, Help: all[0].Help, Label: "decides nothing"}
		if more := len(all) - 1; more > 0 {
			var lines []string
			for _, x := range all[1:] {
				lines = append(lines, fmt.Sprint(x.Position.Line))
			}
			f.Message += fmt.Sprintf("; so it is in %s of the object", counted(more, "more place"))
			f.Help += "; the others are in line " + strings.Join(lines[:min(more, 10)], ", ")
		}
		p.Report(f)
	}
}

// indexPattern matches the index of an item in a field path.
var indexPattern = regexp.MustCompile(`\[[0-9]+\]`)
