package manifest

import (
	"encoding/json"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// untyped makes of a node of a plain document what decoding its JSON into an
// untyped value gives, without the JSON.
func (c *converter) untyped(n *yaml.Node) (any, error) {
	if err := c.visit(n); err != nil {
		return nil, err
	}
	c.depth++
	defer func() { c.depth-- }()
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := c.untyped(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = v
		}
		return m, nil
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			v, err := c.untyped(item)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	}
	if isString(n) {
		return n.Value, nil
	}
	v, err := scalar(n)
	switch v := v.(type) {
	case uint64, float64, json.Number:
		text, err := appendScalar(nil, n)
		if err != nil {
			return nil, err
		}
		if i, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return i, nil
		}
		return strconv.ParseFloat(string(text), 64)
	default:
		return v, err
	}
}
