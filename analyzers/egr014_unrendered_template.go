package analyzers

import "github.com/egresslint/egresslint/model/manifest"

var _ = register(&Analyzer{
	ID:   "EGR014",
	Name: "unrendered-template",
	Doc: Doc{
		Title: "Templates are not rendered, so that what they make is not analysed",
		What: "Documents with template expressions (Helm, Go, Jinja, ytt …), charts, kustomizations whose patches " +
			"cannot be applied here, patches that no kustomization of the input applies, and objects that would be refused and hold a placeholder (`${HOST}`, `$HOST`, `__HOST__`, `SHOP_HOST` for a host) " +
			"or a value that is left open (`name: # TODO`), and excerpts with a line of dots are left out, and the result is marked as partial. There is one note for each directory of templates.",
		Why: "What a template makes of its values is not in the input. Nothing is guessed, and nothing is executed: " +
			"input may come from strangers.",
		Bad: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: {{ .Release.Name }}-api
  namespace: shop
spec:
  hosts: [{{ .Values.host }}]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
`,
		Good: `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: payments-api
  namespace: shop
spec:
  hosts: [api.payments.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
`,
		Fix: "Render the templates and analyse the result: `helm template DIR | egresslint -`, `kustomize build DIR | egresslint -`.",
		Silent: "Braces in plain text (a script in a ConfigMap, an annotation) are no template. " +
			"Helm values files with mesh configuration are read as such.",
		Sources: []string{"https://helm.sh/docs/helm/helm_template/", "https://kubectl.docs.kubernetes.io/references/kustomize/cmd/build/"},
	},
	Severity: Note,
	Run: func(p *Pass) {
		reportProblems(p, "left out", manifest.Template, manifest.Unrendered)
	},
})
