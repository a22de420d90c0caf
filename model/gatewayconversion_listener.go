package model

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

const (
	// builtinCredential is the workload's own certificate (istio
	// pilot/pkg/model/credentials BuiltinGatewaySecretTypeURI).
	builtinCredential = "builtin://"
	tlsModeOption     = "gateway.istio.io/tls-terminate-mode"
)

// convertGateway makes one Gateway of Istio for each listener (istio
// gateway_collection.go GatewayCollection). Waypoints and Gateways of other
// controllers have none.
func (c *gatewayConversion) convertGateway(g *KubeGateway) {
	if c.mesh.controllerFor(c.config, string(g.Spec.Spec.GatewayClassName)) != gatewayControllers[gatewayClassIstio] {
		return
	}
	services := gatewayServices(c.config, g)
	if len(services) == 0 {
		return // only addresses that istiod does not understand
	}
	conflicts := conflictingListeners(g.Spec.Spec.Listeners)
	key := parentKey{kubeGatewayKind, g.Namespace, g.Name}
	for i := range g.Spec.Spec.Listeners {
		l := &g.Spec.Spec.Listeners[i]
		if conflicts[l.Name] {
			continue
		}
		server, valid := c.listenerServer(g, l)
		if server == nil {
			continue
		}
		name := g.Name + "~" + generatedName + "~" + string(l.Name)
		c.parents[key] = append(c.parents[key], &routeParent{
			internalName: g.Namespace + "/" + name, kinds: listenerKinds(l), hosts: server.GetHosts(),
			hostname: string(value(l.Hostname, "")), section: l.Name, port: l.Port, protocol: l.Protocol,
			gateway: g, listener: l,
		})
		if !valid {
			continue // routes may still name it, but no pod serves it
		}
		o := manifest.Implied("networking.istio.io/v1", "Gateway", g.Namespace, name, "istiod makes it of "+g.String(),
			g.Object, fmt.Sprintf("spec.listeners[%d]", i))
		o.Created = g.Created
		c.gateways = append(c.gateways, &Gateway{Object: o, Spec: &networking.Gateway{Servers: []*networking.Server{server}}})
		c.origins[o] = &GatewayOrigin{Parent: g, Listener: i, Services: services, Managed: managed(c.config, g)}
	}
}

// gatewayServices are the hosts of the Services whose pods serve a Gateway: that
// of istiod's own deployment, or those that its addresses name (istio
// conversion.go extractGatewayServices). An address without type is an IP
// address, by default of the API.
func gatewayServices(config *MeshConfig, g *KubeGateway) []host.Name {
	if managed(config, g) {
		name := g.Annotations["gateway.istio.io/name-override"]
		if name == "" {
			name = g.Name + "-" + string(g.Spec.Spec.GatewayClassName)
		}
		return []host.Name{ServiceHost(name, g.Namespace)}
	}
	var out []host.Name
	for _, a := range g.Spec.Spec.Addresses {
		if value(a.Type, gatewayv1.IPAddressType) == gatewayv1.HostnameAddressType {
			out = append(out, ResolveHost(a.Value, g.Namespace))
		}
	}
	return out
}

// conflictingListeners are the listeners that istiod leaves out because an
// earlier one has the same port and host (istio
// gatewaycommon/listener_conflict.go). As there, listeners are known by name.
func conflictingListeners(listeners []gatewayv1.Listener) map[gatewayv1.SectionName]bool {
	out := map[gatewayv1.SectionName]bool{}
	var accepted []*gatewayv1.Listener
	for i := range listeners {
		l := &listeners[i]
		if slices.ContainsFunc(accepted, func(a *gatewayv1.Listener) bool { return !distinctListeners(l, a) }) {
			out[l.Name] = true
			continue
		}
		accepted = append(accepted, l)
	}
	return out
}

