package manifest_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// marked shows a position as the source line with the marked part in brackets,
// which is what a user sees under the caret.
func marked(t *testing.T, s *manifest.Set, p manifest.Position) string {
	t.Helper()
	line, ok := s.Line(p)
	if !ok {
		return fmt.Sprintf("no line at %v", p)
	}
	runes := []rune(line)
	end := p.EndColumn - 1
	if p.EndColumn == 0 {
		end = p.Column - 1
	}
	if p.Column < 1 || p.Column-1 > len(runes) || end > len(runes) || end < p.Column-1 {
		return fmt.Sprintf("%v (to %d) is outside of %q", p, p.EndColumn, line)
	}
	return fmt.Sprintf("%d: %s[%s]%s", p.Line, string(runes[:p.Column-1]), string(runes[p.Column-1:end]), string(runes[end:]))
}

const positions = `# a comment
apiVersion: networking.istio.io/v1 # the version
kind: Gateway
metadata:
  name: 'it''s' # quoted
  labels: &labels
    "istio.io/rev": "ca\"nary"
    größe: groß # ü
spec:
  selector: *labels
  empty:
  none: ~
  list:
  - hosts: [a.example.com, "b.example.com",   {x: y}]
    port:
      number: 443
  -
    hosts: ["c"]
  - plain
  - *labels
  text: |-
    mode: one

      more
  folded: >
    text
  long: one
    two
  tagged: &x !!str 12
  merged:
    <<: {inner: 1}
    own: 2
  base: &base {deep: {er: 3}}
  more: {<<: *base}
`

func TestPositions(t *testing.T) {
	s := stdin(t, positions)
	if len(s.Objects) != 1 {
		t.Fatalf("problems: %v", s.Problems)
	}
	o := s.Objects[0]
	tests := []struct{ field, at, key string }{
		{"", "2: [apiVersion: networking.istio.io/v1] # the version", "2: [apiVersion: networking.istio.io/v1] # the version"},
		{"apiVersion", "2: apiVersion: [networking.istio.io/v1] # the version", "2: [apiVersion]: networking.istio.io/v1 # the version"},
		{"metadata.name", "5:   name: ['it''s'] # quoted", "5:   [name]: 'it''s' # quoted"},
		{"metadata.labels", "6:   [labels]: &labels", "6:   [labels]: &labels"},
		{"metadata.labels['istio.io/rev']", `7:     "istio.io/rev": ["ca\"nary"]`, `7:     ["istio.io/rev"]: "ca\"nary"`},
		{`metadata.labels["istio.io/rev"]`, `7:     "istio.io/rev": ["ca\"nary"]`, `7:     ["istio.io/rev"]: "ca\"nary"`},
		{"metadata.labels.größe", "8:     größe: [groß] # ü", "8:     [größe]: groß # ü"},
		{"spec.selector", "10:   [selector]: *labels", "10:   [selector]: *labels"},
		{"spec.selector.größe", "8:     größe: [groß] # ü", "8:     [größe]: groß # ü"},
		{"spec.empty", "11:   [empty]:", "11:   [empty]:"},
		{"spec.none", "12:   none: [~]", "12:   [none]: ~"},
		{"spec.list", "13:   [list]:", "13:   [list]:"},
		{"spec.list[0]", `14:   - [hosts: [a.example.com, "b.example.com",   {x: y}]]`, `14:   - [hosts: [a.example.com, "b.example.com",   {x: y}]]`},
		{"spec.list[0].hosts", `14:   - [hosts]: [a.example.com, "b.example.com",   {x: y}]`, `14:   - [hosts]: [a.example.com, "b.example.com",   {x: y}]`},
		{"spec.list[0].hosts[0]", `14:   - hosts: [[a.example.com], "b.example.com",   {x: y}]`, `14:   - hosts: [[a.example.com], "b.example.com",   {x: y}]`},
		{"spec.list[0].hosts[1]", `14:   - hosts: [a.example.com, ["b.example.com"],   {x: y}]`, `14:   - hosts: [a.example.com, ["b.example.com"],   {x: y}]`},
		{"spec.list[0].hosts[2].x", `14:   - hosts: [a.example.com, "b.example.com",   {x: [y]}]`, `14:   - hosts: [a.example.com, "b.example.com",   {[x]: y}]`},
		{"spec.list[0].port.number", "16:       number: [443]", "16:       [number]: 443"},
		{"spec.list[1]", `18:     [hosts: ["c"]]`, `18:     [hosts: ["c"]]`},
		{"spec.list[2]", "19:   - [plain]", "19:   - [plain]"},
		{"spec.list[3]", "20:   - [*labels]", "20:   - [*labels]"},
		// What is absent is at the nearest ancestor that is not.
		{"spec.list[4].hosts", "13:   [list]:", "13:   [list]:"},
		{"spec.list[0].port.name", "15:     [port]:", "15:     [port]:"},
		{"spec.list[1].port.name", `18:     [hosts: ["c"]]`, `18:     [hosts: ["c"]]`},
		{"spec.none.x", "12:   [none]: ~", "12:   [none]: ~"},
		{"metadata.name.x[1]", "5:   [name]: 'it''s' # quoted", "5:   [name]: 'it''s' # quoted"},
		{"status.x", "2: [apiVersion: networking.istio.io/v1] # the version", "2: [apiVersion: networking.istio.io/v1] # the version"},
		{"spec.list[x]['", "13:   [list]:", "13:   [list]:"},
		// Texts of several lines: as much as stands in the first.
		{"spec.text", "21:   text: [|-]", "21:   [text]: |-"},
		{"spec.folded", "25:   folded: [>]", "25:   [folded]: >"},
		{"spec.long", "27:   long: [one]", "27:   [long]: one"},
		{"spec.tagged", "29:   tagged: &x !!str [12]", "29:   [tagged]: &x !!str 12"},
		{"spec.merged.inner", "31:     <<: {inner: [1]}", "31:     <<: {[inner]: 1}"},
		{"spec.merged.own", "32:     own: [2]", "32:     [own]: 2"},
		{"spec.more.deep.er", "33:   base: &base {deep: {er: [3]}}", "33:   base: &base {deep: {[er]: 3}}"},
	}
	for _, test := range tests {
		if got := marked(t, s, o.At(test.field)); got != test.at {
			t.Errorf("At(%q)\n  got  %s\n  want %s", test.field, got, test.at)
		}
		if got := marked(t, s, o.AtKey(test.field)); got != test.key {
			t.Errorf("AtKey(%q)\n  got  %s\n  want %s", test.field, got, test.key)
		}
	}
}

