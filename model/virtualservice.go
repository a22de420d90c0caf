package model

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/visibility"

	"github.com/egresslint/egresslint/model/manifest"
)

// MeshGateway is the name by which VirtualServices mean the sidecars.
const MeshGateway = "mesh"

// MergedVirtualService is a VirtualService as istiod uses it: names resolved,
// delegates merged in (istio pilot/pkg/model/virtualservice_controller.go
// mergeVirtualServices).
type MergedVirtualService struct {
	*VirtualService
	// Hosts are the full host names, in the order of spec.hosts.
	Hosts []host.Name
	// Gateways are MeshGateway and "namespace/name"; unset means MeshGateway.
	Gateways []string
	HTTP     []*HTTPRoute
	TLS      []*networking.TLSRoute
	TCP      []*networking.TCPRoute
	// OfGatewayAPI is the kind of the route of the Gateway API of which istiod
	// made this, "" for a VirtualService of the input. Such a one has its own
	// rules of matching, order and namespaces.
	OfGatewayAPI string
	// exportTo has no "." left.
	exportTo ExportTo
}

// Title names the VirtualService for messages: "VirtualService ns/name", or the
// route of the Gateway API that it is made of.
func (m *MergedVirtualService) Title() string {
	if m.OfGatewayAPI != "" {
		return m.Cause.String()
	}
	return "VirtualService " + m.ID()
}

// HTTPRoute is one entry of http, with the place it comes from: the
// VirtualService, or a delegate.
type HTTPRoute struct {
	*networking.HTTPRoute
	Object *manifest.Object
	Field  string
	// Matches has for each entry of Match the place it comes from.
	Matches []Place
	// Destinations has for each entry of Route the place it comes from, unless
	// that is the route of Field.
	Destinations []Place
}

// Destination is the place of the i-th entry of Route.
func (r *HTTPRoute) Destination(i int) Place {
	if i < len(r.Destinations) {
		return r.Destinations[i]
	}
	return Place{r.Object, fmt.Sprintf("%s.route[%d].destination", r.Field, i)}
}

// Place is a field of an object.
type Place struct {
	Object *manifest.Object
	Field  string
}

// virtualServiceIndex finds VirtualServices by gateway and namespace (istio
// pilot/pkg/model/push_context.go initVirtualServices).
type virtualServiceIndex struct {
	all      []*MergedVirtualService
	public   map[string][]*MergedVirtualService
	private  map[[2]string][]*MergedVirtualService
	exported map[[2]string][]*MergedVirtualService
	// publicOf are the places of those of the mesh that everybody sees, by namespace.
	publicOf map[string][]int
}

func (p *PushContext) initVirtualServices() {
	x := &p.virtualServices
	x.public = map[string][]*MergedVirtualService{}
	x.private = map[[2]string][]*MergedVirtualService{}
	x.exported = map[[2]string][]*MergedVirtualService{}
	x.publicOf = map[string][]int{}
	for _, vs := range p.Mesh.VirtualServices {
		if len(vs.Spec.GetHosts()) > 0 { // else a delegate
			x.all = append(x.all, p.mergeVirtualService(vs))
		}
	}
	for _, m := range p.converted.routes {
		m.exportTo = p.virtualServiceExportTo(m.VirtualService)
		x.all = append(x.all, m)
	}
	slices.SortStableFunc(x.all, func(a, b *MergedVirtualService) int { return compareAge(a.Object, b.Object) })
	for _, m := range x.all {
		switch {
		case m.exportTo.Public():
			for _, gw := range m.Gateways {
				if gw == MeshGateway {
					x.publicOf[m.Namespace] = append(x.publicOf[m.Namespace], len(x.public[gw]))
				}
				x.public[gw] = append(x.public[gw], m)
			}
		case m.exportTo.has(visibility.None):
		default:
			for _, ns := range m.exportTo {
				for _, gw := range m.Gateways {
					key := [2]string{ns, gw}
					if ns == m.Namespace {
						x.private[key] = append(x.private[key], m)
					} else {
						x.exported[key] = append(x.exported[key], m)
					}
				}
			}
		}
	}
}

// VirtualServices returns all merged VirtualServices, oldest first.
func (p *PushContext) VirtualServices() []*MergedVirtualService { return p.virtualServices.all }

// VirtualServicesForGateway returns the VirtualServices bound to a gateway
// ("namespace/name" or MeshGateway) that proxies in namespace see: private
// ones, those exported to the namespace, public ones; each by age, but of the
// public ones those first that the Gateway API's routes of the namespace make;
// for sidecars and waypoints, of the private ones too (istio
// pilot/pkg/model/push_context.go VirtualServicesForGateway, virtualservice.go
// SelectVirtualServices; without PILOT_UNIFIED_SIDECAR_SCOPE by age alone for those).
func (p *PushContext) VirtualServicesForGateway(namespace, gateway string) []*MergedVirtualService {
	return p.virtualServicesFrom(namespace, gateway, p.virtualServices.public[gateway])
}

