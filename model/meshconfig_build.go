package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"istio.io/istio/pkg/config/mesh"

	"github.com/egresslint/egresslint/model/manifest"
)

// configuring settles the mesh configuration of each revision.
//
// What an installation leaves in a cluster, the ConfigMap of istiod, counts
// before what it starts from (an IstioOperator, an Istio of the Sail operator, a
// ServiceMeshControlPlane, Helm values), and --set flags count before both. Of
// several of one kind the last counts, except that Helm values files are put on
// top of each other.
type configuring struct {
	// tags are the IstioRevisionTags; sailRevisions gives the revision that each
	// Istio of the Sail operator installs.
	tags          []*manifest.Object
	sailRevisions map[string]string
	mesh          *Mesh
	flags         []string
	// flagged are the flags as the spec of an IstioOperator; flagObject stands
	// for the command line.
	flagged    map[string]any
	flagObject *manifest.Object

	byRevision map[string]*candidates
	// shared are mesh configurations by the name of their ConfigMap, which
	// SHARED_MESH_CONFIG may give.
	shared map[string][]*installation
	// injectors and istiods are those of each revision.
	injectors  map[string][]*injector
	istiods    map[string][]*istiod
	unrendered []*manifest.Object
	// taken are the ConfigMaps that some control plane reads, unreads those that one
	// does not, and meshOf what each holds; applications are an example of the
	// workloads of each namespace that holds nothing of Istio.
	taken, unreads map[*manifest.Object]bool
	meshOf         map[*manifest.Object]map[string]any
	applications   map[string]*Workload
}

// candidates are the installations of one revision, in the order of the input.
type candidates struct {
	maps     []*installation
	declared []*installation
	// counts is the one of declared that counts, once it is settled.
	counts   *installation
	gateways []*installation // installations of gateways only
	// shared is the name of the ConfigMap that a control plane on Azure shares.
	shared string
}

type injector struct {
	object *manifest.Object
	values map[string]any
}

// istiod is the Deployment of a control plane.
type istiod struct {
	workload      *Workload
	environment   map[string]string
	environmentAt map[string]Place
}

// configure fills in Config, Revisions, RevisionTags and what installations
// imply.
func (m *Mesh) configure(objects []*manifest.Object) {
	c := &configuring{
		mesh: m, byRevision: map[string]*candidates{}, shared: map[string][]*installation{},
		injectors: map[string][]*injector{}, istiods: map[string][]*istiod{}, flagged: map[string]any{}, sailRevisions: map[string]string{},
		taken: map[*manifest.Object]bool{}, unreads: map[*manifest.Object]bool{}, meshOf: map[*manifest.Object]map[string]any{},
	}
	c.readFlags()
	c.collect(objects)
	c.dropShared()
	m.Revisions = map[string]*MeshConfig{}
	m.RevisionTags = map[string]string{}

	revisions := slices.Collect(maps.Keys(c.byRevision))
	for revision := range c.istiods {
		revisions = append(revisions, revision)
	}
	if r := revisionName(lookupString(c.flagged, "revision")); len(c.flags) > 0 && (r != "" || len(revisions) == 0) {
		revisions = append(revisions, r)
	}
	slices.Sort(revisions)
	for _, revision := range slices.Compact(revisions) {
		config, chosen := c.settle(revision)
		if config == nil {
			continue
		}
		if revision == "" {
			m.Config = config
		} else {
			m.Revisions[revision] = config
		}
		if chosen != nil {
			for _, tag := range chosen.tags {
				m.RevisionTags[tag] = cmp.Or(revision, "default")
			}
		}
	}
	c.tagsOfWebhooks()
	c.tagsOfSail()
	c.defaultConfig()
	c.settleUnread()
	c.implyGateways()
	m.note("%s", unrenderedNote(c.unrendered))
}

func (c *configuring) candidates(revision string) *candidates {
	if c.byRevision[revision] == nil {
		c.byRevision[revision] = &candidates{}
	}
	return c.byRevision[revision]
}

