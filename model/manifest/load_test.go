package manifest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/egresslint/egresslint/model/manifest"
)

// load writes files to a new working directory and loads paths of it, "." if
// none are given.
func load(t *testing.T, files map[string]string, paths ...string) *manifest.Set {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	t.Chdir(dir)
	if len(paths) == 0 {
		paths = []string{"."}
	}
	opts := manifest.Options{}
	for _, p := range paths {
		opts.Paths = append(opts.Paths, manifest.Path{Name: p})
	}
	return mustLoad(t, opts)
}

func mustLoad(t *testing.T, opts manifest.Options) *manifest.Set {
	t.Helper()
	s, err := manifest.Load(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stdin loads one text from standard input.
func stdin(t *testing.T, text string) *manifest.Set {
	t.Helper()
	return mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text)})
}

var kindNames = map[manifest.ProblemKind]string{
	manifest.Unreadable: "unreadable", manifest.Rejected: "rejected", manifest.UnknownField: "unknown-field",
	manifest.Duplicate: "duplicate", manifest.Conflict: "conflict", manifest.Template: "template", manifest.Unrendered: "unrendered",
}

// problems writes the problems of a set, one a line.
func problems(s *manifest.Set) []string {
	var out []string
	for _, p := range s.Problems {
		line := fmt.Sprintf("%s %s: %s", kindNames[p.Kind], p.Position, p.Message)
		if p.Help != "" {
			line += " (" + p.Help + ")"
		}
		out = append(out, line)
	}
	return out
}

// objects lists objects with their places.
func objects(list []*manifest.Object) []string {
	var out []string
	for _, o := range list {
		out = append(out, fmt.Sprintf("%s @ %s", o, o.At("")))
	}
	return out
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n  got  %s\n  want %s", what, strings.Join(got, "\n       "), strings.Join(want, "\n       "))
	}
}

const (
	serviceA = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
	serviceB = "apiVersion: v1\nkind: Service\nmetadata: {name: b}\n"
)

