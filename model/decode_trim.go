package model

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// Whole objects are decoded, so that wrong types show as they do to an API
// server, and then lose what nothing here asks for: a pod template is mostly
// probes, resources and volumes, and a mesh has ten thousand of them.

// dropped are the fields, by type, that have no bearing on egress.
var dropped = map[reflect.Type][]string{
	reflect.TypeFor[corev1.PodSpec](): {
		"Affinity", "TopologySpreadConstraints", "Tolerations", "NodeSelector", "ImagePullSecrets", "ReadinessGates",
		"SchedulingGates", "ResourceClaims", "Overhead", "Resources",
	},
	reflect.TypeFor[corev1.Container](): {
		"LivenessProbe", "ReadinessProbe", "StartupProbe", "Lifecycle", "Resources", "ResizePolicy", "EnvFrom", "VolumeDevices",
	},
	reflect.TypeFor[corev1.PodTemplateSpec](): {},
	// What manifest.Object has as well.
	reflect.TypeFor[corev1.Service]():             {"ObjectMeta", "Status"},
	reflect.TypeFor[networkingv1.NetworkPolicy](): {"ObjectMeta"},
}

func isDropped(of reflect.Type, field string) bool { return slices.Contains(dropped[of], field) }

// The shapes of the types that large meshes have many of.
var (
	podTemplateShape   = sync.OnceValue(func() *manifest.Shape { return manifest.ShapeOf(reflect.TypeFor[corev1.PodTemplateSpec](), isDropped) })
	serviceShape       = sync.OnceValue(func() *manifest.Shape { return manifest.ShapeOf(reflect.TypeFor[corev1.Service](), isDropped) })
	networkPolicyShape = sync.OnceValue(func() *manifest.Shape {
		return manifest.ShapeOf(reflect.TypeFor[networkingv1.NetworkPolicy](), isDropped)
	})
)

// trim empties the dropped fields of a struct.
func trim[T any](v *T) {
	s := reflect.ValueOf(v).Elem()
	for _, field := range dropped[s.Type()] {
		s.FieldByName(field).SetZero()
	}
}

// trimPod returns a pod's spec without what has no bearing on egress.
func trimPod(spec *corev1.PodSpec) *corev1.PodSpec {
	pod := *spec
	trim(&pod)
	// Of volumes those of the node count: they may lead out of the pod.
	ofNode := func(v corev1.Volume) bool { return v.HostPath != nil }
	if slices.ContainsFunc(pod.Volumes, ofNode) {
		pod.Volumes = slices.DeleteFunc(slices.Clone(pod.Volumes), func(v corev1.Volume) bool { return !ofNode(v) })
	} else {
		pod.Volumes = nil
	}
	pod.SecurityContext = shared(pod.SecurityContext)
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
		trim(&c)
		c.SecurityContext = shared(c.SecurityContext)
		c.Ports = exactly(c.Ports)
		if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return readVariable(c.Name, e.Name) }) {
			c.Env = nil
		}
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return readMount(m.MountPath) }) {
			c.VolumeMounts = nil
		}
		c.Env, c.VolumeMounts = exactly(c.Env), exactly(c.VolumeMounts)
		out[i] = c
	}
	return out
}

// sharedContexts has security contexts by their content: a mesh has few that
// differ, and nobody changes one.
var (
	sharedContexts sync.Map
	sharedCount    atomic.Int64
)

// What is shared: so many contexts, of so many bytes.
const maxShared, maxSharedBytes = 4096, 128

// shared returns a value of the same content that others have too.
func shared[T any, P interface {
	*T
	Marshal() ([]byte, error)
}](v P) P {
	if v == nil {
		return nil
	}
	content, err := v.Marshal()
	if err != nil || len(content) > maxSharedBytes {
		return v
	}
	key := reflect.TypeFor[T]().Name() + string(content)
	if known, ok := sharedContexts.Load(key); ok {
		return known.(P)
	}
	if sharedCount.Add(1) > maxShared {
		return v
	}
	known, _ := sharedContexts.LoadOrStore(key, v)
	return known.(P)
}

// readVariable tells the variables of a container that Istio reads, or that lead
// a program to a proxy. A container keeps all of its variables or none, so that
// their places stay.
func readVariable(container, name string) bool {
	return container == ProxyContainer || container == "discovery" || name == "OUTPUT_CERTS" ||
		strings.Contains(name, "ISTIO") || strings.Contains(name, "PILOT") || strings.Contains(strings.ToUpper(name), "PROXY")
}

// readMount tells the paths where Istio's own files are, or its certificates.
func readMount(path string) bool {
	return strings.Contains(path, "istio") || strings.Contains(path, "cert")
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
