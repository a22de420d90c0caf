package model

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/egresslint/egresslint/model/manifest"
)

// installation is what one object of the input (or the command line) says about
// how Istio is installed.
type installation struct {
	object *manifest.Object
	// result says that the object is what an installation leaves in a cluster
	// (a ConfigMap), not what it starts from.
	result   bool
	revision string
	// namespace is where istiod runs as far as the object tells; home is that
	// where it tells for certain, else "": Helm values say what istiod's
	// namespace is called, and not into which one the chart is installed.
	namespace, home string
	// controlPlane is false for an installation of gateways only.
	controlPlane bool

	// mesh is the mesh configuration that reaches istiod, nil for none; origins
	// are the places that set its fields, the first counting.
	mesh    map[string]any
	origins []origin
	// patched is the part of mesh that does not come from values.
	patched map[string]any
	// refused says why the object's mesh configuration cannot even be read.
	refused string

	values       map[string]any
	valuesPrefix string
	environment  map[string]string
	// environmentAt is what sets each variable of environment.
	environmentAt map[string]Place

	gateways []gatewayComponent
	tags     []string
	version  versionClaim
	notes    []string
	// enabled is what values say of whether the chart is installed, nil for nothing, and
	// enabledBy the field that says so.
	enabled   *bool
	enabledBy string
	// unreadPolicy is the field of an outbound traffic policy that reaches no istiod, or
	// that is not read, and unreadWhy a clause that says so.
	unreadPolicy, unreadWhy string
	// assumption says what is taken for granted if this is the one that counts.
	assumption string
}

// versionClaim is a version of Istio and the field that gives it.
type versionClaim struct{ version, field string }

// installationDoc is the decoded value of an object that may configure an
// installation: its fields.
type installationDoc struct{ fields map[string]any }

// installation decodes an object of installationClass.
func (d *decoding) installation() any {
	tree, err := d.tree()
	if err != nil {
		return d.refuse(&rejection{"the API server", []complaint{{"", err.Error()}}})
	}
	doc := &installationDoc{tree}
	d.object.Value = doc
	if in := installationOf(d.object, doc, nil); in != nil {
		for _, o := range in.origins {
			if !o.fixed {
				d.unknownMesh(o.prefix)
			}
		}
		d.misplacedPolicy(in, tree)
	}
	return doc
}

// installationOf reads the settings of an object; nil if it has none.
func installationOf(o *manifest.Object, doc *installationDoc, flags []string) *installation {
	switch o.Kind {
	case "IstioOperator":
		return operatorInstallation(o, doc.fields, "", flags)
	case "Istio", "IstioRevision":
		return sailInstallation(o, doc.fields)
	case "ServiceMeshControlPlane":
		return maistraInstallation(o, doc.fields)
	case manifest.KindValues:
		return valuesInstallation(o, doc.fields, "")
	case "HelmRelease":
		in := valuesInstallation(o, lookupMap(doc.fields, "spec.values"), "spec.values")
		if in == nil || in.valuesPrefix == "spec.values" && foreignCharts[releasedChart(o)] {
			return nil
		}
		if contains(istiodCharts, releasedChart(o)) {
			in.home = cmp.Or(lookupString(doc.fields, "spec.targetNamespace"), givenNamespace(o, doc.fields))
		}
		if list, _ := lookup(doc.fields, "spec.valuesFrom"); list != nil {
			in.takesElsewhere("spec.valuesFrom")
		}
		return in
	case "Application":
		return applicationInstallation(o, doc.fields)
	case "IstioControlPlane":
		return &installation{object: o, notes: []string{fmt.Sprintf("%s is of an API that no supported Istio reads: it is not modelled", title(o))}}
	default:
		return nil
	}
}

// chartMesh is the mesh configuration that the istiod chart makes of Helm
// values (istio manifests/charts/istio-control/istio-discovery/templates/configmap.yaml),
// as far as it bears on more than telemetry.
func chartMesh(values map[string]any, namespace, revision string) map[string]any {
	istiod := "istiod"
	if revision != "" {
		istiod += "-" + revision
	}
	root := lookupString(values, "meshConfig.rootNamespace")
	if root == "" {
		root = namespace
	}
	return overlay(map[string]any{
		"trustDomain":   "cluster.local",
		"rootNamespace": root,
		"defaultConfig": map[string]any{"discoveryAddress": fmt.Sprintf("%s.%s.svc:15012", istiod, namespace)},
	}, lookupMap(values, "meshConfig"))
}

// withoutMap drops the mesh configuration of values with which the chart makes no
// ConfigMap of it, as with profile remote: istiod reads another one, of its own or in
// another cluster.
func (in *installation) withoutMap() {
	if made, _ := lookup(in.values, "configMap"); made != false {
		return
	}
	unread := MeshConfig{origins: in.origins}
	_, in.unreadPolicy = unread.Because("outboundTrafficPolicy.mode")
	in.unreadWhy = fmt.Sprintf("the values of %s make no ConfigMap (configMap: false), and the mesh configuration that istiod reads instead is not in the input", title(in.object))
	in.mesh, in.origins = map[string]any{}, nil
	in.note(in.object, "its values have configMap: false, of themselves or by their profile, so that no ConfigMap holds the mesh configuration in them: the one that istiod reads is another")
}