// collect sorts what the objects say about installations by revision.
func (c *configuring) collect(objects []*manifest.Object) {
	// A chart's own values.yaml is the base of all other values, whatever the
	// order of the input.
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b *manifest.Object) int { return cmp.Compare(valuesRank(a), valuesRank(b)) })
	for _, o := range objects {
		switch v := o.Value.(type) {
		case *cniMap:
			c.mesh.addCNIAgent(o)
		case *meshMap:
			switch {
			case v.values != "":
				if values := injectorValues(v); values != nil {
					revision := revisionIn(o.Name, injectorMapName)
					c.injectors[revision] = append(c.injectors[revision], &injector{o, values})
				}
			case v.hasMesh:
				in := mapInstallation(o, v)
				c.shared[o.Name] = append(c.shared[o.Name], in)
				c.meshOf[o] = in.mesh
				if revision, ok := azureRevision(o); ok {
					c.candidates(revision).shared = o.Name
				} else if named(o.Name, meshMapName) {
					k := c.candidates(in.revision)
					k.maps = append(k.maps, in)
				}
			}
		case *installationDoc:
			in := installationOf(o, v, nil)
			if in == nil {
				switch o.Kind {
				case "IstioRevisionTag":
					c.tags = append(c.tags, o)
				case "IstioCNI", "ZTunnel":
					c.mesh.addCNIAgent(o)
				default:
					c.unrendered = append(c.unrendered, o)
				}
				continue
			}
			if o.Kind == "Istio" {
				c.sailRevisions[o.Name] = in.revision
			}
			c.addDeclared(in)
		case *Workload:
			if d := istiodOf(v); d != nil {
				c.istiods[d.revision()] = append(c.istiods[d.revision()], d)
				c.mesh.noteElsewhere(d)
			}
		}
	}
}

func (c *configuring) addDeclared(in *installation) {
	k := c.candidates(in.revision)
	if in.version.version != "" {
		c.mesh.versions = append(c.mesh.versions, sourcedVersion{in.version, in.object})
	}
	switch {
	case in.mesh == nil && in.refused == "":
		c.takeNotes(in)
	case !in.controlPlane:
		k.gateways = append(k.gateways, in)
	default:
		if in.object.Kind == manifest.KindValues {
			for _, other := range k.declared {
				if other.object.Kind == manifest.KindValues {
					other.layer(in)
					return
				}
			}
		}
		k.declared = append(k.declared, in)
	}
}

func valuesRank(o *manifest.Object) int {
	switch {
	case o.Kind != manifest.KindValues:
		return 0
	case isBaseValues(o):
		return 1
	default:
		return 2
	}
}

func (c *configuring) takeNotes(in *installation) {
	for _, n := range in.notes {
		c.mesh.note("%s", n)
	}
}

// settle makes the mesh configuration of a revision. It returns the
// installation that it comes from, if any; both are nil where the revision only
// has gateways.
func (c *configuring) settle(revision string) (*MeshConfig, *installation) {
	k := c.candidates(revision)
	mine := c.flagsFor(revision)
	declared := c.chooseDeclared(k, revision, mine)
	at := c.homeOf(revision, declared)
	result, assumption := c.chooseMap(k, revision, at)
	chosen := cmp.Or(result, declared)
	if chosen == nil && len(mine) == 0 && len(c.istiods[revision]) == 0 && k.shared == "" {
		return nil, nil
	}
	config := &MeshConfig{Revision: revision, reading: &sync.Map{}}
	config.assume(assumption)
	fields := map[string]any{}
	base := mesh.DefaultMeshConfig()
	if chosen != nil {
		config.Source = chosen.object
		fields = overlay(fields, chosen.mesh)
		config.origins = chosen.origins
		config.Prefix = primaryPrefix(chosen)
		config.assume(c.mesh.lastOf(chosen.object))
		config.assume(chosen.assumption)
	}
	config.Values, config.ValuesSource, config.ValuesPrefix = c.helmValues(revision, declared, at)
	config.Environment, config.environmentAt = c.environment(revision, declared)
	base = c.withShared(base, config, at)
	config.MeshConfig = base
	c.applyFlags(config, &fields, mine)
	if chosen != nil && chosen.refused != "" {
		c.refuse(config, manifest.Problem{
			Kind: manifest.Rejected, Position: chosen.object.At(config.Prefix), Object: chosen.object.String(),
			Message: printable(fmt.Sprintf("mesh configuration of %s cannot be read: %s; %s", title(chosen.object), chosen.refused, config.instead())),
			Help:    "correct it: istiod keeps the last good configuration if it has one, else its defaults",
		})
	} else if effective, messages := applyMesh(fields, base); len(messages) > 0 {
		if config.Source == nil {
			config.Source = c.flagObject
		}
		if left, ok := config.open(fields, base); ok {
			config.doubtRoot(c.mesh, fields)
			config.doubtTrust(c.mesh, fields)
			c.mesh.Problems = append(c.mesh.Problems, openProblem(config, fields, left, messages))
		} else {
			c.refuse(config, meshRefusal(config, fields, base, messages))
		}
	} else {
		config.MeshConfig = effective
		config.doubtRoot(c.mesh, fields)
		if chosen != nil {
			if o, _ := config.Because("outboundTrafficPolicy.mode"); o == nil {
				config.doubtPolicy(chosen)
			}
		}
	}
	if result != nil && declared != nil {
		c.compare(result, declared)
	}
	if declared != nil {
		c.takeNotes(declared)
	}
	return config, chosen
}

