package model

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/egresslint/egresslint/model/kube/discoveryv1"
	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// refused is the value of an object that does not exist in a cluster because
// the API server or istiod refuses it. A problem says why.
type refused struct{}

// Decode is the [manifest.Decoder] of the mesh. It returns the typed value of
// an object of a kind that bears on egress and nil for any other kind, and the
// problems that the object has: unknown fields, which the API server drops, and
// whatever makes the API server or istiod refuse the object. It is safe for
// concurrent use.
func Decode(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
	d := &decoding{object: o, doc: doc}
	value := d.value()
	o.Annotations = trimAnnotations(o.Annotations)
	return value, d.problems
}

// decoding is the decoding of one object.
type decoding struct {
	object   *manifest.Object
	doc      *manifest.Document
	problems []manifest.Problem
}

func (d *decoding) value() any {
	o := d.object
	switch classOf(o) {
	case istioClass:
		return d.istio(istioKinds[o.Kind])
	case unknownIstioClass:
		return d.refuse(&rejection{"the API server", []complaint{{"kind", fmt.Sprintf(
			"Istio has no kind %q in %s", o.Kind, o.APIVersion)}}})
	case installationClass:
		return d.installation()
	case unmodelledClass, pluginPolicyClass, legacyClass:
		if o.Kind == "Secret" {
			return nil // what it holds is nobody's business
		}
		tree, err := d.tree()
		if err != nil {
			return d.refuse(&rejection{"the API server", []complaint{{"", err.Error()}}})
		}
		return tree
	case workloadClass:
		return d.workload()
	case kubernetesClass:
		return d.kubernetes()
	case gatewayAPIClass:
		return d.gatewayAPI()
	default:
		// Of what is only counted, labels decide nothing.
		o.Labels = nil
		return nil
	}
}

// istio decodes an object of one of Istio's kinds.
func (d *decoding) istio(k *istioKind) any {
	if object, plain := d.doc.Plain(); plain && object.IsMapping() {
		if spec, ok := k.admitPlain(d.object, object); ok {
			d.unknownFields("metadata", metav1.ObjectMeta{})
			return spec
		}
	}
	tree, err := d.tree()
	if err != nil {
		return d.refuse(&rejection{"the API server", []complaint{{"", err.Error()}}})
	}
	d.unknownTopLevel(tree)
	d.unknownFields("metadata", metav1.ObjectMeta{})
	d.unknownFields("spec", k.newSpec())
	var byProto []protoName
	if fields, ok := tree["spec"].(map[string]any); ok && hasProtoNames(fields, k.newSpec().ProtoReflect().Descriptor()) {
		byProto = protoNames(fields, k.newSpec().ProtoReflect().Descriptor(), "spec")
	}
	spec, rejected := k.admit(d.object, tree)
	if rejected != nil {
		value := d.refuse(rejected)
		if last := &d.problems[len(d.problems)-1]; len(byProto) > 0 && last.Kind == manifest.Rejected {
			// Probably the cause: what is required is there by another name.
			last.Help = fmt.Sprintf("write %q in place of %q, the protobuf name, which an API server drops", byProto[0].json, byProto[0].name)
		}
		return d.unfilledRefusal(value, tree)
	}
	effect := "it decides nothing"
	if takesProtoNames(d.object) {
		effect = "here it is taken as that, because clusters of the time of v1alpha3 did"
	}
	for _, n := range byProto {
		d.problems = append(d.problems, manifest.Problem{
			Kind: manifest.UnknownField, Position: d.doc.KeyPosition(n.path), Object: d.object.String(),
			Message: printable(fmt.Sprintf("%s writes %q by its protobuf name: an API server drops it and looks for %q; %s",
				title(d.object), n.path, n.json, effect)),
			Help: fmt.Sprintf("write %q", n.json),
		})
	}
	return spec
}

