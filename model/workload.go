package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// Role is what the proxy container that a pod's own manifest has does.
type Role int

const (
	// NoProxy is a pod whose manifest has no proxy container and asks for no
	// gateway; a sidecar may still be injected.
	NoProxy Role = iota
	// SidecarProxy is a pod whose manifest itself has a sidecar, as after
	// istioctl kube-inject or in an export of a cluster.
	SidecarProxy
	// Router is a gateway.
	Router
	// WaypointProxy is a waypoint of ambient mode.
	WaypointProxy
)

// ProxyContainer is the name that Istio gives to the proxy's container.
const ProxyContainer = "istio-proxy"

// templatesAnnotation chooses injection templates (istio.io/api/annotation).
const templatesAnnotation = "inject.istio.io/templates"

// ProxyRole tells from the pod's manifest alone what proxy it has. A gateway is
// a pod whose istio-proxy container runs "proxy router" or is its only container,
// or which asks the injector for the template "gateway" (istio pkg/kube/inject/inject.go,
// manifests/charts/gateway).
func (w *Workload) ProxyRole() Role {
	if contains(w.injectionTemplates(), "gateway") {
		return Router
	}
	c := w.ProxyContainer()
	switch {
	case c == nil:
		return NoProxy
	case len(c.Args) > 1 && c.Args[0] == "proxy" && c.Args[1] == "router":
		return Router
	case len(c.Args) > 1 && c.Args[0] == "proxy" && c.Args[1] == "waypoint":
		return WaypointProxy
	case len(c.Args) == 0 && len(w.Pod.Containers) == 1 && w.Pod.Containers[0].Name == ProxyContainer:
		// A proxy that is nobody's sidecar: a gateway whose arguments the
		// manifest leaves to the injector or leaves out.
		return Router
	default:
		return SidecarProxy
	}
}

// ProxyContainer returns the istio-proxy container that the manifest itself
// has, also as a native sidecar among the init containers; nil if there is none.
//
//go:noinline
func (w *Workload) ProxyContainer() *corev1.Container {
	if w.Pod == nil {
		return nil
	}
	for _, list := range [][]corev1.Container{w.Pod.Containers, w.Pod.InitContainers} {
		for i := range list {
			if list[i].Name == ProxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

// injectionTemplates are the templates that the pod's annotation names.
func (w *Workload) injectionTemplates() []string {
	var out []string
	for _, name := range strings.Split(w.Annotations[templatesAnnotation], ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// newWorkload makes a workload of a pod template.
func newWorkload(o *manifest.Object, field string, template *corev1.PodTemplateSpec) *Workload {
	w := &Workload{
		Object:         o,
		Template:       field,
		Kind:           o.Kind,
		Namespace:      o.Namespace,
		Name:           o.Name,
		Labels:         template.Labels,
		Annotations:    template.Annotations,
		ServiceAccount: cmp.Or(template.Spec.ServiceAccountName, template.Spec.DeprecatedServiceAccount, "default"),
		Pod:            trimPod(&template.Spec),
	}
	if o.Kind == "Job" && o.Name != "" {
		// The controller labels its pods (Kubernetes pkg/apis/batch: JobNameLabel).
		w.Labels = mergeMaps(map[string]string{"batch.kubernetes.io/job-name": o.Name, "job-name": o.Name}, w.Labels)
	}
	return w
}

// unknownWorkload is a workload whose pods the input does not show.
func unknownWorkload(o *manifest.Object, why string) *Workload {
	return &Workload{
		Object: o, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, ServiceAccount: "default", PodUnknown: why,
	}
}

// owner names a controller within the namespace of the object that it owns.
type owner struct{ group, kind, name string }

func ownersOf(references []metav1.OwnerReference) []owner {
	var out []owner
	for _, r := range references {
		if r.Controller == nil || *r.Controller {
			group, _, found := strings.Cut(r.APIVersion, "/")
			if !found {
				group = ""
			}
			out = append(out, owner{group, r.Kind, r.Name})
		}
	}
	return out
}

// addWorkloads takes the workloads of the input. What a controller of the input
// owns is not a second workload: an export of a cluster holds a Deployment, its
// ReplicaSets and their Pods.
func (m *Mesh) addWorkloads(workloads []*Workload) {
	type key struct {
		namespace string
		owner
	}
	present := map[key]bool{}
	for _, w := range workloads {
		present[key{w.Namespace, owner{w.Object.Group(), w.Kind, w.Name}}] = true
	}
	for _, w := range workloads {
		if !slices.ContainsFunc(w.owners, func(o owner) bool { return present[key{w.Namespace, o}] }) {
			m.Workloads = append(m.Workloads, w)
		}
	}
	m.sortWorkloads()
}

func (m *Mesh) sortWorkloads() {
	slices.SortStableFunc(m.Workloads, func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
}

// String returns "Kind namespace/name".
func (w *Workload) String() string { return fmt.Sprintf("%s %s", w.Kind, w.ID()) }
