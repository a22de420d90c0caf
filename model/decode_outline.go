package model

import (
	"reflect"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// outline is the [manifest.Options] Outline of [Decode]: of what makes pods the
// rest of decode_trim.go is not even parsed.
func outline(apiVersion, kind string) *manifest.Outline {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		group = ""
	}
	if group != "" && !kubernetesOwn[group] {
		return nil // whether a field is unknown there is up to a schema that is not here
	}
	places := podTemplates[group+"/"+kind]
	if len(places) != 1 {
		return nil
	}
	return workloadOutlines()[places[0]]
}

// workloadOutlines are the outlines of objects by the place of their pod template.
var workloadOutlines = sync.OnceValue(func() map[string]*manifest.Outline {
	dropped := &manifest.Outline{Drop: true}
	template := podTemplateShape().Outline(omitted)
	template.Fields["metadata"] = metadataOutline(nil)
	metadata := metadataOutline(&manifest.Outline{Others: noteUnless(readLabel)})
	// A controller is what its pods are; whether it selects them matters to a patch.
	controller := func(fields map[string]*manifest.Outline) *manifest.Outline {
		return &manifest.Outline{
			Fields: map[string]*manifest.Outline{"metadata": metadata, "status": dropped, "spec": {
				Fields: fields, Others: func(string) *manifest.Outline { return dropped },
			}},
		}
	}
	whole, there := &manifest.Outline{}, &manifest.Outline{Stays: true, Others: func(string) *manifest.Outline { return dropped }}
	return map[string]*manifest.Outline{
		"spec.template": controller(map[string]*manifest.Outline{"selector": there, "workloadRef": whole, "template": template}),
		"spec.jobTemplate.spec.template": controller(map[string]*manifest.Outline{"jobTemplate": {
			Fields: map[string]*manifest.Outline{"spec": {Fields: map[string]*manifest.Outline{"template": template}}},
		}}),
	}
})

// metadataOutline leaves out the annotations that trimAnnotations does.
func metadataOutline(labels *manifest.Outline) *manifest.Outline {
	fields := map[string]*manifest.Outline{"annotations": {Others: noteUnless(readAnnotation)}}
	if labels != nil {
		fields["labels"] = labels
	}
	return &manifest.Outline{Fields: fields}
}

// noteUnless drops the labels or annotations that nobody reads. One that is no
// text makes the API server refuse the object.
func noteUnless(read func(key string) bool) func(key string) *manifest.Outline {
	note := &manifest.Outline{Drop: true, Fits: manifest.ShapeOf(reflect.TypeFor[string](), nil)}
	return func(key string) *manifest.Outline {
		if read(key) {
			return nil
		}
		return note
	}
}

// omitted is what trimPod leaves out beside what the shape drops.
func omitted(of reflect.Type, field string) manifest.Omission {
	switch of {
	case reflect.TypeFor[corev1.PodSpec]():
		switch field {
		case "Containers", "InitContainers":
			return manifest.Omission{Unless: &manifest.Condition{Key: "name", Holds: readContainer}}
		case "Volumes":
			return manifest.Omission{Drop: true, Unless: &manifest.Condition{Key: "hostPath", Holds: func(string) bool { return true }}}
		}
	case reflect.TypeFor[corev1.Container]():
		switch field {
		case "Env":
			return manifest.Omission{Drop: true, Unless: &manifest.Condition{Key: "name", Holds: readVariable}}
		case "VolumeMounts":
			return manifest.Omission{Drop: true, Unless: &manifest.Condition{Key: "mountPath", Holds: readMount}}
		case "Image", "Command", "Args":
			return manifest.Omission{Drop: true}
		}
	}
	return manifest.Omission{}
}
