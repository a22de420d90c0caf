package model

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/kube/networkingv1"
	"github.com/egresslint/egresslint/model/manifest"
)

// Whole objects are decoded, so that wrong types show as they do to an API
// server, and then lose what nothing here asks for: a pod template is mostly
// probes, resources and volumes, and a mesh has ten thousand of them.

// dropped are the fields, by type, that have no bearing on egress.
var dropped = map[reflect.Type][]string{
	reflect.TypeFor[corev1.PodSpec](): {
		"Affinity", "TopologySpreadConstraints", "Tolerations", "NodeSelector", "ImagePullSecrets", "ReadinessGates",
		"SchedulingGates", "ResourceClaims", "Overhead", "Resources", "TerminationGracePeriodSeconds", "ActiveDeadlineSeconds",
		"RestartPolicy", "SchedulerName", "PriorityClassName", "Priority", "RuntimeClassName", "EnableServiceLinks",
		"PreemptionPolicy", "AutomountServiceAccountToken", "NodeName",
	},
	reflect.TypeFor[corev1.PodSecurityContext](): {
		"SELinuxOptions", "WindowsOptions", "SupplementalGroups", "SupplementalGroupsPolicy", "FSGroup", "Sysctls",
		"FSGroupChangePolicy", "SeccompProfile", "AppArmorProfile", "SELinuxChangePolicy",
	},
	reflect.TypeFor[corev1.Container](): {
		"LivenessProbe", "ReadinessProbe", "StartupProbe", "Lifecycle", "Resources", "ResizePolicy", "EnvFrom", "VolumeDevices",
		"ImagePullPolicy", "TerminationMessagePath", "TerminationMessagePolicy", "WorkingDir", "Stdin", "StdinOnce", "TTY",
	},
	reflect.TypeFor[corev1.SecurityContext](): {
		"SELinuxOptions", "WindowsOptions", "ReadOnlyRootFilesystem", "ProcMount", "SeccompProfile", "AppArmorProfile",
	},
	reflect.TypeFor[corev1.Capabilities]():    {"Drop"},
	reflect.TypeFor[corev1.PodTemplateSpec](): {},
	// What manifest.Object has as well.
	reflect.TypeFor[corev1.Service]():             {"ObjectMeta", "Status"},
	reflect.TypeFor[networkingv1.NetworkPolicy](): {"ObjectMeta"},
}

func isDropped(of reflect.Type, field string) bool { return contains(dropped[of], field) }

// The shapes of the types that large meshes have many of.
var (
	podTemplateShape   = sync.OnceValue(func() *manifest.Shape { return manifest.ShapeOf(reflect.TypeFor[corev1.PodTemplateSpec](), isDropped) })
	serviceShape       = sync.OnceValue(func() *manifest.Shape { return manifest.ShapeOf(reflect.TypeFor[corev1.Service](), isDropped) })
	networkPolicyShape = sync.OnceValue(func() *manifest.Shape {
		return manifest.ShapeOf(reflect.TypeFor[networkingv1.NetworkPolicy](), isDropped)
	})
)

// trim empties the dropped fields of a struct, as decoding by its shape does.
func trim[T any](v *T) {
	s := reflect.ValueOf(v).Elem()
	for _, field := range dropped[s.Type()] {
		s.FieldByName(field).SetZero()
	}
}

// trimSpec empties the dropped fields of a pod.
func trimSpec(pod *corev1.PodSpec) {
	trim(pod)
	if pod.SecurityContext != nil {
		trim(pod.SecurityContext)
	}
	pod.Containers, pod.InitContainers = exactly(pod.Containers), exactly(pod.InitContainers)
	for _, containers := range [][]corev1.Container{pod.Containers, pod.InitContainers} {
		for i := range containers {
			c := &containers[i]
			trim(c)
			c.Ports, c.Env, c.VolumeMounts = exactly(c.Ports), exactly(c.Env), exactly(c.VolumeMounts)
			if c.SecurityContext != nil {
				trim(c.SecurityContext)
				if c.SecurityContext.Capabilities != nil {
					trim(c.SecurityContext.Capabilities)
				}
			}
		}
	}
}

