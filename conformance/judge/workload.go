package judge

import (
	"encoding/json"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Role says which proxy runs in a pod.
type Role int

const (
	// NoProxy is a pod as its manifest has it.
	NoProxy Role = iota
	// SidecarProxy is a pod whose outbound and inbound traffic Envoy handles.
	SidecarProxy
	// GatewayProxy is a pod that runs "proxy router".
	GatewayProxy
	// ZtunnelProxy is a pod whose connections the ztunnel of its node takes.
	ZtunnelProxy
	// WaypointProxy is a pod that runs "proxy waypoint".
	WaypointProxy
)

// Workload is one pod of a Deployment, StatefulSet and so on.
type Workload struct {
	Kind string
	Pod  *corev1.Pod
	Role Role
}

// ID returns "namespace/name".
func (w *Workload) ID() string { return w.Pod.Namespace + "/" + w.Pod.Name }

// ServiceAccount is the name of the account that the pod runs as.
func (w *Workload) ServiceAccount() string { return w.Pod.Spec.ServiceAccountName }

// newWorkload makes the pod of a document, nil if its kind makes none.
func newWorkload(doc *document) (*Workload, error) {
	var template corev1.PodTemplateSpec
	switch doc.Kind {
	case "Pod":
		pod := &corev1.Pod{}
		if err := json.Unmarshal(doc.raw, pod); err != nil {
			return nil, err
		}
		template = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	case "CronJob":
		job := &batchv1.CronJob{}
		if err := json.Unmarshal(doc.raw, job); err != nil {
			return nil, err
		}
		template = job.Spec.JobTemplate.Spec.Template
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job":
		var owner struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		}
		if err := json.Unmarshal(doc.raw, &owner); err != nil {
			return nil, err
		}
		template = owner.Spec.Template
	default:
		return nil, nil
	}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name, pod.Namespace = doc.Name, doc.Namespace
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = "default"
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			for j := range containers[i].Ports {
				if port := &containers[i].Ports[j]; port.Protocol == "" {
					port.Protocol = corev1.ProtocolTCP // as the API server does
				}
			}
		}
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod.CreationTimestamp = metav1.NewTime(installed)
	return &Workload{Kind: doc.Kind, Pod: pod}, nil
}

// inject decides which pods have a proxy, as the webhook of an installation
// with a single, unnamed revision does.
func (m *Manifests) inject() {
	namespaces := map[string]*corev1.Namespace{}
	enabled := false
	for _, ns := range m.Namespaces {
		namespaces[ns.Name] = ns
		enabled = enabled || ns.Labels["istio-injection"] == "enabled" || ns.Labels["istio.io/rev"] != ""
	}
	for _, w := range m.Workloads {
		w.Role = roleOf(w.Pod, namespaces[w.Pod.Namespace], enabled)
		if w.Role == SidecarProxy {
			// The sidecar template sets it, the gateway template does not
			// (manifests/charts/istio-control/istio-discovery/files).
			w.Pod.Labels["security.istio.io/tlsMode"] = "istio"
		}
	}
}

func roleOf(pod *corev1.Pod, ns *corev1.Namespace, othersEnabled bool) Role {
	for _, container := range pod.Spec.Containers {
		if container.Name != "istio-proxy" {
			continue
		}
		if slices.Contains(container.Args, "waypoint") {
			return WaypointProxy
		}
		// Hand-written gateways often leave the arguments out; beside an
		// application the container is a sidecar.
		if slices.Contains(container.Args, "router") || len(container.Args) == 0 && len(pod.Spec.Containers) == 1 && strings.Contains(container.Image, "proxyv2") {
			return GatewayProxy
		}
	}
	if !injected(pod, ns, othersEnabled) {
		for _, container := range pod.Spec.Containers {
			if container.Name == "istio-proxy" && slices.Contains(container.Args, "sidecar") {
				return SidecarProxy
			}
		}
		return NoProxy
	}
	templates := strings.Split(pod.Annotations["inject.istio.io/templates"], ",")
	if slices.Contains(templates, "gateway") {
		return GatewayProxy
	}
	return SidecarProxy
}

func injected(pod *corev1.Pod, ns *corev1.Namespace, othersEnabled bool) bool {
	if pod.Spec.HostNetwork {
		return false
	}
	label, labelled := pod.Labels["sidecar.istio.io/inject"]
	if label == "false" {
		return false
	}
	if !labelled && pod.Annotations["sidecar.istio.io/inject"] == "false" {
		return false
	}
	if ns == nil {
		return !othersEnabled || label == "true"
	}
	if value, found := ns.Labels["istio-injection"]; found {
		return value == "enabled"
	}
	if ns.Labels["istio.io/rev"] != "" || pod.Labels["istio.io/rev"] != "" {
		return true
	}
	return label == "true"
}

// environment returns a variable of the pod's proxy container.
func (w *Workload) environment(name string) string {
	for _, container := range w.Pod.Spec.Containers {
		if container.Name != "istio-proxy" {
			continue
		}
		for _, variable := range container.Env {
			if variable.Name == name {
				return variable.Value
			}
		}
	}
	return ""
}
