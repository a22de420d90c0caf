package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// gatewayComponent is a gateway that an installation brings along: a Deployment,
// a Service and a ServiceAccount.
type gatewayComponent struct {
	name, namespace, revision       string
	labels                          map[string]string
	ports                           []corev1.ServicePort
	podAnnotations, serviceMetadata map[string]string
	serviceType                     corev1.ServiceType
	template                        string // injection template, "" for none
	chart                           gatewayChart
	field                           string // of the installation's object
	why                             string
	off                             bool // the component is listed, and disabled
}

// gatewayChart is one of the two charts of gateways that istioctl installs.
type gatewayChart struct {
	components string // list in spec.components
	name       string // of the gateway, and in Helm values
	path       string // in Istio's manifests
	component  string // value of label operator.istio.io/component
}

var gatewayCharts = []gatewayChart{
	{"ingressGateways", "istio-ingressgateway", "gateways/istio-ingress", "IngressGateways"},
	{"egressGateways", "istio-egressgateway", "gateways/istio-egress", "EgressGateways"},
}

// operatorGateways lists the gateways of an IstioOperator that was merged with
// its profile (istio operator/pkg/component/component.go Get). user is the
// IstioOperator as it was written.
func operatorGateways(in *installation, merged, user map[string]any, prefix string) []gatewayComponent {
	var out []gatewayComponent
	for _, chart := range gatewayCharts {
		list, _ := lookup(merged, "spec.components."+chart.components)
		items, _ := list.([]any)
		enabled, given := lookup(merged, "spec.values.gateways."+chart.name+".enabled")
		if given && enabled == false {
			// istioctl of today ignores this; until Istio 1.5 it was the way to
			// leave a gateway out. Whoever writes it does not have the gateway.
			continue
		}
		_, listed := lookup(user, "spec.components."+chart.components)
		for i, e := range items {
			c, _ := e.(map[string]any)
			if c == nil {
				continue
			}
			if c["enabled"] == false && enabled != true {
				if listed {
					out = append(out, gatewayComponent{
						off: true, name: cmp.Or(lookupString(c, "name"), chart.name), namespace: cmp.Or(lookupString(c, "namespace"), in.namespace),
						field: item(join(prefix, "spec.components."+chart.components), i) + ".enabled",
					})
				}
				continue
			}
			g := chart.settingsOf(in, c)
			switch {
			case listed:
				g.field = item(join(prefix, "spec.components."+chart.components), i)
				g.why = "its component is enabled"
			case enabled == true:
				g.field = join(prefix, "spec.values.gateways."+chart.name+".enabled")
				g.why = "its Helm value is enabled"
			default:
				g.field = join(prefix, "spec.profile")
				g.why = fmt.Sprintf("profile %s installs it", cmp.Or(lookupString(user, "spec.profile"), "default"))
			}
			out = append(out, g)
		}
	}
	return out
}

// settingsOf reads one component of a chart.
func (chart gatewayChart) settingsOf(in *installation, c map[string]any) gatewayComponent {
	settings := map[string]any{}
	if defaults, err := shipped("charts/" + chart.path + "/values.yaml"); err == nil {
		settings = lookupMap(defaults, "_internal_defaults_do_not_set.gateways."+chart.name)
	}
	profile, _ := helmProfile(chart.path, in.values)
	settings = overlay(settings, lookupMap(profile, "gateways."+chart.name))
	labels := stringMap(lookupMap(settings, "labels"))
	settings = overlay(settings, lookupMap(in.values, "gateways."+chart.name))
	g := gatewayComponent{
		name:      cmp.Or(lookupString(c, "name"), chart.name),
		namespace: cmp.Or(lookupString(c, "namespace"), in.namespace),
		revision:  in.revision,
		// Labels of Helm values are overwritten by those of the component
		// (istio operator/pkg/render/manifest.go applyComponentValuesToHelmValues).
		labels:          mergeMaps(labels, stringMap(lookupMap(c, "label"))),
		podAnnotations:  mergeMaps(stringMap(lookupMap(settings, "podAnnotations")), stringMap(lookupMap(c, "k8s.podAnnotations"))),
		serviceMetadata: mergeMaps(stringMap(lookupMap(settings, "serviceAnnotations")), stringMap(lookupMap(c, "k8s.serviceAnnotations"))),
		serviceType:     corev1.ServiceType(cmp.Or(lookupString(c, "k8s.service.type"), lookupString(settings, "type"))),
		template:        lookupString(settings, "injectionTemplate"),
		chart:           chart,
	}
	ports, _ := lookup(c, "k8s.service.ports")
	if list, _ := ports.([]any); len(list) == 0 {
		ports, _ = lookup(settings, "ports")
	}
	if data, err := json.Marshal(ports); err != nil || json.Unmarshal(data, &g.ports) != nil {
		g.ports = nil
		in.note(in.object, fmt.Sprintf("the ports of gateway %s/%s cannot be read: it is taken to have none", g.namespace, g.name))
	}
	if _, patched := lookup(c, "k8s.overlays"); patched {
		in.note(in.object, fmt.Sprintf("the k8s.overlays of gateway %s/%s are not applied", g.namespace, g.name))
	}
	return g
}

