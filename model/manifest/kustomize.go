package manifest

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// isKustomization reports whether a file name is one that Kustomize looks for.
func isKustomization(name string) bool {
	return name == "kustomization.yaml" || name == "kustomization.yml" || name == "Kustomization"
}

// kustomization is a directory that Kustomize builds. Its resources are read as
// they are; where building would give something else, that is said, once.
type kustomization struct {
	input *input
	doc   *Document
	dir   string // real path

	patches []*input // that are left out
	differs []string // what building does beside, in words
	at      string   // the first field because of which it differs
	// listed are the real paths of the files that some kustomization builds
	// from.
	listed map[string]bool
}

// kustomize looks at the kustomizations among the inputs and marks their
// patches, which look like objects, as omitted.
func (l *loader) kustomize() {
	listed := map[string]bool{} // real paths of files that some kustomization reads as objects
	var patches []func()
	byReal := map[string][]*input{}
	for _, in := range l.found.inputs {
		if in.path != "" {
			byReal[in.path] = append(byReal[in.path], in)
		}
	}
	for _, in := range l.found.inputs {
		if in.path == "" || !isKustomization(filepath.Base(in.path)) {
			continue
		}
		k := l.readKustomization(in)
		if k == nil {
			continue
		}
		k.listed = listed
		l.kustomizations = append(l.kustomizations, k)
		k.resources(l.found.dirs, byReal)
		k.transformations()
		patches = append(patches, func() { k.omitPatches(byReal) })
	}
	for _, omit := range patches { // what one lists as an object is one
		omit()
	}
}

// readKustomization parses a kustomization; nil if it is none, or does not
// parse, which is reported when it is read as a document.
func (l *loader) readKustomization(in *input) *kustomization {
	text, err := in.read(l.opts.MaxFileBytes)
	if err != nil || len(text) > 1<<20 {
		return nil
	}
	docs := splitDocuments(text)
	if len(docs) == 0 {
		return nil
	}
	roots, part, err := docs[0].parse(text, l.opts)
	if err != nil || len(roots) == 0 {
		return nil
	}
	k := &kustomization{input: in, dir: filepath.Dir(in.path)}
	k.doc = &Document{tree: &tree{root: roots[0], text: part, opts: l.opts}, shown: in.shown}
	var apiVersion, kind string
	// Wrong types leave the zero value: the file is Kustomize's to refuse.
	_, _ = k.doc.UnmarshalField("apiVersion", &apiVersion)
	_, _ = k.doc.UnmarshalField("kind", &kind)
	if kind != "" && kind != "Kustomization" && kind != "Component" || apiVersion != "" && !strings.HasPrefix(apiVersion, "kustomize.config.k8s.io/") {
		return nil // Flux has a kind of the same name
	}
	in.omitted = true
	l.set.Directives = append(l.set.Directives, directives(text, in.shown)...)
	return k
}

// strings reads a list of strings, or of mappings with a path.
func (k *kustomization) strings(field string) []string {
	var items []any
	_, _ = k.doc.UnmarshalField(field, &items)
	var out []string
	for _, item := range items {
		switch item := item.(type) {
		case string:
			out = append(out, item)
		case map[string]any:
			if p, ok := item["path"].(string); ok {
				out = append(out, p)
			} else if _, inline := item["patch"]; inline {
				out = append(out, "\n")
			}
		}
	}
	return out
}

// differ notes one thing that building does and raw reading does not.
func (k *kustomization) differ(field, words string) {
	if k.at == "" {
		k.at = field
	}
	k.differs = append(k.differs, words)
}

// resources looks at what the kustomization builds from: what is among the
// inputs is read as it is, anything else is missing.
func (k *kustomization) resources(dirs map[string]bool, inputs map[string][]*input) {
	for _, field := range []string{"resources", "bases", "components"} {
		var missing []string
		for _, entry := range k.strings(field) {
			real := filepath.Join(k.dir, filepath.FromSlash(entry))
			switch {
			case inputs[real] != nil:
				k.listed[real] = true
			case dirs[real]:
			default:
				missing = append(missing, entry)
			}
		}
		if len(missing) > 0 {
			k.differ(field, "takes "+some(missing, 2)+" from elsewhere")
		}
		if field == "components" && len(k.strings(field)) > len(missing) {
			k.differ(field, "applies components")
		}
	}
}

