package model

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/model/manifest"
)

// gatewayParameters are the data of a ConfigMap that changes what istiod deploys
// for Gateways of the Gateway API: overlays by the kind of object (istio
// pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go render).
type gatewayParameters struct {
	data map[string]string
	// class is the GatewayClass for which they are the default, "" for none.
	class string
}

// gatewayOverlays are the kinds that istiod lets be changed, and whether the
// changes have a bearing on where requests go.
var gatewayOverlays = map[string]bool{
	"deployment": true, "service": true, "serviceAccount": true, "horizontalPodAutoscaler": false, "podDisruptionBudget": false,
}

// gatewayClassDefaults labels the ConfigMap that holds for all of a class.
const gatewayClassDefaults = "gateway.istio.io/defaults-for-class"

// gatewayParameters decodes a ConfigMap that Gateways may refer to, nil for any
// other.
func (d *decoding) gatewayParameters() any {
	class := d.object.Labels[gatewayClassDefaults]
	var cm struct {
		Data map[string]string `json:"data"`
	}
	if found, err := d.doc.UnmarshalField("data", &cm.Data); !found || err != nil {
		return nil
	}
	for key := range cm.Data {
		if _, known := gatewayOverlays[key]; !known && class == "" {
			return nil
		}
	}
	return &gatewayParameters{cm.Data, class}
}

// harmless reports whether overlays change nothing on which verdicts rest:
// replicas, resources, scheduling, the kind of Service, notes of tools.
func (p *gatewayParameters) harmless() bool {
	for key, text := range p.data {
		matters, known := gatewayOverlays[key]
		if !known {
			return false // istiod deploys nothing then
		}
		if !matters {
			continue
		}
		var overlay map[string]any
		if yaml.Unmarshal([]byte(text), &overlay) != nil || !harmlessOverlay("", overlay) {
			return false
		}
	}
	return true
}

// harmlessFields are fields of Deployments, Services and ServiceAccounts without
// bearing on where requests go; what is below them has none either.
var harmlessFields = []string{
	"apiVersion", "kind",
	"spec.replicas", "spec.strategy", "spec.revisionHistoryLimit", "spec.progressDeadlineSeconds", "spec.minReadySeconds",
	"spec.type", "spec.externalTrafficPolicy", "spec.loadBalancerIP", "spec.loadBalancerClass", "spec.loadBalancerSourceRanges",
	"spec.allocateLoadBalancerNodePorts", "spec.sessionAffinity", "spec.healthCheckNodePort",
	"spec.template.spec.affinity", "spec.template.spec.tolerations", "spec.template.spec.nodeSelector", "spec.template.spec.topologySpreadConstraints",
	"spec.template.spec.priorityClassName", "spec.template.spec.terminationGracePeriodSeconds", "spec.template.spec.imagePullSecrets",
	"spec.template.spec.containers[].name", "spec.template.spec.containers[].resources", "spec.template.spec.containers[].imagePullPolicy",
	"spec.template.spec.containers[].readinessProbe", "spec.template.spec.containers[].livenessProbe", "spec.template.spec.containers[].startupProbe",
	"spec.template.spec.containers[].lifecycle",
}

func harmlessOverlay(path string, v any) bool {
	if contains(harmlessFields, path) {
		return true
	}
	if strings.HasSuffix(path, "metadata.annotations") {
		notes, ok := v.(map[string]any)
		for key := range notes {
			ok = ok && !readAnnotation(key)
		}
		return ok
	}
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if !harmlessOverlay(join(path, key), e) {
				return false
			}
		}
		return true
	case []any:
		for _, e := range v {
			if m, ok := e.(map[string]any); !ok || !harmlessOverlay(path+"[]", m) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// parametersOf returns where a Gateway that istiod deploys gets overlays that may
// matter, and why it is not known what they make of it; "" where there are none.
func (m *Mesh) parametersOf(g *KubeGateway) (why string, at Place) {
	if !managed(m.configOfGateway(g), g) {
		return "", at
	}
	class := string(g.Spec.Spec.GatewayClassName)
	for _, p := range m.gatewayParameters {
		if v := p.Spec; v.class == class && class != "" && !v.harmless() {
			return fmt.Sprintf("%s changes what istiod deploys for Gateways of class %s, which is not simulated", p.Object, class), Place{p.Object, "data"}
		}
	}
	i := g.Spec.Spec.Infrastructure
	if i == nil || i.ParametersRef == nil {
		return "", at
	}
	ref, at := i.ParametersRef, Place{g.Object, "spec.infrastructure.parametersRef"}
	for _, p := range m.gatewayParameters {
		if p.Namespace == g.Namespace && p.Name == ref.Name && string(ref.Kind) == "ConfigMap" && ref.Group == corev1.GroupName {
			if p.Spec.harmless() {
				return "", Place{}
			}
			return fmt.Sprintf("%s changes what istiod deploys for %s, which is not simulated", p.Object, g.Object), at
		}
	}
	return fmt.Sprintf("%s has its Deployment and Service changed by %s %s (parametersRef), which the input does not show", g.Object, ref.Kind, ref.Name), at
}

// noteParameters marks the Gateways whose deployment a ConfigMap changes: labels,
// ports and accounts may be other ones.
func (c *gatewayConversion) noteParameters() {
	for _, g := range c.mesh.KubeGateways {
		if why, at := c.mesh.parametersOf(g); why != "" {
			c.markUnsure(g, Unmodelled{Why: why, Place: at})
		}
	}
}

// infrastructure are the labels or annotations that istiod gives to what it
// deploys for a Gateway: those of its own, else the Gateway's, unless
// PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS is off (istio
// gatewaycommon/deploymentcontroller.go extractInfrastructureMetadata).
func infrastructure[K, V ~string](own map[K]V, given bool, gateway map[string]string, copies bool) map[string]string {
	if !given && !copies {
		return map[string]string{}
	}
	if !given {
		return mergeMaps(map[string]string{}, gateway)
	}
	out := map[string]string{}
	for k, v := range own {
		if !strings.HasPrefix(string(k), "gateway.networking.k8s.io/") {
			out[string(k)] = string(v)
		}
	}
	return out
}

func (m *Mesh) addParameters(o *manifest.Object, v *gatewayParameters) {
	m.gatewayParameters = append(m.gatewayParameters, resource(o, v))
	m.ignore(o)
}