func TestDocuments(t *testing.T) {
	tests := []struct {
		name, text string
		objects    []string
		problems   []string
		other      int
	}{{
		name:    "documents with comments, blanks and directives between them",
		text:    "# license\n%YAML 1.1\n\n---\n# first\n" + serviceA + "--- # second\n" + serviceB + "---\n\n---\n---\n" + strings.Replace(serviceA, "a}", "c}", 1),
		objects: []string{"Service default/a @ <stdin>:6:1", "Service default/b @ <stdin>:10:1", "Service default/c @ <stdin>:17:1"},
	}, {
		name:     "one bad document does not hide the others",
		text:     serviceA + "---\napiVersion: v1\nkind: Service\nmetadata: {name: [x}\n---\n" + serviceB,
		objects:  []string{"Service default/a @ <stdin>:1:1", "Service default/b @ <stdin>:9:1"},
		problems: []string{"unreadable <stdin>:7:20: document does not parse: did not find expected ',' or ']' while parsing a flow sequence"},
	}, {
		name:     "a tab",
		text:     "kind: Service\nmetadata:\n\tname: a\n",
		problems: []string{"unreadable <stdin>:3:1: document does not parse: a tab indents the line (indent with spaces)"},
	}, {
		name:     "an open quotation is shown where it opens",
		text:     serviceA + "---\nkind: \"Service\nmetadata:\n  name: b\n",
		objects:  []string{"Service default/a @ <stdin>:1:1"},
		problems: []string{"unreadable <stdin>:5:7: document does not parse: found unexpected end of stream while scanning a quoted scalar"},
	}, {
		name:     "bytes that are not UTF-8",
		text:     serviceA + "---\nkind: Service\n# \xff\n",
		objects:  []string{"Service default/a @ <stdin>:1:1"},
		problems: []string{"unreadable <stdin>:6:3: document does not parse: invalid leading UTF-8 octet (value: 255)"},
	}, {
		name:    "windows line ends",
		text:    strings.ReplaceAll(serviceA+"---\n"+serviceB, "\n", "\r\n"),
		objects: []string{"Service default/a @ <stdin>:1:1", "Service default/b @ <stdin>:5:1"},
	}, {
		name:    "old line ends",
		text:    strings.ReplaceAll(serviceA+"---\n"+serviceB, "\n", "\r"),
		objects: []string{"Service default/a @ <stdin>:1:1", "Service default/b @ <stdin>:5:1"},
	}, {
		name:    "byte order mark",
		text:    "\ufeff" + serviceA,
		objects: []string{"Service default/a @ <stdin>:1:1"},
	}, {
		name:    "UTF-16, as PowerShell redirects",
		text:    utf16le(serviceA + "---\n" + serviceB),
		objects: []string{"Service default/a @ <stdin>:1:1", "Service default/b @ <stdin>:5:1"},
	}, {
		name:     "what kubectl does not read",
		text:     serviceA + "...\n" + serviceB + "--- {apiVersion: v1, kind: Service, metadata: {name: c}}\n---\n" + strings.Replace(serviceA, "a}", "d}", 1),
		objects:  []string{"Service default/a @ <stdin>:1:1", "Service default/d @ <stdin>:10:1"},
		problems: []string{`unreadable <stdin>:5:1: document is left out: kubectl ignores what follows "..." without "---" (begin it after a line "---")`, `unreadable <stdin>:8:1: document is left out: kubectl refuses content on the line of "---" (begin it after a line "---")`},
	}, {
		name:    "a document may end with dots",
		text:    "---\n" + serviceA + "...\n---\n" + serviceB + "...\n# end\n",
		objects: []string{"Service default/a @ <stdin>:2:1", "Service default/b @ <stdin>:7:1"},
	}, {
		name:     "incomplete objects",
		text:     "kind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata:\n  labels: {}\n---\napiVersion: v1\nmetadata: {name: a}\n---\nspec: {}\nkind: Gateway\n---\napiVersion: v1\nkind: Service\n",
		problems: []string{"unreadable <stdin>:1:1: document has no apiVersion: left out (complete it, or delete it)", "unreadable <stdin>:7:3: Service has no metadata.name: left out (name it)", "unreadable <stdin>:9:1: document has no kind: left out (complete it, or delete it)", "unreadable <stdin>:12:1: document has no apiVersion: left out (complete it, or delete it)", "unreadable <stdin>:15:1: Service has no metadata.name: left out (name it)"},
	}, {
		name:    "names that need not be there",
		text:    "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: run-}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {generateName: run-}\n---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {}\n---\napiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: demo}\n",
		objects: []string{"Job default/run- @ <stdin>:1:1", "Job default/run- @ <stdin>:5:1", "IstioOperator default/<unnamed> @ <stdin>:9:1", "IstioOperator default/<unnamed> @ <stdin>:13:1"},
	}, {
		name:    "files of other tools",
		text:    "apiVersion: v1\nkind: Config\nclusters: []\n---\napiVersion: skaffold/v4beta1\nkind: Config\nmetadata: {}\n---\napiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\n---\napiVersion: v2\nname: chart\n---\n" + serviceA,
		objects: []string{"Service default/a @ <stdin>:15:1"},
		other:   3, problems: []string{"unreadable <stdin>:12:1: document has no apiVersion and no kind: left out (complete it, or delete it: kubectl refuses the file)"},
	}, {
		name:     "what is no object, among objects",
		text:     serviceA + "---\njust text\n---\n- a\n---\n- apiVersion: v1\n  kind: Service\n---\nspec:\n  hosts: []\n---\nnull\n",
		objects:  []string{"Service default/a @ <stdin>:1:1"},
		problems: []string{"unreadable <stdin>:5:1: document is text, not an object: left out (complete it, or delete it: kubectl refuses the file)", "unreadable <stdin>:7:1: document is a list, not an object: left out (complete it, or delete it: kubectl refuses the file)", "unreadable <stdin>:9:1: document is a list of objects, which kubectl refuses: left out (put --- between them, or make it a List with items)", "unreadable <stdin>:12:1: document has no apiVersion and no kind: left out (complete it, or delete it: kubectl refuses the file)"},
		other:    1,
	}, {
		name:     "identity of a wrong type",
		text:     "apiVersion: v1\nkind: Service\nmetadata: {name: 12}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: {x: y}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: no}\n---\napiVersion: v1\nkind: Service\nmetadata: [a]\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a/b}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: \"a\\e[31m\"}\n",
		problems: []string{"unreadable <stdin>:3:18: metadata.name is a number, not a string: left out (quote it)", "unreadable <stdin>:7:18: metadata.name is a mapping, not a string: left out", "unreadable <stdin>:11:32: metadata.namespace is a boolean, not a string: left out (quote it)", "unreadable <stdin>:15:11: metadata is a list, not a mapping: left out", `unreadable <stdin>:19:18: metadata.name "a/b" is not a name: left out`, "unreadable <stdin>:23:18: metadata.name is not a name: left out"},
	}, {
		name:    "placeholders of envsubst and kustomize are names like others",
		text:    "apiVersion: v1\nkind: Service\nmetadata:\n  name: ${NAME}\n  namespace: $(NS)\n",
		objects: []string{"Service $(NS)/${NAME} @ <stdin>:1:1"},
	}, {
		name:     "duplicate keys",
		text:     "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: []\n  type: ClusterIP\n  ports: [{port: 80}]\n  \"type\": x\n",
		objects:  []string{"Service default/a @ <stdin>:1:1"},
		problems: []string{`unreadable <stdin>:7:3: key "ports" stands twice in one mapping, in lines 5 and 7: kubectl takes the last, other tools refuse the document; so do 1 more (keep one of them)`},
	}, {
		name:    "merge keys are no duplicates",
		text:    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nx: &x {p: 1}\nspec: {<<: *x, <<: {q: 1}}\n",
		objects: []string{"Service default/a @ <stdin>:1:1"},
	}, {
		name:     "values that have no place in JSON",
		text:     serviceA + "spec: {a: .inf}\n---\n" + serviceB + "spec: {? [a] : b}\n---\n" + serviceB + "spec: &s {a: *s}\n---\n" + serviceB + "spec: {a: !!int x}\n",
		problems: []string{"unreadable <stdin>:4:11: document cannot be read: .inf is no number that Kubernetes can take", "unreadable <stdin>:9:10: document cannot be read: a list cannot be the key of a mapping", `unreadable <stdin>:14:14: document cannot be read: anchor "s" contains itself`, `unreadable <stdin>:19:17: document cannot be read: "x" is no value of type !!int`},
	}, {
		name:    "what kubectl's YAML reads differently from newer ones, or not at all",
		text:    serviceA + "spec: {a: [2001:db8::], b: [x]}\n---\n" + serviceB + "spec: {a: \"\\/\"}\n---\n" + serviceB + "spec: &a:b c\n---\n" + serviceB + "spec:\n  x: y\n---x: y\n---\n" + serviceB + "spec: {a, b\n  c: d}\n---\n" + serviceB + "spec: {a: 'x:,', b: [\"::\", 'a:'], c: {\"d\":}}\n",
		objects: []string{"Service default/b @ <stdin>:29:1"},
		problems: []string{
			"unreadable <stdin>:4:12: document cannot be read: versions of YAML differ about spec.a[0] (quote the value)",
			"unreadable <stdin>:9:1: document does not parse for kubectl: found unknown escape character",
			"unreadable <stdin>:14:12: document cannot be read: versions of YAML differ about spec (quote the value)",
			`unreadable <stdin>:15:1: document is left out: kubectl refuses a line that begins with "---" and goes on (separate the two, or indent the line)`,
			"unreadable <stdin>:26:1: document does not parse for kubectl: did not find expected ',' or '}'",
		},
	}, {
		name:     "labels and annotations that the API server refuses",
		text:     "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels:\n    inject: true\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: b\n  annotations:\n    port: 80\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: c\n  labels: []\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: d\n  labels: {a: , b: \"true\"}\n  annotations: ~\n",
		objects:  []string{"Service default/d @ <stdin>:21:1"},
		problems: []string{`rejected <stdin>:6:13: label "inject" is a boolean, not a string: the API server refuses the object (quote it)`, `rejected <stdin>:13:11: annotation "port" is a number, not a string: the API server refuses the object (quote it)`, "rejected <stdin>:19:11: labels are a list, not a mapping: the API server refuses the object"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := stdin(t, test.text)
			equal(t, "objects", objects(s.Objects), test.objects)
			equal(t, "problems", problems(s), test.problems)
			if s.OtherDocuments != test.other {
				t.Errorf("%d other documents, want %d", s.OtherDocuments, test.other)
			}
		})
	}
}

