package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/host"

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

// HBONEPort is the port on which waypoints and ztunnels take tunnelled
// connections.
const HBONEPort = 15008

// ambientServices is the registry that istiod sends to ztunnel: for each host
// and namespace one service (istio pilot/pkg/serviceregistry/ambient/services.go
// selectWorkloadServices).
type ambientServices struct {
	// hosts gives the services of a host, the mesh-wide choice first.
	hosts map[host.Name][]*Service
	// order is every service, in a stable order.
	order     []*Service
	addresses map[*Service][]netip.Prefix
	waypoints map[*Service]*WaypointBinding
}

func (p *PushContext) ambient() *ambientServices {
	p.ambientOnce.Do(func() {
		a := &ambientServices{hosts: map[host.Name][]*Service{}, addresses: map[*Service][]netip.Prefix{}, waypoints: map[*Service]*WaypointBinding{}}
		p.ambientServices = a
		for _, s := range p.services {
			if s.Resolution == Alias || s.Entry != nil && p.ambientVisibility(s) == meshconfig.ServiceEntryVisibility_NONE ||
				p.byHost[s.Hostname][s.Namespace] != s {
				continue
			}
			a.order = append(a.order, s)
			a.addresses[s] = p.ambientAddresses(s)
			list := a.hosts[s.Hostname]
			// The mesh-wide choice: a Kubernetes Service, else the oldest that
			// is not restricted to its namespace. Services are oldest first.
			if s.Kubernetes() && (len(list) == 0 || !list[0].Kubernetes()) || len(list) > 0 && !list[0].Kubernetes() && p.restricted(list[0]) && !p.restricted(s) {
				list = slices.Insert(list, 0, s)
			} else {
				list = append(list, s)
			}
			a.hosts[s.Hostname] = list
		}
	})
	return p.ambientServices
}

func (p *PushContext) ambientVisibility(s *Service) meshconfig.ServiceEntryVisibility_Visibility {
	rules := p.Config.GetServiceEntryVisibility()
	if s.Entry == nil || rules == nil {
		return meshconfig.ServiceEntryVisibility_PUBLIC
	}
	return p.entryVisibility(rules, s.Namespace)
}

// restricted reports whether ztunnel knows a service only for clients of its own
// namespace. exportTo plays no part in ambient mode (istio/istio#55163).
func (p *PushContext) restricted(s *Service) bool {
	return p.ambientVisibility(s) == meshconfig.ServiceEntryVisibility_NAMESPACE
}

func (p *PushContext) knownTo(s *Service, namespace string) bool {
	return s.Namespace == namespace || !p.restricted(s)
}

