package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// podTemplates has the kinds that are known to make pods, as "group/Kind", and
// where their pod templates may be: "" stands for the object itself. No place
// means that the pods cannot be seen in the manifest.
var podTemplates = map[string][]string{
	"/Pod":                                  {""},
	"/ReplicationController":                {"spec.template"},
	"apps/Deployment":                       {"spec.template"},
	"apps/ReplicaSet":                       {"spec.template"},
	"apps/StatefulSet":                      {"spec.template"},
	"apps/DaemonSet":                        {"spec.template"},
	"extensions/Deployment":                 {"spec.template"}, // before Kubernetes 1.16
	"extensions/ReplicaSet":                 {"spec.template"},
	"extensions/DaemonSet":                  {"spec.template"},
	"batch/Job":                             {"spec.template"},
	"batch/CronJob":                         {"spec.jobTemplate.spec.template"},
	"apps.openshift.io/DeploymentConfig":    {"spec.template"},
	"/DeploymentConfig":                     {"spec.template"},
	"argoproj.io/Rollout":                   {"spec.template"},
	"argoproj.io/Workflow":                  {},
	"argoproj.io/CronWorkflow":              {},
	"serving.knative.dev/Service":           {"spec.template"},
	"serving.knative.dev/Configuration":     {"spec.template"},
	"serving.knative.dev/Revision":          {},
	"tekton.dev/TaskRun":                    {},
	"tekton.dev/PipelineRun":                {},
	"ray.io/RayCluster":                     {},
	"ray.io/RayJob":                         {},
	"ray.io/RayService":                     {},
	"sparkoperator.k8s.io/SparkApplication": {},
	"kubeflow.org/TFJob":                    {},
	"kubeflow.org/PyTorchJob":               {},
	"kubeflow.org/MPIJob":                   {},
}

// kubernetesOwn are the named API groups of the kinds above whose schema is
// Kubernetes' own.
var kubernetesOwn = map[string]bool{"apps": true, "batch": true, "extensions": true}

// likelyTemplates is where the pod template of a custom resource is looked for.
var likelyTemplates = []string{
	"spec.template", "spec.jobTemplate.spec.template", "spec.jobTargetRef.template", "spec.podTemplate",
}

// workload decodes what makes pods. It returns nil for custom resources that do
// not look as if they did.
func (d *decoding) workload() any {
	o := d.object
	places, known := podTemplates[o.Group()+"/"+o.Kind]
	if !known {
		places = likelyTemplates
	}
	for _, place := range places {
		field := join(place, "spec.containers")
		if !d.doc.Has(field) {
			continue
		}
		if !known {
			var containers []json.RawMessage
			if _, err := d.doc.UnmarshalField(field, &containers); err != nil || len(containers) == 0 {
				continue
			}
		}
		if o.Group() == "apps" && !d.doc.Has("spec.selector") && !d.doc.Has("spec.template.metadata.labels") && !d.runsImage(field) {
			return d.patch("a selector, labels nor an image")
		}
		return d.podTemplate(place)
	}
	switch {
	case !known:
		return nil
	case o.Kind == "Rollout":
		if w := d.rollout(); w != nil {
			return w
		}
	case o.Group() == "apps" && !d.doc.Has("spec.selector"):
		return d.patch("a selector nor containers")
	case o.Group() == "apps" && !d.doc.Has("spec.template.spec"):
		return d.patch("a specification of its pods nor containers")
	case o.Group() == "" || kubernetesOwn[o.Group()]:
		return d.refuse(&rejection{"the API server", []complaint{{
			join(places[0], "spec"), "required field is missing: containers"}}})
	}
	w := unknownWorkload(o, fmt.Sprintf("the manifest of %s does not show its pods", o))
	w.owners = d.owners()
	return w
}

// runsImage reports whether a container of a list has an image, which the API
// server wants of each.
func (d *decoding) runsImage(field string) bool {
	var containers []struct {
		Image string `json:"image"`
	}
	_, err := d.doc.UnmarshalField(field, &containers)
	return err != nil || slices.ContainsFunc(containers, func(c struct {
		Image string `json:"image"`
	}) bool {
		return c.Image != ""
	})
}

