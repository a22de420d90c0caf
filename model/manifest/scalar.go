package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Kubernetes reads YAML 1.1 as go.yaml.in/yaml/v2 does, through
// sigs.k8s.io/yaml, while the parser used here resolves YAML 1.2. So tags that
// the parser made up are not looked at; only those written in the document are.
// What follows mirrors resolve.go and decode.go of yaml/v2; a test compares it
// with sigs.k8s.io/yaml.

// constants are the plain scalars with a meaning of their own.
var constants = func() map[string]any {
	m := map[string]any{"": nil}
	add := func(v any, words ...string) {
		for _, w := range words {
			m[w] = v
		}
	}
	add(nil, "~", "null", "Null", "NULL")
	add(true, "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
	add(false, "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
	add(math.NaN(), ".nan", ".NaN", ".NAN")
	add(math.Inf(+1), ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF")
	add(math.Inf(-1), "-.inf", "-.Inf", "-.INF")
	return m
}()

const (
	quoted    = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	mergeKey  = "<<"
	tagString = "!!str"
)

// writtenTag returns the tag that stands in the document, "" if none.
func writtenTag(n *yaml.Node) string {
	if n.Style&yaml.TaggedStyle != 0 {
		return n.Tag
	}
	return ""
}

// isString reports, without resolving, that a scalar is a string.
func isString(n *yaml.Node) bool {
	if n.Style&yaml.TaggedStyle == 0 && n.Tag != "!" {
		return n.Style&quoted != 0 || n.Value != "" && plainString(n.Value)
	}
	return n.Tag == tagString || n.Tag == "!"
}

// plainString reports that a plain scalar can only be a string. Most are by
// their first character.
func plainString(s string) bool {
	c := s[0]
	digits := c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'
	if !digits && strings.IndexByte("yYnNtTfFoO~", c) < 0 {
		return true
	}
	if _, special := constants[s]; special {
		return false
	}
	if digits {
		_, text := number(s).(string)
		return text
	}
	return true
}

// isMerge reports whether a key merges other mappings into its own.
func isMerge(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Value != mergeKey {
		return false
	}
	return n.Tag == "!" || n.Tag == "!!merge"
}

// scalar returns the value of a scalar: nil, bool, int64, uint64, float64,
// json.Number or string.
func scalar(n *yaml.Node) (any, error) {
	tag := writtenTag(n)
	switch {
	case isString(n):
		return n.Value, nil
	case tag == tagJSON:
		return json.Number(n.Value), nil
	case tag == "!!binary":
		b, err := base64.StdEncoding.DecodeString(n.Value)
		if err != nil {
			return nil, fmt.Errorf("!!binary value is not base64")
		}
		return string(b), nil
	case tag == "":
		return plain(n.Value), nil
	}
	v := plain(n.Value)
	var fits bool
	switch tag {
	case "!!null":
		fits = v == nil
	case "!!bool":
		_, fits = v.(bool)
	case "!!int":
		switch v.(type) {
		case int64, uint64:
			fits = true
		}
	case "!!float":
		if i, ok := v.(int64); ok {
			v = float64(i)
		}
		_, fits = v.(float64)
	case "!!timestamp":
		v, fits = n.Value, isTimestamp(n.Value)
	default:
		return n.Value, nil // tags of one's own say nothing
	}
	if fits && tag != "!!timestamp" && isTimestamp(n.Value) {
		fits = false
	}
	if !fits {
		return nil, fmt.Errorf("%q is no value of type %s", n.Value, tag)
	}
	return v, nil
}

// plain resolves a plain scalar.
func plain(s string) any {
	if v, ok := constants[s]; ok {
		return v
	}
	return number(s)
}

var floatPattern = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

// number resolves a plain scalar that is no constant: an int64, uint64 or
// float64, or s itself.
func number(s string) any {
	if s == "" {
		return s
	}
	switch c := s[0]; {
	case c == '.':
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f
		}
	case c >= '0' && c <= '9', c == '+', c == '-':
		digits := strings.ReplaceAll(s, "_", "")
		if i, err := strconv.ParseInt(digits, 0, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(digits, 0, 64); err == nil {
			return u
		}
		if floatPattern.MatchString(digits) {
			if f, err := strconv.ParseFloat(digits, 64); err == nil {
				return f
			}
		}
		if binary, ok := strings.CutPrefix(digits, "0b"); ok { // with a sign: "0b-1"
			if i, err := strconv.ParseInt(binary, 2, 64); err == nil {
				return i
			}
		}
	}
	return s
}

// isTimestamp reports whether yaml/v2 takes a scalar for a time, which only an
// explicit tag makes a difference of: into an untyped value it decodes times as
// text.
func isTimestamp(s string) bool {
	for _, layout := range []string{"2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999", "2006-1-2"} {
		if _, err := time.Parse(layout, s); err == nil && len(s) > 4 && s[4] == '-' {
			return true
		}
	}
	return false
}

// keyString returns the key of a mapping as it is in JSON (sigs.k8s.io/yaml,
// convertToJSONableObject).
func keyString(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", fmt.Errorf("a %s cannot be the key of a mapping", kindName(n))
	}
	if isString(n) {
		return n.Value, nil
	}
	v, err := scalar(n)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		switch s := strconv.FormatFloat(v, 'g', -1, 32); s {
		case "+Inf":
			return ".inf", nil
		case "-Inf":
			return "-.inf", nil
		case "NaN":
			return ".nan", nil
		default:
			return s, nil
		}
	case nil:
		return "", fmt.Errorf("null cannot be the key of a mapping")
	}
	return "", fmt.Errorf("%q cannot be the key of a mapping", n.Value)
}

// kindName names what a node is for a message.
func kindName(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	}
	if isString(n) {
		return "string"
	}
	v, err := scalar(n)
	if err != nil {
		return "scalar"
	}
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	default:
		return "number"
	}
}