// sidecarRoutes are those of [PushContext.VirtualServicesForGateway] for sidecars, in the
// same order, without the public ones of namespaces of which nothing is imported.
func (p *PushContext) sidecarRoutes(namespace string, imports map[string]*hostSet) []*MergedVirtualService {
	x := &p.virtualServices
	if all := imports["*"]; all != nil && len(all.hosts) > 0 {
		return p.VirtualServicesForGateway(namespace, MeshGateway)
	}
	var places []int
	for ns, set := range imports {
		if len(set.hosts) > 0 {
			places = append(places, x.publicOf[ns]...)
		}
	}
	slices.Sort(places)
	public := make([]*MergedVirtualService, len(places))
	for i, place := range places {
		public[i] = x.public[MeshGateway][place]
	}
	return p.virtualServicesFrom(namespace, MeshGateway, public)
}

func (p *PushContext) virtualServicesFrom(namespace, gateway string, public []*MergedVirtualService) []*MergedVirtualService {
	key := [2]string{namespace, gateway}
	x := &p.virtualServices
	private := x.private[key]
	unified := p.Config.Enabled("PILOT_UNIFIED_SIDECAR_SCOPE")
	if gateway == MeshGateway && unified {
		private = routesFirst(private, namespace)
	}
	if gateway != MeshGateway || unified {
		public = routesFirst(public, namespace)
	}
	return slices.Concat(private, x.exported[key], public)
}

