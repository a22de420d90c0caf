package manifest

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"
	kjson "sigs.k8s.io/json"
)

// Document is one parsed object with its positions. It is valid only while the
// [Decoder] that it was given to runs.
type Document struct {
	*tree
	shown string
}

// tree is the nodes of an object, or of YAML in one of its texts, together with
// what they were parsed from.
type tree struct {
	root *yaml.Node
	*text
	opts *Options
	// plain is that of a converter.
	plain bool

	// outer and holder are, for YAML in a text, where that text stands.
	outer  *tree
	holder *yaml.Node

	inner map[*yaml.Node]*tree // once asked for
}

// JSON returns the whole object as the JSON that kubectl would send, without
// the server's defaults.
func (d *Document) JSON() ([]byte, error) { return d.toJSON(d.root) }

// Unmarshal decodes the whole object as an API server does: keys are compared
// case by case, a number or boolean where a string is wanted is an error,
// unknown fields are ignored, whole numbers stay int64 in untyped values. Types
// with an UnmarshalJSON of their own decode themselves.
func (d *Document) Unmarshal(into any) error {
	b, err := d.JSON()
	if err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(b, into)
}

// Untyped returns the whole object as Unmarshal decodes it into an untyped value;
// nil if it is null.
func (d *Document) Untyped() (map[string]any, error) {
	if d.plain && d.root.Kind == yaml.MappingNode {
		c := converter{opts: d.opts, plain: true}
		v, err := c.untyped(d.root)
		m, _ := v.(map[string]any)
		if err == nil {
			return m, nil
		}
	}
	var m map[string]any
	err := d.Unmarshal(&m)
	return m, err
}

// Has reports whether there is a field at a path, which Object.At may lead to.
func (d *Document) Has(path string) bool { return d.find(parsePath(path)).found }

// UnmarshalField decodes the value at a field path as Unmarshal does. found is
// false, and into untouched, where there is none. It looks into text that holds
// YAML, as At does.
func (d *Document) UnmarshalField(path string, into any) (found bool, err error) {
	hit := d.find(parsePath(path))
	if !hit.found {
		return false, nil
	}
	b, err := hit.in.toJSON(hit.value)
	if err != nil {
		return true, err
	}
	return true, kjson.UnmarshalCaseSensitivePreserveInts(b, into)
}

// Position returns what Object.At returns for a field path.
func (d *Document) Position(path string) Position {
	return named(d.at(path), d.shown)
}

// KeyPosition returns what Object.AtKey returns for a field path.
func (d *Document) KeyPosition(path string) Position {
	return named(d.atKey(path), d.shown)
}

// named adds the name of the file.
func named(p Position, file string) Position {
	p.File = file
	return p
}

// toJSON writes a node as JSON. Errors name the line.
func (t *tree) toJSON(n *yaml.Node) ([]byte, error) {
	c := converter{opts: t.opts, plain: t.plain}
	b, err := c.appendJSON(make([]byte, 0, 512), n)
	var invalid *valueError
	if errors.As(err, &invalid) {
		return nil, fmt.Errorf("line %d: %s", t.spanOf(invalid.node).Line, printable(invalid.message))
	}
	return b, err
}

// hit is where a field path leads.
type hit struct {
	found bool
	in    *tree // differs from the start within YAML in a text
	// key is nil for the root and for items of lists; value is as it stands in
	// the document, perhaps an alias.
	key, value *yaml.Node
}

// find follows a field path as far as it leads. Where it breaks off, the hit is
// the last field that exists, and found is false.
func (t *tree) find(steps []step) hit {
	at := hit{found: true, in: t, value: t.root}
	for _, s := range steps {
		next, ok := at.child(s)
		if !ok {
			at.found = false
			return at
		}
		at = next
	}
	return at
}

// child goes one step on, into the YAML that a text holds if need be.
func (h hit) child(s step) (hit, bool) {
	n := follow(h.value)
	if n == nil {
		return hit{}, false
	}
	switch {
	case n.Kind == yaml.ScalarNode:
		if inner := h.in.within(n); inner != nil {
			return hit{found: true, in: inner, value: inner.root}.child(s)
		}
	case n.Kind == yaml.SequenceNode && s.index >= 0 && s.index < len(n.Content):
		return hit{found: true, in: h.in, value: n.Content[s.index]}, true
	case n.Kind == yaml.MappingNode && s.index < 0 && h.in.plain:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s.key {
				return hit{found: true, in: h.in, key: n.Content[i], value: n.Content[i+1]}, true
			}
		}
	case n.Kind == yaml.MappingNode && s.index < 0:
		c := converter{opts: h.in.opts}
		entries, err := c.entries(n)
		if err != nil {
			return hit{}, false
		}
		for _, e := range entries {
			if e.name == s.key {
				return hit{found: true, in: h.in, key: e.key, value: e.value}, true
			}
		}
	}
	return hit{}, false
}

// within parses the YAML that a text holds, once; nil if it holds none.
func (t *tree) within(n *yaml.Node) *tree {
	if inner, known := t.inner[n]; known {
		return inner
	}
	if t.inner == nil {
		t.inner = map[*yaml.Node]*tree{}
	}
	t.inner[n] = nil
	if t.outer != nil && t.outer.outer != nil || !isString(n) {
		return nil
	}
	roots, err := parseYAML([]byte(n.Value), t.opts.MaxDepth)
	if err != nil || len(roots) == 0 || roots[0].Kind == yaml.ScalarNode {
		return nil
	}
	t.inner[n] = &tree{root: roots[0], text: &text{bytes: []byte(n.Value)}, opts: t.opts, outer: t, holder: n}
	return t.inner[n]
}