// transformations notes the settings that change what decides about egress:
// names, namespaces, labels. Images and numbers of replicas do not.
func (k *kustomization) transformations() {
	for _, t := range []struct{ field, words string }{
		{"namespace", "sets the namespace %q"},
		{"namePrefix", "sets the name prefix %q"},
		{"nameSuffix", "sets the name suffix %q"},
		{"commonLabels", "adds labels"},
		{"labels", "adds labels"},
		{"commonAnnotations", "adds annotations"},
		{"configMapGenerator", "generates ConfigMaps"},
		{"secretGenerator", ""},
		{"generators", "runs generators"},
		{"transformers", "runs transformers"},
		{"helmCharts", "renders charts"},
		{"helmChartInflationGenerator", "renders charts"},
		{"replacements", "replaces values"},
		{"vars", "replaces variables"},
	} {
		var value any
		found, err := k.doc.UnmarshalField(t.field, &value)
		if !found || err != nil || value == nil || value == "" || t.words == "" {
			continue
		}
		if list, ok := value.([]any); ok && len(list) == 0 {
			continue
		}
		if strings.Contains(t.words, "%q") {
			k.differ(t.field, fmt.Sprintf(t.words, value))
		} else if !slices.Contains(k.differs, t.words) {
			k.differ(t.field, t.words)
		}
	}
}

// omitPatches leaves out the files that are patches, or text for a generator.
func (k *kustomization) omitPatches(inputs map[string][]*input) {
	inline := 0
	omit := func(name string) bool {
		real := filepath.Join(k.dir, filepath.FromSlash(name))
		if k.listed[real] || inputs[real] == nil {
			return false
		}
		first := !inputs[real][0].omitted
		for _, in := range inputs[real] {
			in.omitted = true
		}
		return first
	}
	for _, field := range []string{"patches", "patchesStrategicMerge", "patchesJson6902"} {
		for _, entry := range k.strings(field) {
			if strings.Contains(entry, "\n") {
				inline++
			} else if omit(entry) {
				k.patches = append(k.patches, inputs[filepath.Join(k.dir, filepath.FromSlash(entry))][0])
			} else {
				inline++ // a patch that is not among the inputs is not applied either
			}
			if k.at == "" {
				k.at = field
			}
		}
	}
	if inline > 0 {
		k.differs = append(k.differs, "applies "+patches(inline))
	}
	for _, generator := range []string{"configMapGenerator", "secretGenerator"} {
		var list []struct {
			Files []string `json:"files"`
		}
		_, _ = k.doc.UnmarshalField(generator, &list)
		for _, g := range list {
			for _, name := range g.Files {
				if _, file, found := strings.Cut(name, "="); found {
					name = file
				}
				omit(name)
			}
		}
	}
}

// problem says how raw reading differs from building, if it does. holdObjects
// are the real paths of the files in which objects were found.
func (k *kustomization) problem(holdObjects map[string]bool, inputs []*input) (Problem, bool) {
	var unlisted []string
	for _, in := range inputs {
		if filepath.Dir(in.path) == k.dir && holdObjects[in.path] && !k.listed[in.path] && in.namespace == k.input.namespace {
			unlisted = append(unlisted, path.Base(in.shown))
		}
	}
	if len(unlisted) > 0 {
		k.differ("resources", "does not list "+some(unlisted, 2)+", which is read all the same")
	}
	if len(k.patches) == 0 && len(k.differs) == 0 {
		return Problem{}, false
	}
	dir := shell(k.input.dir)
	var parts []string
	if n := len(k.patches); n > 0 {
		verb := "are"
		if n == 1 {
			verb = "is"
		}
		parts = append(parts, fmt.Sprintf("%s %s left out", patches(n), verb))
	}
	if len(k.differs) > 0 {
		parts = append(parts, "building it "+strings.Join(k.differs, ", "))
	}
	return Problem{
		Kind:     Unrendered,
		Position: k.doc.KeyPosition(cmp.Or(k.at, "resources")),
		Message:  fmt.Sprintf("kustomization %s is read file by file, not built: %s", dir, strings.Join(parts, "; ")),
		Help:     "kustomize build " + dir + " | egresslint -",
	}, true
}

func patches(n int) string {
	if n == 1 {
		return "1 patch"
	}
	return fmt.Sprintf("%d patches", n)
}

// some names the first few of a list.
func some(names []string, n int) string {
	var quoted []string
	for _, name := range names[:min(n, len(names))] {
		quoted = append(quoted, fmt.Sprintf("%q", printable(name)))
	}
	s := strings.Join(quoted, ", ")
	if more := len(names) - n; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
