package judge

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metadatafake "k8s.io/client-go/metadata/fake"
	"sigs.k8s.io/gateway-api/pkg/consts"

	networking "istio.io/api/networking/v1alpha3"
	networkingclient "istio.io/client-go/pkg/apis/networking/v1"
	"istio.io/istio/pilot/pkg/config/kube/gateway"
	"istio.io/istio/pilot/pkg/model"
	kuberegistry "istio.io/istio/pilot/pkg/serviceregistry/kube/controller"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/config/schema/gvr"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/krt"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
)

// gatewayObject reads an object of the Gateway API as the API server would
// store it, nil if it is of another kind.
func gatewayObject(doc *document) (runtime.Object, error) {
	if group, _, _ := strings.Cut(doc.APIVersion, "/"); group != gatewayv1.GroupName {
		return nil, nil
	}
	var object runtime.Object
	switch doc.Kind {
	case "GatewayClass":
		object = &gatewayv1.GatewayClass{}
	case "Gateway":
		object = &gatewayv1.Gateway{}
	case "HTTPRoute":
		object = &gatewayv1.HTTPRoute{}
	case "GRPCRoute":
		object = &gatewayv1.GRPCRoute{}
	case "TLSRoute":
		object = &gatewayv1.TLSRoute{}
	case "TCPRoute":
		object = &gatewayv1.TCPRoute{}
	case "ReferenceGrant":
		object = &gatewayv1beta1.ReferenceGrant{}
	default:
		return nil, nil
	}
	if err := json.Unmarshal(doc.raw, object); err != nil {
		return nil, err
	}
	// Whatever version the manifest has, istiod reads one.
	version := gatewayv1.GroupVersion.Version
	if doc.Kind == "ReferenceGrant" {
		version = gatewayv1beta1.GroupVersion.Version
	}
	object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: version, Kind: doc.Kind})
	meta := object.(metav1.Object)
	if doc.Kind == "GatewayClass" {
		meta.SetNamespace("")
	} else {
		meta.SetNamespace(doc.Namespace)
	}
	if created := meta.GetCreationTimestamp(); created.IsZero() {
		meta.SetCreationTimestamp(metav1.NewTime(installed))
	}
	defaultGatewayObject(object)
	return object, nil
}

// defaultGatewayObject fills in the defaults of the Gateway API's CRDs as far
// as istiod relies on them.
func defaultGatewayObject(object runtime.Object) {
	switch o := object.(type) {
	case *gatewayv1.Gateway:
		for i := range o.Spec.Addresses {
			if o.Spec.Addresses[i].Type == nil {
				kind := gatewayv1.IPAddressType
				o.Spec.Addresses[i].Type = &kind
			}
		}
		for i := range o.Spec.Listeners {
			if tls := o.Spec.Listeners[i].TLS; tls != nil && tls.Mode == nil {
				mode := gatewayv1.TLSModeTerminate
				tls.Mode = &mode
			}
		}
	case *gatewayv1.HTTPRoute:
		if o.Spec.Rules == nil {
			o.Spec.Rules = []gatewayv1.HTTPRouteRule{{}}
		}
		for i := range o.Spec.Rules {
			rule := &o.Spec.Rules[i]
			if rule.Matches == nil {
				rule.Matches = []gatewayv1.HTTPRouteMatch{{}}
			}
			for j := range rule.Matches {
				if rule.Matches[j].Path == nil {
					rule.Matches[j].Path = &gatewayv1.HTTPPathMatch{}
				}
			}
			for j := range rule.Filters {
				if redirect := rule.Filters[j].RequestRedirect; redirect != nil && redirect.StatusCode == nil {
					found := http.StatusFound
					redirect.StatusCode = &found
				}
			}
		}
	}
}

// deployGateways adds the Service and the pod that istiod deploys for each
// Gateway of class istio, where the manifests do not hold them (istio
// pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go).
func (m *Manifests) deployGateways() {
	for _, object := range m.GatewayAPI {
		g, ok := object.(*gatewayv1.Gateway)
		if ok && g.Spec.GatewayClassName == waypointClass && Ambient() {
			m.deployWaypoint(g)
			continue
		}
		if !ok || g.Spec.GatewayClassName != "istio" {
			continue
		}
		if len(g.Spec.Addresses) > 1 || len(g.Spec.Addresses) == 1 && *g.Spec.Addresses[0].Type != gatewayv1.IPAddressType {
			continue
		}
		m.deploy(g, "router", cmp.Or(g.Annotations["gateway.istio.io/name-override"], g.Name+"-istio"), g.Name+"-istio", nil)
	}
}

