package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// The labels of pods that istiod makes for a Gateway of the Gateway API.
const (
	// GatewayNameLabel names the Gateway.
	GatewayNameLabel    = "gateway.networking.k8s.io/gateway-name"
	gatewayClassLabel   = "gateway.networking.k8s.io/gateway-class-name"
	gatewayManagedLabel = "gateway.istio.io/managed"
)

// The GatewayClasses that istiod serves (istio pkg/config/constants and
// pilot/pkg/config/kube/gateway).
const (
	gatewayClassIstio    = "istio"
	gatewayClassRemote   = "istio-remote"
	gatewayClassWaypoint = "istio-waypoint"
	gatewayClassEastWest = "istio-east-west"
)

// gatewayControllers are the controller names of those classes.
var gatewayControllers = map[string]string{
	gatewayClassIstio:    "istio.io/gateway-controller",
	gatewayClassRemote:   "istio.io/unmanaged-gateway",
	gatewayClassWaypoint: "istio.io/mesh-controller",
	gatewayClassEastWest: "istio.io/eastwest-controller",
}

// agentgatewayController is that of istiod's second class, whose pods run another
// proxy.
const agentgatewayController, gatewayClassAgent = "istio.io/agentgateway-controller", "istio-agentgateway"

// gatewayAPI decodes the kinds of gateway.networking.k8s.io that Istio
// reads. Their alpha and beta versions have the fields of v1.
func (d *decoding) gatewayAPI() any {
	d.unknownFields("metadata", metav1.ObjectMeta{})
	switch d.object.Kind {
	case "GatewayClass":
		return decodeInto(d, &gatewayv1.GatewayClass{}, nil)
	case "Gateway":
		d.unknownFields("spec", gatewayv1.GatewaySpec{})
		return decodeInto(d, &gatewayv1.Gateway{}, validateKubeGateway)
	case "HTTPRoute":
		d.unknownFields("spec", gatewayv1.HTTPRouteSpec{})
		return decodeInto(d, &gatewayv1.HTTPRoute{}, validateHTTPRoute)
	case "GRPCRoute":
		d.unknownFields("spec", gatewayv1.GRPCRouteSpec{})
		return decodeInto(d, &gatewayv1.GRPCRoute{}, validateGRPCRoute)
	case "TLSRoute":
		d.unknownFields("spec", gatewayv1.TLSRouteSpec{})
		return decodeInto(d, &gatewayv1.TLSRoute{}, validateTLSRoute)
	case "TCPRoute":
		d.unknownFields("spec", gatewayv1.TCPRouteSpec{})
		return decodeInto(d, &gatewayv1.TCPRoute{}, validateTCPRoute)
	default:
		d.unknownFields("spec", gatewayv1.ReferenceGrantSpec{})
		return decodeInto(d, &gatewayv1.ReferenceGrant{}, nil)
	}
}

// gatewayAPIKinds are the kinds that are decoded.
var gatewayAPIKinds = map[string]bool{
	"GatewayClass": true, "Gateway": true, "HTTPRoute": true, "GRPCRoute": true, "TLSRoute": true, "TCPRoute": true, "ReferenceGrant": true,
}

// addGatewayAPI puts an object of the Gateway API where it belongs. It reports
// whether the value is one.
func (m *Mesh) addGatewayAPI(o *manifest.Object) bool {
	switch v := o.Value.(type) {
	case *gatewayv1.GatewayClass:
		m.GatewayClasses = append(m.GatewayClasses, resource(o, v))
	case *gatewayv1.Gateway:
		m.KubeGateways = append(m.KubeGateways, resource(o, v))
	case *gatewayv1.HTTPRoute:
		m.KubeHTTPRoutes = append(m.KubeHTTPRoutes, resource(o, v))
	case *gatewayv1.GRPCRoute:
		m.KubeGRPCRoutes = append(m.KubeGRPCRoutes, resource(o, v))
	case *gatewayv1.TLSRoute:
		m.KubeTLSRoutes = append(m.KubeTLSRoutes, resource(o, v))
	case *gatewayv1.TCPRoute:
		m.KubeTCPRoutes = append(m.KubeTCPRoutes, resource(o, v))
	case *gatewayv1.ReferenceGrant:
		m.ReferenceGrants = append(m.ReferenceGrants, resource(o, v))
	default:
		return false
	}
	return true
}

// GatewayController returns the name of the controller that serves a
// GatewayClass: the one of the input, else that of a class which istiod
// creates itself; "" for a class of somebody else. That of ordinary gateways is
// "istio.io/gateway-controller" whatever istiod calls itself.
func (m *Mesh) GatewayController(class string) string { return m.controllerFor(m.Config, class) }

