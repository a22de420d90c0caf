package manifest

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// template is a document that is a template, and of which language.
type template struct {
	at       Position
	language string
}

// The languages of templates, as far as the way to render them differs.
const (
	goTemplate = "{{ … }}"
	jinja      = "{% … %}"
	ytt        = "#@ …"
	envsubst   = "${…}"
	openshift  = "an OpenShift Template"
	patchText  = "a Kustomize patch"
	openValues = "# TODO"
	excerpt    = "an excerpt with ..."
	capitals   = "{NAME} or __NAME__"
)

var (
	// commentPattern matches comments, roughly: a "#" at the start of a line or
	// after a blank.
	commentPattern = regexp.MustCompile(`(?m)(^|[ \t])#.*$`)
	// statementPattern matches what template engines replace: lines of
	// statements, which leave nothing, and values.
	statementPattern = regexp.MustCompile(`(?m)^[ \t]*(?:\{\{(?s:.*?)\}\}|\{%(?s:.*?)%\}|<%(?s:.*?)%>|\$\{[^}\n]*\}|__[A-Z][A-Z0-9_]*__)[ \t]*\r?$`)
	valuePattern     = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}|<%.*?%>|\$\{[^}\n]*\}|` + capitalsPattern.String())
	capitalsPattern  = regexp.MustCompile(`\{[A-Z][A-Z0-9_]*\}|\b__[A-Z][A-Z0-9_]*__\b`)
)

// substitutePattern matches a value that is nothing but a variable.
var substitutePattern = regexp.MustCompile(`^\$(?:\{[A-Za-z_]\w*\}|[A-Z_][A-Z0-9_]*)$`)

// templateText looks whether a text does not parse because it is a template: it
// would parse without the template language, or that stands where the error is.
// It returns the language and where it begins, "" if the text is broken
// otherwise, as a ConfigMap that holds a program's templates may be.
func templateText(text []byte, failed int, maxDepth int) (language string, offset int) {
	bare := commentPattern.ReplaceAllFunc(text, func(comment []byte) []byte {
		return bytes.Repeat([]byte(" "), len(comment))
	})
	for _, l := range []struct{ mark, language string }{{"{{", goTemplate}, {"{%", jinja}, {"<%", jinja}, {"${", envsubst}} {
		if i := bytes.Index(bare, []byte(l.mark)); i >= 0 {
			language, offset = l.language, i
			break
		}
	}
	if m := capitalsPattern.FindIndex(bare); m != nil && language == "" {
		language, offset = capitals, m[0]
	}
	if language == "" {
		return "", 0
	}
	plain := valuePattern.ReplaceAll(statementPattern.ReplaceAll(bare, nil), []byte("x"))
	if _, err := parseYAML(plain, maxDepth); err == nil {
		return language, offset
	}
	from := bytes.LastIndexByte(bare[:failed], '\n')
	if from > 0 { // the line before too: the error often shows in the next
		from = bytes.LastIndexByte(bare[:from], '\n')
	}
	end := len(bare)
	if i := bytes.IndexByte(bare[failed:], '\n'); i >= 0 {
		end = failed + i
	}
	if !valuePattern.Match(bare[from+1 : end]) {
		return "", 0
	}
	return language, offset
}

// elisionPattern matches lines that stand for something left out, as in the
// excerpts of documentation. At the start of a line three dots end a document.
var elisionPattern = regexp.MustCompile(`(?m)^(?:[ \t]+(?:- )?\.{3,}|\.{4,}|[ \t]*(?:- )?(?:\[\.{3}\]|…))[ \t]*\r?$`)

// openPattern matches lines without value that a remark promises to fill in.
var openPattern = regexp.MustCompile(`(?m)^([ \t]*)(-[ \t]+)?(?:[\w./"'-]+:)?[ \t]*(# ?(?:TODO|FIXME)\b.*)$`)

// openValue finds the first value of a document that is left open and marked as
// such ("name: # TODO"); ok is false if there is none. A remark on a mapping or
// a list that follows leaves nothing open.
func openValue(text []byte) (offset int, ok bool) {
	for _, m := range openPattern.FindAllSubmatchIndex(text, -1) {
		indent, item := m[3]-m[2], m[4] >= 0
		if !item && m[3] == m[6] {
			continue // a remark on a line of its own
		}
		next := indent
		dash := false
		for _, line := range bytes.Split(text[m[1]:], []byte("\n"))[1:] {
			bare := bytes.TrimLeft(line, " \t")
			if len(bytes.TrimSpace(bare)) == 0 || bare[0] == '#' {
				continue
			}
			next, dash = len(line)-len(bare), bare[0] == '-'
			break
		}
		if next < indent || next == indent && (item || !dash) {
			return m[6], true
		}
	}
	return 0, false
}

// templateAt finds the template without quotes that a node is because "{{ x }}"
// reads as a mapping in a mapping.
func (t *tree) templateAt(n *yaml.Node) (Position, bool) {
	at := t.offset(n.Line, n.Column)
	if at > 0 && t.bytes[at-1] == '{' {
		at--
	}
	rest := t.bytes[at:]
	if !bytes.HasPrefix(rest, []byte("{{")) {
		return Position{}, false
	}
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	end := len(bytes.TrimRight(rest, " \t\r"))
	if i := bytes.Index(rest, []byte("}}")); i >= 0 {
		end = i + 2
	}
	return t.position(at, at+end), true
}

// yttPattern matches the statements of ytt, which are comments to YAML.
var yttPattern = regexp.MustCompile(`(?m)(?:^|[ \t])#@(overlay/|schema/|yaml/|[ \t]+[^ \t\r\n(]+)`)

// usesYtt reports whether a file is a template for ytt. Lines that only load
// something change nothing.
func usesYtt(text []byte) bool {
	if !bytes.Contains(text, []byte("#@")) {
		return false
	}
	for _, m := range yttPattern.FindAllSubmatch(text, -1) {
		if string(bytes.TrimSpace(m[1])) != "load" {
			return true
		}
	}
	return false
}

// freeText are keys below which braces are the business of a program in the
// pod, not of a template engine; podDNSSearchNamespaces is filled in by Istio's
// injector ("{{ valueOrDefault .DeploymentMeta.Namespace \"default\" }}.global").
var freeText = set("command", "args", "env", "image", "podDNSSearchNamespaces")

// decisive are the API groups whose fields may decide about egress, so that a
// template in one of them leaves the object open. Of other kinds only the
// identity matters: many have braces of their own (analysis templates,
// workflows, alerts).
func decisive(group string) bool {
	switch group {
	case "config.istio.io", "rbac.istio.io", "authentication.istio.io": // which no supported Istio reads
		return false
	case "", "apps", "batch", "extensions", "networking.k8s.io", "policy.networking.k8s.io", "gateway.networking.k8s.io", "discovery.k8s.io", "cilium.io", "maistra.io", "sailoperator.io", "serving.knative.dev":
		return true
	}
	return strings.HasSuffix(group, ".istio.io") || strings.HasSuffix(group, "projectcalico.org")
}

// placeholder finds the first node of an object that a template engine was to
// fill in and that matters. Texts of several lines hold programs and other
// files.
func (d *draft) placeholder(root *yaml.Node, o *Object) *yaml.Node {
	if !d.braces {
		return nil
	}
	var found *yaml.Node
	var walk func(n *yaml.Node, at []string)
	walk = func(n *yaml.Node, at []string) {
		switch {
		case found != nil:
		case n.Kind == yaml.SequenceNode:
			for _, item := range n.Content {
				walk(item, at)
			}
		case n.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i]
				if (key.Kind == yaml.MappingNode || isPlaceholder(key)) && matters(at, "", o) && found == nil {
					found = key // "{{ x }}" without quotes reads as a mapping
					return
				}
				if !matters(at, key.Value, o) {
					continue
				}
				walk(n.Content[i+1], append(at, key.Value))
			}
		case n.Kind == yaml.ScalarNode && (isPlaceholder(n) || isMesh(o, at) && strings.Contains(n.Value, "{{")):
			found = n
		}
	}
	walk(root, make([]string, 0, 16))
	return found
}

