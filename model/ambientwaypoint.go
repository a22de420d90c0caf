package model

import (
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/egresslint/egresslint/model/manifest"
)

// The labels that bind services to waypoints.
const (
	useWaypointNamespaceLabel = "istio.io/use-waypoint-namespace"
	useWaypointCanaryLabel    = "istio.io/use-waypoint-canary"
	canaryNamespaceLabel      = "istio.io/use-waypoint-canary-namespace"
	canaryWeightAnnotation    = "istio.io/use-waypoint-canary-weight"
	waypointForLabel          = "istio.io/waypoint-for"
	inboundBindingAnnotation  = "ambient.istio.io/waypoint-inbound-binding"
)

// The kinds of traffic that a waypoint takes.
const (
	forServices  = "service"
	forWorkloads = "workload"
	forAll       = "all"
)

// HBONEPort is the port on which waypoints and ztunnels take tunnelled
// connections.
const HBONEPort = 15008

// WaypointBinding says which waypoint takes the connections of ambient clients
// to a service.
type WaypointBinding struct {
	// Waypoint is nil where there is none; then the connections go straight out.
	Waypoint *KubeGateway
	// Why is a clause that says why there is a waypoint or none; Object and
	// Field are where that is said, nil and "" where nothing is.
	Why    string
	Object *manifest.Object
	Field  string
	// Failed: a waypoint is asked for but does not take part: what was meant
	// to be controlled is not.
	Failed bool
	// Unknown says why the binding cannot be told, "" if it can.
	Unknown string
	// Assumption is what the binding takes for granted, "" if nothing.
	Assumption string
	// Canary takes CanaryWeight percent of the connections, nil if there is none.
	Canary       *KubeGateway
	CanaryWeight int
}

// WaypointOf returns the waypoint of a service (istio
// pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForService).
// A waypoint that the manifests name counts as ready.
func (p *PushContext) WaypointOf(s *Service) *WaypointBinding {
	a := p.ambient()
	b := a.waypoints[s]
	if b == nil {
		b = p.bind(s)
		a.waypoints[s] = b
	}
	return b
}

func (p *PushContext) bind(s *Service) *WaypointBinding {
	b := &WaypointBinding{}
	if managed := s.Object.Labels[gatewayManagedLabel]; managed == "istio.io-mesh-controller" || managed == "istio.io-eastwest-controller" {
		b.Why = fmt.Sprintf("%s is itself a waypoint or gateway", s.Object)
		b.Object, b.Field = s.Object, "metadata.labels['"+gatewayManagedLabel+"']"
		return b
	}
	ref := p.waypointReference(b, s.Object.Labels, s.Object, s.Namespace)
	if ref == nil {
		return b
	}
	p.resolveWaypoint(b, ref, forServices)
	if b.Waypoint != nil && b.Waypoint.Namespace != s.Namespace && p.restricted(s) {
		b.Waypoint, b.Failed = nil, true
		b.Why = fmt.Sprintf("serviceEntryVisibility restricts %s to its namespace, so it cannot use waypoint %s/%s", s.Object, ref.namespace, ref.name)
	}
	if b.Waypoint != nil {
		p.bindCanary(b, s, ref)
	}
	return b
}

// WorkloadWaypoint returns the waypoint that takes what ambient clients send
// straight to the address of a workload with these labels, with Waypoint nil if
// there is none (istio pilot/pkg/serviceregistry/ambient/waypoints.go
// fetchWaypointForWorkload). object gives the labels.
func (p *PushContext) WorkloadWaypoint(labels map[string]string, object *manifest.Object, namespace string) *WaypointBinding {
	b := &WaypointBinding{}
	if ref := p.waypointReference(b, labels, object, namespace); ref != nil {
		p.resolveWaypoint(b, ref, forWorkloads)
	}
	return b
}

// waypointRef is what a label asks for.
type waypointRef struct {
	object          *manifest.Object
	from            string // the namespace of object
	name, namespace string // of the Gateway
	own             bool   // the object itself names it, not its namespace
}