func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func TestLists(t *testing.T) {
	item := func(indent, name string) string {
		return indent + "- apiVersion: v1\n" + indent + "  kind: Service\n" + indent + "  metadata:\n" + indent + "    name: " + name + "\n" + indent + "  spec:\n" + indent + "    note: |\n" + indent + "      - text\n"
	}
	tests := []struct {
		name, text string
		objects    []string
		problems   []string
	}{{
		name:    "as kubectl prints it",
		text:    "apiVersion: v1\nitems:\n" + item("", "a") + item("", "b") + "kind: List\nmetadata:\n  resourceVersion: \"\"\n",
		objects: []string{"Service default/a @ <stdin>:3:3", "Service default/b @ <stdin>:10:3"},
	}, {
		name:    "with the items indented, comments between, after another document",
		text:    serviceB + "---\nkind: List\napiVersion: v1\nitems: # all\n# first\n" + item("  ", "a") + "\n  # second\n" + item("  ", "c"),
		objects: []string{"Service default/b @ <stdin>:1:1", "Service default/a @ <stdin>:9:5", "Service default/c @ <stdin>:18:5"},
	}, {
		name:    "in flow style",
		text:    "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: a}}, {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service, metadata: {name: b}}]}]}",
		objects: []string{"Service default/a @ <stdin>:1:38", "Service default/b @ <stdin>:1:129"},
	}, {
		name:    "of one kind, which its items need not repeat",
		text:    "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n",
		objects: []string{"Service default/a @ <stdin>:4:3", "Service default/b @ <stdin>:5:3"},
	}, {
		name:    "with an alias to another item",
		text:    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: &m {name: a}\n- apiVersion: v1\n  kind: Secret\n  metadata: *m\n",
		objects: []string{"Service default/a @ <stdin>:4:3", "Secret default/a @ <stdin>:7:3"},
	}, {
		name:     "with an item that does not parse, nothing of it is taken",
		text:     "apiVersion: v1\nkind: List\nitems:\n" + item("", "a") + "- apiVersion: v1\n  kind: \"Service\n" + "---\n" + serviceB,
		objects:  []string{"Service default/b @ <stdin>:14:1"},
		problems: []string{"unreadable <stdin>:12:9: document does not parse: found unexpected end of stream while scanning a quoted scalar"},
	}, {
		name:    "cut in the wrong place by a quotation, it is read as a whole",
		text:    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n  x: \"one\n- two\"\n" + item("", "b"),
		objects: []string{"Secret default/a @ <stdin>:4:3", "Service default/b @ <stdin>:9:3"},
	}, {
		name:    "JSON",
		text:    "{\n\t\"kind\": \"List\", \"apiVersion\": \"v1\",\n\t\"items\": [\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\", \"labels\": {\"x\": \"}]\\\"\"}}},\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\"metadata\": {\"name\": \"b\"}} ]\n}\n{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"c\"}}",
		objects: []string{"Service default/a @ <stdin>:4:3", "Service default/b @ <stdin>:5:3", "Service default/c @ <stdin>:8:1"},
	}, {
		name:    "JSON with documents between markers",
		text:    "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}}\n---\n{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"b\"}}\n",
		objects: []string{"Service default/a @ <stdin>:1:1", "Service default/b @ <stdin>:3:1"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := stdin(t, test.text)
			equal(t, "objects", objects(s.Objects), test.objects)
			equal(t, "problems", problems(s), test.problems)
		})
	}
}