func distinctListeners(a, b *gatewayv1.Listener) bool {
	named := func(p gatewayv1.ProtocolType) bool {
		return p == gatewayv1.HTTPProtocolType || p == gatewayv1.HTTPSProtocolType || p == gatewayv1.TLSProtocolType
	}
	opaque := func(p gatewayv1.ProtocolType) bool {
		return p == gatewayv1.TCPProtocolType || p == gatewayv1.UDPProtocolType
	}
	name := func(l *gatewayv1.Listener) gatewayv1.Hostname {
		if h := value(l.Hostname, ""); h != "" {
			return h
		}
		return "*"
	}
	x, y := a.Protocol, b.Protocol
	switch {
	case a.Port != b.Port:
		return true
	case (named(x) || opaque(x)) && (named(y) || opaque(y)):
		return named(x) && named(y) && name(a) != name(b)
	default:
		return x != y
	}
}

// listenerServer makes the server of a listener; valid is false where no pod is
// told of it, and the server nil where routes cannot refer to it either (istio
// conversion.go buildListener). Whether the Secrets that it names exist the
// input does not tell: they are taken to, and what happens to connections that
// need them is not known.
func (c *gatewayConversion) listenerServer(g *KubeGateway, l *gatewayv1.Listener) (server *networking.Server, valid bool) {
	tls, valid := c.listenerTLS(g, l)
	switch l.Protocol {
	case gatewayv1.HTTPProtocolType, gatewayv1.TCPProtocolType:
	case gatewayv1.HTTPSProtocolType, gatewayv1.TLSProtocolType:
		if tls == nil {
			return nil, false
		}
	default: // UDP, HBONE, and names in another spelling
		valid = false
	}
	protocol := string(l.Protocol)
	if !valid {
		protocol = ""
	}
	return &networking.Server{
		Port:  &networking.Port{Name: "default", Number: uint32(l.Port), Protocol: protocol}, //nolint:gosec // a port
		Hosts: c.listenerHosts(g, l),
		Tls:   tls,
	}, valid
}

// listenerTLS converts the TLS settings of a listener (istio conversion.go
// buildTLS).
func (c *gatewayConversion) listenerTLS(g *KubeGateway, l *gatewayv1.Listener) (tls *networking.ServerTLSSettings, valid bool) {
	if l.TLS == nil {
		return nil, true
	}
	out := &networking.ServerTLSSettings{}
	switch value(l.TLS.Mode, gatewayv1.TLSModeTerminate) {
	case gatewayv1.TLSModePassthrough:
		out.Mode = networking.ServerTLSSettings_PASSTHROUGH
		if autoPassthrough(g, l) {
			out.Mode = networking.ServerTLSSettings_AUTO_PASSTHROUGH
		}
		return out, true
	case gatewayv1.TLSModeTerminate:
	default:
		return out, true
	}
	out.Mode = networking.ServerTLSSettings_SIMPLE
	switch l.TLS.Options[tlsModeOption] {
	case "MUTUAL":
		out.Mode = networking.ServerTLSSettings_MUTUAL
	case "OPTIONAL_MUTUAL":
		out.Mode = networking.ServerTLSSettings_OPTIONAL_MUTUAL
	case "ISTIO_SIMPLE":
		out.CredentialName = builtinCredential
		return out, true
	case "ISTIO_MUTUAL":
		out.Mode = networking.ServerTLSSettings_ISTIO_MUTUAL
		return out, true
	}
	if len(l.TLS.CertificateRefs) > 2 {
		return out, false
	}
	for _, ref := range l.TLS.CertificateRefs {
		namespace := string(value(ref.Namespace, gatewayv1.Namespace(g.Namespace)))
		secret := groupKind{string(value(ref.Group, "")), string(value(ref.Kind, "Secret"))}
		if secret != secretKind || namespace != g.Namespace && !c.granted(kubeGatewayKind, g.Namespace, secret, namespace, string(ref.Name)) {
			continue
		}
		out.CredentialName = "kubernetes-gateway://" + namespace + "/" + string(ref.Name)
	}
	return out, out.CredentialName != "" || len(l.TLS.CertificateRefs) == 0
}

// autoPassthrough reports whether a listener connects clusters by mesh TLS
// (istio pilot/pkg/serviceregistry/kube/conversion.go
// IsAutoPassthrough).
func autoPassthrough(g *KubeGateway, l *gatewayv1.Listener) bool {
	if l.TLS.Options["gateway.istio.io/listener-protocol"] == "auto-passthrough" {
		return true
	}
	expected := "15443"
	if port, ok := g.Labels["networking.istio.io/gatewayPort"]; ok {
		expected = port
	}
	return fmt.Sprint(l.Port) == expected && g.Labels["topology.istio.io/network"] != ""
}

