package capture

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/egresslint/egresslint/model"
)

// Complete gives the workloads of a mesh the labels that their pods have when
// they run ([model.Mesh.Complete]): beside those of the template the ones that
// the injector sets for certain, and as open ones those that controllers,
// Kubernetes and istiod set to values that manifests do not tell.
//
// Network policies and the selectors of Services see the labels of the pod.
// istiod matches its own selectors (Sidecar, EnvoyFilter, AuthorizationPolicy,
// sourceLabels, subsets …) against these and the topology that it adds (istio
// pilot/pkg/model/context.go SetWorkloadLabels, pilot/pkg/xds/ads.go
// setTopologyLabels, serviceregistry/util/label AugmentLabels).
func Complete(mesh *model.Mesh) {
	mesh.Complete(func(w *model.Workload, known map[string]string, open map[string]model.OpenLabel) {
		config := mesh.ConfigFor(w)
		s := &subject{mesh: mesh, config: config, w: w, ns: namespaceOf(mesh, w)}
		controllerLabels(w, open)
		s.topology(open)
		s.injectedLabels(known, open)
	})
}

// digits end the name of a Job of a CronJob and that of a StatefulSet's pod.
var digits = regexp.MustCompile(`^[0-9]+$`)

// controllerLabels are the labels that a workload's controller gives to its pods
// with values of its own (Kubernetes pkg/controller/{deployment,statefulset,
// daemon,job}, pkg/apis/batch).
func controllerLabels(w *model.Workload, out map[string]model.OpenLabel) {
	add := func(l model.OpenLabel, keys ...string) {
		l.Why = fmt.Sprintf("the controller of a %s sets it", w.Kind)
		for _, key := range keys {
			out[key] = l
		}
	}
	ordinal := func(prefix string) model.OpenLabel {
		return model.OpenLabel{Fits: func(v string) bool {
			rest, ok := strings.CutPrefix(v, prefix)
			return ok && digits.MatchString(rest)
		}}
	}
	switch w.Kind {
	case "Deployment":
		add(model.OpenLabel{}, "pod-template-hash")
	case "Rollout":
		add(model.OpenLabel{}, "rollouts-pod-template-hash")
	case "StatefulSet":
		add(model.OpenLabel{}, "controller-revision-hash")
		add(ordinal(w.Name+"-"), "statefulset.kubernetes.io/pod-name")
		add(ordinal(""), "apps.kubernetes.io/pod-index")
	case "DaemonSet":
		add(model.OpenLabel{}, "controller-revision-hash")
		add(ordinal(""), "pod-template-generation")
	case "Job", "CronJob":
		add(model.OpenLabel{}, "controller-uid", "batch.kubernetes.io/controller-uid")
		add(model.OpenLabel{Absent: true, Fits: digits.MatchString}, "batch.kubernetes.io/job-completion-index")
		if w.Kind == "CronJob" || w.Name == "" {
			add(ordinal(w.Name+"-"), "job-name", "batch.kubernetes.io/job-name")
		}
	case "Service", "Configuration": // Knative's
		add(model.OpenLabel{}, "serving.knative.dev/service", "serving.knative.dev/configuration", "serving.knative.dev/revision",
			"serving.knative.dev/configurationGeneration", "serving.knative.dev/configurationUID", "serving.knative.dev/revisionUID",
			"serving.knative.dev/serviceUID", "app")
	}
}

// The labels of a pod's place that istiod adds to what it knows of it.
const (
	topologyNetwork = "topology.istio.io/network"
	topologyCluster = "topology.istio.io/cluster"
)

// topology are the labels of the place where a pod runs. Kubernetes copies zone
// and region to pods from 1.35 on; istiod takes them from the node.
func (s *subject) topology(open map[string]model.OpenLabel) {
	const why = "it says where the pod happens to run"
	for _, key := range []string{"topology.kubernetes.io/region", "topology.kubernetes.io/zone"} {
		open[key] = model.OpenLabel{Absent: true, Why: why}
	}
	open["topology.istio.io/subzone"] = model.OpenLabel{Absent: true, Proxies: true, Why: why}
	open["kubernetes.io/hostname"] = model.OpenLabel{Proxies: true, Why: why}
	open[topologyNetwork] = model.OpenLabel{Absent: true, Proxies: true, Why: "the installation names the pod's network"}
	open[topologyCluster] = model.OpenLabel{Proxies: true, Why: "the installation names the pod's cluster"}
	if network := s.network(); network != "" {
		open[topologyNetwork] = model.OpenLabel{Values: []string{network}, Proxies: true, Why: "the installation names the pod's network"}
	}
}

// network is values.global.network, "" where the input does not set it.
func (s *subject) network() string {
	v, _ := Value(s.config, "global", "network")
	text, _ := v.(string)
	return text
}

// injectedLabels are those that the injection templates set (istio
// manifests/charts/istio-control/istio-discovery/files/injection-template.yaml,
// gateway-injection-template.yaml, grpc-agent.yaml), and the network that the
// webhook does (pkg/kube/inject/webhook.go applyMetadata). istio.io/rev is an
// annotation there.
func (s *subject) injectedLabels(known map[string]string, open map[string]model.OpenLabel) {
	c := s.injection()
	pod := s.w.Labels
	labels := map[string]string{
		"service.istio.io/canonical-name":     cmp.Or(pod["app.kubernetes.io/name"], pod["app"], s.controllerName()),
		"service.istio.io/canonical-revision": cmp.Or(pod["app.kubernetes.io/version"], pod["version"], "latest"),
	}
	if c.Mode == Sidecar || c.Mode == Undecided {
		labels[model.TLSModeLabel] = "istio"
		if s.metadata()["ISTIO_META_ENABLE_HBONE"] == "true" {
			labels[model.TunnelLabel] = "http"
		}
		if name := labels["service.istio.io/canonical-name"]; len(name) > 63 {
			labels["service.istio.io/canonical-name"] = strings.Trim(name[:63], "-_.")
		}
	}
	if network := s.network(); network != "" {
		labels[topologyNetwork] = network
	}
	byWebhook := s.gates().Mode == Sidecar &&
		(c.Mode == Sidecar || c.Mode == Router || c.Mode == None && strings.Contains(s.w.Annotations[templatesKey], "grpc-agent"))
	for key, value := range labels {
		l := model.OpenLabel{Why: "the injector sets it to the name of the pod or of its controller"}
		if value != "" {
			l.Values = []string{value}
		}
		switch {
		case byWebhook && value != "":
			known[key] = value
		case byWebhook:
			open[key] = l
		case c.Mode == Undecided:
			l.Absent, l.Why = true, "whether the injector sets it is not known"
			open[key] = l
		}
	}
}

// ofCronJob is the name that the Jobs of a CronJob have.
var ofCronJob = regexp.MustCompile(`^(.+)-[0-9]{8,10}$`)

// controllerName is the name by which the injector knows a pod's controller, ""
// where the manifest does not tell (istio pkg/kube/util.go GetDeployMetaFromPod).
func (s *subject) controllerName() string {
	switch s.w.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "CronJob", "ReplicationController", "DeploymentConfig", "Rollout", "Pod":
		return s.w.Name
	case "Job":
		if m := ofCronJob.FindStringSubmatch(s.w.Name); m != nil {
			return m[1]
		}
		return s.w.Name
	default:
		return ""
	}
}