// ambientAddresses are the addresses by which ztunnel recognises a service: all
// those that a ServiceEntry lists, else the automatic one.
func (p *PushContext) ambientAddresses(s *Service) []netip.Prefix {
	var list []string
	switch {
	case s.Kubernetes():
		list = append([]string{s.Address}, s.ExtraAddresses...)
	case len(s.Entry.Spec.GetAddresses()) > 0:
		list = s.Entry.Spec.GetAddresses()
	default:
		list = []string{s.AutoAddress}
	}
	var out []netip.Prefix
	for _, text := range list {
		if text == UnspecifiedIP || text == "" {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil {
			a = a.Unmap()
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			out = append(out, prefix.Masked())
		}
	}
	return out
}

// AmbientAddresses returns the addresses by which ztunnel and waypoints
// recognise a service; none means that they never see it.
func (p *PushContext) AmbientAddresses(s *Service) []netip.Prefix { return p.ambient().addresses[s] }

// AmbientServiceAt returns the service that ztunnel finds at an address for a
// client in a namespace, nil if it knows none: an exact address before a CIDR,
// the client's own namespace before others, then the longer prefix, then the
// mesh-wide choice (istio/ztunnel src/state/service.go get_best_by_vip).
//
// ties are further services between which ztunnel may choose as well.
func (p *PushContext) AmbientServiceAt(namespace string, address netip.Addr) (best *Service, ties []*Service) {
	a := p.ambient()
	type rank struct {
		exact, own bool
		bits       int
		canonical  bool
	}
	better := func(x, y rank) int {
		for _, d := range []int{truth(x.exact) - truth(y.exact), truth(x.own) - truth(y.own), x.bits - y.bits, truth(x.canonical) - truth(y.canonical)} {
			if d != 0 {
				return d
			}
		}
		return 0
	}
	var top rank
	for _, s := range a.order {
		if !p.knownTo(s, namespace) {
			continue
		}
		for _, prefix := range a.addresses[s] {
			if !prefix.Contains(address) {
				continue
			}
			r := rank{prefix.IsSingleIP(), s.Namespace == namespace, prefix.Bits(), a.hosts[s.Hostname][0] == s}
			switch d := better(r, top); {
			case best == nil || d > 0:
				best, top, ties = s, r, nil
			case d == 0 && s != best:
				ties = append(ties, s)
			}
		}
	}
	return best, ties
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// AmbientResolve looks a name up as a client of ztunnel's DNS does: a registered
// host, or a wildcard that covers it, gives the service's address in the
// client's view; anything else goes to the cluster's DNS (istio/ztunnel
// src/dns/server.go find_server).
func (p *PushContext) AmbientResolve(namespace, name string) Resolved {
	if _, err := netip.ParseAddr(name); err == nil || p.clusterService(namespace, strings.ToLower(strings.TrimSuffix(name, "."))) != nil {
		return p.Resolve(namespace, name, false)
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	a := p.ambient()
	rest := name
	for search := name; ; {
		var found *Service
		for _, s := range a.hosts[host.Name(search)] {
			if len(a.addresses[s]) == 0 || !p.knownTo(s, namespace) {
				continue
			}
			if found == nil || s.Namespace == namespace && found.Namespace != namespace {
				found = s
			}
		}
		if found != nil {
			listed := *found
			if len(found.Entry.Spec.GetAddresses()) == 0 {
				listed.AddressField = ""
			}
			return Resolved{Addr: firstHost(a.addresses[found][0]), Listed: &listed}
		}
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			break
		}
		search, rest = "*."+after, after
	}
	return Resolved{Addr: p.PublicAddress(name)}
}

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
	if managed := s.Labels[gatewayManagedLabel]; managed == "istio.io-mesh-controller" || managed == "istio.io-eastwest-controller" {
		return &WaypointBinding{Why: fmt.Sprintf("%s is itself a waypoint or gateway", s.Object)}
	}
	b, from, ns := &WaypointBinding{}, s.Object.Labels, p.Mesh.Namespaces[s.Namespace]
	own := true
	switch name, ok := from[useWaypointLabel]; {
	case ok && name == "none":
		b.Object, b.Field = s.Object, "metadata.labels['"+useWaypointLabel+"']"
		b.Why = fmt.Sprintf("%s opts out with %s=none", s.Object, useWaypointLabel)
		return b
	case ok:
		b.Object, b.Field = s.Object, "metadata.labels['"+useWaypointLabel+"']"
	default:
		own = false
		if ns == nil || ns.Labels[useWaypointLabel] == "" || ns.Labels[useWaypointLabel] == "none" {
			if ns == nil || !ns.Declared {
				b.Why = fmt.Sprintf("%s has no label %s, and the input says nothing of namespace %s", s.Object, useWaypointLabel, s.Namespace)
			} else {
				b.Why = fmt.Sprintf("neither %s nor namespace %s has a label %s", s.Object, s.Namespace, useWaypointLabel)
			}
			return b
		}
		from = ns.Labels
		if ns.Object != nil {
			b.Object, b.Field = ns.Object, "metadata.labels['"+useWaypointLabel+"']"
		}
	}
	namespace := s.Namespace
	if v, ok := from[useWaypointNamespaceLabel]; ok {
		namespace = v
	}
	p.resolveWaypoint(b, s, from[useWaypointLabel], namespace)
	if b.Waypoint != nil {
		p.bindCanary(b, s, own)
	}
	return b
}

// resolveWaypoint finds the Gateway of a binding and asks whether it takes the
// service.
func (p *PushContext) resolveWaypoint(b *WaypointBinding, s *Service, name, namespace string) {
	g := p.kubeGateway(namespace, name)
	switch {
	case g == nil && p.Mesh.Namespaces[namespace] == nil:
		b.Unknown = fmt.Sprintf("%s uses waypoint %s/%s, and the input holds nothing of namespace %s", s.Object, namespace, name, namespace)
	case g == nil:
		b.Failed = true
		b.Why = fmt.Sprintf("waypoint %s/%s, which %s uses, does not exist", namespace, name, s.Object)
	case p.Mesh.GatewayController(string(g.Spec.Spec.GatewayClassName)) == "":
		b.Unknown = fmt.Sprintf("waypoint %s is of class %s, of which the input does not say who serves it", g.ID(), g.Spec.Spec.GatewayClassName)
	case !p.admits(g, s.Namespace):
		b.Failed = true
		b.Why = fmt.Sprintf("waypoint %s does not admit objects of namespace %s (allowedRoutes)", g.ID(), s.Namespace)
	case !slices.Contains([]string{"service", "all"}, p.waypointFor(g)):
		b.Failed = true
		b.Why = fmt.Sprintf("waypoint %s is for %q (%s), not for services", g.ID(), p.waypointFor(g), waypointForLabel)
	case p.restricted(s) && g.Namespace != s.Namespace:
		b.Failed = true
		b.Why = fmt.Sprintf("serviceEntryVisibility restricts %s to its namespace, so it cannot use waypoint %s", s.Object, g.ID())
	default:
		b.Waypoint = g
		b.Why = fmt.Sprintf("%s uses waypoint %s", s.Object, g.ID())
	}
}

// bindCanary finds the second waypoint that shares the connections (istio
// waypoints.go buildWeightedWaypoints). own says that the object itself names
// its waypoint.
func (p *PushContext) bindCanary(b *WaypointBinding, s *Service, own bool) {
	from, annotations := s.Object.Labels, s.Object.Annotations
	ns := p.Mesh.Namespaces[s.Namespace]
	if from[useWaypointCanaryLabel] == "" && !own && ns != nil {
		from = ns.Labels
	}
	name := from[useWaypointCanaryLabel]
	if name == "" || name == "none" {
		return
	}
	namespace := s.Namespace
	if v, ok := from[canaryNamespaceLabel]; ok {
		namespace = v
	}
	text, ok := annotations[canaryWeightAnnotation]
	if !ok && !own && ns != nil && ns.Object != nil {
		text = ns.Object.Annotations[canaryWeightAnnotation]
	}
	weight, err := strconv.Atoi(text)
	if err != nil || weight < 1 || weight > 100 {
		return
	}
	canary := &WaypointBinding{}
	p.resolveWaypoint(canary, s, name, namespace)
	if canary.Unknown != "" {
		b.Unknown = canary.Unknown
	} else if canary.Waypoint != nil && canary.Waypoint != b.Waypoint {
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

// admits evaluates allowedRoutes of the listener by which a waypoint is reached
// (istio waypoints.go makeAllowedRoutes).
func (p *PushContext) admits(g *KubeGateway, namespace string) bool {
	var chosen *gatewayv1.Listener
	listeners := g.Spec.Spec.Listeners
	protocol, port, bound := strings.Cut(p.classAnnotation(g, inboundBindingAnnotation), "/")
	for i := range listeners {
		l := &listeners[i]
		if bound && strconv.Itoa(int(l.Port)) == port || !bound && protocol == "PROXY" && l.Protocol == "istio.io/PROXY" {
			chosen = l
			break
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
		return true
	case gatewayv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(chosen.AllowedRoutes.Namespaces.Selector)
		ns := p.Mesh.Namespaces[namespace]
		return err == nil && ns != nil && selector.Matches(labels.Set(ns.Labels))
	default:
		return g.Namespace == namespace
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
	return "service"
}

// WaypointServices returns the services that a waypoint serves, oldest first
// (istio pilot/pkg/networking/core/waypoint.go findWaypointResources).
func (p *PushContext) WaypointServices(g *KubeGateway) []*Service {
	var out []*Service
	for _, s := range p.ambient().order {
		if s.Resolution == DynamicDNS && !s.MeshExternal {
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

// IngressUsesWaypoint reports whether gateways send to a service through its
// waypoint (label istio.io/ingress-use-waypoint on it or its namespace).
func (p *PushContext) IngressUsesWaypoint(s *Service) bool {
	const key = "istio.io/ingress-use-waypoint"
	value, ok := s.Object.Labels[key]
	if ns := p.Mesh.Namespaces[s.Namespace]; !ok && ns != nil {
		value = ns.Labels[key]
	}
	on, err := strconv.ParseBool(value)
	return err == nil && on && p.WaypointOf(s).Waypoint != nil
}

// EndpointAt returns the ServiceEntry or WorkloadEntry that lists an address as
// that of an endpoint, nil if none does.
func (p *PushContext) EndpointAt(a netip.Addr) *manifest.Object {
	is := func(text string) bool {
		addr, err := netip.ParseAddr(text)
		return err == nil && addr.Unmap() == a
	}
	for _, entry := range p.Mesh.ServiceEntries {
		for _, e := range entry.Spec.GetEndpoints() {
			if is(e.GetAddress()) {
				return entry.Object
			}
		}
	}
	for _, entry := range p.Mesh.WorkloadEntries {
		if is(entry.Spec.GetAddress()) {
			return entry.Object
		}
	}
	return nil
}