// waypointReference reads the labels of an object, else of its namespace; it
// returns nil and says why in b where there are none (istio waypoints.go
// fetchWaypointForTarget, GetUseWaypoint).
func (p *PushContext) waypointReference(b *WaypointBinding, own map[string]string, object *manifest.Object, namespace string) *waypointRef {
	ref := &waypointRef{object: object, from: namespace, namespace: namespace, own: true}
	from, ns := own, p.Mesh.Namespaces[namespace]
	const field = "metadata.labels['" + useWaypointLabel + "']"
	switch name, ok := from[useWaypointLabel]; {
	case ok && name == "none":
		b.Object, b.Field = object, field
		b.Why = fmt.Sprintf("%s opts out with %s=none", object, useWaypointLabel)
		return nil
	case ok:
		b.Object, b.Field = object, field
	default:
		ref.own = false
		if ns == nil || !ns.Declared {
			p.unlabelled(b, ref)
			return nil
		}
		if ns.Labels[useWaypointLabel] == "" || ns.Labels[useWaypointLabel] == "none" {
			b.Why = fmt.Sprintf("neither %s nor namespace %s has a label %s", object, namespace, useWaypointLabel)
			return nil
		}
		from = ns.Labels
		if ns.Object != nil {
			b.Object, b.Field = ns.Object, field
		}
	}
	for _, key := range []string{useWaypointLabel, useWaypointNamespaceLabel} {
		if text := PlaceholderIn(from[key]); text != "" {
			b.Unknown = fmt.Sprintf("%s is labelled %s=%s, and its waypoint is what is filled in there", b.Object, key, text)
			return nil
		}
	}
	ref.name = from[useWaypointLabel]
	if v, ok := from[useWaypointNamespaceLabel]; ok {
		ref.namespace = v
	}
	return ref
}

// unlabelled decides about an object without label in a namespace of whose
// labels the input says nothing: they may well name a waypoint that is there,
// as "istioctl waypoint apply --enroll-namespace" sets them.
func (p *PushContext) unlabelled(b *WaypointBinding, ref *waypointRef) {
	for _, g := range p.Mesh.KubeGateways {
		if g.Namespace == ref.from && p.Mesh.IsWaypoint(g) {
			b.Unknown = fmt.Sprintf("the input does not say how namespace %s is labelled, so whether %s uses its waypoint %s is not known", ref.from, ref.object, g.Name)
			return
		}
	}
	b.Why = fmt.Sprintf("%s has no label %s, and the input says nothing of namespace %s", ref.object, useWaypointLabel, ref.from)
	b.Assumption = fmt.Sprintf("namespace %s, of whose labels the input says nothing, has no label %s", ref.from, useWaypointLabel)
}

// resolveWaypoint finds the Gateway of a binding and asks whether it takes the
// object's connections, those to services or those to workloads.
func (p *PushContext) resolveWaypoint(b *WaypointBinding, ref *waypointRef, kind string) {
	g := p.kubeGateway(ref.namespace, ref.name)
	switch {
	case g == nil && p.Mesh.Namespaces[ref.namespace] == nil:
		b.Unknown = fmt.Sprintf("%s uses waypoint %s/%s, and the input holds nothing of namespace %s", ref.object, ref.namespace, ref.name, ref.namespace)
		return
	case g == nil:
		b.Failed = true
		b.Why = fmt.Sprintf("waypoint %s/%s, which %s uses, does not exist", ref.namespace, ref.name, ref.object)
		return
	}
	admitted, unsure := p.admits(g, ref.from)
	takes := p.waypointFor(g)
	_, bound := p.inboundBinding(g)
	switch {
	case unsure != "":
		b.Unknown = fmt.Sprintf("whether waypoint %s admits objects of namespace %s (allowedRoutes) is not known: %s", g.ID(), ref.from, unsure)
	case !admitted:
		b.Failed = true
		b.Why = fmt.Sprintf("waypoint %s does not admit objects of namespace %s (allowedRoutes)", g.ID(), ref.from)
	case takes != kind && takes != forAll:
		// Workloads of a namespace whose waypoint is for services are no mistake.
		b.Failed = kind == forServices || ref.own
		b.Why = fmt.Sprintf("waypoint %s is for %q (%s), not for %ss", g.ID(), takes, waypointForLabel, kind)
	case !p.Config.Enabled("PILOT_ENABLE_AMBIENT_WAYPOINTS"):
		b.Unknown = p.Config.Switch("PILOT_ENABLE_AMBIENT_WAYPOINTS").Unmodelled(fmt.Sprintf("what becomes of connections to waypoint %s then is not simulated", g.ID())).Why
	case p.Mesh.controllerFor(p.Config, string(g.Spec.Spec.GatewayClassName)) == "":
		b.Unknown = fmt.Sprintf("waypoint %s is of class %s, of which the input does not say who serves it", g.ID(), g.Spec.Spec.GatewayClassName)
	case !p.Mesh.IsWaypoint(g):
		b.Unknown = fmt.Sprintf("%s uses %s as its waypoint, which is of class %s, and what that does is not simulated", ref.object, g.ID(), g.Spec.Spec.GatewayClassName)
	case bound:
		b.Unknown = fmt.Sprintf("waypoint %s is reached as its annotation %s says, which is not simulated", g.ID(), inboundBindingAnnotation)
	default:
		b.Waypoint = g
		b.Why = fmt.Sprintf("%s uses waypoint %s", ref.object, g.ID())
	}
}

