package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// valueError is a value that has no place in JSON, and where it stands.
type valueError struct {
	node    *yaml.Node
	message string
}

func (e *valueError) Error() string { return e.message }

// converter makes JSON of nodes as sigs.k8s.io/yaml does: aliases are followed,
// merge keys resolved, scalars read by the rules of YAML 1.1.
type converter struct {
	opts *Options
	// plain says that there are no aliases, no merge keys and no tags, and that
	// the keys of a mapping are strings and stand once: most documents are so.
	plain bool
	// written counts the bytes that aliases brought about, visited and aliased
	// the nodes: yaml/v2 refuses a document of which too much is aliases.
	written, visited, aliased int
	inAlias, depth            int
	open                      map[*yaml.Node]bool
}

// visit counts a node, and refuses what would grow beyond bounds.
func (c *converter) visit(n *yaml.Node) error {
	if c.plain && c.depth <= c.opts.MaxDepth {
		return nil
	}
	c.visited++
	if c.inAlias > 0 {
		c.aliased++
		c.written += len(n.Value) + 8
	}
	if c.aliased > 100 && c.visited > 1000 && float64(c.aliased)/float64(c.visited) > allowedAliasRatio(c.visited) || c.written > c.opts.MaxExpansion {
		return &valueError{n, "aliases expand to too much"}
	}
	if c.depth > c.opts.MaxDepth {
		return &valueError{n, fmt.Sprintf("nested deeper than %d levels", c.opts.MaxDepth)}
	}
	return nil
}

// allowedAliasRatio is that of decode.go in yaml/v2.
func allowedAliasRatio(visited int) float64 {
	const low, high = 400_000, 4_000_000
	switch {
	case visited <= low:
		return 0.99
	case visited >= high:
		return 0.10
	default:
		return 0.99 - 0.89*float64(visited-low)/(high-low)
	}
}

// enter follows an alias while f runs.
func (c *converter) enter(n *yaml.Node, f func(*yaml.Node) error) error {
	if n.Kind != yaml.AliasNode {
		return f(n)
	}
	if n.Alias == nil || c.open[n] {
		return &valueError{n, fmt.Sprintf("anchor %q contains itself", n.Value)}
	}
	if c.open == nil {
		c.open = map[*yaml.Node]bool{}
	}
	c.open[n] = true
	c.inAlias++
	err := f(n.Alias)
	c.inAlias--
	delete(c.open, n)
	return err
}

// appendJSON writes a node.
func (c *converter) appendJSON(dst []byte, n *yaml.Node) ([]byte, error) {
	if err := c.visit(n); err != nil {
		return nil, err
	}
	c.depth++
	defer func() { c.depth-- }()
	switch n.Kind {
	case yaml.AliasNode:
		err := c.enter(n, func(target *yaml.Node) (err error) {
			dst, err = c.appendJSON(dst, target)
			return err
		})
		return dst, err
	case yaml.MappingNode:
		if c.plain {
			return c.appendMapping(dst, n)
		}
		entries, err := c.entries(n)
		if err != nil {
			return nil, err
		}
		dst = append(dst, '{')
		for i, e := range entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, e.name), ':')
			if dst, err = c.appendEntry(dst, e); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, item := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = c.appendJSON(dst, item); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	default:
		return appendScalar(dst, n)
	}
}

// appendMapping writes a mapping of a plain document.
func (c *converter) appendMapping(dst []byte, n *yaml.Node) (_ []byte, err error) {
	dst = append(dst, '{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, n.Content[i].Value), ':')
		if dst, err = c.appendJSON(dst, n.Content[i+1]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendEntry writes the value of an entry; that of a merged one counts as
// expansion.
func (c *converter) appendEntry(dst []byte, e entry) ([]byte, error) {
	if e.merged {
		c.inAlias++
		defer func() { c.inAlias-- }()
	}
	return c.appendJSON(dst, e.value)
}

func appendScalar(dst []byte, n *yaml.Node) ([]byte, error) {
	if isString(n) {
		return appendString(dst, n.Value), nil
	}
	v, err := scalar(n)
	if err != nil {
		return nil, &valueError{n, err.Error()}
	}
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return appendString(dst, v), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case uint64:
		return strconv.AppendUint(dst, v, 10), nil
	case json.Number:
		return append(dst, v...), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, &valueError{n, fmt.Sprintf("%s is no number that Kubernetes can take", n.Value)}
		}
		b, err := json.Marshal(v)
		return append(dst, b...), err
	}
	return nil, &valueError{n, fmt.Sprintf("value of type %T", v)}
}

// appendString writes a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // strings always marshal
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// entry is a key of a mapping with its value.
type entry struct {
	name       string
	key, value *yaml.Node
	merged     bool // by "<<"
}

// entries returns the keys of a mapping, each once, with the value that counts.
// A later key replaces an earlier one, and "<<" replaces what stands before it:
// this is how mapping and merge in yaml/v2's decode.go go about it, although
// the YAML documents want it otherwise.
func (c *converter) entries(n *yaml.Node) ([]entry, error) {
	list := make([]entry, 0, len(n.Content)/2)
	if c.plain {
		for i := 0; i+1 < len(n.Content); i += 2 {
			list = append(list, entry{name: n.Content[i].Value, key: n.Content[i], value: n.Content[i+1]})
		}
		return list, nil
	}
	var index map[string]int
	put := func(e entry) {
		if len(list) > 8 && index == nil {
			index = make(map[string]int, len(n.Content))
			for i, old := range list {
				index[old.name] = i
			}
		}
		if index != nil {
			if i, ok := index[e.name]; ok {
				list[i] = e
				return
			}
			index[e.name] = len(list)
		} else {
			for i := range list {
				if list[i].name == e.name {
					list[i] = e
					return
				}
			}
		}
		list = append(list, e)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if isMerge(key) {
			if err := c.merge(value, put); err != nil {
				return nil, err
			}
			continue
		}
		name, err := keyString(key)
		if err != nil {
			return nil, &valueError{key, err.Error()}
		}
		if err := c.visit(key); err != nil {
			return nil, err
		}
		put(entry{name: name, key: key, value: value})
	}
	return list, nil
}

// merge puts the entries of the value of a merge key.
func (c *converter) merge(value *yaml.Node, put func(entry)) error {
	if err := c.visit(value); err != nil {
		return err
	}
	c.depth++
	defer func() { c.depth-- }()
	return c.enter(value, func(n *yaml.Node) error {
		if n.Kind == yaml.MappingNode {
			entries, err := c.entries(n)
			for _, e := range entries {
				e.merged = true
				put(e)
			}
			return err
		}
		if n.Kind != yaml.SequenceNode || value.Kind == yaml.AliasNode {
			return &valueError{value, `"<<" wants a mapping or a list of mappings`}
		}
		for i := len(n.Content) - 1; i >= 0; i-- { // the first counts
			item := n.Content[i]
			if target := follow(item); target == nil || target.Kind != yaml.MappingNode {
				return &valueError{item, `"<<" wants a mapping or a list of mappings`}
			}
			if err := c.merge(item, put); err != nil {
				return err
			}
		}
		return nil
	})
}

// follow returns what an alias stands for, any other node as it is.
func follow(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