// istioNamespace is where values install istiod.
func istioNamespace(values map[string]any) string {
	if ns := lookupString(values, "global.istioNamespace"); ns != "" {
		return ns
	}
	return defaultRootNamespace
}

const defaultRootNamespace = "istio-system"

// revisionName turns the ways to name the default revision into "".
func revisionName(revision string) string {
	if revision == "default" {
		return ""
	}
	return revision
}

// sailInstallation reads an Istio or IstioRevision of the Sail operator.
func sailInstallation(o *manifest.Object, fields map[string]any) *installation {
	in := &installation{object: o, controlPlane: true, valuesPrefix: "spec.values"}
	in.namespace = lookupString(fields, "spec.namespace")
	if in.namespace == "" {
		in.namespace = defaultRootNamespace
	}
	in.home = in.namespace
	user := lookupMap(fields, "spec.values")
	profile, note := helmProfile("istio-control/istio-discovery", overlay(
		map[string]any{"profile": lookupString(fields, "spec.profile")}, user))
	in.note(o, note)
	in.values = overlay(profile, user)
	in.revision = sailRevision(o, fields)
	in.mesh = chartMesh(in.values, in.namespace, in.revision)
	in.origins = []origin{
		{object: o, prefix: "spec.values.meshConfig", fields: lookupMap(user, "meshConfig")},
		{object: o, prefix: "spec.profile", fields: lookupMap(profile, "meshConfig"), fixed: true},
	}
	in.withoutMap()
	in.takeEnvironment(user, in.valuesPrefix)
	in.version = versionClaim{lookupString(fields, "spec.version"), "spec.version"}
	return in
}

// givenNamespace is the namespace of an object, "" where neither its manifest nor
// the user says which one that is.
func givenNamespace(o *manifest.Object, fields map[string]any) string {
	if o.Namespace == defaultNamespace && lookupString(fields, "metadata.namespace") == "" {
		return ""
	}
	return o.Namespace
}

const defaultNamespace = "default"

// sailRevision is the revision that the Sail operator installs: the object's
// name, and with the strategy RevisionBased its version too.
func sailRevision(o *manifest.Object, fields map[string]any) string {
	if o.Kind == "Istio" && lookupString(fields, "spec.updateStrategy.type") == "RevisionBased" {
		return o.Name + "-" + dashed(lookupString(fields, "spec.version"))
	}
	return revisionName(o.Name)
}

// maistraInstallation reads what is plain in a ServiceMeshControlPlane of
// OpenShift Service Mesh 2: its outbound policy.
func maistraInstallation(o *manifest.Object, fields map[string]any) *installation {
	const policy = "spec.proxy.networking.trafficControl.outbound.policy"
	in := &installation{object: o, controlPlane: true, namespace: o.Namespace, home: givenNamespace(o, fields)}
	in.mesh = map[string]any{"rootNamespace": o.Namespace}
	if mode := lookupString(fields, policy); mode != "" {
		mesh := map[string]any{"outboundTrafficPolicy": map[string]any{"mode": mode}}
		in.mesh = overlay(in.mesh, mesh)
		in.origins = []origin{{object: o, prefix: policy, fields: mesh, fixed: true}}
	}
	in.unreadPolicy, in.unreadWhy = unreadMaistra(o, fields)
	if _, set := lookup(in.mesh, "outboundTrafficPolicy.mode"); set && in.unreadPolicy != "" {
		// Which of the two counts is not known either.
		delete(in.mesh, "outboundTrafficPolicy")
		in.origins = nil
	}
	in.notes = append(in.notes, fmt.Sprintf("%s: of a ServiceMeshControlPlane only the outbound policy is modelled, neither its other settings nor its gateways", title(o)))
	return in
}

// maistraProfiles are those of the operator's image that set no outbound policy.
var maistraProfiles = []string{"default", "maistra", "small"}

// unreadMaistra returns the field of a ServiceMeshControlPlane from which an outbound
// policy may come that is not read, and why that is not known; "" if there is none.
func unreadMaistra(o *manifest.Object, fields map[string]any) (field, why string) {
	if strings.HasSuffix(o.APIVersion, "/v1") {
		return "spec", fmt.Sprintf("%s is of the format v1, which is not read", title(o))
	}
	for _, field := range []string{"spec.techPreview.meshConfig.outboundTrafficPolicy", "spec.techPreview.global.outboundTrafficPolicy", "spec.meshConfig.outboundTrafficPolicy"} {
		if _, set := lookup(fields, field); set {
			return field, fmt.Sprintf("what %s sets in %s is not read", title(o), field)
		}
	}
	profiles, _ := lookup(fields, "spec.profiles")
	for _, name := range stringList(profiles) {
		if !contains(maistraProfiles, name) {
			return "spec.profiles", fmt.Sprintf("%s takes the profile %s, which is not in the input", title(o), name)
		}
	}
	return "", ""
}

// note keeps a remark about the installation's object; "" is no remark.
func (in *installation) note(o *manifest.Object, text string) {
	if text != "" {
		in.notes = append(in.notes, fmt.Sprintf("%s: %s", title(o), text))
	}
}

// stringMap keeps the scalars of a map, as strings.
func stringMap(m map[string]any) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := map[string]string{}
	for k := range m {
		out[k] = lookupString(map[string]any{"v": m[k]}, "v")
	}
	return out
}
