package manifest

import (
	"fmt"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// chart is a directory with a Chart.yaml.
type chart struct {
	input     *input
	dir       string // real path
	templates int    // files that are left out
	depends   bool   // on charts that are not there to read
}

// charts leaves out the templates of charts: they are no YAML before they are
// rendered, and where one happens to parse it says nothing.
func (l *loader) charts() {
	byDir := map[string]*chart{}
	for _, in := range l.found.inputs {
		if in.path != "" && filepath.Base(in.path) == "Chart.yaml" && !in.named {
			if dir := filepath.Dir(in.path); byDir[dir] == nil {
				byDir[dir] = &chart{input: in, dir: dir, depends: l.hasDependencies(in)}
			}
		}
	}
	if len(byDir) == 0 {
		return
	}
	for _, in := range l.found.inputs {
		if c, part := owner(byDir, in.path); c != nil {
			if part == "templates" && !in.named {
				in.omitted = true
				c.outermost(byDir).templates++
			} else if part == "" && filepath.Base(in.path) == "values.yaml" && c.outermost(byDir) != c {
				in.omitted = true // the parent's values are merged into those
			}
		}
	}
	for _, in := range l.found.inputs {
		if c := byDir[filepath.Dir(in.path)]; c != nil && c.input == in && c.outermost(byDir) == c && (c.templates > 0 || c.depends) {
			l.unrendered = append(l.unrendered, c.problem())
		}
	}
}

// hasDependencies reports whether a Chart.yaml lists dependencies.
func (l *loader) hasDependencies(in *input) bool {
	text, err := in.read(l.opts.MaxFileBytes)
	if err != nil || len(text) > 1<<20 {
		return false
	}
	roots, err := parseYAML(text, l.opts.MaxDepth)
	if err != nil || len(roots) == 0 {
		return false
	}
	n := look(roots[0], "dependencies", l.opts)
	return n != nil && n.Kind == yaml.SequenceNode && len(n.Content) > 0
}

// owner finds the innermost chart that a file belongs to, and the directory of
// the chart that it lies in, "" for the chart's own.
func owner(charts map[string]*chart, real string) (c *chart, part string) {
	for dir := filepath.Dir(real); ; {
		if c := charts[dir]; c != nil {
			return c, part
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil, ""
		}
		dir, part = parent, filepath.Base(dir)
	}
}

// outermost returns the chart that this one is bundled with, or itself.
func (c *chart) outermost(charts map[string]*chart) *chart {
	for {
		bundle := filepath.Dir(c.dir)
		parent := charts[filepath.Dir(bundle)]
		if parent == nil || filepath.Base(bundle) != "charts" {
			return c
		}
		c = parent
	}
}

func (c *chart) problem() Problem {
	dir := shell(c.input.dir)
	what := plural(c.templates, "template") + " left out"
	if c.templates == 0 {
		what = "its dependencies are not read"
	}
	return Problem{
		Kind:     Unrendered,
		Position: Position{File: c.input.shown, Line: 1, Column: 1},
		Message:  fmt.Sprintf("chart %s is not rendered: %s", dir, what),
		Help:     "helm template " + dir + " | egresslint -",
	}
}

// captureSettings are the settings of Istio's charts below global.proxy that say
// which traffic a proxy sees.
var captureSettings = set("includeIPRanges", "excludeIPRanges", "includeOutboundPorts", "excludeOutboundPorts")

// ValuesPrefix returns the field path below which the values of Istio's charts
// stand in a values file: "" in a file for the chart itself, "istio.values" in
// one for Big Bang, the name of the dependency in one for a chart that has
// Istio's as a dependency. It is where a mapping "meshConfig" stands, or settings
// of what proxies capture under "global.proxy"; found is false where there is
// neither.
func ValuesPrefix(d *Document) (prefix string, found bool) { return valuesPrefix(d.root, d.opts) }

func valuesPrefix(root *yaml.Node, opts *Options) (prefix string, found bool) {
	type level struct {
		node *yaml.Node
		path string
	}
	levels := []level{{follow(root), ""}}
	for depth := 0; depth < 4 && len(levels) > 0; depth++ {
		var next []level
		for _, at := range levels {
			if at.node == nil || at.node.Kind != yaml.MappingNode {
				continue
			}
			c := converter{opts: opts}
			entries, err := c.entries(at.node)
			if err != nil {
				continue
			}
			for _, e := range entries {
				value := follow(e.value)
				if value == nil || value.Kind != yaml.MappingNode {
					continue
				}
				if e.name == "meshConfig" || e.name == "global" && capturing(value, opts) {
					return at.path, true
				}
				if e.name == "_internal_defaults_do_not_set" { // Istio's own, in its charts' values.yaml
					continue
				}
				next = append(next, level{value, joinPath(at.path, FieldPath(e.name))})
			}
		}
		levels = next
	}
	// Big Bang's package of Istio may set nothing but patches, or have its mesh
	// configuration in a place where nothing reads it.
	if istio := look(root, "istio", opts); istio != nil {
		values := look(istio, "values", opts)
		if look(istio, "postRenderers", opts) != nil ||
			look(values, "outboundTrafficPolicy", opts) != nil || look(look(values, "global", opts), "outboundTrafficPolicy", opts) != nil {
			return "istio.values", true
		}
	}
	return "", false
}

// capturing reports whether the value of "global" says what proxies capture.
func capturing(global *yaml.Node, opts *Options) bool {
	proxy := look(global, "proxy", opts)
	if proxy == nil || proxy.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(proxy.Content); i += 2 {
		if captureSettings[proxy.Content[i].Value] {
			return true
		}
	}
	return false
}

// valuesName is the name of a values file as an object.
func valuesName(shown string) string {
	return shown[strings.LastIndexByte(shown, '/')+1:]
}