// deploy adds the Service and the pod of a proxy for a Gateway, unless the manifests hold
// a pod for it. It runs as account if the Gateway names none.
func (m *Manifests) deploy(g *gatewayv1.Gateway, role, name, account string, more map[string]string) {
	if slices.ContainsFunc(m.Workloads, func(w *Workload) bool {
		return w.Pod.Namespace == g.Namespace && w.Pod.Labels[gatewayName] == g.Name
	}) {
		return
	}
	labels := map[string]string{}
	maps.Copy(labels, g.Labels)
	labels[gatewayName], labels["gateway.networking.k8s.io/gateway-class-name"] = g.Name, string(g.Spec.GatewayClassName)
	maps.Copy(labels, more)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: g.Namespace, Labels: maps.Clone(labels), CreationTimestamp: metav1.NewTime(installed)},
		Spec: corev1.PodSpec{ServiceAccountName: cmp.Or(g.Annotations["gateway.istio.io/service-account"], account), Containers: []corev1.Container{{
			Name: "istio-proxy", Args: []string{"proxy", role},
		}}},
	}
	pod.Labels["sidecar.istio.io/inject"] = "false"
	if role == "waypoint" {
		pod.Labels[dataplaneMode] = "none"
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	m.Workloads = append(m.Workloads, &Workload{Kind: "Deployment", Pod: pod})
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: g.Namespace, Labels: labels, CreationTimestamp: metav1.NewTime(installed)},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{gatewayName: g.Name}},
	}
	seen := map[int32]bool{}
	for _, l := range append([]gatewayv1.Listener{{Name: "status-port", Port: 15021, Protocol: "TCP"}}, g.Spec.Listeners...) {
		if seen[l.Port] {
			continue
		}
		seen[l.Port] = true
		app := strings.ToLower(string(l.Protocol))
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: string(l.Name), Port: l.Port, AppProtocol: &app})
	}
	defaultService(service)
	m.Services = append(m.Services, service)
}

// gatewayObjects are what istiod's controller for the Gateway API reads beside
// Services and namespaces.
func gatewayObjects(m *Manifests) []runtime.Object {
	if len(m.GatewayAPI) == 0 || Ambient() {
		return nil // see ambientObjects
	}
	var objects []runtime.Object
	for _, object := range m.GatewayAPI {
		objects = append(objects, object.DeepCopyObject())
	}
	for _, cfg := range m.Configs {
		if cfg.GroupVersionKind != gvk.ServiceEntry {
			continue
		}
		entry := &networkingclient.ServiceEntry{ObjectMeta: objectMeta(cfg.Meta)}
		cfg.Spec.(*networking.ServiceEntry).DeepCopyInto(&entry.Spec)
		objects = append(objects, entry)
	}
	return objects
}

// newGatewayAPI starts istiod's controller for the Gateway API, nil where the
// manifests have nothing for it. It gives nothing before it has seen a push
// context (Reconcile).
func newGatewayAPI(m *Manifests, client kubelib.Client, updater model.XDSUpdater, debugger *krt.DebugHandler) *gateway.Controller {
	if len(m.GatewayAPI) == 0 {
		return nil
	}
	present := func(schema.GroupVersionResource, <-chan struct{}) bool { return true }
	return gateway.NewController(client, present, kuberegistry.Options{
		DomainSuffix: constants.DefaultClusterLocalDomain, ClusterID: clusterID, KrtDebugger: debugger,
	}, updater)
}

// defineKinds tells the client which custom kinds the cluster has.
func defineKinds(client kubelib.Client, kinds ...schema.GroupVersionResource) error {
	crds, ok := client.Metadata().(*metadatafake.FakeMetadataClient).Resource(gvr.CustomResourceDefinition).(metadatafake.MetadataClient)
	if !ok {
		return fmt.Errorf("the fake client takes no CustomResourceDefinitions")
	}
	for _, resource := range kinds {
		crd := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: resource.Resource + "." + resource.Group, Annotations: map[string]string{consts.BundleVersionAnnotation: consts.BundleVersion},
		}}
		if _, err := crds.CreateFake(crd, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// gatewayKinds are those of the Gateway API, and what istiod's controller for it reads.
var gatewayKinds = []schema.GroupVersionResource{
	gvr.KubernetesGateway, gvr.ReferenceGrant, gvr.ListenerSet, gvr.GatewayClass, gvr.HTTPRoute, gvr.GRPCRoute,
	gvr.TCPRoute, gvr.TLSRoute, gvr.ServiceEntry, gvr.BackendTLSPolicy,
}

// servicesOnly is a push context in which hosts can be looked up, which is all
// that the controller for the Gateway API needs of it for configuration; the
// real one needs its result.
func servicesOnly(registries model.ServiceDiscovery) *model.PushContext {
	push := model.NewPushContext()
	for _, s := range registries.Services() {
		hosts := push.ServiceIndex.HostnameAndNamespace
		if hosts[s.Hostname] == nil {
			hosts[s.Hostname] = map[string]*model.Service{}
		}
		hosts[s.Hostname][s.Attributes.Namespace] = s
	}
	return push
}

// Configs lists the objects of one of Istio's kinds that istiod works with:
// those of the manifests and those that it makes of the Gateway API.
func (m *Mesh) Configs(kind config.GroupVersionKind) []config.Config {
	return m.istiod.env.List(kind, "")
}
