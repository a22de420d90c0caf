package manifest_test

import (
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

func TestTemplates(t *testing.T) {
	object := func(apiVersion, kind, rest string) string {
		return "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata:\n  name: a\n" + rest
	}
	const helm = " (render it first: helm template CHART | egresslint -, if they are Helm's)"
	tests := []struct {
		name, text string
		problem    string // "" for an object
	}{
		{"statement", "{{- if .Values.on }}\n" + serviceA + "{{- end }}\n", "template d/a.yaml:1:1: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"value without quotes", object("networking.istio.io/v1", "Gateway", "spec:\n  selector: {{ .Values.selector }}\n"), "template d/a.yaml:6:13: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"value with quotes", object("networking.istio.io/v1", "Gateway", "spec:\n  servers:\n  - hosts: [\"*.{{ .Values.domain }}\"]\n"), "template d/a.yaml:7:13: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"name", "apiVersion: x.example.org/v1\nkind: Thing\nmetadata:\n  name: \"{{ .Release.Name }}-x\"\n", "template d/a.yaml:4:9: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"name without quotes", "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\n", "template d/a.yaml:4:9: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"annotation of Istio", object("v1", "Pod", "  annotations:\n    traffic.sidecar.istio.io/excludeOutboundPorts: '{{ .ports }}'\n"), "template d/a.yaml:6:52: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"annotation for a program", object("v1", "Pod", "  annotations:\n    vault.hashicorp.com/agent-inject-template-x: \"{{ with secret }}\"\n"), ""},
		{"comment", object("v1", "Service", "# {{ .Values.x }}\nspec: {} # {{ y }}\n"), ""},
		{"comment in a document that does not parse", object("v1", "Service", "# {{ .Values.x }}\nspec: [\n"), "unreadable d/a.yaml:6:7: document does not parse: did not find expected node content while parsing a flow node"},
		{"block of a helper", object("v1", "Service", "  labels:\n    {{- include \"labels\" . | nindent 4 }}\nspec:\n  ports:\n  {{- range .ports }}\n  - port: {{ .port }}\n  {{- end }}\n"), "template d/a.yaml:6:5: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"programs' templates in a document that is broken elsewhere", object("v1", "ConfigMap", "data:\n  x: |\n    {{ .y }} ${z}\n  more: a\n   y: b\n"), "unreadable d/a.yaml:9:5: document does not parse: mapping values are not allowed in this context"},
		{"text of several lines", object("v1", "ConfigMap", "data:\n  x: |\n    {{ .y }}\n"), ""},
		{"text in a ConfigMap", object("v1", "ConfigMap", "data:\n  x: \"{{ .y }}\"\n"), ""},
		{"mesh configuration", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-canary}\ndata:\n  mesh: |\n    rootNamespace: r\n    outboundTrafficPolicy: {mode: {{ .mode }}}\n", "template d/a.yaml:5:9: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"what else stands beside mesh configuration", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n    rootNamespace: r\n  other: '{{ x }}'\n", ""},
		{"metadata of a ConfigMap", object("v1", "ConfigMap", "  labels: {a: \"{{ .y }}\"}\ndata:\n  x: y\n"), "template d/a.yaml:5:15: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"arguments of a program", object("apps/v1", "Deployment", "spec: {template: {spec: {containers: [{name: c, args: ['--format={{ .X }}'], env: [{name: F, value: '{{x}}'}], image: '{{ .i }}'}]}}}\n"), ""},
		{"labels of pods", object("apps/v1", "Deployment", "spec: {template: {metadata: {labels: {app: '{{ .X }}'}}}}\n"), "template d/a.yaml:5:44: 1 document in 1 file of d is a template ({{ … }}), not a manifest: left out" + helm},
		{"search domains that Istio's injector fills in", object("install.istio.io/v1alpha1", "IstioOperator", "spec: {values: {global: {podDNSSearchNamespaces: ['{{ valueOrDefault .DeploymentMeta.Namespace \"default\" }}.global']}}}\n"), ""},
		{"templates of other kinds", object("argoproj.io/v1alpha1", "AnalysisTemplate", "spec: {args: [{name: a}], metrics: [{name: '{{args.a}}'}]}\n"), ""},
		{"braces that are none", object("networking.istio.io/v1", "Gateway", "spec: {x: 'a{{b'}\n"), ""},
		{"Jinja", "{% if x %}\n" + serviceA + "{% endif %}\n", "template d/a.yaml:1:1: 1 document in 1 file of d is a template ({% … %}), not a manifest: left out (render it first: write the output of the tool that they are for to a directory and run egresslint on that)"},
		{"envsubst that does not parse", object("v1", "Service", "${EXTRA}\n"), "template d/a.yaml:5:1: 1 document in 1 file of d is a template (${…}), not a manifest: left out (render it first: envsubst < d/a.yaml | egresslint -)"},
		{"envsubst", object("v1", "Service", "  namespace: ${NAMESPACE}\n"), ""},
		{"ytt", "#@ load(\"@ytt:data\", \"data\")\n---\n" + object("v1", "Service", "  namespace: #@ data.values.ns\n"), "template d/a.yaml:3:1: 1 document in 1 file of d is a template (#@ …), not a manifest: left out (render it first: ytt -f d | egresslint -)"},
		{"ytt that only loads", "#@ load(\"@ytt:data\", \"data\")\n---\n" + serviceA, ""},
		{"patch of Kustomize", "$patch: delete\n" + serviceA, "template d/a.yaml:1:1: 1 document in 1 file of d is a template (a Kustomize patch), not a manifest: left out (render it first: kustomize build DIR | egresslint -, with the directory whose kustomization applies it)"},
		{"names in braces that do not parse", object("v1", "Service", "  namespace: {SPACE}\nspec:\n  externalName: {NAME}.{SPACE}.svc\n"), "template d/a.yaml:5:14: 1 document in 1 file of d is a template ({NAME} or __NAME__), not a manifest: left out (render it first: put values in place of the names)"},
		{"line to be replaced", object("v1", "Service", "  labels:\n    a: b\n    __LABELS__\n    c: d\n"), "template d/a.yaml:7:5: 1 document in 1 file of d is a template ({NAME} or __NAME__), not a manifest: left out (render it first: put values in place of the names)"},
		{"names in braces in a document that is broken elsewhere", object("v1", "Service", "  labels: {A: b}\n  annotations: {NAME}\nspec:\n  a: b\n   c: d\n"), "unreadable d/a.yaml:9:5: document does not parse: mapping values are not allowed in this context"},
		{"name to fill in", "apiVersion: v1\nkind: Service\nmetadata:\n  name: # TODO\nspec: {}\n", "template d/a.yaml:4:9: 1 document in 1 file of d is a template (# TODO), not a manifest: left out (render it first: fill in the values that are left open)"},
		{"item to fill in", "apiVersion: v1\nkind: Service\nmetadata:\n  labels: {}\nspec:\n  externalIPs:\n  - # TODO: which\n", "template d/a.yaml:7:5: 1 document in 1 file of d is a template (# TODO), not a manifest: left out (render it first: fill in the values that are left open)"},
		{"remark on what follows", "apiVersion: v1\nkind: Service\nmetadata: # TODO: rename\n  labels: {}\nspec:\n  ports: # TODO\n  - port: 80\n  # TODO\n", "unreadable d/a.yaml:4:3: Service has no metadata.name: left out (name it)"},
		{"remark on an object that is fine", object("v1", "Service", "spec:\n  ports: # TODO\n"), ""},
		{"excerpt", object("v1", "Service", "spec:\n  ports:\n  ...\n"), "template d/a.yaml:7:3: 1 document in 1 file of d is a template (an excerpt with ...), not a manifest: left out (render it first: write out what the dots leave out)"},
		{"dots in a text that does not parse", object("v1", "Service", "  labels: {a: wait ...}\nspec: [\n"), "unreadable d/a.yaml:6:7: document does not parse: did not find expected node content while parsing a flow node"},
		{"variable for labels", object("v1", "Service", "  labels:\n    ${LABELS}\nspec: {}\n"), "template d/a.yaml:6:5: 1 document in 1 file of d is a template (${…}), not a manifest: left out (render it first: envsubst < d/a.yaml | egresslint -)"},
		{"OpenShift", "apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {name: a}\nobjects: []\n", "template d/a.yaml:1:1: 1 document in 1 file of d is a template (an OpenShift Template), not a manifest: left out (render it first: oc process --local -o yaml -f d/a.yaml | egresslint -)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := load(t, map[string]string{"d/a.yaml": test.text})
			if test.problem == "" {
				equal(t, "problems", problems(s), nil)
				if len(s.Objects) != 1 {
					t.Errorf("objects are %v", s.Objects)
				}
				return
			}
			equal(t, "problems", problems(s), []string{test.problem})
			equal(t, "objects", objects(s.Objects), nil)
		})
	}
	t.Run("once for each directory", func(t *testing.T) {
		text := "metadata: {name: {{ .x }}}\napiVersion: v1\nkind: Service\n"
		s := load(t, map[string]string{"a/x.yaml": text + "---\n" + text, "a/y.yaml": text, "b/x.yaml": text, "b/z.yaml": serviceA})
		equal(t, "problems", problems(s), []string{
			"template a/x.yaml:1:18: 3 documents in 2 files of a are templates ({{ … }}), not manifests: left out (render them first: helm template CHART | egresslint -, if they are Helm's)",
			"template b/x.yaml:1:18: 1 document in 1 file of b is a template ({{ … }}), not a manifest: left out" + helm,
		})
		equal(t, "objects", objects(s.Objects), []string{"Service default/a @ b/z.yaml:1:1"})
	})
}

func TestKustomize(t *testing.T) {
	const head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
	patch := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
	tests := []struct {
		name     string
		files    map[string]string
		objects  []string
		problems []string
	}{{
		name:    "nothing but resources is the same raw",
		files:   map[string]string{"base/kustomization.yaml": head + "resources: [a.yaml, ./sub]\nimages: [{name: x, newTag: y}]\nreplicas: []\nnamespace: \"\"\n", "base/a.yaml": service("a"), "base/sub/b.yaml": service("b"), "base/sub/kustomization.yml": "resources: [b.yaml]\n"},
		objects: []string{"Service default/a @ base/a.yaml:1:1", "Service default/b @ base/sub/b.yaml:1:1"},
	}, {
		name: "patches are no objects",
		files: map[string]string{
			"o/kustomization.yaml": head + "resources:\n- ../base\n- extra.yaml\npatches:\n- path: p1.yaml\n- path: patches/p2.json\n  target: {kind: Service}\n- patch: |-\n    - op: remove\npatchesStrategicMerge:\n- p3.yaml\n- |\n  kind: x\npatchesJson6902:\n- {path: gone.yaml}\n- {path: extra.yaml}\n",
			"o/p1.yaml":            patch, "o/patches/p2.json": "[{\"op\": \"remove\"}]", "o/p3.yaml": patch, "o/extra.yaml": service("extra"), "base/a.yaml": service("a"),
		},
		objects:  []string{"Service default/a @ base/a.yaml:1:1", "Service default/extra @ o/extra.yaml:1:1"},
		problems: []string{"unrendered o/kustomization.yaml:6:1: kustomization o is read file by file, not built: 3 patches are left out; building it applies 4 patches (kustomize build o | egresslint -)"},
	}, {
		name: "what building would change is said",
		files: map[string]string{
			"o/Kustomization": "namespace: shop\nnamePrefix: x-\nresources:\n- https://example.com/base?ref=v1\n- ../base\n- ../gone\n- a.yaml\nlabels: [{pairs: {a: b}}]\nconfigMapGenerator:\n- name: c\n  files: [mesh=gen.yaml, other.yaml]\nhelmCharts: [{name: istiod}]\n",
			"o/a.yaml":        service("a"), "o/unlisted.yaml": service("u"), "o/gen.yaml": service("gen"), "o/other.yaml": service("other"), "base/b.yaml": service("b"),
		},
		objects:  []string{"Service default/b @ base/b.yaml:1:1", "Service default/a @ o/a.yaml:1:1", "Service default/u @ o/unlisted.yaml:1:1"},
		problems: []string{`unrendered o/Kustomization:3:1: kustomization o is read file by file, not built: building it takes "https://example.com/base?ref=v1", "../gone" from elsewhere, sets the namespace "shop", sets the name prefix "x-", adds labels, generates ConfigMaps, renders charts, does not list "unlisted.yaml", which is read all the same (kustomize build o | egresslint -)`},
	}, {
		name:     "components",
		files:    map[string]string{"o/kustomization.yaml": "components: [../c]\n", "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: p.yaml}]\n", "c/p.yaml": patch, "a.yaml": serviceA},
		objects:  []string{"Service default/a @ a.yaml:1:1"},
		problems: []string{"unrendered c/kustomization.yaml:3:1: kustomization c is read file by file, not built: 1 patch is left out (kustomize build c | egresslint -)", "unrendered o/kustomization.yaml:1:1: kustomization o is read file by file, not built: building it applies components (kustomize build o | egresslint -)"},
	}, {
		name:    "Flux has a kind of that name",
		files:   map[string]string{"kustomization.yaml": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps}\nspec: {patches: [{path: a.yaml}]}\n", "a.yaml": serviceA},
		objects: []string{"Service default/a @ a.yaml:1:1", "Kustomization default/apps @ kustomization.yaml:1:1"},
	}, {
		name:     "overlays of one base side by side",
		files:    map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": serviceA, "dev/kustomization.yaml": "resources: [../base, p.yaml]\n", "dev/p.yaml": serviceB, "prod/kustomization.yaml": "resources: [../base, p.yaml]\n", "prod/p.yaml": serviceB + "spec: {}\n"},
		objects:  []string{"Service default/a @ base/a.yaml:1:1", "Service default/b @ prod/p.yaml:1:1"},
		problems: []string{"conflict dev/p.yaml:1:1: Service default/b is defined again in prod/p.yaml:1:1, with different content: the last counts (keep one of them; if dev and prod are of different meshes, run them apart: egresslint dev and egresslint prod)"},
	}, {
		name:     "a kustomization that does not parse",
		files:    map[string]string{"kustomization.yaml": head + "patches: [\n", "a.yaml": serviceA},
		objects:  []string{"Service default/a @ a.yaml:1:1"},
		problems: []string{"unreadable kustomization.yaml:3:10: document does not parse: did not find expected node content while parsing a flow node"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := load(t, test.files)
			equal(t, "objects", objects(s.Objects), test.objects)
			equal(t, "problems", problems(s), test.problems)
		})
	}
}

func TestHelm(t *testing.T) {
	tests := []struct {
		name            string
		files           map[string]string
		objects, values []string
		problems        []string
	}{{
		name: "templates are no objects",
		files: map[string]string{
			"shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n", "shop/values.yaml": "meshConfig: {a: b}\n", "shop/templates/a.yaml": serviceA, "shop/templates/sub/b.yaml": "{{ x }}", "shop/templates/NOTES.txt": "x", "shop/crds/c.yaml": service("crd"),
			"shop/charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\n", "shop/charts/sub/templates/a.yaml": serviceA, "shop/charts/sub/values.yaml": "meshConfig: {a: c}\n", "templates/a.yaml": service("plain"),
		},
		objects:  []string{"Service default/crd @ shop/crds/c.yaml:1:1", "Service default/plain @ templates/a.yaml:1:1"},
		values:   []string{"HelmValues values.yaml @ shop/values.yaml:1:1"},
		problems: []string{"unrendered shop/Chart.yaml:1:1: chart shop is not rendered: 3 templates left out (helm template shop | egresslint -)"},
	}, {
		name:     "a chart of dependencies alone",
		files:    map[string]string{"mesh/Chart.yaml": "apiVersion: v2\nname: mesh\ndependencies:\n- name: istiod\n", "mesh/values.yaml": "istiod:\n  meshConfig: {}\n", "lib/Chart.yaml": "apiVersion: v2\nname: lib\n"},
		values:   []string{"HelmValues values.yaml @ mesh/values.yaml:1:1"},
		problems: []string{"unrendered mesh/Chart.yaml:1:1: chart mesh is not rendered: its dependencies are not read (helm template mesh | egresslint -)"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := load(t, test.files)
			equal(t, "objects", objects(s.Objects), test.objects)
			equal(t, "values", objects(s.Values), test.values)
			equal(t, "problems", problems(s), test.problems)
		})
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]string{
		"meshConfig:\n  outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n":                               "",
		"values: {meshConfig: {a: b}}\n":                                                              "values",
		"istio:\n  values:\n    meshConfig: {a: b}\n":                                                 "istio.values",
		"istio:\n  enabled: true\n  postRenderers: [{kustomize: {patches: []}}]\n":                    "istio.values",
		"global: {proxy: {excludeIPRanges: 1.2.3.4/32}}\n":                                            "",
		"my-mesh.istiod: {global: {proxy: {includeOutboundPorts: '80'}}}\n":                           "['my-mesh.istiod']",
		"_internal_defaults_do_not_set: {meshConfig: {}}\nistiod: {meshConfig: {rootNamespace: r}}\n": "istiod",
		"meshConfig: {a: &a {b: c}}\nx: {<<: *a}\n":                                                   "",
		"other: '{{ .Release.Name }}'\nmeshConfig: {a: b}\n":                                          "",
	} {
		prefix, found := "?", false
		s := mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text), Decode: func(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			prefix, found = manifest.ValuesPrefix(doc)
			return "value", nil
		}})
		if len(s.Values) != 1 || len(s.Objects) != 0 || s.OtherDocuments != 0 || s.Values[0].Kind != manifest.KindValues || s.Values[0].Value != "value" || prefix != want || found != (want != "istio.values" || strings.Contains(text, "istio")) {
			t.Errorf("%q: values %v, objects %v, prefix %q, problems %v", text, s.Values, s.Objects, prefix, problems(s))
		}
	}
	// Not values of Istio's charts.
	s := load(t, map[string]string{"a.yaml": serviceA, "values.yaml": "image: x\nglobal: {proxy: http://proxy}\n", "x.yaml": "meshConfig: none\n", "y.yaml": "a: {b: {c: {d: {e: {meshConfig: {}}}}}}\n"})
	if len(s.Values) != 0 || s.OtherDocuments != 3 {
		t.Errorf("values are %v, %d other documents", s.Values, s.OtherDocuments)
	}
	// A template in what counts.
	s = load(t, map[string]string{"v.yaml": "meshConfig:\n  rootNamespace: \"{{ .Release.Namespace }}\"\n"})
	equal(t, "problems", problems(s), []string{"template v.yaml:2:18: 1 document in 1 file of . is a template ({{ … }}), not a manifest: left out (render it first: helm template CHART | egresslint -, if they are Helm's)"})
	// What the user says are values.
	dir := t.TempDir()
	write(t, dir, map[string]string{"m/mesh.conf": "outboundTrafficPolicy: {mode: ALLOW_ANY}\n---\n" + serviceA, "m/raw.yaml": "rootNamespace: x\n", "m/b.yaml": serviceB})
	t.Chdir(dir)
	s = mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "m", Namespace: "one"}, {Name: "m", Namespace: "two"}}, MeshConfig: []string{"m/mesh.conf", "m/raw.yaml"}})
	equal(t, "values", objects(s.Values), []string{"HelmValues raw.yaml @ m/raw.yaml:1:1", "HelmValues mesh.conf @ m/mesh.conf:1:1"})
	equal(t, "objects", objects(s.Objects), []string{"Service one/b @ m/b.yaml:1:1", "Service two/b @ m/b.yaml:1:1", "Service default/a @ m/mesh.conf:3:1"})
}
