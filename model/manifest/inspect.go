package manifest

import (
	"math"
	"strings"

	"go.yaml.in/yaml/v4"
)

// inspection is what a walk over a document's nodes finds, before anybody looks
// at what they mean.
type inspection struct {
	// unusual says that the document has something that may not convert to
	// JSON, or that parsers may differ about: anchors, aliases, merge keys, tags,
	// keys that are no strings, infinities.
	unusual bool
	// again is the first key that its mapping has already; first is where.
	again, first *yaml.Node
	more         int // keys like it
}

func inspect(n *yaml.Node) *inspection {
	in := &inspection{}
	in.walk(n)
	return in
}

func (in *inspection) walk(n *yaml.Node) {
	if n.Anchor != "" || n.Tag == "!" || n.Style&yaml.TaggedStyle != 0 && n.Tag != tagJSON {
		in.unusual = true
	}
	switch n.Kind {
	case yaml.AliasNode:
		in.unusual = true
	case yaml.ScalarNode:
		if n.Style&quoted == 0 && n.Value != "" && strings.IndexByte(".+-", n.Value[0]) >= 0 {
			if f, ok := constants[n.Value].(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
				in.unusual = true
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			in.walk(item)
		}
	case yaml.MappingNode:
		in.keys(n)
		for i := 1; i < len(n.Content); i += 2 {
			in.walk(n.Content[i])
		}
	}
}

// keys looks at the keys of a mapping.
func (in *inspection) keys(n *yaml.Node) {
	var seen map[string]*yaml.Node
	if len(n.Content) > 16 {
		seen = make(map[string]*yaml.Node, len(n.Content)/2)
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if isMerge(key) {
			in.unusual = true
			continue
		}
		if n.Style&yaml.FlowStyle != 0 && key.Line != n.Content[i+1].Line {
			in.unusual = true // perhaps a key of two lines
		}
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || !isString(key) || key.Style&yaml.TaggedStyle != 0 {
			in.unusual = true
		}
		name, err := keyString(key)
		if err != nil {
			continue // the conversion reports it
		}
		var first *yaml.Node
		if seen != nil {
			first = seen[name]
			if first == nil {
				seen[name] = key
			}
		} else {
			first = earlier(n.Content[:i], name)
		}
		switch {
		case first == nil:
		case in.again == nil:
			in.again, in.first = key, first
		default:
			in.more++
		}
	}
}

// earlier finds a key among a few.
func earlier(content []*yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(content); i += 2 {
		key := content[i]
		if key.Value != name && isString(key) || isMerge(key) {
			continue
		}
		if other, err := keyString(key); err == nil && other == name {
			return key
		}
	}
	return nil
}