func TestMetadata(t *testing.T) {
	s := stdin(t, `apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: a
  namespace: shop
  creationTimestamp: "2024-05-06T07:08:09Z"
  labels: {istio.io/rev: canary}
  annotations: {note: "two\nlines"}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, namespace: nonsense, creationTimestamp: null}
`)
	vs, ns := s.Objects[0], s.Objects[1]
	if vs.Group() != "networking.istio.io" || vs.ID() != "shop/a" || vs.Labels["istio.io/rev"] != "canary" || vs.Annotations["note"] != "two\nlines" ||
		!vs.Created.Equal(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)) {
		t.Errorf("metadata is %+v", vs)
	}
	if ns.ID() != "shop" || ns.Group() != "" || !ns.Created.IsZero() {
		t.Errorf("metadata of the namespace is %+v", ns)
	}
}

func TestNamespaces(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"m/a.yaml": serviceA + "---\n" + strings.Replace(serviceB, "b}", "b, namespace: own}", 1) + "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"})
	t.Chdir(dir)
	// The file is read once for each namespace; what has its own is one object.
	s := mustLoad(t, manifest.Options{Namespace: "zero", Paths: []manifest.Path{
		{Name: "m", Namespace: "one"}, {Name: "m/a.yaml", Namespace: "two"}, {Name: "m"}, {Name: "."}, {Name: "m", Namespace: "one"},
	}})
	equal(t, "objects", objects(s.Objects), []string{
		"Service one/a @ m/a.yaml:1:1", "Service two/a @ m/a.yaml:1:1",
		"Service zero/a @ m/a.yaml:1:1", "Service own/b @ m/a.yaml:5:1", "ClusterRole r @ m/a.yaml:9:1",
	})
	equal(t, "problems", problems(s), nil)
	// The caller may know more kinds.
	s = mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "m"}}, NamespaceScoped: func(o *manifest.Object) bool { return o.Kind != "Service" }})
	if s.Objects[0].Namespace != "" || s.Objects[2].Namespace != "default" {
		t.Errorf("objects are %v", s.Objects)
	}
}

