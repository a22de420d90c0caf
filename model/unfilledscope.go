package model

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// in reports whether the object may be of a namespace.
func (u *Unfilled) in(namespace string) bool {
	return u.anywhere || u.Namespace == namespace
}

// elsewhere reports whether nothing is open for proxies of a namespace, because the
// object is admitted and they are in the one that stands there.
func (u *Unfilled) elsewhere(namespace string) bool { return u.Homeless && u.Namespace == namespace }

// open reports whether a value, or what stands in its place, is not known.
func open(value any) bool { return value != nil && placeholder(value) != "" }

// selects reports whether a selector at a path may select a workload; one that is
// absent selects all.
func (u *Unfilled) selects(path string, w *Workload) bool {
	value, found := lookup(u.spec, path)
	labels, ok := value.(map[string]any)
	if !found || !ok {
		return true
	}
	for _, k := range sortedKeys(labels) {
		v, isText := labels[k].(string)
		if !isText || open(k) || open(v) {
			continue
		}
		if l, isOpen := w.Open[k]; isOpen && l.May(v) {
			continue
		}
		if got, has := w.Labels[k]; !has || got != v {
			return false
		}
	}
	return true
}

// SelectorKeys are the labels of pods that its selectors name.
func (u *Unfilled) SelectorKeys() []string {
	var keys []string
	for _, path := range []string{"workloadSelector.labels", "workloadSelector.matchLabels", "selector.matchLabels", "selector"} {
		for _, k := range sortedKeys(lookupMap(u.spec, path)) {
			if k != "matchLabels" {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// UnfilledConnection is what of a connection tells whether an [Unfilled] may concern it.
type UnfilledConnection struct {
	// Names are those that it may be known by, in lower case: what the client asked
	// for, server names, the host of its request, and the hosts of Services that these
	// may stand for.
	Names []string
	// Dst is the address dialled, the port alone where no address counts.
	Dst netip.Addr
	// Port is the port dialled.
	Port int
	// HTTP: it is plaintext HTTP; TLS: it brings a server name. Automatic: the client may
	// have found an address that istiod gives to an entry.
	HTTP, TLS, Automatic bool
	// Wild are the hosts with wildcards of the services whose listener takes it: routes for
	// one host within take the place of those for all.
	Wild []string
	// Opaque: it is neither, and some service takes it, unless another service
	// on the port speaks otherwise.
	Opaque bool
	// Numeric: it is known by addresses alone.
	Numeric bool
	// Registered are the names that an entry or a Service registers that the proxy knows, with
	// the port and, but for HTTP, for the address.
	Registered []string
	// Unheard: the request is plaintext HTTP on a port that no HTTP service has yet, and
	// a service for TCP takes it or a VirtualService would route it if one had; at a
	// gateway: nothing listens.
	Unheard bool
}

func (c *UnfilledConnection) about(u *Unfilled) bool { return slices.ContainsFunc(c.Names, u.About) }

// UnfilledSees reports whether an object may change what the sidecar of a client with
// a scope does with a connection; Services of the cluster are for [Unfilled.Serves].
func (p *PushContext) UnfilledSees(u *Unfilled, w *Workload, scope *SidecarScope, c *UnfilledConnection) bool {
	if u.elsewhere(w.Namespace) {
		return false
	}
	switch u.what {
	case "networking.istio.io/Sidecar":
		return p.unfilledSidecar(u, w)
	case "networking.istio.io/EnvoyFilter":
		return (u.in(w.Namespace) || u.in(p.RootNamespace())) && u.spec["targetRefs"] == nil && u.selects("workloadSelector.labels", w)
	case "networking.istio.io/ServiceEntry":
		standard := p.defaultServiceExportTo
		if u.Homeless && u.public(standard) || !u.visible(w.Namespace, standard) {
			return false
		}
		return u.registers(c) && u.imported(scope, c) || c.TLS && p.mayTakeAnyName() && u.importedSome(scope)
	case "networking.istio.io/VirtualService":
		standard := p.defaultVirtualServiceExportTo
		return (!u.Homeless || !u.public(standard)) && u.visible(w.Namespace, standard) && u.routes(MeshGateway) &&
			((c.about(u) || u.within(c.Wild)) && u.imported(scope, c) || scope.Sidecar != nil && u.importedSome(scope) && u.brings(p, scope, c))
	case kubeGatewayGroup + "/HTTPRoute", kubeGatewayGroup + "/GRPCRoute", kubeGatewayGroup + "/TLSRoute", kubeGatewayGroup + "/TCPRoute":
		return u.attaches(func(kind, name string, known bool) bool {
			switch kind {
			case "Gateway":
				return false
			case "Service":
				return !known || slices.ContainsFunc(c.Names, func(n string) bool { return strings.HasPrefix(n, name+".") })
			default:
				return true
			}
		})
	case kubeGatewayGroup + "/ReferenceGrant":
		routes := len(p.Mesh.KubeHTTPRoutes) + len(p.Mesh.KubeGRPCRoutes) + len(p.Mesh.KubeTLSRoutes) + len(p.Mesh.KubeTCPRoutes)
		return routes > 0 && slices.ContainsFunc(c.Names, func(n string) bool { return strings.HasSuffix(n, "."+DomainSuffix) })
	case "/Service":
		return c.about(u) || c.Unheard && u.listens(c.Port)
	}
	return false
}

// mayTakeAnyName reports whether there is a TLSRoute that takes connections whatever their
// names once its parent is another: see tlsRoutesFor.
func (p *PushContext) mayTakeAnyName() bool {
	return slices.ContainsFunc(p.Mesh.KubeTLSRoutes, func(r *KubeTLSRoute) bool {
		return len(r.Spec.Spec.Hostnames) > 1 && slices.ContainsFunc(r.Spec.Spec.ParentRefs, func(ref gatewayv1.ParentReference) bool {
			return ref.Kind != nil && *ref.Kind == "ServiceEntry"
		})
	})
}

// UnfilledConcerns reports whether an object may concern what the sidecar of a client
// with a scope does at all; certain is false where which connections those are is a
// matter of the names that its Sidecar imports. Objects of which all clients see the
// same count as concerning nobody.
func (p *PushContext) UnfilledConcerns(u *Unfilled, w *Workload, scope *SidecarScope) (may, certain bool) {
	if u.elsewhere(w.Namespace) {
		return false, true
	}
	switch u.what {
	case "networking.istio.io/Sidecar", "networking.istio.io/EnvoyFilter":
		return p.UnfilledSees(u, w, scope, &UnfilledConnection{}), true
	case "networking.istio.io/ServiceEntry":
		if !u.visible(w.Namespace, p.defaultServiceExportTo) {
			return false, true
		}
		return u.importedWhole(scope)
	case "networking.istio.io/VirtualService":
		if !u.visible(w.Namespace, p.defaultVirtualServiceExportTo) || !u.routes(MeshGateway) || !u.importedSome(scope) {
			return false, true
		}
		may, certain = u.importedWhole(scope)
		return may, certain && (scope.Sidecar == nil || len(u.leads) == 0)
	case "networking.istio.io/DestinationRule":
		return u.selects("workloadSelector.matchLabels", w) && (u.in(w.Namespace) || u.visible(w.Namespace, p.defaultDestinationRuleExportTo)), !u.in(w.Namespace)
	}
	return false, true
}

// within reports whether one of its hosts may be within one with a wildcard.
func (u *Unfilled) within(wild []string) bool {
	return slices.ContainsFunc(wild, func(w string) bool {
		return slices.ContainsFunc(u.names, func(p namePattern) bool {
			end := p.pieces[len(p.pieces)-1]
			return strings.HasSuffix(end, w[1:]) || len(p.pieces) > 1 && strings.HasSuffix(w[1:], end)
		})
	})
}

// listens reports whether a Service may have a port.
func (u *Unfilled) listens(port int) bool {
	ports, isList := u.spec["ports"].([]any)
	return !u.Homeless && (u.spec["ports"] != nil && !isList || slices.ContainsFunc(ports, func(e any) bool {
		number, known := portNumber(asMap(e)["port"])
		return !known || number == port
	}))
}

// UnfilledMoves reports whether an object may change where the proxy of a workload goes
// for a host, or how. svc is the service that it takes for it, if any.
func (p *PushContext) UnfilledMoves(u *Unfilled, w *Workload, h string, svc *Service) bool {
	if u.elsewhere(w.Namespace) {
		return false
	}
	c := &UnfilledConnection{Names: []string{h}}
	switch u.what {
	case "networking.istio.io/ServiceEntry":
		standard := p.defaultServiceExportTo
		return (!u.Homeless || !u.public(standard)) && u.visible(w.Namespace, standard) && (u.Gives(h) || svc == nil && u.About(h))
	case "/Service":
		return u.About(h)
	case kubeGatewayGroup + "/Gateway":
		return u.About(h) || svc != nil && u.Waypoint() && p.asksWaypoint(svc)
	case "networking.istio.io/DestinationRule":
		if !c.about(u) || !u.selects("workloadSelector.matchLabels", w) {
			return false
		}
		// istiod looks in the client's namespace, the service's and the root namespace.
		home := svc == nil || u.in(svc.Namespace)
		return u.in(w.Namespace) || (home || u.in(p.RootNamespace())) && u.visible(w.Namespace, p.defaultDestinationRuleExportTo)
	case "networking.istio.io/WorkloadEntry":
		entry := svc != nil && svc.Entry != nil && svc.Entry.Spec.GetWorkloadSelector() != nil || svc != nil && svc.Kubernetes() && len(svc.Selector) > 0
		return entry && u.in(svc.Namespace) && u.labelled(svc.Selector)
	}
	return false
}

// asksWaypoint reports whether a service is to have a waypoint, whichever.
func (p *PushContext) asksWaypoint(svc *Service) bool {
	ns := p.Mesh.Namespaces[svc.Namespace]
	return svc.Object.Labels[useWaypointLabel] != "" || ns != nil && ns.Labels[useWaypointLabel] != ""
}

// labelled reports whether a WorkloadEntry may have labels.
func (u *Unfilled) labelled(selector map[string]string) bool {
	labels := lookupMap(u.spec, "labels")
	if labels == nil {
		return u.spec["labels"] != nil || len(selector) == 0 || len(u.spec) == 0
	}
	for k, v := range selector {
		if got := labels[k]; got != v && !open(got) {
			return false
		}
	}
	return true
}

// UnfilledEnters reports whether an object may change what a gateway or waypoint does
// with a connection.
func (p *PushContext) UnfilledEnters(u *Unfilled, to *Workload, c *UnfilledConnection) bool {
	if u.elsewhere(to.Namespace) {
		return false
	}
	switch u.what {
	case "networking.istio.io/Gateway":
		return !u.Homeless && u.selects("selector", to)
	case "networking.istio.io/EnvoyFilter":
		return (u.in(to.Namespace) || u.in(p.RootNamespace())) && u.selects("workloadSelector.labels", to)
	case "networking.istio.io/VirtualService":
		standard := p.defaultVirtualServiceExportTo
		// Routes for TCP ask for no name, and a server without routes does not listen.
		if u.Homeless && u.public(standard) || !u.visible(to.Namespace, standard) || !c.about(u) && !c.Unheard && u.spec["tcp"] == nil {
			return false
		}
		if to.Labels[GatewayNameLabel] != "" && u.routes(MeshGateway) { // a waypoint's are those of sidecars
			return true
		}
		return slices.ContainsFunc(p.GatewaysFor(to), func(g *Gateway) bool { return u.routes(g.ID()) })
	case "/Service":
		return u.in(to.Namespace) && u.selects("selector", to) || c.about(u)
	case kubeGatewayGroup + "/Gateway":
		name := to.Labels[GatewayNameLabel]
		_, bound := u.spec["addresses"]
		return u.in(to.Namespace) && (bound || name == u.Name || open(u.Name) && name != "")
	case kubeGatewayGroup + "/HTTPRoute", kubeGatewayGroup + "/GRPCRoute", kubeGatewayGroup + "/TLSRoute", kubeGatewayGroup + "/TCPRoute":
		waypoint := to.Labels[GatewayNameLabel] != "" // routes of its Services are its own
		return (c.about(u) || u.Kind == "TLSRoute" || c.Unheard) && u.attaches(func(kind, name string, known bool) bool {
			return waypoint && (kind != "Gateway" || !known) || kind == "" || kind == "Gateway" && slices.ContainsFunc(p.GatewaysFor(to), func(g *Gateway) bool {
				origin := p.converted.origins[g.Object]
				return origin != nil && (!known || origin.Parent.Name == name)
			})
		})
	case kubeGatewayGroup + "/ReferenceGrant":
		return slices.ContainsFunc(p.GatewaysFor(to), func(g *Gateway) bool { return p.converted.origins[g.Object] != nil })
	}
	return false
}

// UnfilledReceives reports whether an object may change what the sidecar or ztunnel of
// a workload takes.
func (p *PushContext) UnfilledReceives(u *Unfilled, to *Workload) bool {
	if u.elsewhere(to.Namespace) {
		return false
	}
	switch u.what {
	case "networking.istio.io/Sidecar":
		return p.unfilledSidecar(u, to)
	case "networking.istio.io/EnvoyFilter":
		return (u.in(to.Namespace) || u.in(p.RootNamespace())) && u.spec["targetRefs"] == nil && u.selects("workloadSelector.labels", to)
	case "security.istio.io/PeerAuthentication":
		return (u.in(to.Namespace) || u.in(p.RootNamespace())) && u.selects("selector.matchLabels", to)
	case "/Service":
		return !u.Homeless && u.in(to.Namespace) && u.selects("selector", to) && u.spec["ports"] != nil
	}
	return false
}

// UnfilledVerifies reports whether a RequestAuthentication may hold for a workload.
func (p *PushContext) UnfilledVerifies(u *Unfilled, to *Workload) bool {
	return u.Kind == "RequestAuthentication" && !u.elsewhere(to.Namespace) &&
		(u.in(to.Namespace) || u.in(p.RootNamespace())) && (u.spec["targetRefs"] != nil || u.spec["targetRef"] != nil || u.selects("selector.matchLabels", to))
}

// unfilledSidecar reports whether a Sidecar may be that of a workload.
func (p *PushContext) unfilledSidecar(u *Unfilled, w *Workload) bool {
	_, selective := u.spec["workloadSelector"]
	now := p.SidecarFor(w.Namespace, w.Labels)
	own := now != nil && now.Namespace == w.Namespace
	switch {
	case u.in(w.Namespace) && selective:
		return u.selects("workloadSelector.labels", w)
	case u.in(w.Namespace):
		return !own || now.Spec.GetWorkloadSelector() == nil
	default:
		return u.in(p.RootNamespace()) && !selective && !own
	}
}

// routes reports whether a VirtualService may be bound to a gateway, or to sidecars by
// [MeshGateway].
func (u *Unfilled) routes(gateway string) bool {
	value, found := u.spec["gateways"]
	list, isList := value.([]any)
	if !found || isList && len(list) == 0 {
		return gateway == MeshGateway || u.spec["hosts"] == nil // a delegate has those of its root
	}
	if !isList {
		return true
	}
	return slices.ContainsFunc(list, func(e any) bool {
		text, isText := e.(string)
		if !isText || open(text) || text == gateway || u.spec["hosts"] == nil {
			return true
		}
		if !strings.Contains(text, "/") {
			_, name, _ := strings.Cut(gateway, "/")
			return gateway != MeshGateway && name == text && u.in(strings.TrimSuffix(gateway, "/"+name))
		}
		return false
	})
}

// brings reports whether the destinations of a VirtualService may make a sidecar know
// a service that its Sidecar does not import by itself (istio
// pilot/pkg/model/sidecar.go, addServicesFromVirtualServices).
func (u *Unfilled) brings(p *PushContext, scope *SidecarScope, c *UnfilledConnection) bool {
	return slices.ContainsFunc(c.Names, func(name string) bool {
		return scope.Service(host.Name(name)) == nil && len(p.Registered(host.Name(name))) > 0 &&
			slices.ContainsFunc(u.leads, func(to namePattern) bool { return about([]namePattern{to}, name, u) })
	})
}

// attaches reports whether one of the parents of a route fits; kind is "" where it is
// not known, and known says whether the parent otherwise is.
func (u *Unfilled) attaches(fits func(kind, name string, known bool) bool) bool {
	list, isList := u.spec["parentRefs"].([]any)
	if !isList {
		return u.spec["parentRefs"] != nil && fits("", "", false)
	}
	return slices.ContainsFunc(list, func(e any) bool {
		kind := cmp.Or(lookupString(asMap(e), "kind"), "Gateway")
		if _, isMap := e.(map[string]any); !isMap || open(kind) {
			kind = ""
		}
		return fits(kind, lookupString(asMap(e), "name"), !open(e))
	})
}

// imports returns the hosts that a scope takes in of namespaces that may be the object's;
// everything where no Sidecar says what.
func (u *Unfilled) imports(scope *SidecarScope) []string {
	if scope.Sidecar == nil || len(scope.Sidecar.Spec.GetEgress()) == 0 {
		return []string{"*"}
	}
	var out []string
	for _, e := range scope.Sidecar.Spec.GetEgress() {
		for _, entry := range e.GetHosts() {
			namespace, name, _ := strings.Cut(entry, "/")
			if namespace == "." {
				namespace = scope.Namespace
			}
			if namespace == "*" || namespace != "~" && u.in(namespace) {
				out = append(out, name)
			}
		}
	}
	return out
}

// importedWhole reports whether a scope takes in all that the object says; certain is
// false where it is a matter of names.
func (u *Unfilled) importedWhole(scope *SidecarScope) (whole, certain bool) {
	names := u.imports(scope)
	whole = contains(names, "*")
	return whole, whole || len(names) == 0
}

// importedSome reports whether a scope takes in anything of the object's namespace.
func (u *Unfilled) importedSome(scope *SidecarScope) bool { return len(u.imports(scope)) > 0 }

// imported reports whether a scope may take in what the object says of a connection.
func (u *Unfilled) imported(scope *SidecarScope, c *UnfilledConnection) bool {
	return slices.ContainsFunc(u.imports(scope), func(name string) bool {
		covers := func(n string) bool { return host.Name(name).Matches(host.Name(n)) }
		return name == "*" || slices.ContainsFunc(c.Names, covers) || !c.about(u)
	})
}

// registers reports whether an entry may have a say about a connection: by its name,
// its address, or, where it gives none, by its port alone.
func (u *Unfilled) registers(c *UnfilledConnection) bool {
	addresses := &u.reached
	about := !c.Numeric && slices.ContainsFunc(c.Names, func(name string) bool {
		if contains(c.Registered, name) { // by somebody else: no placeholder stands for it
			return u.Gives(name)
		}
		return u.About(name)
	})
	if about && (addresses.some || addresses.open) {
		return true // clients may find the address that it gives, whatever the port
	}
	if u.ports == nil {
		return about || u.spec["ports"] != nil
	}
	for i := range u.ports {
		port := &u.ports[i]
		if port.known && port.number != c.Port {
			continue
		}
		if c.Opaque || addresses.open || addresses.has(c.Dst) || about && c.Automatic {
			return true
		}
		switch parsed := port.protocol; {
		case parsed.IsHTTP() && parsed != protocol.HTTP_PROXY:
			if about && c.HTTP || c.Unheard {
				return true
			}
		case parsed.IsTLS():
			if about && c.TLS {
				return true
			}
		case about || !addresses.some:
			return true // a TCP port without address takes all
		}
	}
	return false
}
