package model

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/manifest"
)

// noteListenerSets marks the Gateways to which a ListenerSet adds listeners:
// ListenerSets are not converted, and their listeners take connections, compete
// with others and let routes in.
func (c *gatewayConversion) noteListenerSets() {
	for _, o := range c.mesh.listenerSets() {
		g := c.mesh.listenerSetParent(o)
		if g == nil || !c.mesh.takesListenerSets(g, o.Namespace) {
			continue
		}
		c.markUnsure(g, Unmodelled{
			Why:   fmt.Sprintf("%s adds listeners to %s, which is not simulated", o, g.Object),
			Place: Place{o, "spec.listeners"},
		})
	}
}

// noteAgentgateways marks the Gateways for which istiod deploys another proxy.
func (c *gatewayConversion) noteAgentgateways() {
	s := c.config.Switch("PILOT_ENABLE_AGENTGATEWAY")
	if s == nil {
		return
	}
	for _, g := range c.mesh.KubeGateways {
		if c.mesh.controllerFor(c.config, string(g.Spec.Spec.GatewayClassName)) == agentgatewayController {
			c.markUnsure(g, *s.Unmodelled(fmt.Sprintf("agentgateway serves %s, which is not simulated", g.Object)))
		}
	}
}

func (m *Mesh) listenerSets() []*manifest.Object {
	var out []*manifest.Object
	for _, o := range m.Unmodelled {
		if o.Kind == listenerSetKind.kind && o.Group() == listenerSetKind.group {
			out = append(out, o)
		}
	}
	return out
}

// listenerSetParent returns the Gateway that a ListenerSet names, nil if the
// input does not hold it.
func (m *Mesh) listenerSetParent(o *manifest.Object) *KubeGateway {
	parent := asMap(lookupMap(asMap(o.Value), "spec")["parentRef"])
	namespace := lookupString(parent, "namespace")
	if namespace == "" {
		namespace = o.Namespace
	}
	for _, g := range m.KubeGateways {
		if g.Namespace == namespace && g.Name == lookupString(parent, "name") {
			return g
		}
	}
	return nil
}

// takesListenerSets reports whether a Gateway lets the ListenerSets of a
// namespace in, or may (istio gatewaycommon/gateway_utils.go
// NamespaceAcceptedByAllowListeners). By default it takes none.
func (m *Mesh) takesListenerSets(g *KubeGateway, namespace string) bool {
	allowed := g.Spec.Spec.AllowedListeners
	if allowed == nil || allowed.Namespaces == nil {
		return false
	}
	switch value(allowed.Namespaces.From, gatewayv1.NamespacesFromNone) {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return namespace == g.Namespace
	case gatewayv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Namespaces.Selector)
		ns := m.Namespaces[namespace]
		return err == nil && (ns == nil || !ns.Declared || selector.Matches(labels.Set(ns.Labels)))
	default:
		return false
	}
}

// UndeployedGateway says why it is not known who is behind a host: it is that of the
// Service of a Gateway which istiod does not deploy, because it deploys none. It is
// "" for other hosts.
func (p *PushContext) UndeployedGateway(h host.Name) string {
	s := p.Config.Switch("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER")
	if s == nil {
		return ""
	}
	for _, g := range p.Mesh.KubeGateways {
		if slices.Contains(gatewayServices(p.Config, g), h) {
			return s.Unmodelled(fmt.Sprintf("whoever deploys %s in its place is not in the input", g.Object)).Why
		}
	}
	return ""
}

// UnmodelledGateway says why it is not known what a gateway's pods do, nil if
// that is known.
func (p *PushContext) UnmodelledGateway(w *Workload) *Unmodelled {
	for _, g := range p.Mesh.KubeGateways {
		why, found := p.converted.unsure[g]
		if found && (len(p.boundPorts(g.Namespace, gatewayServices(p.Config, g), w)) > 0 || w.Namespace == g.Namespace && w.Labels[GatewayNameLabel] == g.Name) {
			return &why
		}
	}
	return p.Config.Opaque()
}

// UnmodelledBackend says why it is not known how proxies connect to a service,
// nil if that is known. A BackendTLSPolicy has them originate TLS, as a
// DestinationRule does (istio pilot/pkg/config/kube/gateway/backend_policies.go);
// it is not converted.
func (p *PushContext) UnmodelledBackend(s *Service) *Unmodelled {
	if s.Object == nil || len(p.backendPolicies) == 0 {
		return nil
	}
	for _, o := range p.backendPolicies {
		refs, _ := lookupMap(asMap(o.Value), "spec")["targetRefs"].([]any)
		for i, ref := range refs {
			kind := groupKind{lookupString(asMap(ref), "group"), lookupString(asMap(ref), "kind")}
			if o.Namespace != s.Object.Namespace || lookupString(asMap(ref), "name") != s.Object.Name ||
				kind != serviceKind && kind != serviceEntryKind || (kind == serviceKind) != s.Kubernetes() {
				continue
			}
			return &Unmodelled{
				Why:   fmt.Sprintf("%s decides about TLS towards %s, which is not simulated", o, s.Object),
				Place: Place{o, fmt.Sprintf("spec.targetRefs[%d]", i)},
			}
		}
	}
	return nil
}

// initBackendPolicies collects the BackendTLSPolicies that istiod reads.
func (p *PushContext) initBackendPolicies() {
	if !p.Config.Enabled("PILOT_ENABLE_GATEWAY_API") {
		return
	}
	for _, o := range p.Mesh.Unmodelled {
		if o.Kind == "BackendTLSPolicy" && o.Group() == gatewayv1.GroupName && !strings.EqualFold(o.Annotations["istio.io/ignore-policy-attachment"], "true") {
			p.backendPolicies = append(p.backendPolicies, o)
		}
	}
}