// bindCanary finds the second waypoint that shares the connections. One that
// does not take part leaves all to the first (istio waypoints.go
// buildWeightedWaypoints, resolveCanaryWaypoint: serviceEntryVisibility is not
// asked).
func (p *PushContext) bindCanary(b *WaypointBinding, s *Service, primary *waypointRef) {
	from, annotations, ns := s.Object.Labels, s.Object.Annotations, p.Mesh.Namespaces[s.Namespace]
	if _, ok := from[useWaypointCanaryLabel]; !ok && !primary.own && ns != nil {
		from = ns.Labels
	}
	ref := &waypointRef{object: s.Object, from: s.Namespace, name: from[useWaypointCanaryLabel], namespace: s.Namespace}
	if ref.name == "" || ref.name == "none" {
		return
	}
	if v, ok := from[canaryNamespaceLabel]; ok {
		ref.namespace = v
	}
	text, ok := annotations[canaryWeightAnnotation]
	if !ok && !primary.own && ns != nil && ns.Object != nil {
		text = ns.Object.Annotations[canaryWeightAnnotation]
	}
	for _, value := range []string{ref.name, ref.namespace, text} {
		if open := PlaceholderIn(value); open != "" && text != "" {
			b.Unknown = fmt.Sprintf("%s is to have a second waypoint (%s), of which the placeholder %s decides", s.Object, useWaypointCanaryLabel, open)
			return
		}
	}
	weight, err := strconv.Atoi(text)
	if err != nil || weight < 1 || weight > 100 || ref.name == primary.name && ref.namespace == primary.namespace {
		return
	}
	canary := &WaypointBinding{}
	p.resolveWaypoint(canary, ref, forServices)
	if canary.Unknown != "" {
		b.Unknown = canary.Unknown
	} else if canary.Waypoint != nil {
		b.Canary, b.CanaryWeight = canary.Waypoint, weight
	}
}

func (p *PushContext) kubeGateway(namespace, name string) *KubeGateway {
	for _, g := range p.Mesh.KubeGateways {
		if g.Namespace == namespace && g.Name == name {
			return g
		}
	}
	return nil
}

// inboundBinding reads the annotation that says by which listener a waypoint is
// reached; ok is false without one that istiod understands (istio waypoints.go
// makeInboundBinding).
func (p *PushContext) inboundBinding(g *KubeGateway) (matches func(*gatewayv1.Listener) bool, ok bool) {
	parts := strings.Split(p.classAnnotation(g, inboundBindingAnnotation), "/")
	if len(parts) > 2 || parts[0] != "NONE" && parts[0] != "PROXY" {
		return nil, false
	}
	if len(parts) == 2 {
		if port, err := strconv.ParseUint(parts[1], 10, 32); err == nil && port != 0 {
			return func(l *gatewayv1.Listener) bool { return uint64(l.Port) == port }, true //nolint:gosec // a port
		}
	}
	return func(l *gatewayv1.Listener) bool { return parts[0] == "PROXY" && l.Protocol == "istio.io/PROXY" }, true
}

// admits evaluates allowedRoutes of the listener by which a waypoint is reached
// (istio waypoints.go makeAllowedRoutes); unsure says why that is not known.
func (p *PushContext) admits(g *KubeGateway, namespace string) (admitted bool, unsure string) {
	var chosen *gatewayv1.Listener
	listeners := g.Spec.Spec.Listeners
	if matches, ok := p.inboundBinding(g); ok {
		for i := range listeners {
			if chosen == nil && matches(&listeners[i]) {
				chosen = &listeners[i]
			}
		}
	}
	for i := range listeners {
		if l := &listeners[i]; chosen == nil && l.Protocol == "HBONE" && l.Port == HBONEPort {
			chosen = l
		}
	}
	from := gatewayv1.NamespacesFromSame
	if chosen != nil && chosen.AllowedRoutes != nil && chosen.AllowedRoutes.Namespaces != nil {
		if f := chosen.AllowedRoutes.Namespaces.From; f != nil {
			from = *f
		}
	}
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true, ""
	case gatewayv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(chosen.AllowedRoutes.Namespaces.Selector)
		if err != nil {
			return false, ""
		}
		var set labels.Set
		ns := p.Mesh.Namespaces[namespace]
		if ns != nil {
			set = ns.Labels
		}
		if requirements, _ := selector.Requirements(); ns == nil || !ns.Declared {
			for _, r := range requirements {
				if r.Key() != NamespaceNameLabel {
					return false, "the input does not say how that namespace is labelled"
				}
			}
		}
		return selector.Matches(set), ""
	default:
		return g.Namespace == namespace, ""
	}
}

