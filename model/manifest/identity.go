package manifest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

// look returns the value of a key of a mapping, aliases followed; nil if n is
// no mapping or has no such key.
func look(n *yaml.Node, key string, opts *Options) *yaml.Node {
	n = follow(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var value *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || isMerge(k) {
			child, ok := hit{in: &tree{opts: opts}, value: n}.child(step{key: key, index: -1})
			if !ok {
				return nil
			}
			return follow(child.value)
		}
		if k.Value == key && isString(k) {
			value = n.Content[i+1] // the last counts
		}
	}
	return follow(value)
}

// isNull reports that a value is absent or null.
func isNull(n *yaml.Node) bool {
	if n == nil {
		return true
	}
	return n.Kind == yaml.ScalarNode && kindName(n) == "null"
}

// header is what tells what a document is.
type header struct {
	apiVersion, kind, metadata, spec, items *yaml.Node
}

func readHeader(root *yaml.Node, opts *Options) header {
	return header{
		apiVersion: look(root, "apiVersion", opts), kind: look(root, "kind", opts),
		metadata: look(root, "metadata", opts), spec: look(root, "spec", opts), items: look(root, "items", opts),
	}
}

// isObject reports whether a document is meant as a Kubernetes object, complete
// or not. Many tools have files with an apiVersion or a kind alone: charts,
// dashboards, docker compose.
func (h header) isObject() bool {
	parts := 0
	for _, n := range []*yaml.Node{h.apiVersion, h.kind, h.metadata} {
		if !isNull(n) {
			parts++
		}
	}
	return parts >= 2 || parts == 1 && !isNull(h.spec) && isNull(h.metadata)
}

// isList reports whether a document is a List: kubectl takes its items.
func (h header) isList() bool {
	return h.kind != nil && strings.HasSuffix(h.kind.Value, "List") && h.items != nil && h.items.Kind == yaml.SequenceNode
}

// items returns the items of a List, nil if it is none.
func items(root *yaml.Node, opts *Options) []*yaml.Node {
	if h := readHeader(root, opts); h.isList() {
		return h.items.Content
	}
	return nil
}

// itemType is what items of a List without apiVersion and kind are: kubectl
// fills them in from a list of one kind (UnstructuredJSONScheme in
// k8s.io/apimachinery/pkg/apis/meta/v1/unstructured).
type itemType struct{ apiVersion, kind string }

func (h header) itemType() itemType {
	if h.kind.Value == "List" || h.apiVersion == nil {
		return itemType{}
	}
	return itemType{h.apiVersion.Value, strings.TrimSuffix(h.kind.Value, "List")}
}

// flaw is what keeps a document from being an object.
type flaw struct {
	kind    ProblemKind
	node    *yaml.Node // nil for the root
	message string
	help    string
}

// identify makes an Object of a document's header. foreign is true for the
// files of tools that look like objects but are none.
func identify(h header, of itemType, opts *Options) (o *Object, f *flaw, foreign bool) {
	o = &Object{APIVersion: of.apiVersion, Kind: of.kind}
	var missing []string
	for _, part := range []struct {
		name  string
		value *yaml.Node
		into  *string
	}{{"apiVersion", h.apiVersion, &o.APIVersion}, {"kind", h.kind, &o.Kind}} {
		switch {
		case !isNull(part.value):
			text, f := identifier(part.value, part.name)
			if f != nil {
				return nil, f, false
			}
			*part.into = text
		case *part.into == "":
			missing = append(missing, part.name)
		}
	}
	if len(missing) > 0 {
		if o.Kind != "" && h.isPart(opts) {
			return nil, partOf(o.Kind, "apiVersion"), false
		}
		return nil, &flaw{Unreadable, nil, "document has no " + strings.Join(missing, " and no ") + ": left out", "complete it, or delete it"}, false
	}
	if !isNull(h.metadata) && h.metadata.Kind != yaml.MappingNode {
		return nil, &flaw{Unreadable, h.metadata, "metadata is a " + kindName(h.metadata) + ", not a mapping: left out", ""}, false
	}
	if f := o.readMetadata(h.metadata, opts); f != nil {
		return o, f, false
	}
	if o.Name == "" && o.nameless() == nameWanted {
		if h.isPart(opts) {
			return nil, partOf(o.Kind, "metadata.name"), false
		}
		return nil, &flaw{Unreadable, h.metadata, fmt.Sprintf("%s has no metadata.name: left out", o.Kind), "name it"}, false
	}
	return o, nil, o.Name == "" && o.nameless() == nameForeign
}

// isPart reports whether a document has a pod template that no API server takes,
// because a container lacks its image or there is none: it is part of an object.
func (h header) isPart(opts *Options) bool {
	template := look(h.spec, "template", opts)
	if template == nil || template.Kind != yaml.MappingNode {
		return false
	}
	containers := look(look(template, "spec", opts), "containers", opts)
	if containers == nil || len(containers.Content) == 0 {
		return true
	}
	return slices.ContainsFunc(containers.Content, func(c *yaml.Node) bool { return isNull(look(c, "image", opts)) })
}

// partOf is the flaw of part of an object.
func partOf(kind, missing string) *flaw {
	return &flaw{Unrendered, nil, fmt.Sprintf("%s has no %s and no complete pod: taken for a patch or an excerpt and left out", kind, missing),
		"give the whole object, or the output of kustomize build"}
}