// listenerHosts are the hosts of a listener's server, each with a namespace
// whose routes may use it (istio conversion.go buildHostnameMatch).
func (c *gatewayConversion) listenerHosts(g *KubeGateway, l *gatewayv1.Listener) []string {
	name := string(value(l.Hostname, "*"))
	var out []string
	for _, ns := range c.allowedNamespaces(g, l) {
		out = append(out, ns+"/"+name)
	}
	if len(out) == 0 {
		return []string{"~/" + name} // nobody
	}
	return out
}

func (c *gatewayConversion) allowedNamespaces(g *KubeGateway, l *gatewayv1.Listener) []string {
	from := gatewayv1.NamespacesFromSame
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		from = value(l.AllowedRoutes.Namespaces.From, from)
	}
	switch {
	case from == gatewayv1.NamespacesFromSame:
		return []string{g.Namespace}
	case from == gatewayv1.NamespacesFromAll, l.AllowedRoutes.Namespaces.Selector == nil:
		return []string{"*"}
	}
	selector, err := metav1.LabelSelectorAsSelector(l.AllowedRoutes.Namespaces.Selector)
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range sortedKeys(c.mesh.Namespaces) {
		if selector.Matches(labels.Set(mergeMaps(mergeMaps(map[string]string{}, c.mesh.Namespaces[name].Labels), map[string]string{NamespaceNameLabel: name}))) {
			out = append(out, name)
		}
	}
	return out
}

// undecided reports whether a listener asks for labels of a namespace that the
// input does not tell.
func (c *gatewayConversion) undecided(l *gatewayv1.Listener, namespace string) bool {
	if ns := c.mesh.Namespaces[namespace]; ns != nil && ns.Declared {
		return false
	}
	if l == nil || l.AllowedRoutes == nil || l.AllowedRoutes.Namespaces == nil ||
		value(l.AllowedRoutes.Namespaces.From, gatewayv1.NamespacesFromSame) != gatewayv1.NamespacesFromSelector || l.AllowedRoutes.Namespaces.Selector == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(l.AllowedRoutes.Namespaces.Selector)
	if err != nil {
		return false
	}
	requirements, _ := selector.Requirements()
	return slices.ContainsFunc(requirements, func(r labels.Requirement) bool { return r.Key() != NamespaceNameLabel })
}

// listenerKinds are the kinds of routes that a listener takes (istio
// gatewaycommon/conversion.go GenerateGatewaySupportedKinds).
func listenerKinds(l *gatewayv1.Listener) []groupKind {
	var out []groupKind
	add := func(kind string) { out = append(out, groupKind{gatewayv1.GroupName, kind}) }
	switch l.Protocol {
	case gatewayv1.HTTPProtocolType, gatewayv1.HTTPSProtocolType:
		add("HTTPRoute")
		add("GRPCRoute")
	case gatewayv1.TCPProtocolType:
		add("TCPRoute")
	case gatewayv1.TLSProtocolType:
		add("TLSRoute")
		if l.TLS != nil && value(l.TLS.Mode, gatewayv1.TLSModeTerminate) == gatewayv1.TLSModeTerminate {
			add("TCPRoute")
		}
	}
	if l.AllowedRoutes == nil || len(l.AllowedRoutes.Kinds) == 0 {
		return out
	}
	return slices.DeleteFunc(out, func(k groupKind) bool {
		return !slices.ContainsFunc(l.AllowedRoutes.Kinds, func(a gatewayv1.RouteGroupKind) bool {
			return string(a.Kind) == k.kind && string(value(a.Group, gatewayv1.GroupName)) == k.group
		})
	})
}

// splitServerHost splits "namespace/host".
func splitServerHost(h string) (namespace, name string) {
	namespace, name, found := strings.Cut(h, "/")
	if !found {
		return "*", h
	}
	return namespace, name
}