// controllerFor is GatewayController as the istiod of a configuration sees it: by
// PILOT_GATEWAY_API_CONTROLLER_NAME it goes by another name, and by
// PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME its own class has one (istio
// pilot/pkg/config/kube/gatewaycommon/classinfo.go).
func (m *Mesh) controllerFor(config *MeshConfig, class string) string {
	usual := gatewayControllers[gatewayClassIstio]
	for _, c := range m.GatewayClasses {
		switch name := string(c.Spec.Spec.ControllerName); {
		case c.Name != class:
		case name == config.Setting("PILOT_GATEWAY_API_CONTROLLER_NAME"):
			return usual
		case name == usual:
			return "" // nobody's any more
		default:
			return name
		}
	}
	switch {
	case class == config.Setting("PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME"):
		return usual
	case class == gatewayClassIstio:
		return ""
	case class == gatewayClassAgent && config.Enabled("PILOT_ENABLE_AGENTGATEWAY"):
		return agentgatewayController
	}
	return gatewayControllers[class]
}

// configOfGateway is that of the control plane that deploys a Gateway: of the
// revision that it names, or its namespace (istio pkg/revisions/tag_watcher.go
// IsMine).
func (m *Mesh) configOfGateway(g *KubeGateway) *MeshConfig {
	revision := g.Labels[RevisionLabel]
	if ns := m.Namespaces[g.Namespace]; revision == "" && ns != nil {
		revision = ns.Labels[RevisionLabel]
	}
	return m.ConfigOf(revision)
}

// IsWaypoint reports whether a Gateway is a waypoint.
func (m *Mesh) IsWaypoint(g *KubeGateway) bool {
	return m.GatewayController(string(g.Spec.Spec.GatewayClassName)) == gatewayControllers[gatewayClassWaypoint]
}

// implyKubeGateways adds what istiod deploys for the Gateways of the Gateway
// API: a Deployment and a Service named after Gateway and class, for waypoints
// after the Gateway alone (istio pilot/pkg/config/kube/gatewaycommon
// deploymentcontroller.go, manifests/charts/istio-control/istio-discovery/files
// kube-gateway.yaml, waypoint.yaml).
func (m *Mesh) implyKubeGateways() {
	for _, g := range m.KubeGateways {
		config, class := m.configOfGateway(g), string(g.Spec.Spec.GatewayClassName)
		controller := m.controllerFor(config, class)
		waypoint := controller == gatewayControllers[gatewayClassWaypoint]
		agent := controller == agentgatewayController && config.Enabled("PILOT_ENABLE_AGENTGATEWAY")
		if !waypoint && !agent && controller != gatewayControllers[gatewayClassIstio] || !managed(config, g) || !config.deploysGateways(g, waypoint) || !m.Watches(config, g.Namespace) {
			continue
		}
		name, label := g.Name+"-"+class, "istio.io-gateway-controller"
		if waypoint || agent {
			name = g.Name
		}
		if waypoint {
			label = "istio.io-mesh-controller"
		}
		account := cmp.Or(g.Annotations["gateway.istio.io/service-account"], name)
		name = cmp.Or(g.Annotations["gateway.istio.io/name-override"], name)
		m.implyKubeGateway(g, name, account, map[string]string{
			GatewayNameLabel: g.Name, gatewayClassLabel: class, gatewayManagedLabel: label,
		}, waypoint)
	}
}

// deploysGateways reports whether a control plane deploys Gateways at all.
func (c *MeshConfig) deploysGateways(g *KubeGateway, waypoint bool) bool {
	return c.Enabled("PILOT_ENABLE_GATEWAY_API") && c.Enabled("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER") &&
		c.Reads(g.Object) && (!waypoint || c.Enabled("PILOT_ENABLE_AMBIENT_WAYPOINTS"))
}

// managed reports whether istiod deploys a Gateway: no address, or only an IP
// address, is asked for, or ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT is off (istio
// gatewaycommon/gateway_utils.go IsManaged).
func managed(config *MeshConfig, g *KubeGateway) bool {
	if !config.Enabled("ENABLE_GATEWAY_API_MANUAL_DEPLOYMENT") {
		return true
	}
	addresses := g.Spec.Spec.Addresses
	return len(addresses) == 0 || len(addresses) == 1 && (addresses[0].Type == nil || *addresses[0].Type == gatewayv1.IPAddressType)
}

// deployedFor begins what is said of the objects that istiod makes for a Gateway.
const deployedFor = "istiod deploys it for Gateway "