func (p *PushContext) classOf(g *KubeGateway) *GatewayClass {
	for _, c := range p.Mesh.GatewayClasses {
		if c.Name == string(g.Spec.Spec.GatewayClassName) {
			return c
		}
	}
	return nil
}

func (p *PushContext) classAnnotation(g *KubeGateway, key string) string {
	if v, ok := g.Annotations[key]; ok {
		return v
	}
	if c := p.classOf(g); c != nil {
		return c.Annotations[key]
	}
	return ""
}

// waypointFor is the kind of traffic that a waypoint takes.
func (p *PushContext) waypointFor(g *KubeGateway) string {
	if v, ok := g.Labels[waypointForLabel]; ok {
		return v
	}
	if c := p.classOf(g); c != nil {
		if v, ok := c.Labels[waypointForLabel]; ok {
			return v
		}
	}
	return forServices
}

// WaypointServices returns the services that a waypoint serves, oldest first
// (istio pilot/pkg/networking/core/waypoint.go findWaypointResources). Of
// several that define one host istiod serves one, and chance decides which.
func (p *PushContext) WaypointServices(g *KubeGateway) []*Service {
	var out []*Service
	for _, s := range p.ambient().order {
		if s.Resolution == DynamicDNS && !s.MeshExternal {
			continue
		}
		// istiod looks at the selector of Services (istio ambientindex.go
		// ServiceInfosByOwningWaypointHostname).
		if managed := s.Selector[gatewayManagedLabel]; managed == "istio.io-mesh-controller" || managed == "istio.io-eastwest-controller" {
			continue
		}
		if b := p.WaypointOf(s); b.Waypoint == g || b.Canary == g {
			out = append(out, s)
		}
	}
	return out
}

// WaypointWorkload returns the workload that is a waypoint's proxy.
func (p *PushContext) WaypointWorkload(g *KubeGateway) *Workload {
	for _, w := range p.Mesh.Workloads {
		if w.Namespace == g.Namespace && w.Labels[GatewayNameLabel] == g.Name {
			return w
		}
	}
	return nil
}

// WaypointRunBy returns the Gateway whose waypoint a workload is, nil if it is
// none.
func (p *PushContext) WaypointRunBy(w *Workload) *KubeGateway {
	if g := p.kubeGateway(w.Namespace, w.Labels[GatewayNameLabel]); g != nil && p.Mesh.IsWaypoint(g) {
		return g
	}
	return nil
}

const ingressWaypointLabel = "istio.io/ingress-use-waypoint"

func (p *PushContext) ingressLabel(s *Service) string {
	value, ok := s.Object.Labels[ingressWaypointLabel]
	if ns := p.Mesh.Namespaces[s.Namespace]; !ok && ns != nil {
		value = ns.Labels[ingressWaypointLabel]
	}
	return value
}

// IngressWaypointDoubt says why it is not known whether gateways send to a service
// through its waypoint, "" where it is.
func (p *PushContext) IngressWaypointDoubt(s *Service) string {
	value := p.ingressLabel(s)
	if value == "" || value == "false" {
		return ""
	}
	b := p.WaypointOf(s)
	if text := PlaceholderIn(value); text != "" && b.Waypoint != nil {
		return fmt.Sprintf("whether gateways send to %s through its waypoint is what is filled in for %s (%s)", s.Object, text, ingressWaypointLabel)
	}
	return b.Unknown
}

// IngressUsesWaypoint reports whether gateways send to a service through its
// waypoint (label istio.io/ingress-use-waypoint on it or its namespace).
func (p *PushContext) IngressUsesWaypoint(s *Service) bool {
	on, err := strconv.ParseBool(p.ingressLabel(s))
	if err != nil || !on || p.WaypointOf(s).Waypoint == nil {
		return false
	}
	// Only EDS puts the waypoint in the place of endpoints, and only for services
	// that have an address (istio pilot/pkg/xds/endpoints/endpoint_builder.go
	// findServiceWaypoint).
	return !s.Resolution.ByDNS() && len(p.AmbientAddresses(s)) > 0
}
