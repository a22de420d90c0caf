package model

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// Whole objects are decoded, so that wrong types show as they do to an API
// server, and then lose what nothing here asks for: a pod template is mostly
// probes, resources and volumes, and a mesh has ten thousand of them.

// trimPod returns a pod's spec without what has no bearing on egress.
func trimPod(spec *corev1.PodSpec) *corev1.PodSpec {
	pod := *spec
	pod.Affinity, pod.TopologySpreadConstraints, pod.Tolerations, pod.NodeSelector = nil, nil, nil, nil
	pod.ImagePullSecrets, pod.ReadinessGates, pod.SchedulingGates, pod.ResourceClaims = nil, nil, nil, nil
	pod.Overhead, pod.Resources = nil, nil
	// Of volumes those of the node count: they may lead out of the pod.
	pod.Volumes = slices.DeleteFunc(slices.Clone(pod.Volumes), func(v corev1.Volume) bool { return v.HostPath == nil })
	if len(pod.Volumes) == 0 {
		pod.Volumes = nil
	}
	pod.Containers = trimContainers(pod.Containers)
	pod.InitContainers = trimContainers(pod.InitContainers)
	return &pod
}

// trimContainers copies containers into a slice of their number: a decoder
// leaves room for four.
func trimContainers(containers []corev1.Container) []corev1.Container {
	if containers == nil {
		return nil
	}
	out := make([]corev1.Container, len(containers))
	for i, c := range containers {
		c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Lifecycle = nil, nil, nil, nil
		c.Resources, c.ResizePolicy, c.EnvFrom, c.VolumeDevices = corev1.ResourceRequirements{}, nil, nil, nil
		c.Env, c.Ports, c.VolumeMounts = exactly(c.Env), exactly(c.Ports), exactly(c.VolumeMounts)
		out[i] = c
	}
	return out
}

// exactly copies a slice into one without room to grow.
func exactly[T any](s []T) []T {
	if len(s) == 0 || cap(s) == len(s) {
		return s
	}
	return append(make([]T, 0, len(s)), s...)
}

// trimAnnotations keeps the annotations that Istio, OpenShift or egresslint
// reads. Most of the others are notes of tools, and some are whole objects
// (kubectl.kubernetes.io/last-applied-configuration).
func trimAnnotations(annotations map[string]string) map[string]string {
	kept := 0
	for key := range annotations {
		if readAnnotation(key) {
			kept++
		}
	}
	switch kept {
	case 0:
		return nil
	case len(annotations):
		return annotations
	}
	out := make(map[string]string, kept)
	for key, value := range annotations {
		if readAnnotation(key) {
			out[key] = value
		}
	}
	return out
}

func readAnnotation(key string) bool {
	return strings.Contains(key, "istio") || strings.Contains(key, "openshift.io/") || key == manifest.IgnoreAnnotation
}

// trimMeta empties what [manifest.Object] has as well, except for names.
func trimMeta(meta *metav1.ObjectMeta, o *manifest.Object) {
	*meta = metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, Labels: o.Labels, Annotations: o.Annotations}
}