func TestPositionsInText(t *testing.T) {
	s := stdin(t, `---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio}
data:
  mesh: |-
    # the mesh

    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
    list:
    - ü: "x"
  indented: |2

      a:
        b: 1
  keep: |+
    a: 1

  folded: >-
    a: 1
  quoted: "a: 1\nb: 2"
  plain: text
  broken: |
    a: [
  json: |
    {"a": {"b": [1, 2]}}
  deep: |
    inner: |
      innermost: 1
`)
	o := s.Objects[0]
	for field, want := range map[string]string{
		"data.mesh":                              "6:   mesh: [|-]",
		"data.mesh.outboundTrafficPolicy.mode":   "10:       mode: [REGISTRY_ONLY]",
		"data.mesh.outboundTrafficPolicy":        "9:     [outboundTrafficPolicy]:",
		"data.mesh.outboundTrafficPolicy.absent": "9:     [outboundTrafficPolicy]:",
		"data.mesh.absent":                       "6:   [mesh]: |-",
		"data.mesh.list[0].ü":                    `12:     - ü: ["x"]`,
		"data.indented.a.b":                      "16:         b: [1]",
		"data.keep.a":                            "18:     a: [1]",
		"data.folded.a":                          "20:   folded: [>-]",
		"data.quoted.b":                          `22:   quoted: ["a: 1\nb: 2"]`,
		"data.plain.x":                           "23:   [plain]: text",
		"data.broken.a":                          "24:   [broken]: |",
		"data.json.a.b[1]":                       `27:     {"a": {"b": [1, [2]]}}`,
		"data.deep.inner.innermost":              "30:       innermost: [1]",
	} {
		if got := marked(t, s, o.At(field)); got != want {
			t.Errorf("At(%q)\n  got  %s\n  want %s", field, got, want)
		}
	}
	if got := marked(t, s, o.AtKey("data.mesh.outboundTrafficPolicy.mode")); got != "10:       [mode]: REGISTRY_ONLY" {
		t.Errorf("AtKey gives %s", got)
	}
}