func (m *Mesh) implyKubeGateway(g *KubeGateway, name, account string, own map[string]string, waypoint bool) {
	why := deployedFor + g.ID()
	i := g.Spec.Spec.Infrastructure
	if i == nil {
		i = &gatewayv1.GatewayInfrastructure{}
	}
	copies := m.configOfGateway(g).Enabled("PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS")
	given := infrastructure(i.Labels, i.Labels != nil, g.Labels, copies)
	labels := mergeMaps(mergeMaps(map[string]string{
		"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none",
		"service.istio.io/canonical-name": name, "service.istio.io/canonical-revision": "latest",
	}, given), own)
	annotations := trimAnnotations(infrastructure(i.Annotations, i.Annotations != nil, g.Annotations, copies))
	delete(annotations, "gateway.istio.io/name-override")
	delete(annotations, "gateway.istio.io/service-account")
	role := "router"
	if waypoint {
		role = "waypoint"
	}
	object := func(apiVersion, kind, name string) *manifest.Object {
		o := manifest.Implied(apiVersion, kind, g.Namespace, name, why, g.Object, "spec.gatewayClassName")
		o.Labels = mergeMaps(given, own)
		return o
	}
	if !slices.ContainsFunc(m.Workloads, func(w *Workload) bool { return w.Namespace == g.Namespace && w.Labels[GatewayNameLabel] == g.Name }) {
		m.Workloads = append(m.Workloads, newWorkload(object("apps/v1", "Deployment", name), "spec.template", &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
			Spec: corev1.PodSpec{ServiceAccountName: account,
				Containers: []corev1.Container{{Name: ProxyContainer, Args: []string{"proxy", role}}}},
		}))
	}
	if !slices.ContainsFunc(m.KubeServices, func(s *KubeService) bool { return s.Namespace == g.Namespace && s.Name == name }) {
		service := &corev1.Service{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: g.Namespace, Labels: mergeMaps(given, own)},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{GatewayNameLabel: g.Name}, Ports: kubeGatewayPorts(m.kubeGatewayListeners(g), waypoint)},
		}
		if serviceType := g.Annotations["networking.istio.io/service-type"]; serviceType != "" {
			service.Spec.Type = corev1.ServiceType(serviceType)
		}
		m.KubeServices = append(m.KubeServices, &KubeService{Object: object("v1", "Service", name), Spec: service})
	}
	if !slices.ContainsFunc(m.ServiceAccounts, func(o *manifest.Object) bool { return o.Namespace == g.Namespace && o.Name == account }) {
		m.ServiceAccounts = append(m.ServiceAccounts, object("v1", "ServiceAccount", account))
	}
}

// kubeGatewayListeners are the listeners of a Gateway, and of the ListenerSets
// that name it.
func (m *Mesh) kubeGatewayListeners(g *KubeGateway) []gatewayv1.Listener {
	out := slices.Clone(g.Spec.Spec.Listeners)
	for _, o := range m.listenerSets() {
		if m.listenerSetParent(o) != g || !m.takesListenerSets(g, o.Namespace) {
			continue
		}
		listeners, _ := lookupMap(asMap(o.Value), "spec")["listeners"].([]any)
		for _, l := range listeners {
			port, err := strconv.ParseInt(lookupString(asMap(l), "port"), 10, 32)
			if err != nil || port < 1 || port > 65535 {
				continue // without port nothing can be dialled
			}
			out = append(out, gatewayv1.Listener{
				Name: gatewayv1.SectionName(lookupString(asMap(l), "name")), Port: gatewayv1.PortNumber(port),
				Protocol: gatewayv1.ProtocolType(lookupString(asMap(l), "protocol")),
			})
		}
	}
	return out
}

// kubeGatewayPorts are the ports of a Gateway's Service: the listeners', and one
// for health checks (istio deploymentcontroller.go extractServicePorts).
func kubeGatewayPorts(listeners []gatewayv1.Listener, waypoint bool) []corev1.ServicePort {
	ports := []corev1.ServicePort{{Name: "status-port", Port: 15021, Protocol: corev1.ProtocolTCP}}
	if !waypoint {
		app := "tcp"
		ports[0].AppProtocol = &app
	}
	seen := map[int32]bool{}
	for _, l := range listeners {
		if seen[l.Port] {
			continue
		}
		seen[l.Port] = true
		name := string(l.Name)
		if name == "" {
			name = fmt.Sprintf("%v-%v", l.Protocol, l.Port)
		}
		p := corev1.ServicePort{Name: name, Port: l.Port, Protocol: corev1.ProtocolTCP}
		if !waypoint {
			app := strings.ToLower(string(l.Protocol))
			p.AppProtocol = &app
		}
		ports = append(ports, p)
	}
	if waypoint {
		for i := range ports {
			if ports[i].Port == 15008 {
				app := "all"
				ports[i].AppProtocol = &app
			}
		}
	}
	return ports
}