// refuse drops a mesh configuration; the one that istiod reads before it stays.
func (c *configuring) refuse(config *MeshConfig, p manifest.Problem) {
	config.Refused = true
	config.origins = nil
	if config.shared != nil {
		config.origins = config.shared.origins
	}
	c.mesh.Problems = append(c.mesh.Problems, p)
}

// primaryPrefix is the field under which an installation keeps most of its mesh
// configuration.
func primaryPrefix(in *installation) string {
	if in.result {
		return "data.mesh"
	}
	for _, o := range in.origins {
		if len(o.fields) > 0 && !o.fixed {
			return o.prefix
		}
	}
	switch {
	case in.object.Kind == "IstioOperator":
		return "spec.meshConfig"
	case in.valuesPrefix != "" || in.values != nil:
		return join(in.valuesPrefix, "meshConfig")
	}
	return ""
}

// chooseMap returns the ConfigMap that istiod reads, nil for none, and on what
// assumption.
func (c *configuring) chooseMap(k *candidates, revision string, at home) (*installation, string) {
	objects := make([]*manifest.Object, len(k.maps))
	for i, in := range k.maps {
		objects[i] = in.object
	}
	i, assumption := c.read(objects, "mesh configuration", revision, at)
	if i < 0 {
		return nil, ""
	}
	return k.maps[i], assumption
}

func revisionText(revision string) string {
	if revision == "" {
		return "the default revision"
	}
	return fmt.Sprintf("revision %s", printable(revision))
}

// chooseDeclared returns the installation that counts: the last one of the
// highest kind. An IstioOperator takes the flags as istioctl would.
func (c *configuring) chooseDeclared(k *candidates, revision string, flags []string) *installation {
	rank := func(in *installation) int {
		return slices.Index([]string{manifest.KindValues, "Application", "HelmRelease", "ServiceMeshControlPlane", "IstioRevision", "Istio", "IstioOperator"}, in.object.Kind)
	}
	k.declared = slices.DeleteFunc(k.declared, func(in *installation) bool {
		if in.disabled() {
			c.mesh.note("%s: %s is false, so that it installs no control plane and its mesh configuration is that of nothing", title(in.object), in.enabledBy)
		}
		return in.disabled()
	})
	var chosen *installation
	for _, in := range k.declared {
		if chosen == nil || rank(in) >= rank(chosen) {
			chosen = in
		}
	}
	if len(k.declared) > 1 {
		var all []string
		for _, in := range k.declared {
			all = append(all, title(in.object))
		}
		if more := len(all) - 3; more > 0 {
			all = append(all[:3], fmt.Sprintf("%d more", more))
		}
		text := fmt.Sprintf("%s and %s install %s: %s is taken", strings.Join(all[:len(all)-1], ", "), all[len(all)-1], revisionText(revision), title(chosen.object))
		c.mesh.note("%s", text)
		for _, in := range k.declared {
			if differ := chosen.differsFrom(in); len(differ) > 0 {
				chosen.assumption = fmt.Sprintf("%s; they differ in %s", text, strings.Join(differ, ", "))
			}
		}
	}
	if chosen != nil && len(flags) > 0 && chosen.object.Kind == "IstioOperator" {
		flagged := installationOf(chosen.object, chosen.object.Value.(*installationDoc), flags)
		if flagged.refused != "" {
			c.wrongFlag(fmt.Sprintf("--set on top of %s: %s", title(chosen.object), flagged.refused))
		} else {
			flagged.assumption = chosen.assumption
			chosen = flagged
		}
	}
	k.counts = chosen
	return chosen
}

// note keeps a note once; an empty one is dropped.
func (m *Mesh) note(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	if text != "" && !contains(m.Notes, text) {
		m.Notes = append(m.Notes, text)
	}
}
