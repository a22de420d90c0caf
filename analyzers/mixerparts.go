package analyzers

import (
	"slices"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// mixerPurpose is what an object of a removed API was for.
type mixerPurpose int

const (
	// deciding objects may have decided whether requests go on.
	deciding mixerPurpose = iota
	// recording objects of Mixer only ever recorded requests.
	recording
	// limiting objects of Mixer only counted requests against a quota.
	limiting
)

// purposes are the kinds, adapters and templates of Mixer that decided about
// nothing but rates; all others may have.
var purposes = map[string]mixerPurpose{
	"attributemanifest": recording, "bypass": recording, "circonus": recording, "cloudwatch": recording, "dogstatsd": recording,
	"edge": recording, "fluentd": recording, "kubernetes": recording, "kubernetesenv": recording, "logentry": recording,
	"metric": recording, "prometheus": recording, "reportnothing": recording, "signalfx": recording, "solarwinds": recording,
	"stackdriver": recording, "statsd": recording, "stdio": recording, "tracespan": recording, "zipkin": recording,
	"memquota": limiting, "quota": limiting, "QuotaSpec": limiting, "QuotaSpecBinding": limiting, "redisquota": limiting,
}

// mixerParts knows which objects of Mixer belong together.
type mixerParts struct {
	// byName holds Mixer's objects by "namespace/name".
	byName map[string][]*manifest.Object
	// called are what a rule that decides calls, in the order in which it does.
	called map[*manifest.Object][]*manifest.Object
	// part holds the handlers and instances of rules that decide.
	part map[*manifest.Object]bool
	// same are the objects of a file that only record, or only limit.
	same map[mixerGroup][]*manifest.Object
	// alone are objects of which a suppression speaks: it must not hide the others.
	alone map[*manifest.Object]bool
}

type mixerGroup struct {
	file    string
	purpose mixerPurpose
}

func newMixerParts(legacy []*manifest.Object, directives []manifest.Directive, rule *Analyzer) *mixerParts {
	m := &mixerParts{
		byName: map[string][]*manifest.Object{},
		called: map[*manifest.Object][]*manifest.Object{}, part: map[*manifest.Object]bool{},
		same: map[mixerGroup][]*manifest.Object{}, alone: map[*manifest.Object]bool{},
	}
	for i := range directives {
		d := &directives[i]
		if !slices.ContainsFunc(d.Rules, func(name string) bool { return find(name) == rule }) {
			continue
		}
		for _, o := range legacy {
			m.alone[o] = m.alone[o] || d.Covers(o.At("apiVersion"), o)
		}
	}
	for _, o := range legacy {
		if o.Group() == "config.istio.io" {
			key := o.Namespace + "/" + o.Name
			m.byName[key] = append(m.byName[key], o)
		}
	}
	for _, o := range legacy {
		switch purpose := m.purpose(o); {
		case purpose != deciding && m.alone[o]:
		case purpose != deciding:
			key := mixerGroup{o.At("").File, purpose}
			m.same[key] = append(m.same[key], o)
		case o.Group() == "config.istio.io" && o.Kind == "rule":
			for _, action := range actionsOf(o) {
				for _, name := range action {
					for _, part := range m.named(o.Namespace, name) {
						// What only records is told with its like.
						if part.Kind != "rule" && m.purpose(part) == deciding && !slices.Contains(m.called[o], part) {
							m.called[o] = append(m.called[o], part)
							m.part[part] = true
						}
					}
				}
			}
		}
	}
	return m
}

// told reports whether the finding of another object tells of this one.
func (m *mixerParts) told(o *manifest.Object) bool {
	same := m.alike(o)
	return m.part[o] || len(same) > 0 && same[0] != o
}

// calledBy returns the handlers and instances that a rule calls.
func (m *mixerParts) calledBy(o *manifest.Object) []*manifest.Object { return m.called[o] }

// alike returns the objects of an object's file that only record or only limit as
// it does, itself among them, in the order of the file; none where it may decide.
func (m *mixerParts) alike(o *manifest.Object) []*manifest.Object {
	if m.alone[o] {
		return nil
	}
	return m.same[mixerGroup{o.At("").File, m.purpose(o)}]
}

// purpose returns what an object was for: by its kind, its adapter or template,
// or, for a rule, because that is all that the handlers which it calls do.
func (m *mixerParts) purpose(o *manifest.Object) mixerPurpose {
	if removedAPIs[o.Group()].what != "Mixer configuration" {
		return deciding
	}
	if o.Kind != "rule" {
		return purposeOfPart(o)
	}
	var all []mixerPurpose
	for _, action := range actionsOf(o) {
		all = append(all, m.purposeOfHandler(o.Namespace, action[0]))
	}
	if len(all) == 0 || slices.ContainsFunc(all, func(p mixerPurpose) bool { return p != all[0] }) {
		return deciding
	}
	return all[0]
}

func purposeOfPart(o *manifest.Object) mixerPurpose {
	if purpose := purposes[o.Kind]; purpose != deciding {
		return purpose
	}
	spec := specOf(o)
	for _, field := range []string{"compiledAdapter", "compiledTemplate", "adapter", "template"} {
		if name, ok := spec[field].(string); ok {
			return purposes[name]
		}
	}
	return deciding
}

// purposeOfHandler is that of a handler which a rule names: "name.kind", or the
// name of a handler of the input.
func (m *mixerParts) purposeOfHandler(namespace, name string) mixerPurpose {
	for _, part := range strings.Split(name, ".")[1:] {
		if purpose := purposes[part]; purpose != deciding {
			return purpose
		}
	}
	for _, h := range m.named(namespace, name) {
		if h.Kind == "handler" {
			return purposeOfPart(h)
		}
	}
	return deciding
}

// named returns the objects that a rule of a namespace names as "name",
// "name.kind" or "name.kind.namespace".
func (m *mixerParts) named(namespace, name string) []*manifest.Object {
	parts := strings.Split(name, ".")
	if len(parts) > 2 {
		namespace = parts[2]
	}
	var out []*manifest.Object
	for _, o := range m.byName[namespace+"/"+parts[0]] {
		if len(parts) == 1 && (o.Kind == "handler" || o.Kind == "instance") || len(parts) > 1 && o.Kind == parts[1] && !routing[o.Kind] {
			out = append(out, o)
		}
	}
	return out
}

// actionsOf returns the actions of a rule: the name of the handler, then those of
// the instances.
func actionsOf(o *manifest.Object) [][]string {
	var out [][]string
	actions, _ := specOf(o)["actions"].([]any)
	for _, a := range actions {
		action, _ := a.(map[string]any)
		handler, _ := action["handler"].(string)
		names := []string{handler}
		instances, _ := action["instances"].([]any)
		for _, i := range instances {
			if name, ok := i.(string); ok {
				names = append(names, name)
			}
		}
		out = append(out, names)
	}
	return out
}

func specOf(o *manifest.Object) map[string]any {
	tree, _ := o.Value.(map[string]any)
	spec, _ := tree["spec"].(map[string]any)
	return spec
}