func isPlaceholder(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || strings.Contains(n.Value, "\n") {
		return false
	}
	_, rest, found := strings.Cut(n.Value, "{{")
	return found && strings.Contains(rest, "}}")
}

// isMesh reports whether a field of an object is the text of Istio's mesh
// configuration, which matters in every line.
func isMesh(o *Object, at []string) bool {
	return o.Kind == "ConfigMap" && strings.HasPrefix(o.Name, "istio") && len(at) == 2 && at[0] == "data" && at[1] == "mesh"
}

// matters reports whether a template below key, which stands below the keys of
// at, leaves open what the object does.
func matters(at []string, key string, o *Object) bool {
	if freeText[key] {
		return false
	}
	if len(at) > 0 && at[len(at)-1] == "annotations" {
		return strings.Contains(key, "istio.io/")
	}
	top := key
	if len(at) > 0 {
		top = at[0]
	}
	switch {
	case o.Kind == KindValues:
		return true
	case o.Kind == "ConfigMap" || o.Kind == "Secret":
		return top != "data" && top != "stringData" && top != "binaryData" ||
			strings.HasPrefix(o.Name, "istio") && (len(at) == 0 || key == "mesh" || key == "")
	case decisive(o.Group()):
		return true
	}
	return top == "apiVersion" || top == "kind" || top == "metadata" &&
		(len(at) == 0 || key == "name" || key == "namespace" || key == "labels" || slices.Contains(at, "labels"))
}

// templateProblems reports the templates, once for each directory and language.
func templateProblems(all []template) []Problem {
	type place struct{ dir, language string }
	var order []place
	count := map[place]int{}
	first := map[place]Position{}
	files := map[place]map[string]bool{}
	for _, t := range all {
		p := place{path.Dir(t.at.File), t.language}
		if count[p] == 0 {
			order = append(order, p)
			first[p] = t.at
			files[p] = map[string]bool{}
		}
		count[p]++
		files[p][t.at.File] = true
	}
	var problems []Problem
	for _, p := range order {
		verb, manifests, it := "are templates", "manifests", "them"
		if count[p] == 1 {
			verb, manifests, it = "is a template", "a manifest", "it"
		}
		problems = append(problems, Problem{
			Kind:     Template,
			Position: first[p],
			Message: fmt.Sprintf("%s in %s of %s %s (%s), not %s: left out", plural(count[p], "document"),
				plural(len(files[p]), "file"), shell(p.dir), verb, p.language, manifests),
			Help: "render " + it + " first: " + renderCommand(p.language, p.dir, first[p].File),
		})
	}
	return problems
}

// renderCommand is a command that renders templates.
func renderCommand(language, dir, file string) string {
	switch language {
	case ytt:
		return "ytt -f " + shell(dir) + " | egresslint -"
	case envsubst:
		return "envsubst < " + shell(file) + " | egresslint -"
	case openshift:
		return "oc process --local -o yaml -f " + shell(file) + " | egresslint -"
	case patchText:
		return "kustomize build DIR | egresslint -, with the directory whose kustomization applies it"
	case capitals:
		return "put values in place of the names"
	case openValues:
		return "fill in the values that are left open"
	case excerpt:
		return "write out what the dots leave out"
	case jinja:
		return "write the output of the tool that they are for to a directory and run egresslint on that"
	}
	return "helm template CHART | egresslint -, if they are Helm's"
}
