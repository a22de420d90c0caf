package analyzers

import "github.com/egresslint/egresslint/model/manifest"

var _ = register(&Analyzer{
	ID:        "EGR010",
	Name:      "unreadable-input",
	Precision: PrecisionVeryHigh,
	Doc: Doc{
		Title: "A file or document cannot be read",
		What: "A file or a document of it does not parse, is too large, or is no object at all " +
			"(it has no `apiVersion` and `kind`). It is left out, the rest is analysed, and the result is marked as partial.",
		Why: "What cannot be read decides nothing in the answers, but may well decide something in the cluster: " +
			"a policy that is missing here makes hosts look reachable, a route that is missing makes them look blocked. " +
			"`kubectl apply` refuses the same file.",
		Bad: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  hosts: [api.payments.example
  ports:
  - number: 443
    name: tls
    protocol: TLS
`,
		Good: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  hosts: [api.payments.example]
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`,
		Fix: "Mend the document, or leave the file out of the given paths if it is no manifest.",
		Silent: "Files of other tools, which hold neither `apiVersion` nor `kind` anywhere, are not read as manifests and not reported. " +
			"Templates are EGR014.",
		Sources: []string{"https://kubernetes.io/docs/concepts/overview/working-with-objects/"},
	},
	Severity: Error,
	Run: func(p *Pass) {
		reportProblems(p, "not read", manifest.Unreadable)
	},
})