// routesFirst puts the routes of the Gateway API of a namespace in front.
func routesFirst(list []*MergedVirtualService, namespace string) []*MergedVirtualService {
	if !slices.ContainsFunc(list, func(m *MergedVirtualService) bool { return m.OfGatewayAPI != "" && m.Namespace == namespace }) {
		return list
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b *MergedVirtualService) int {
		rank := func(m *MergedVirtualService) int {
			if m.OfGatewayAPI != "" && m.Namespace == namespace {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return out
}

// ExportTo returns the namespaces that see the VirtualService.
func (m *MergedVirtualService) ExportTo() ExportTo { return m.exportTo }

// virtualServiceExportTo resolves "." and the mesh default.
func (p *PushContext) virtualServiceExportTo(vs *VirtualService) ExportTo {
	set := ExportTo(vs.Spec.GetExportTo())
	if len(set) == 0 {
		set = p.defaultVirtualServiceExportTo
	}
	out := make(ExportTo, 0, len(set))
	for _, e := range set {
		if e == string(visibility.Private) {
			e = vs.Namespace
		}
		if !contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

func (p *PushContext) mergeVirtualService(vs *VirtualService) *MergedVirtualService {
	spec := resolveNames(vs)
	m := &MergedVirtualService{
		VirtualService: vs, Gateways: spec.GetGateways(), TLS: spec.GetTls(), TCP: spec.GetTcp(),
		exportTo: p.virtualServiceExportTo(vs),
	}
	if len(m.Gateways) == 0 {
		m.Gateways = []string{MeshGateway}
	}
	for _, h := range spec.GetHosts() {
		m.Hosts = append(m.Hosts, host.Name(h))
	}
	for i, route := range spec.GetHttp() {
		r := newHTTPRoute(route, vs.Object, fmt.Sprintf("spec.http[%d]", i))
		if d := route.GetDelegate(); d != nil {
			m.HTTP = append(m.HTTP, p.delegated(vs, r, d)...)
		} else {
			m.HTTP = append(m.HTTP, r)
		}
	}
	return m
}

func newHTTPRoute(route *networking.HTTPRoute, object *manifest.Object, field string) *HTTPRoute {
	r := &HTTPRoute{HTTPRoute: route, Object: object, Field: field}
	for i := range route.GetMatch() {
		r.Matches = append(r.Matches, Place{object, fmt.Sprintf("%s.match[%d]", field, i)})
	}
	return r
}

// delegated returns the routes of a delegate VirtualService merged under the
// root's route; none where the delegate is missing or not exported to the root.
func (p *PushContext) delegated(root *VirtualService, route *HTTPRoute, d *networking.Delegate) []*HTTPRoute {
	namespace := d.GetNamespace()
	if namespace == "" {
		namespace = root.Namespace
	}
	for _, vs := range p.Mesh.VirtualServices {
		if vs.Namespace != namespace || vs.Name != d.GetName() || len(vs.Spec.GetHosts()) > 0 {
			continue
		}
		exported := p.virtualServiceExportTo(vs)
		if !exported.Public() && !contains(exported, root.Namespace) {
			return nil
		}
		var out []*HTTPRoute
		for i, sub := range resolveNames(vs).GetHttp() {
			if merged := mergeHTTPRoute(route, newHTTPRoute(sub, vs.Object, fmt.Sprintf("spec.http[%d]", i))); merged != nil {
				out = append(out, merged)
			}
		}
		return out
	}
	return nil
}

// resolveNames returns a copy of the spec with full host and gateway names
// (istio pilot/pkg/model/virtualservice.go ResolveVirtualServiceShortnames).
func resolveNames(vs *VirtualService) *networking.VirtualService {
	spec := vs.Spec.DeepCopy()
	ns := vs.Namespace
	for i, h := range spec.Hosts {
		spec.Hosts[i] = string(ResolveHost(h, ns))
	}
	gateways := func(names []string) {
		for i, g := range names {
			names[i] = resolveGateway(g, ns)
		}
	}
	destination := func(d *networking.Destination) {
		if d != nil {
			d.Host = string(ResolveHost(d.Host, ns))
		}
	}
	gateways(spec.Gateways)
	for _, r := range spec.Http {
		for _, m := range r.Match {
			gateways(m.Gateways)
		}
		for _, w := range r.Route {
			destination(w.Destination)
		}
		destination(r.Mirror)
		for _, m := range r.Mirrors {
			destination(m.Destination)
		}
	}
	for _, r := range spec.Tcp {
		for _, m := range r.Match {
			gateways(m.Gateways)
		}
		for _, w := range r.Route {
			destination(w.Destination)
		}
	}
	for _, r := range spec.Tls {
		for _, m := range r.Match {
			gateways(m.Gateways)
		}
		for _, w := range r.Route {
			destination(w.Destination)
		}
	}
	return spec
}

// ResolveHost gives the full name of a host in an object of namespace: a name
// without a dot is a Service of that namespace (istio
// pilot/pkg/model/virtualservice.go ResolveShortnameToFQDN).
func ResolveHost(h, namespace string) host.Name {
	if h == "" || h == "*" || strings.Contains(h, ".") || strings.Contains(h, ":") {
		return host.Name(h)
	}
	return ServiceHost(h, namespace)
}

// resolveGateway gives "namespace/name" for a gateway named in an object of
// namespace (istio pilot/pkg/model/gateway.go resolveGatewayName).
func resolveGateway(g, namespace string) string {
	if g == MeshGateway {
		return g
	}
	before, after, found := strings.Cut(g, "/")
	if found {
		if before == "." {
			return namespace + "/" + after
		}
		return g
	}
	name, rest, dotted := strings.Cut(g, ".")
	if !dotted {
		return namespace + "/" + g
	}
	// Legacy form name.namespace.svc.cluster.local.
	ns, _, _ := strings.Cut(rest, ".")
	return ns + "/" + name
}

// Destinations returns the hosts that the routes lead to (mirrors included)
// with the ports they name, 0 standing for a destination without port. Routes
// whose every match asks for another source namespace do not count (istio
// pilot/pkg/model/push_context.go
// virtualServiceDestinationsFilteredBySourceNamespace).
func (m *MergedVirtualService) Destinations(namespace string) []Destination {
	var out []Destination
	add := func(d *networking.Destination) {
		i := slices.IndexFunc(out, func(x Destination) bool { return string(x.Host) == d.GetHost() })
		if i < 0 {
			out = append(out, Destination{Host: host.Name(d.GetHost())})
			i = len(out) - 1
		}
		out[i].Ports = append(out[i].Ports, int(d.GetPort().GetNumber()))
	}
	for d := range m.eachDestination(func(r *HTTPRoute) bool { return mayCount(r, namespace) }) {
		add(d)
	}
	return out
}

// mayCount reports whether some match of a route, or its lack of any, leaves clients
// of a namespace.
func mayCount(r *HTTPRoute, namespace string) bool {
	matched := true
	for _, match := range r.GetMatch() {
		if match.GetSourceNamespace() == "" {
			continue
		}
		if matched = match.GetSourceNamespace() == namespace; matched {
			break
		}
	}
	return matched
}

// eachDestination yields the destinations of the routes, mirrors included: of the HTTP
// routes that of accepts, and of all others.
func (m *MergedVirtualService) eachDestination(of func(*HTTPRoute) bool) iter.Seq[*networking.Destination] {
	return func(yield func(*networking.Destination) bool) {
		give := func(d *networking.Destination) bool { return d == nil || yield(d) }
		for _, r := range m.HTTP {
			if !of(r) {
				continue
			}
			for _, w := range r.GetRoute() {
				if !give(w.GetDestination()) {
					return
				}
			}
			if !give(r.GetMirror()) {
				return
			}
			for _, mirror := range r.GetMirrors() {
				if !give(mirror.GetDestination()) {
					return
				}
			}
		}
		split := func(list []*networking.RouteDestination) bool {
			return !slices.ContainsFunc(list, func(w *networking.RouteDestination) bool { return !give(w.GetDestination()) })
		}
		for _, r := range m.TCP {
			if !split(r.GetRoute()) {
				return
			}
		}
		for _, r := range m.TLS {
			if !split(r.GetRoute()) {
				return
			}
		}
	}
}

func everyRoute(*HTTPRoute) bool { return true }

// LeadsTo reports whether any route, mirrors included, names a host as its
// destination.
func (m *MergedVirtualService) LeadsTo(h string) bool {
	for d := range m.eachDestination(everyRoute) {
		if d.GetHost() == h {
			return true
		}
	}
	return false
}

// Destination is a host that routes lead to, and on which ports; 0 is a
// destination without port.
type Destination struct {
	Host  host.Name
	Ports []int
}