// identifier reads a part of an object's identity. Names that no API server
// takes, because they would break its URLs or a terminal, are refused here, so
// that they come into no message.
func identifier(n *yaml.Node, what string) (string, *flaw) {
	if kind := kindName(n); kind != "string" {
		help := ""
		if n.Kind == yaml.ScalarNode {
			help = "quote it"
		}
		return "", &flaw{Unreadable, n, fmt.Sprintf("%s is a %s, not a string: left out", what, kind), help}
	}
	s, err := scalar(n)
	text, _ := s.(string)
	if err != nil || hasUnprintable(text) || strings.ContainsAny(text, "\t") || len(text) > 512 {
		return "", &flaw{Unreadable, n, what + " is not a name: left out", ""}
	}
	if what != "apiVersion" && (strings.ContainsAny(text, "/%") || text == "." || text == "..") {
		return "", &flaw{Unreadable, n, fmt.Sprintf("%s %q is not a name: left out", what, text), ""}
	}
	return intern(text), nil
}

// readMetadata fills in what stands under metadata. Numbers and booleans among
// labels and annotations make the API server refuse the object.
func (o *Object) readMetadata(metadata *yaml.Node, opts *Options) *flaw {
	if isNull(metadata) {
		return nil
	}
	for _, part := range []struct {
		name string
		into *string
	}{{"name", &o.Name}, {"namespace", &o.Namespace}} {
		n := look(metadata, part.name, opts)
		if isNull(n) {
			continue
		}
		text, f := identifier(n, "metadata."+part.name)
		if f != nil {
			return f
		}
		*part.into = text
	}
	if o.Name == "" {
		if n := look(metadata, "generateName", opts); !isNull(n) {
			text, f := identifier(n, "metadata.generateName")
			if f != nil {
				return f
			}
			o.Name, o.generated = text, true
		}
	}
	var f *flaw
	if o.Labels, f = texts(look(metadata, "labels", opts), "label", opts); f != nil {
		return f
	}
	if o.Annotations, f = texts(look(metadata, "annotations", opts), "annotation", opts); f != nil {
		return f
	}
	if n := look(metadata, "creationTimestamp", opts); n != nil && n.Kind == yaml.ScalarNode {
		o.Created, _ = time.Parse(time.RFC3339, n.Value) // null, "" and nonsense are no time
	}
	return nil
}

// texts reads a mapping of strings to strings.
func texts(n *yaml.Node, what string, opts *Options) (map[string]string, *flaw) {
	if isNull(n) {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, &flaw{Rejected, n, fmt.Sprintf("%ss are a %s, not a mapping: the API server refuses the object", what, kindName(n)), ""}
	}
	c := converter{opts: opts}
	entries, err := c.entries(n)
	if err != nil || len(entries) == 0 {
		return nil, nil // err is reported for the document as a whole
	}
	m := make(map[string]string, len(entries))
	for _, e := range entries {
		value := follow(e.value)
		switch kind := kindName(value); kind {
		case "string":
			s, _ := scalar(value)
			text, _ := s.(string)
			if hasUnprintable(e.name) || what == "label" && hasUnprintable(text) {
				return nil, &flaw{Rejected, e.key, fmt.Sprintf("a %s has control characters: the API server refuses the object", what), "delete them"}
			}
			if what == "label" {
				text = intern(text)
			}
			m[intern(e.name)] = text
		case "null":
			m[intern(e.name)] = ""
		default:
			return nil, &flaw{Rejected, value, fmt.Sprintf("%s %q is a %s, not a string: the API server refuses the object", what, e.name, kind), "quote it"}
		}
	}
	return m, nil
}

// intern makes equal strings share their bytes: a mesh repeats a few names
// thousands of times.
func intern(s string) string {
	words := knownWords.Get().(map[string]string)
	known, ok := words[s]
	if !ok {
		if len(words) == maxKnownWords {
			clear(words)
		}
		words[s] = s
		known = s
	}
	knownWords.Put(words)
	return known
}

// knownWords are the words of each worker: that two of them keep a word of their
// own costs less than to agree on one.
var knownWords = sync.Pool{New: func() any { return make(map[string]string, 64) }}

const maxKnownWords = 4096

// What an object without name is.
const (
	nameWanted  = iota // unfinished
	nameless           // complete all the same
	nameForeign        // not of Kubernetes
)

// nameless tells what it means that an object has no name. Many tools have
// configuration files that look like objects, and those have no names.
func (o *Object) nameless() int {
	group := o.Group()
	switch {
	case group == "install.istio.io":
		return nameless // `istioctl install -f` wants none
	case o.APIVersion == "v1" && o.Kind == "Config": // kubeconfig
		return nameForeign
	case group == "", workloadGroups[group], strings.HasSuffix(group, ".istio.io"), strings.HasSuffix(group, "projectcalico.org"):
		return nameWanted
	}
	return nameForeign
}

// workloadGroups are the API groups of which an object without name is an
// unfinished one.
var workloadGroups = set(
	"apps", "batch", "extensions", "policy", "autoscaling", "rbac.authorization.k8s.io", "networking.k8s.io",
	"policy.networking.k8s.io", "discovery.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "storage.k8s.io",
	"gateway.networking.k8s.io", "argoproj.io", "cilium.io", "maistra.io", "sailoperator.io", "serving.knative.dev",
)