// podLabels are the labels that the charts give to the gateway's pods
// (istio manifests/charts/gateways/istio-egress/templates/deployment.yaml,
// injected-deployment.yaml).
func (g *gatewayComponent) podLabels() map[string]string {
	labels := mergeMaps(g.labels, map[string]string{
		"app.kubernetes.io/name":                    g.chart.name,
		"install.operator.istio.io/owning-resource": "unknown",
		"istio.io/dataplane-mode":                   "none",
		"istio.io/rev":                              cmp.Or(g.revision, "default"),
		"operator.istio.io/component":               g.chart.component,
		"service.istio.io/canonical-name":           g.name,
		"service.istio.io/canonical-revision":       cmp.Or(g.labels["app.kubernetes.io/version"], g.labels["version"], g.revision, "latest"),
		"sidecar.istio.io/inject":                   "false",
	})
	if g.namespace == defaultRootNamespace {
		labels = mergeMaps(labels, map[string]string{"chart": "gateways", "heritage": "Tiller", "release": "istio"})
	}
	if g.template != "" {
		labels["sidecar.istio.io/inject"] = "true"
	}
	return labels
}

// implied makes the objects of the gateway, implied by cause.
func (g *gatewayComponent) implied(cause *manifest.Object, why string) (*Workload, *KubeService, *manifest.Object) {
	object := func(apiVersion, kind, name string, labels map[string]string) *manifest.Object {
		o := manifest.Implied(apiVersion, kind, g.namespace, name, why, cause, g.field)
		o.Labels = labels
		return o
	}
	account := g.name + "-service-account"
	annotations := mergeMaps(map[string]string{"istio.io/rev": cmp.Or(g.revision, "default"), "sidecar.istio.io/inject": "false"}, g.podAnnotations)
	container := corev1.Container{Name: ProxyContainer, Args: []string{"proxy", "router"}}
	if g.template != "" {
		delete(annotations, "sidecar.istio.io/inject")
		annotations[templatesAnnotation] = g.template
		container = corev1.Container{Name: ProxyContainer, Image: "auto"}
	}
	for _, p := range g.ports {
		n := p.TargetPort.IntVal
		if n == 0 {
			n = p.Port
		}
		container.Ports = append(container.Ports, corev1.ContainerPort{ContainerPort: n, Protocol: protocolOr(p.Protocol)})
	}
	deployment := newWorkload(object("apps/v1", "Deployment", g.name, g.labels), "spec.template", &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: g.podLabels(), Annotations: annotations},
		Spec:       corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{container}},
	})
	o := object("v1", "Service", g.name, g.labels)
	o.Annotations = g.serviceMetadata
	service := &KubeService{Object: o, Spec: &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: g.name, Namespace: g.namespace, Labels: g.labels, Annotations: g.serviceMetadata},
		Spec:       corev1.ServiceSpec{Type: g.serviceType, Selector: g.labels, Ports: slices.Clone(g.ports)},
	}}
	return deployment, service, object("v1", "ServiceAccount", account, g.labels)
}

// implyGateway adds the objects of a gateway that the input does not hold
// itself.
func (m *Mesh) implyGateway(g *gatewayComponent, in *installation) {
	if g.off {
		m.DisabledGateways = append(m.DisabledGateways, DisabledGateway{in.object, g.field, g.name, g.namespace})
		return
	}
	why := fmt.Sprintf("%s: %s", title(in.object), g.why)
	deployment, service, account := g.implied(in.object, why)
	var added []string
	if !slices.ContainsFunc(m.Workloads, func(w *Workload) bool { return w.Namespace == g.namespace && w.Name == g.name }) {
		m.Workloads = append(m.Workloads, deployment)
		added = append(added, "Deployment")
	}
	if !slices.ContainsFunc(m.KubeServices, func(s *KubeService) bool { return s.Namespace == g.namespace && s.Name == g.name }) {
		m.KubeServices = append(m.KubeServices, service)
		added = append(added, "Service")
	}
	if len(added) == 0 {
		return
	}
	if !slices.ContainsFunc(m.ServiceAccounts, func(o *manifest.Object) bool { return o.ID() == account.ID() }) {
		m.ServiceAccounts = append(m.ServiceAccounts, account)
	}
	m.note("%s %s/%s: not in the input, but taken to exist because of %s (%s)", strings.Join(added, " and "), g.namespace, g.name, title(in.object), g.why)
}