func TestNamespaceScoped(t *testing.T) {
	for kind, want := range map[string]bool{
		"v1/Namespace": false, "v1/Service": true, "apps/v1/Deployment": true, "gateway.networking.k8s.io/v1/GatewayClass": false,
		"gateway.networking.k8s.io/v1/Gateway": true, "networking.istio.io/v1/Gateway": true, "projectcalico.org/v3/GlobalNetworkPolicy": false,
		"crd.projectcalico.org/v1/NetworkPolicy": true, "cilium.io/v2/CiliumClusterwideNetworkPolicy": false, "cilium.io/v2/CiliumNetworkPolicy": true,
		"policy.networking.k8s.io/v1alpha1/AdminNetworkPolicy": false, "networking.k8s.io/v1/NetworkPolicy": true, "example.org/v1/Thing": true,
	} {
		i := strings.LastIndexByte(kind, '/')
		if got := manifest.NamespaceScoped(&manifest.Object{APIVersion: kind[:i], Kind: kind[i+1:]}); got != want {
			t.Errorf("NamespaceScoped(%s) = %v", kind, got)
		}
	}
}

func TestDuplicates(t *testing.T) {
	policy := func(version, extra string) string {
		return "apiVersion: security.istio.io/" + version + "\nkind: AuthorizationPolicy\nmetadata:\n  name: p\n" + extra
	}
	tests := []struct {
		name     string
		files    map[string]string
		objects  []string
		problems []string
	}{{
		name:     "formatting, comments, versions and the namespace do not count",
		files:    map[string]string{"a.yaml": policy("v1beta1", "spec: {action: DENY}\n"), "b.yaml": "# again\n" + policy("v1", "  namespace: default\n  creationTimestamp: null\nspec:\n  action: \"DENY\"\nstatus: {}\n")},
		objects:  []string{"AuthorizationPolicy default/p @ b.yaml:2:1"},
		problems: []string{"duplicate a.yaml:1:1: AuthorizationPolicy default/p is defined again in b.yaml:2:1, with the same content (keep one of them)"},
	}, {
		name:     "in one directory the last counts",
		files:    map[string]string{"x/a.yaml": policy("v1", "spec: {action: DENY}\n"), "x/b.yaml": policy("v1", "spec: {action: ALLOW}\n")},
		objects:  []string{"AuthorizationPolicy default/p @ x/b.yaml:1:1"},
		problems: []string{"conflict x/a.yaml:1:1: AuthorizationPolicy default/p is defined again in x/b.yaml:1:1, with different content: the last counts (keep one of them)"},
	}, {
		name:    "several meshes",
		files:   map[string]string{"clusters/a/x/p.yaml": policy("v1", "spec: {action: DENY}\n"), "clusters/my b/p.yaml": policy("v1", "spec: {action: ALLOW}\n")},
		objects: []string{"AuthorizationPolicy default/p @ clusters/my b/p.yaml:1:1"},
		problems: []string{"conflict clusters/a/x/p.yaml:1:1: AuthorizationPolicy default/p is defined again in clusters/my b/p.yaml:1:1, with different content: the last counts " +
			"(keep one of them; if clusters/a and 'clusters/my b' are of different meshes, run them apart: egresslint clusters/a and egresslint 'clusters/my b')"},
	}, {
		name:     "a group that moved",
		files:    map[string]string{"a.yaml": "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"},
		objects:  []string{"Deployment default/d @ a.yaml:5:1"},
		problems: []string{"duplicate a.yaml:1:1: Deployment default/d is defined again in a.yaml:5:1, with the same content (keep one of them)"},
	}, {
		name:    "three times",
		files:   map[string]string{"a.yaml": serviceA + "---\n" + serviceA + "spec: {}\n---\n" + serviceA},
		objects: []string{"Service default/a @ a.yaml:10:1"},
		problems: []string{"duplicate a.yaml:1:1: Service default/a is defined again in a.yaml:10:1, with the same content (keep one of them)",
			"conflict a.yaml:5:1: Service default/a is defined again in a.yaml:10:1, with different content: the last counts (keep one of them)"},
	}, {
		name: "another group, kind or namespace is another object",
		files: map[string]string{"a.yaml": "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n---\n" +
			"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a, namespace: b}\n"},
		objects: []string{"Gateway default/a @ a.yaml:1:1", "Gateway default/a @ a.yaml:5:1", "Gateway b/a @ a.yaml:9:1"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := load(t, test.files)
			equal(t, "objects", objects(s.Objects), test.objects)
			equal(t, "problems", problems(s), test.problems)
		})
	}
}
