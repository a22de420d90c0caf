package model

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/util/protomarshal"

	"github.com/egresslint/egresslint/model/manifest"
)

// Doubt is a field of a mesh configuration, of policies or of pods whose value nobody knows: a
// placeholder stands there, or what the input says of it reaches no istiod.
type Doubt struct {
	// Place is where the placeholder stands, Setting its name in the mesh
	// configuration, and Text what stands there, "" if it is no placeholder.
	Place
	Setting, Text string
	// Why is a clause that says why the value is not known.
	Why string
	// Taken and Other are two values that it may have, of which the mesh has the first.
	Taken, Other string

	// Policies: the placeholders of all policies, of which that at Place is the first;
	// who refuses a request that is refused either way is not said to be unknown.
	Policies bool

	config *MeshConfig
	set    func(*meshconfig.MeshConfig)
	other  func(*Mesh) *Mesh
}

// Doubts are the fields of all mesh configurations and AuthorizationPolicies and the
// service accounts that decide about requests and that a placeholder leaves open.
func (m *Mesh) Doubts() []Doubt {
	var out []Doubt
	for _, c := range m.Configs() {
		out = append(out, c.doubts...)
	}
	return append(append(out, m.policyDoubts()...), m.accountDoubts()...)
}

// Otherwise returns the mesh with the other value of a doubt. It shares all else
// with m.
func (m *Mesh) Otherwise(d Doubt) *Mesh {
	if d.other != nil {
		return d.other(m)
	}
	c := *d.config
	c.MeshConfig = protomarshal.Clone(d.config.MeshConfig)
	d.set(c.MeshConfig)
	return m.withConfig(d.config, &c)
}

// open takes a mesh configuration that istiod refuses because of its placeholders
// without them; ok is false where it is refused even so.
func (c *MeshConfig) open(fields map[string]any, base *meshconfig.MeshConfig) (left []string, ok bool) {
	rest, left := withoutPlaceholders(fields, "")
	if len(left) == 0 {
		return nil, false
	}
	effective, messages := applyMesh(rest, base)
	if len(messages) > 0 {
		return nil, false
	}
	c.MeshConfig = effective
	for _, field := range left {
		o, at := c.origin(field)
		d := Doubt{Place: Place{o, at}, Setting: field, Text: shortPlaceholder(mustLookup(fields, field)), config: c}
		is := func(name string) bool { return field == name || field == snake(name) }
		switch {
		case is("outboundTrafficPolicy"), is("outboundTrafficPolicy.mode"):
			d.openPolicy()
		case is("enableAutoMtls"):
			d.Taken, d.Other = "true", "false"
			c.EnableAutoMtls = wrapperspb.Bool(true)
			d.set = func(m *meshconfig.MeshConfig) { m.EnableAutoMtls = wrapperspb.Bool(false) }
		default:
			continue
		}
		d.Why = fmt.Sprintf("%s of the mesh is the placeholder %s", d.Setting, d.Text)
		c.doubts = append(c.doubts, d)
	}
	return left, true
}

// openPolicy leaves the outbound traffic policy open.
func (d *Doubt) openPolicy() {
	d.Setting, d.Taken, d.Other = "outboundTrafficPolicy.mode", "ALLOW_ANY", "REGISTRY_ONLY"
	d.config.OutboundTrafficPolicy = &meshconfig.MeshConfig_OutboundTrafficPolicy{Mode: meshconfig.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY}
	d.set = func(m *meshconfig.MeshConfig) {
		m.OutboundTrafficPolicy = &meshconfig.MeshConfig_OutboundTrafficPolicy{Mode: meshconfig.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY}
	}
}

// doubtPolicy leaves the outbound traffic policy open where an installation has one
// that reaches no istiod or is not read, and nothing else gives one.
func (c *MeshConfig) doubtPolicy(in *installation) {
	if in.unreadPolicy == "" {
		return
	}
	d := Doubt{Place: Place{in.object, in.unreadPolicy}, config: c, Why: printable(in.unreadWhy)}
	d.openPolicy()
	c.doubts = append(c.doubts, d)
}

// origin returns the place of a field as Because does, though it is one that istiod
// does not take.
func (c *MeshConfig) origin(field string) (*manifest.Object, string) {
	for _, o := range c.origins {
		if _, ok := lookupField(o.fields, field); ok && !o.fixed {
			return o.object, join(o.prefix, field)
		}
	}
	return c.Source, c.Prefix
}

// withoutPlaceholders returns fields without those that hold a placeholder, and
// their paths in the order of their names. In lists something stands in their place:
// which extension provider there is, and of which kind, is known all the same.
func withoutPlaceholders(fields map[string]any, at string) (map[string]any, []string) {
	out := make(map[string]any, len(fields))
	var left []string
	for _, key := range sortedKeys(fields) {
		v := fields[key]
		if m, ok := v.(map[string]any); ok {
			rest, below := withoutPlaceholders(m, child(at, key))
			out[key], left = rest, append(left, below...)
			continue
		}
		if placeholderBelow(v, key) == "" {
			out[key] = v
			continue
		}
		left = append(left, child(at, key))
		if list, ok := v.([]any); ok {
			out[key] = filledIn(list, key)
		}
	}
	return out, left
}

// filledIn puts something in the place of all placeholders of a value.
func filledIn(value any, below string) any {
	switch v := value.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = filledIn(e, below)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range v {
			out[key] = filledIn(e, key)
		}
		return out
	case string:
		switch {
		case placeholderBelow(v, below) == "":
		case below == "port":
			return 80
		default:
			return "placeholder.invalid"
		}
	}
	return value
}

// shortPlaceholder is the first placeholder of a value for messages, on one line and
// not too long.
func shortPlaceholder(value any) string {
	const most = 40
	text := []rune(printable(placeholder(value)))
	if len(text) > most {
		text = append(text[:most], '…')
	}
	return string(text)
}

func mustLookup(fields map[string]any, field string) any {
	v, _ := lookupField(fields, field)
	return v
}

// openProblem reports a mesh configuration that is taken without its placeholders.
func openProblem(c *MeshConfig, fields map[string]any, left, messages []string) manifest.Problem {
	o, at := c.origin(left[0])
	var unknown []string
	for _, d := range c.doubts {
		unknown = append(unknown, d.Setting)
	}
	text := fmt.Sprintf("mesh configuration of %s holds the placeholder %s and is refused as it stands: %s; it is taken without what stands in %s",
		title(c.Source), shortPlaceholder(mustLookup(fields, left[0])), strings.Join(messages, "; "), strings.Join(shortened(slices.Clone(left)), ", "))
	if len(unknown) > 0 {
		text += fmt.Sprintf(", and answers that depend on %s are unknown", strings.Join(unknown, " and "))
	}
	return manifest.Problem{
		Kind: manifest.Template, Position: o.At(at), Object: o.String(), Message: printable(text),
		Help: "fill it in before (envsubst, kustomize build, helm template)",
	}
}
