package model

import (
	"cmp"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"
)

// SidecarScope is what the sidecars of a namespace (or of some of its workloads)
// see: services, VirtualServices, and the policy for everything else (istio
// pilot/pkg/model/sidecar.go).
type SidecarScope struct {
	// Namespace is the one of the workloads, which for the Sidecar of the root
	// namespace is not the Sidecar's own.
	Namespace string
	// Sidecar is nil where none applies and everything visible is imported.
	Sidecar   *Sidecar
	Listeners []*EgressListener
	// Services are those of all listeners and what their VirtualServices lead
	// to; the first of a host counts.
	Services []*Service

	byHost map[host.Name]*Service
	// byChance are hosts of which istiod may take any of several services.
	byChance map[host.Name][]*Service
	policy   *networking.OutboundTrafficPolicy
	places   *scopePlaces
}

// EgressListener is one entry of a Sidecar's egress, or the implied one that
// takes everything.
type EgressListener struct {
	// Spec is nil for the implied listener.
	Spec            *networking.IstioEgressListener
	Index           int
	Services        []*Service
	VirtualServices []*MergedVirtualService
	// Routes finds among VirtualServices those about a host.
	Routes HostTable[*MergedVirtualService]
	// best gives for a service the VirtualService with the most specific host
	// among those that cover it.
	best map[host.Name]*MergedVirtualService
}

// BestVirtualService returns the VirtualService whose host covers a service
// most specifically, nil if none does.
func (l *EgressListener) BestVirtualService(h host.Name) *MergedVirtualService { return l.best[h] }

// Service returns the service of a host that the scope sees, nil if none.
func (s *SidecarScope) Service(h host.Name) *Service { return s.byHost[h] }

// ByChance returns the services of a host any of which istiod may take, because a
// route leads there and no egress.hosts says which; nil where it has no choice.
func (s *SidecarScope) ByChance(h host.Name) []*Service { return s.byChance[h] }

// OutboundTrafficPolicy returns what happens to unknown destinations, and the
// place that says so. Mode is REGISTRY_ONLY for an empty policy in a Sidecar
// (the enum's zero).
func (s *SidecarScope) OutboundTrafficPolicy() *networking.OutboundTrafficPolicy { return s.policy }

// Listener returns the egress listener that serves routes on a port: the one
// that declares it, else the one without port (istio GetEgressListenerForRDS).
func (s *SidecarScope) Listener(port int) *EgressListener {
	for _, l := range s.Listeners {
		if l.Spec.GetPort() == nil || int(l.Spec.GetPort().GetNumber()) == port {
			return l
		}
	}
	return nil
}

type sidecarIndex struct {
	byNamespace map[string][]*Sidecar
	root        *Sidecar
}