// trimPod returns a pod's spec without what else has no bearing on egress, which it
// takes out of spec. Others may have the same, so that it must not be changed.
func trimPod(spec *corev1.PodSpec) *corev1.PodSpec {
	pod := spec
	pod.ServiceAccountName, pod.DeprecatedServiceAccount = "", "" // as Workload.ServiceAccount
	// Of volumes those of the node count: they may lead out of the pod.
	ofNode := func(v corev1.Volume) bool { return v.HostPath != nil }
	if slices.ContainsFunc(pod.Volumes, ofNode) {
		pod.Volumes = slices.DeleteFunc(slices.Clone(pod.Volumes), func(v corev1.Volume) bool { return !ofNode(v) })
	} else {
		pod.Volumes = nil
	}
	pod.SecurityContext = unlessEmpty(pod.SecurityContext)
	trimContainers(pod.Containers)
	trimContainers(pod.InitContainers)
	return shared(pod)
}

func trimContainers(containers []corev1.Container) {
	for i := range containers {
		c := &containers[i]
		istios := readContainer(c.Name)
		if !istios {
			c.Image, c.Command, c.Args = "", nil, nil
		}
		if c.SecurityContext != nil {
			c.SecurityContext.Capabilities = unlessEmpty(c.SecurityContext.Capabilities)
			c.SecurityContext = unlessEmpty(c.SecurityContext)
		}
		if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return istios || readVariable(e.Name) }) {
			c.Env = nil
		}
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return readMount(m.MountPath) }) {
			c.VolumeMounts = nil
		}
	}
}

// unlessEmpty is nil for what says nothing, or nothing that is not dropped.
func unlessEmpty[T any](v *T) *T {
	if v == nil || reflect.ValueOf(v).Elem().IsZero() {
		return nil
	}
	return v
}

// sharedSpecs has specs by their content: a mesh has few that differ, and nobody
// changes one.
var (
	sharedSpecs sync.Map
	sharedCount atomic.Int64
)

// What is shared: so many specs, of so many bytes.
const maxShared, maxSharedBytes = 4096, 512

// shared returns a value of the same content that others have too, or a copy.
func shared[T any, P interface {
	*T
	Marshal() ([]byte, error)
}](v P) P {
	if v == nil {
		return nil
	}
	content, err := v.Marshal()
	if err != nil || len(content) > maxSharedBytes {
		return copied(v)
	}
	key := reflect.TypeFor[T]().Name() + string(content)
	if known, ok := sharedSpecs.Load(key); ok {
		return known.(P)
	}
	v = copied(v)
	if sharedCount.Add(1) > maxShared {
		return v
	}
	known, _ := sharedSpecs.LoadOrStore(key, v)
	return known.(P)
}

// copied takes a value out of what it is a part of.
func copied[T any](v *T) *T {
	c := *v
	return &c
}

// readContainer tells the containers of Istio, of which image, arguments and
// variables count.
func readContainer(name string) bool {
	return name == "discovery" || strings.Contains(name, "istio")
}

// readVariable tells the variables of a container that Istio reads, or that lead
// a program to a proxy. A container keeps all of its variables or none, so that
// their places stay.
func readVariable(name string) bool {
	return name == "OUTPUT_CERTS" ||
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
	return trimKeys(annotations, readAnnotation)
}

// trimLabels keeps the labels of a controller that a reader may take for those of
// its pods.
func trimLabels(labels map[string]string) map[string]string { return trimKeys(labels, readLabel) }

func readLabel(key string) bool { return strings.Contains(key, "istio") }

// trimKeys keeps the keys that somebody reads.
func trimKeys(all map[string]string, read func(key string) bool) map[string]string {
	kept := 0
	for key := range all {
		if read(key) {
			kept++
		}
	}
	switch kept {
	case 0:
		return nil
	case len(all):
		return all
	}
	out := make(map[string]string, kept)
	for key, value := range all {
		if read(key) {
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