func TestPositionsOfForms(t *testing.T) {
	tests := []struct{ name, text, field, want string }{
		{"after a byte order mark", "\ufeffapiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "apiVersion", "1: apiVersion: [v1]"},
		{"in UTF-16", utf16le("# ü\n" + serviceA), "metadata.name", "4: metadata: {name: [a]}"},
		{"with windows line ends", strings.ReplaceAll("# c\n"+serviceA, "\n", "\r\n"), "kind", "3: kind: [Service]"},
		{"with old line ends", strings.ReplaceAll("# c\n"+serviceA, "\n", "\r"), "kind", "3: kind: [Service]"},
		{"after line ends of Unicode", "# a\u2028# b\n# c\u0085# d\n" + serviceA, "metadata.name", "5: metadata: {name: [a]}"},
		{"of JSON", "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Service\",\n  \"metadata\": {\"name\": \"ü\\u00fc\", \"labels\": {\"a\":\"b\"}}}", "metadata.labels.a", `3:   "metadata": {"name": "ü\u00fc", "labels": {"a":["b"]}}}`},
		{"of a key of JSON", "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"a\"},\"spec\" : {}}", "spec", `1: {"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},["spec"] : {}}`},
		{"in a List", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: a\n", "metadata.name", "7:     name: [a]"},
		{"in a List of JSON on one line", `{"kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}}],"apiVersion":"v1"}`, "metadata.name", `1: {"kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":["a"]}}],"apiVersion":"v1"}`},
		{"in a List in flow style", "{kind: List, apiVersion: v1, items: [{apiVersion: v1, kind: Service, metadata: {name: a}}]}", "metadata.name", "1: {kind: List, apiVersion: v1, items: [{apiVersion: v1, kind: Service, metadata: {name: [a]}}]}"},
		{"of a multi-line quotation", serviceA + "spec:\n  note: \"one\n    two\"\n", "spec.note", `5:   note: ["one]`},
		{"of explicit keys", serviceA + "? spec\n: ? note\n  : x\n", "spec.note", "6:   : [x]"},
		{"with control characters in the line", serviceA + "spec:\n  note: \"a\u009bb\" # \u202e\n", "spec.note", "5:   note: [\"a\ufffdb\"] # \ufffd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := stdin(t, test.text)
			if len(s.Objects) != 1 {
				t.Fatalf("problems: %v", problems(s))
			}
			if got := marked(t, s, s.Objects[0].At(test.field)); got != test.want {
				t.Errorf("At(%q)\n  got  %s\n  want %s", test.field, got, test.want)
			}
		})
	}
}

// TestPositionsOfFiles: positions are looked up in the files, by many at once,
// and a file that changed meanwhile gives no wrong ones.
func TestPositionsOfFiles(t *testing.T) {
	dir := t.TempDir()
	files := meshFiles(20)
	files["bom.yaml"] = "\ufeff# c\n---\n" + strings.Replace(serviceA, "a}", "bom}", 1)
	files["utf16.yaml"] = utf16le("# c\n---\n" + strings.Replace(serviceA, "a}", "utf16}", 1))
	write(t, dir, files)
	t.Chdir(dir)
	s := mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "."}}})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for _, o := range s.Objects {
				p := o.At("metadata.name")
				if line, ok := s.Line(p); !ok || !strings.Contains(line, "name: "+o.Name) || p.EndColumn-p.Column != len(o.Name) {
					t.Errorf("%s is at %v (to %d), where %q stands", o, p, p.EndColumn, line)
				}
			}
		})
	}
	wait.Wait()

	before := s.Objects[len(s.Objects)-1].At("")
	for name := range files {
		if err := os.WriteFile(name, []byte(strings.Repeat("#\n", 5000)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s2 := s.Objects[len(s.Objects)-40:] // more than are kept
	for _, o := range s2[:20] {
		if at := o.At("metadata.namespace"); at.Column != 1 || at.EndColumn != 0 || at != o.At("spec.hosts") {
			t.Errorf("%s of a changed file is at %v", o, at)
		}
	}
	if before.Line == 0 {
		t.Errorf("position is %v", before)
	}
}

func TestImplied(t *testing.T) {
	s := stdin(t, "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  profile: demo\n")
	cause := s.Objects[0]
	o := manifest.Implied("v1", "Service", "istio-system", "istio-egressgateway", "profile=demo installs it", cause, "spec.profile")
	if got := marked(t, s, o.At("spec.ports")); got != "4:   profile: [demo]" {
		t.Errorf("At gives %s", got)
	}
	if got := marked(t, s, o.AtKey("spec.ports")); got != "4:   [profile]: demo" {
		t.Errorf("AtKey gives %s", got)
	}
	if o.String() != "Service istio-system/istio-egressgateway" || o.Implied != "profile=demo installs it" {
		t.Errorf("object is %+v", o)
	}
	flag := manifest.Implied("v1", "Namespace", "", "a", "--namespace-label says so", nil, "")
	if !flag.At("x").IsZero() || !flag.AtKey("").IsZero() {
		t.Errorf("position of what a flag implies is %v", flag.At("x"))
	}
}

func TestLine(t *testing.T) {
	s := load(t, map[string]string{"a.yaml": serviceA})
	for _, p := range []manifest.Position{{File: "b.yaml", Line: 1}, {File: "a.yaml", Line: 4}, {File: "a.yaml"}, {}} {
		if line, ok := s.Line(p); ok {
			t.Errorf("Line(%v) is %q", p, line)
		}
	}
	if line, ok := s.Line(manifest.Position{File: "a.yaml", Line: 3}); !ok || line != "metadata: {name: a}" {
		t.Errorf("line 3 is %q", line)
	}
}

func TestFieldPath(t *testing.T) {
	for want, elements := range map[string][]any{
		"metadata.labels['istio.io/rev']": {"metadata", "labels", "istio.io/rev"},
		"spec.hosts[1]":                   {"spec", "hosts", 1},
		"[0].a":                           {0, "a"},
		`data['it\'s [\\] "x"']`:          {"data", `it's [\] "x"`},
		"['']":                            {""},
		"a-b_c.größe":                     {"a-b_c", "größe"},
	} {
		if got := manifest.FieldPath(elements...); got != want {
			t.Errorf("FieldPath(%q) = %s, want %s", elements, got, want)
		}
	}
	// What it writes is read again.
	s := stdin(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {\"it's [\\\\] \\\"x\\\"\": 1, \"\": 2}\n")
	for key, want := range map[string]string{`it's [\] "x"`: "1", "": "2"} {
		if got := marked(t, s, s.Objects[0].At(manifest.FieldPath("data", key))); !strings.Contains(got, "["+want+"]") {
			t.Errorf("data of %q is at %s", key, got)
		}
	}
}