// initSidecars orders Sidecars: those with a workload selector first, each by
// age (istio pilot/pkg/model/push_context.go initSidecarScopes).
func (p *PushContext) initSidecars() {
	p.sidecars.byNamespace = map[string][]*Sidecar{}
	sorted := sortedByAge(p.Mesh.Sidecars)
	slices.SortStableFunc(sorted, func(a, b *Sidecar) int {
		rank := func(s *Sidecar) int {
			if s.Spec.GetWorkloadSelector() != nil {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	for _, s := range sorted {
		p.sidecars.byNamespace[s.Namespace] = append(p.sidecars.byNamespace[s.Namespace], s)
		if s.Namespace == p.RootNamespace() && s.Spec.GetWorkloadSelector() == nil && p.sidecars.root == nil {
			p.sidecars.root = s
		}
	}
}

// SidecarFor returns the Sidecar that applies to a workload of namespace with
// these pod labels, nil if none.
//
//go:noinline
func (p *PushContext) SidecarFor(namespace string, labels map[string]string) *Sidecar {
	for _, s := range p.sidecars.byNamespace[namespace] {
		if sel := s.Spec.GetWorkloadSelector(); sel == nil || subset(sel.GetLabels(), labels) {
			return s
		}
	}
	return p.sidecars.root
}

// NewSidecarScope computes the scope of the sidecars of a namespace under a
// Sidecar, which may be nil.
func (p *PushContext) NewSidecarScope(namespace string, sidecar *Sidecar) *SidecarScope {
	return p.newSidecarScope(namespace, sidecar, nil)
}

// ScopeBearing is the part of the scope of the sidecars of a namespace without
// Sidecar that bears on a connection. It must be [PushContext.Plain].
func (p *PushContext) ScopeBearing(namespace string, b *Bearing) *SidecarScope {
	return p.newSidecarScope(namespace, nil, b)
}

func (p *PushContext) newSidecarScope(namespace string, sidecar *Sidecar, b *Bearing) *SidecarScope {
	scope := &SidecarScope{Namespace: namespace, Sidecar: sidecar, byHost: map[host.Name]*Service{}}
	var egress []*networking.IstioEgressListener
	if sidecar != nil {
		egress = sidecar.Spec.GetEgress()
	}
	if len(egress) == 0 {
		scope.Listeners = []*EgressListener{p.newEgressListener(namespace, &networking.IstioEgressListener{Hosts: []string{"*/*"}}, -1, b)}
		scope.Listeners[0].Spec = nil
	}
	for i, e := range egress {
		scope.Listeners = append(scope.Listeners, p.newEgressListener(namespace, e, i, nil))
	}
	p.collectServices(scope)
	scope.policy = sidecarPolicy(sidecar)
	if scope.policy == nil && p.Config.GetOutboundTrafficPolicy() != nil {
		scope.policy = &networking.OutboundTrafficPolicy{Mode: networking.OutboundTrafficPolicy_Mode(p.Config.GetOutboundTrafficPolicy().GetMode())}
	}
	return scope
}

func sidecarPolicy(s *Sidecar) *networking.OutboundTrafficPolicy {
	if s == nil {
		return nil
	}
	return s.Spec.GetOutboundTrafficPolicy()
}

// NewGatewayScope computes what gateways in a namespace see: everything
// exported there; Sidecars do not apply (istio pilot/pkg/model/sidecar.go
// DefaultSidecarScopeForGateway). Where sidecars of the namespace see what no
// Sidecar limits, and one of them is served before the gateway, istiod takes
// their scope instead (push_context.go doGetSidecarScope): NewSidecarScope with
// none.
func (p *PushContext) NewGatewayScope(namespace string) *SidecarScope {
	scope := &SidecarScope{Namespace: namespace, byHost: map[host.Name]*Service{}}
	for _, s := range p.servicesExportedTo(namespace) {
		scope.add(s)
	}
	return scope
}

// SameServices reports whether two scopes find the same services by host.
func (s *SidecarScope) SameServices(other *SidecarScope) bool {
	if len(s.byHost) != len(other.byHost) {
		return false
	}
	for h, a := range s.byHost {
		if b := other.byHost[h]; a != b && (b == nil || a.Object != b.Object || a.Address != b.Address || !a.samePorts(b)) {
			return false
		}
	}
	return true
}

// hostSet is what egress.hosts says about one namespace.
type hostSet struct{ hosts, excluded []host.Name }

func (c *hostSet) excludes(h host.Name) bool {
	return c != nil && slices.ContainsFunc(c.excluded, h.SubsetOf)
}

func (c *hostSet) imports(h host.Name) bool {
	return c != nil && slices.ContainsFunc(c.hosts, h.SubsetOf)
}

// importsRoute matches in both directions: "*.com" is imported by "a.com"
// (istio pilot/pkg/model/sidecar.go VSMatches).
func (c *hostSet) importsRoute(h host.Name) bool {
	return c != nil && slices.ContainsFunc(c.hosts, h.Matches)
}

func parseEgressHosts(hosts []string, namespace string) map[string]*hostSet {
	out := map[string]*hostSet{}
	for _, h := range hosts {
		ns, name, ok := strings.Cut(h, "/")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		excluded := strings.HasPrefix(ns, "~")
		if excluded {
			if ns = ns[1:]; ns == "" {
				ns = "*"
			}
		}
		if ns == "." {
			ns = namespace
		}
		if out[ns] == nil {
			out[ns] = &hostSet{}
		}
		if excluded {
			out[ns].excluded = append(out[ns].excluded, host.Name(name))
		} else {
			out[ns].hosts = append(out[ns].hosts, host.Name(name))
		}
	}
	return out
}

// newEgressListener computes a listener; of what it sees only what bears on a
// connection, if b is given.
func (p *PushContext) newEgressListener(namespace string, spec *networking.IstioEgressListener, index int, b *Bearing) *EgressListener {
	l := &EgressListener{Spec: spec, Index: index}
	hosts := parseEgressHosts(spec.GetHosts(), namespace)
	all, seen := hosts["*"], map[*MergedVirtualService]bool{}
	var routes []*MergedVirtualService
	if b == nil {
		routes = p.sidecarRoutes(namespace, hosts)
	} else {
		routes = p.routesBearing(namespace, b)
	}
	for _, vs := range routes {
		own := hosts[vs.Namespace]
		if seen[vs] {
			continue
		}
		for _, set := range []*hostSet{own, all} {
			imports := set.importsRoute
			if vs.OfGatewayAPI != "" {
				imports = set.imports
			}
			if slices.ContainsFunc(vs.Hosts, func(h host.Name) bool {
				return imports(h) && !own.excludes(h) && !all.excludes(h)
			}) {
				l.VirtualServices = append(l.VirtualServices, vs)
				seen[vs] = true
				break
			}
		}
	}
	var candidates []*Service
	if b == nil {
		candidates = p.candidates(namespace, hosts)
	} else {
		candidates = p.servicesBearing(namespace, b)
	}
	l.Services = p.selectServices(candidates, namespace, spec, hosts)
	l.best = map[host.Name]*MergedVirtualService{}
	for _, vs := range l.VirtualServices {
		l.Routes.Add(vs, vs.Hosts)
	}
	for _, s := range l.Services {
		if vs := mostSpecific(l.Routes.Overlapping(s.Hostname), s.Hostname); vs != nil {
			l.best[s.Hostname] = vs
		}
	}
	return l
}

// selectServices returns those of some services that a listener imports (istio
// pilot/pkg/model/sidecar.go selectServices).
func (p *PushContext) selectServices(candidates []*Service, namespace string, spec *networking.IstioEgressListener, hosts map[string]*hostSet) []*Service {
	all := hosts["*"]
	var imported []*Service
	for _, s := range candidates {
		own := hosts[s.Namespace]
		if own.excludes(s.Hostname) || all.excludes(s.Hostname) {
			continue
		}
		for _, set := range []*hostSet{own, all} {
			if !set.imports(s.Hostname) {
				continue
			}
			if c := listenerPorts(s, spec); c != nil {
				imported = append(imported, importedAliases(c, set))
				break
			}
		}
	}
	// One namespace for each host: the client's own, else one with a Kubernetes
	// Service, else the first.
	// Without PILOT_UNIFIED_SIDECAR_SCOPE a Kubernetes Service has no precedence.
	unified := p.Config.Enabled("PILOT_UNIFIED_SIDECAR_SCOPE")
	chosen := map[host.Name]*Service{}
	for _, s := range imported {
		c := chosen[s.Hostname]
		switch {
		case c == nil, s.Namespace == namespace,
			unified && !c.Kubernetes() && s.Kubernetes() && c.Namespace != namespace:
			chosen[s.Hostname] = s
		}
	}
	return slices.DeleteFunc(imported, func(s *Service) bool { return chosen[s.Hostname].Namespace != s.Namespace })
}

// candidates returns the services that a listener may import: all that are
// exported to the namespace; where every host is exact and names its namespace,
// only the service of each that counts there, one address of an entry that has
// several (istio pilot/pkg/model/sidecar.go servicesForExactHosts).
func (p *PushContext) candidates(namespace string, hosts map[string]*hostSet) []*Service {
	some := false
	for ns, set := range hosts {
		if len(set.hosts) > 0 && ns == "*" {
			return p.servicesExportedTo(namespace)
		}
		some = some || slices.ContainsFunc(set.hosts, host.Name.IsWildCarded)
	}
	if some {
		return p.servicesOf(namespace, hosts)
	}
	var out []*Service
	for ns, set := range hosts {
		for _, h := range set.hosts {
			if s := p.byHost[h][ns]; s != nil && p.Visible(s, namespace) && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	slices.SortStableFunc(out, compareServices)
	return out
}

// servicesOf are those of servicesExportedTo that are in namespaces of which
// anything is imported, in the same order.
func (p *PushContext) servicesOf(namespace string, hosts map[string]*hostSet) []*Service {
	rank := p.bearings().rank
	var public []*Service
	for ns, set := range hosts {
		if len(set.hosts) > 0 {
			public = append(public, p.bearings().publicOf[ns]...)
		}
	}
	slices.SortFunc(public, func(a, b *Service) int { return cmp.Compare(rank[a], rank[b]) })
	return append(slices.Clone(p.exported[namespace]), public...)
}

// listenerPorts narrows a service to the port of a listener that declares one,
// nil if the service does not have it.
func listenerPorts(s *Service, spec *networking.IstioEgressListener) *Service {
	if spec.GetPort().GetNumber() == 0 || protocol.Parse(spec.GetPort().GetProtocol()) == protocol.HTTP_PROXY {
		return s
	}
	port := s.AnyPort(int(spec.GetPort().GetNumber()))
	switch {
	case port == nil:
		return nil
	case len(s.Ports) == 1:
		return s
	default:
		return s.withPorts([]*Port{port})
	}
}

// importedAliases narrows the aliases of a service to those imported.
func importedAliases(s *Service, set *hostSet) *Service {
	kept := slices.DeleteFunc(slices.Clone(s.Aliases), func(a host.Name) bool { return !set.imports(a) })
	if len(kept) == len(s.Aliases) {
		return s
	}
	c := *s
	c.Aliases = kept
	return &c
}

// mostSpecific returns the first VirtualService with the most specific host that
// covers h.
func mostSpecific(list []*MergedVirtualService, h host.Name) *MergedVirtualService {
	var best *MergedVirtualService
	var bestHost host.Name
	for _, vs := range list {
		for _, candidate := range vs.Hosts {
			if !h.SubsetOf(candidate) {
				continue
			}
			if best == nil || candidate != bestHost && host.MoreSpecific(candidate, bestHost) {
				best, bestHost = vs, candidate
			}
		}
	}
	return best
}

// collectServices unites the services of all listeners with those that their
// VirtualServices lead to (istio pilot/pkg/model/sidecar.go
// collectImportedServices).
func (p *PushContext) collectServices(scope *SidecarScope) {
	for _, l := range scope.Listeners {
		for _, s := range l.Services {
			scope.add(s)
		}
		for _, vs := range l.VirtualServices {
			for _, d := range vs.Destinations(scope.Namespace) {
				s, tied := p.destinationService(d.Host, scope.Namespace)
				if s == nil {
					continue
				}
				if len(tied) > 1 && (scope.byHost[d.Host] == nil || scope.byChance[d.Host] != nil) {
					if scope.byChance == nil {
						scope.byChance = map[host.Name][]*Service{}
					}
					scope.byChance[d.Host] = tied
				}
				if l.Spec.GetPort().GetNumber() != 0 && protocol.Parse(l.Spec.GetPort().GetProtocol()) != protocol.HTTP_PROXY {
					s = listenerPorts(s, l.Spec)
				} else {
					s = destinationPorts(s, d.Ports)
				}
				if s != nil {
					scope.add(s)
				}
			}
		}
	}
}

// destinationService picks the service of a route's destination: in the
// client's namespace whatever its exportTo, else a visible Kubernetes Service,
// else the oldest visible one. Of equally old ones istiod takes the first that it
// meets in a map (istio pilot/pkg/model/sidecar.go pickBestVisibleNamespace); they
// are returned too. Without PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE it is the
// visible one of the first namespace by name (pickFirstVisibleNamespace).
func (p *PushContext) destinationService(h host.Name, namespace string) (*Service, []*Service) {
	byNamespace := p.byHost[h]
	if s := byNamespace[namespace]; s != nil {
		return s, nil
	}
	if !p.Config.Enabled("PILOT_SIDECAR_PICK_BEST_SERVICE_NAMESPACE") {
		for _, ns := range sortedKeys(byNamespace) {
			if p.Visible(byNamespace[ns], namespace) {
				return byNamespace[ns], nil
			}
		}
		return nil, nil
	}
	var oldest []*Service
	for _, s := range p.index.services[h] {
		if byNamespace[s.Namespace] != s || !p.Visible(s, namespace) {
			continue
		}
		if s.Kubernetes() {
			return s, nil
		}
		if len(oldest) > 0 && s.Created.Before(oldest[0].Created) {
			oldest = nil
		}
		if len(oldest) == 0 || s.Created.Equal(oldest[0].Created) {
			oldest = append(oldest, s)
		}
	}
	if len(oldest) == 0 {
		return nil, nil
	}
	return oldest[p.pick%len(oldest)], oldest
}

// destinationPorts narrows a service to the ports that routes name; nil where it
// has none of them.
func destinationPorts(s *Service, ports []int) *Service {
	if len(ports) == 0 || slices.Contains(ports, 0) {
		return s
	}
	var found []*Port
	for _, port := range s.Ports {
		if slices.Contains(ports, port.Number) {
			found = append(found, port)
		}
	}
	switch len(found) {
	case len(s.Ports):
		return s
	case 0:
		return nil
	default:
		return s.withPorts(found)
	}
}

// add appends a service, or merges its ports into the one of the same host
// (istio pilot/pkg/model/sidecar.go appendSidecarServices).
func (s *SidecarScope) add(svc *Service) {
	existing := s.byHost[svc.Hostname]
	replace := func(by *Service) {
		s.Services[slices.Index(s.Services, existing)] = by
		s.byHost[svc.Hostname] = by
	}
	switch {
	case existing == nil:
		s.Services = append(s.Services, svc)
		s.byHost[svc.Hostname] = svc
	case existing == svc, existing.Kubernetes() && !svc.Kubernetes():
	case !existing.Kubernetes() && svc.Kubernetes():
		replace(svc)
	case existing.samePorts(svc), !canMerge(existing, svc):
	default:
		ports := slices.Clone(existing.Ports)
		for _, port := range svc.Ports {
			if existing.AnyPort(port.Number) == nil {
				ports = append(ports, port)
			}
		}
		if len(ports) > len(existing.Ports) {
			replace(existing.withPorts(ports))
		}
	}
}

func canMerge(a, b *Service) bool {
	return a.Namespace == b.Namespace && a.Resolution == b.Resolution && a.Kubernetes() == b.Kubernetes() &&
		subset(a.Labels, b.Labels) && subset(b.Labels, a.Labels) &&
		subset(a.Selector, b.Selector) && subset(b.Selector, a.Selector) && a.ExportTo.equal(b.ExportTo)
}
