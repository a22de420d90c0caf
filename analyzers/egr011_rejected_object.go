package analyzers

import (
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

var _ = register(&Analyzer{
	ID:        "EGR011",
	Name:      "rejected-object",
	Precision: PrecisionVeryHigh,
	Doc: Doc{
		Title: "An object is refused, so that it does not exist in any cluster",
		What: "The API server (by the schema of the kind) or Istio's validating webhook refuses the object. " +
			"It is left out of the analysis; the message quotes what is said against it. " +
			"A mesh configuration that istiod does not take is dropped as a whole, and Istio's defaults are in force.",
		Why: "Whoever reads the manifests sees a policy, a route or a restriction that no proxy will ever hear of. " +
			"A refused DENY policy denies nothing, and a refused mesh configuration leaves `ALLOW_ANY` in force.",
		Bad: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: wildcard
  namespace: shop
spec:
  hosts: ["*.payments.example"]
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`,
		Good: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: wildcard
  namespace: shop
spec:
  hosts: ["*.payments.example"]
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: NONE
`,
		Fix: "Correct the field that the message names.",
		Silent: "Kinds that have no bearing on egress are not checked. An EnvoyFilter is only held against its schema. " +
			"CEL rules of CustomResourceDefinitions are not evaluated; Istio's validation repeats them.",
		Sources: []string{
			"istio/istio pkg/config/validation/validation.go",
			"istio/istio manifests/charts/base/files/crd-all.gen.yaml",
			"istio/istio pkg/config/mesh/meshwatcher/collection.go",
		},
	},
	Severity: Error,
	Run:      runRejectedObject,
})

// runRejectedObject names the unknown fields of a refused object too: a field
// that is missing is often there under a wrong name.
func runRejectedObject(p *Pass) {
	unknown := map[objectOfFile][]string{}
	for _, x := range p.Mesh.Problems {
		if parts := strings.SplitN(x.Message, "\"", 3); x.Kind == manifest.UnknownField && len(parts) == 3 {
			unknown[placedObject(x)] = append(unknown[placedObject(x)], fmt.Sprintf("%q", parts[1]))
		}
	}
	for _, x := range p.Mesh.Problems {
		if x.Kind != manifest.Rejected {
			continue
		}
		f := Finding{Position: x.Position, About: x.Object, Message: x.Message, Help: x.Help, Label: "refused"}
		if fields := unknown[placedObject(x)]; len(fields) > 0 {
			f.Message += "; it does not know " + upTo3(fields)
		}
		p.Report(f)
	}
}

// objectOfFile is an object that problems are about, and the file it stands in.
type objectOfFile struct{ file, object string }

func placedObject(x manifest.Problem) objectOfFile { return objectOfFile{x.Position.File, x.Object} }

// refusals are the objects of the input that are refused.
func refusals(p *Pass) map[objectOfFile]bool {
	out := map[objectOfFile]bool{}
	for _, x := range p.Mesh.Problems {
		if x.Kind == manifest.Rejected && x.Object != "" {
			out[placedObject(x)] = true
		}
	}
	return out
}
