package analyzers

// idleSuppression has no Run of its own: what directives do is known once all
// rules have run (see suppress).
var idleSuppression = register(&Analyzer{
	ID:   "EGR905",
	Name: "idle-suppression",
	Doc: Doc{
		Title: "A suppression does nothing",
		What: "A comment `# egresslint: ignore[EGR301] reason` or the annotation `egresslint.io/ignore: \"EGR301: reason\"` " +
			"leaves nothing out: it gives no reason, names no rule, its date has passed, or there is no such finding any more (a note).",
		Why: "Whoever wrote it believes that a finding was weighed and accepted. Without a reason nobody can tell; " +
			"one that is not needed any more will hide the next mistake at the same place.",
		Bad: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  hosts: [api.payments.example] # egresslint: ignore[EGR301]
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
  hosts: [api.payments.example] # egresslint: ignore[EGR301] the gateway cannot do this protocol, SEC-1234
  ports:
  - number: 443
    name: tls
    protocol: TLS
  resolution: DNS
`,
		Fix: "Give the reason behind the rules, a new date after `until=`, or remove the suppression.",
		Silent: "A suppression of a rule that did not run (`--enable`, `--disable`) is not called unneeded. " +
			"One of several rules is judged for each of them.",
		Sources: []string{"https://github.com/egresslint/egresslint/blob/main/docs/settings.md"},
	},
	Severity: Warning,
	Run:      func(*Pass) {},
})