// kubernetes decodes an object of a kind of Kubernetes that makes no pods.
func (d *decoding) kubernetes() any {
	switch d.object.Kind {
	case "Namespace":
		d.unknownFields("metadata", metav1.ObjectMeta{})
		return nil
	case "ServiceAccount":
		d.unknownFields("metadata", metav1.ObjectMeta{})
		d.object.Labels = nil
		return nil
	case "Service":
		service := &corev1.Service{}
		filled, unknown := d.doc.Fill("", service, serviceShape())
		if unknown || !filled {
			d.unknownFields("metadata", metav1.ObjectMeta{})
			d.unknownFields("spec", corev1.ServiceSpec{})
		}
		var value any = service
		if !filled {
			service = &corev1.Service{}
			value = decodeInto(d, service, nil)
			service.Spec.Ports = exactly(service.Spec.Ports)
			trim(service)
		}
		trimMeta(&service.ObjectMeta, d.object)
		return value
	case "Endpoints":
		return decodeInto(d, &corev1.Endpoints{}, nil) //nolint:staticcheck // as Mesh.KubeEndpoints
	case "EndpointSlice":
		return decodeInto(d, &discoveryv1.EndpointSlice{}, nil)
	case "NetworkPolicy":
		policy := &networkingv1.NetworkPolicy{}
		filled, unknown := d.doc.Fill("", policy, networkPolicyShape())
		if unknown || !filled {
			d.unknownFields("metadata", metav1.ObjectMeta{})
			d.unknownFields("spec", networkingv1.NetworkPolicySpec{})
		}
		var value any = policy
		if !filled || len(validateNetworkPolicy(policy)) > 0 {
			policy = &networkingv1.NetworkPolicy{}
			value = d.unfilledPolicy(decodeInto(d, policy, validateNetworkPolicy))
		}
		trimMeta(&policy.ObjectMeta, d.object)
		return value
	case "AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy":
		return d.clusterPolicy()
	case "MutatingWebhookConfiguration":
		return d.webhooks()
	case "ConfigMap":
		value := d.configMap()
		if value == nil {
			d.object.Labels = nil
		}
		return value
	default:
		return nil
	}
}

// webhooks decodes a MutatingWebhookConfiguration without its certificates,
// which are placeholders in many manifests and filled in by istiod.
func (d *decoding) webhooks() any {
	tree, err := d.tree()
	list, _ := tree["webhooks"].([]any)
	for _, w := range list {
		delete(lookupMap(asMap(w), "clientConfig"), "caBundle")
	}
	var data []byte
	if err == nil {
		data, err = json.Marshal(tree)
	}
	config := &MutatingWebhookConfiguration{}
	if err == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(data, config)
	}
	if err != nil {
		return d.refuse(&rejection{"the API server", []complaint{d.mistyped(err, config)}})
	}
	return config
}

// decodeInto decodes the whole object.
func decodeInto[T any](d *decoding, into *T, validate func(*T) []complaint) any {
	if err := d.doc.Unmarshal(into); err != nil {
		return d.refuse(&rejection{"the API server", []complaint{d.mistyped(err, new(T))}})
	}
	if validate != nil {
		if complaints := validate(into); len(complaints) > 0 {
			return d.refuse(&rejection{"the API server", complaints})
		}
	}
	return into
}

// mistyped locates the field because of which a document does not fit a type.
// scratch is a value of the type that may be overwritten.
func (d *decoding) mistyped(err error, scratch any) complaint {
	tree, treeErr := d.tree()
	if treeErr != nil {
		return complaint{"", err.Error()}
	}
	m := printable(err.Error())
	return complaint{locate(any(tree), m, fits(scratch)), strings.TrimPrefix(m, "json: ")}
}

// fits returns a check of whether values fit the type of scratch, which it
// overwrites.
func fits(scratch any) func(any) []string {
	return func(v any) []string {
		data, err := json.Marshal(v)
		if err == nil {
			err = kjson.UnmarshalCaseSensitivePreserveInts(data, scratch)
		}
		if err != nil {
			return []string{printable(err.Error())}
		}
		return nil
	}
}

