package manifest

import (
	"encoding/json"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// Value is a value in a plain [Document], as API servers read it. The zero Value is
// none.
type Value struct{ node *yaml.Node }

// Plain returns the whole object, if the document is plain: without anchors, tags,
// and keys that are no text or stand twice in a mapping.
func (d *Document) Plain() (object Value, ok bool) { return Value{d.root}, d.plain }

// IsMapping reports whether v is a mapping.
func (v Value) IsMapping() bool { return v.node.Kind == yaml.MappingNode }

// IsList reports whether v is a list.
func (v Value) IsList() bool { return v.node.Kind == yaml.SequenceNode }

// Len is the number of entries of a mapping or of items of a list.
func (v Value) Len() int {
	if v.IsMapping() {
		return len(v.node.Content) / 2
	}
	return len(v.node.Content)
}

// Item returns an item of a list.
func (v Value) Item(i int) Value { return Value{v.node.Content[i]} }

// Entry returns an entry of a mapping, in the order of the document.
func (v Value) Entry(i int) (key string, value Value) {
	return v.node.Content[2*i].Value, Value{v.node.Content[2*i+1]}
}

// Field returns the value of a key of a mapping; ok is false if it has none.
func (v Value) Field(key string) (value Value, ok bool) {
	for i := range v.Len() {
		if k, value := v.Entry(i); k == key {
			return value, true
		}
	}
	return Value{}, false
}

// Text returns the text of a string.
func (v Value) Text() (text string, ok bool) {
	if v.node.Kind != yaml.ScalarNode || !isString(v.node) {
		return "", false
	}
	return internShort(v.node.Value), true
}

// Scalar returns a string, a bool, or an int64; ok is false for other numbers, for
// null, and for what is no scalar.
func (v Value) Scalar() (value any, ok bool) {
	if v.node.Kind != yaml.ScalarNode {
		return nil, false
	}
	if isString(v.node) {
		return internShort(v.node.Value), true
	}
	value, err := scalar(v.node)
	if number, isNumber := value.(json.Number); isNumber { // of a document in JSON
		value, err = strconv.ParseInt(number.String(), 10, 64)
	}
	switch value.(type) {
	case bool, int64:
		if err == nil {
			return value, true
		}
	}
	return nil, false
}