// patch leaves out a workload that lacks as much as nobody forgets, such as a
// selector and containers both: it is what Kustomize merges into an object of the
// same name. Its object may be elsewhere; what it has is unknown.
func (d *decoding) patch(lacks string) any {
	d.problems = append(d.problems, manifest.Problem{
		Kind:     manifest.Unrendered,
		Position: d.doc.Position(""),
		Object:   d.object.String(),
		Message: printable(fmt.Sprintf("%s has neither %s: it is a patch, not an object, and no kustomization here applies it",
			title(d.object), lacks)),
		Help: "give the kustomization that applies it, or render it with \"kustomize build\"; the patch is left out of the analysis",
	})
	return refused{}
}

// scratchTemplates are for pod templates on the way to a workload.
var scratchTemplates = sync.Pool{New: func() any { return &corev1.PodTemplateSpec{} }}

// podTemplate decodes the template at a field path, "" for the object itself.
func (d *decoding) podTemplate(place string) any {
	template := scratchTemplates.Get().(*corev1.PodTemplateSpec)
	defer scratchTemplates.Put(template) // the workload has what it holds
	*template = corev1.PodTemplateSpec{}
	var err error
	filled, unknown := false, true
	if place != "" {
		filled, unknown = d.doc.Fill(place, template, podTemplateShape())
	}
	if !filled {
		*template, unknown = corev1.PodTemplateSpec{}, true
		if place == "" {
			err = d.doc.Unmarshal(template)
		} else {
			_, err = d.doc.UnmarshalField(place, template)
		}
		trimSpec(&template.Spec)
	}
	if err != nil {
		c := d.mistypedTemplate(err, place)
		if g := d.object.Group(); g != "" && !kubernetesOwn[g] {
			// Whether the API server takes it is up to a schema that is not here.
			w := unknownWorkload(d.object, fmt.Sprintf("its pod template cannot be read: %s %s", c.field, c.message))
			w.owners = d.owners()
			return w
		}
		return d.refuse(&rejection{"the API server", []complaint{c}})
	}
	switch g := d.object.Group(); {
	case place == "":
		d.unknownFields("metadata", metav1.ObjectMeta{})
		d.unknownFields("spec", corev1.PodSpec{})
	case unknown && (g == "" || kubernetesOwn[g] || g == "apps.openshift.io"):
		d.unknownFields(place, corev1.PodTemplateSpec{})
	}
	if place != "" {
		d.object.Labels = trimLabels(d.object.Labels)
	}
	w := newWorkload(d.object, place, template)
	w.Annotations = trimAnnotations(w.Annotations)
	w.owners = d.owners()
	return w
}

func (d *decoding) mistypedTemplate(err error, place string) complaint {
	m := printable(err.Error())
	tree, treeErr := d.tree()
	template, found := lookupField(tree, place)
	if treeErr != nil || !found {
		return complaint{place, m}
	}
	return complaint{join(place, locate(template, m, fits(&corev1.PodTemplateSpec{}))), strings.TrimPrefix(m, "json: ")}
}

// rollout decodes an Argo Rollout without template of its own: its pods are
// those of the workload that spec.workloadRef names. Where the input holds that
// workload, it stands for both.
func (d *decoding) rollout() *Workload {
	var ref struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Name       string `json:"name"`
	}
	if found, err := d.doc.UnmarshalField("spec.workloadRef", &ref); !found || err != nil || ref.Name == "" {
		return nil
	}
	w := unknownWorkload(d.object, fmt.Sprintf("its pods are those of %s %s/%s, which the input does not hold", ref.Kind, d.object.Namespace, ref.Name))
	group, _, found := strings.Cut(ref.APIVersion, "/")
	if !found {
		group = ""
	}
	w.owners = append(d.owners(), owner{group, ref.Kind, ref.Name})
	return w
}

func (d *decoding) owners() []owner {
	var references []metav1.OwnerReference
	if found, err := d.doc.UnmarshalField("metadata.ownerReferences", &references); !found || err != nil {
		return nil
	}
	return ownersOf(references)
}