// tree is the document as untyped values.
func (d *decoding) tree() (map[string]any, error) {
	return d.doc.Untyped()
}

// refuse reports a rejection and returns the value of the refused object.
func (d *decoding) refuse(r *rejection) any {
	p := r.problem(d.object, d.doc.Position)
	var value any = refused{}
	if tree, err := d.tree(); err == nil {
		if text := placeholder(tree); text != "" {
			// Nobody applies it as it stands: a template, not a mistake.
			p.Kind = manifest.Template
			p.Message = fmt.Sprintf("%s holds the placeholder %s and is refused as it stands: %s", title(d.object), printable(text), strings.TrimPrefix(p.Message, title(d.object)+" is refused by "))
			p.Help = "fill it in before (envsubst, kustomize build, helm template); the object is left out of the analysis"
			if mayBeUnfilled(d.object) {
				value = unfilledTree{"metadata": tree["metadata"], "spec": tree["spec"]}
				p.Help = "fill it in before (envsubst, kustomize build, helm template); answers that may depend on it are unknown"
			}
		}
	}
	if p.Kind == manifest.Rejected && contains(strings.Split(path.Dir(d.object.At("").File), "/"), "patches") {
		// A patch is no whole object, and where it applies is not in the input.
		p.Kind = manifest.Unrendered
		p.Message = fmt.Sprintf("%s lies among patches and is no whole object: %s", title(d.object), strings.TrimPrefix(p.Message, title(d.object)+" is "))
		p.Help = "give the kustomization that applies it, or render it with \"kustomize build\"; the patch is left out of the analysis"
	}
	d.problems = append(d.problems, p)
	return value
}

// deadMetadata are fields that object metadata once had; exports of old
// clusters have them, and nobody wrote them to decide something.
var deadMetadata = map[string]bool{"metadata.clusterName": true, "metadata.initializers": true}

// isPatchDirective tells the directives of a strategic merge patch, which tools
// such as Kustomize take out when they apply it
// (k8s.io/apimachinery pkg/util/strategicpatch/patch.go).
func isPatchDirective(name string) bool {
	return name == "$patch" || name == "$retainKeys" ||
		strings.HasPrefix(name, "$deleteFromPrimitiveList/") || strings.HasPrefix(name, "$setElementOrder/")
}

// unknownFields reports the fields below a path that a type does not have.
func (d *decoding) unknownFields(path string, t any) {
	for _, f := range d.doc.UnknownFields(path, t) {
		if !deadMetadata[f.Path] && !isPatchDirective(f.Name) {
			d.unknownField(f)
		}
	}
}

// unknownMesh reports the fields of the mesh configuration at a path that Istio
// does not know: istiod ignores them (istio pkg/util/protomarshal ApplyYAML).
func (d *decoding) unknownMesh(path string) { d.unknownFields(path, &meshconfig.MeshConfig{}) }

// unknownTopLevel reports fields beside spec: a spec that lost its indentation.
func (d *decoding) unknownTopLevel(tree map[string]any) {
	for _, key := range sortedKeys(tree) {
		if !isTopLevel(key) {
			field := child("", key)
			d.unknownField(manifest.Field{Path: field, Name: key, Position: d.doc.KeyPosition(field)})
		}
	}
}

// isTopLevel tells the fields that an object of one of Istio's kinds has.
func isTopLevel(key string) bool {
	return contains([]string{"apiVersion", "kind", "metadata", "spec", "status"}, key)
}

func (d *decoding) unknownField(f manifest.Field) {
	help := "correct the name or the indentation, or remove the field"
	if f.Near != "" {
		help = fmt.Sprintf("did you mean %q?", f.Near)
	}
	d.problems = append(d.problems, manifest.Problem{
		Kind:     manifest.UnknownField,
		Position: f.Position,
		Object:   d.object.String(),
		Message:  printable(fmt.Sprintf("%s has no field %q: it is dropped and decides nothing", title(d.object), f.Path)),
		Help:     help,
	})
}
