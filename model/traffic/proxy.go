package traffic

import (
	"fmt"
	"net/netip"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// Clusters that every sidecar has.
const (
	passthroughCluster = "PassthroughCluster"
	blackHoleCluster   = "BlackHoleCluster"
	dynamicDNSCluster  = "AllowAnyDynamicDNSCluster"
)

// proxy is what istiod sends to one kind of proxy: sidecars that see the same
// and have the same labels, or a gateway.
type proxy struct {
	sim       *Simulation
	push      *model.PushContext
	scope     *model.SidecarScope
	namespace string
	labels    map[string]string
	// workload is the gateway's, or one of the sidecars' workloads.
	workload *model.Workload
	role     role
	gateway  *model.MergedGateway
	// waypoint is the Gateway of a waypoint, services are those it serves.
	waypoint *model.KubeGateway
	services []*model.Service
	// dnsCapture: automatic addresses count.
	dnsCapture bool
	// wildcard is the address of listeners that take any.
	wildcard string

	listeners map[bindPort]*listener
	// refusedPorts are gateway ports whose listener could not be built.
	tables   map[string]*routeTable
	clusters map[string]*cluster
	policies *policySet
	// trusted is what trustedProxies returned, expectsLine what takesProxyProtocol
	// did.
	trusted     *int
	expectsLine *bool
	// unasked are the hosts to which listeners lead whoever asks.
	unasked map[*listener]*unasked
	// servicePolicies are a waypoint's, which differ by service.
	servicePolicies map[*model.Service]*policySet
}

// role is what a proxy is there for.
type role int

const (
	sidecarRole role = iota
	gatewayRole
	waypointRole
)

// alone reports whether a proxy runs in a pod of its own: a gateway or waypoint.
func (p *proxy) alone() bool { return p.role != sidecarRole }

// bindPort identifies a listener.
type bindPort struct {
	bind string
	port int
}

// wildcardOf is the wildcard address of proxies whose pods have addresses of one
// family (istio pilot/pkg/networking/core/listener_address.go). It takes no
// connection of the other.
func wildcardOf(v6 bool) string {
	if v6 {
		return "::"
	}
	return "0.0.0.0"
}

// newSidecar compiles the listeners of a sidecar.
func newSidecar(sim *Simulation, push *model.PushContext, scope *model.SidecarScope, w *model.Workload, dnsCapture, v6 bool) *proxy {
	p := &proxy{
		sim: sim, push: push, scope: scope, namespace: w.Namespace, labels: w.Labels, workload: w, dnsCapture: dnsCapture, wildcard: wildcardOf(v6),
		tables: map[string]*routeTable{}, clusters: map[string]*cluster{},
	}
	p.listeners = p.sidecarListeners()
	return p
}

// address returns the address that a service has for this proxy (istio
// pilot/pkg/model/service.go GetAddressForProxy).
func (p *proxy) address(s *model.Service) string {
	if s.Address == model.UnspecifiedIP && p.dnsCapture && s.AutoAddress != "" {
		return s.AutoAddress
	}
	return s.Address
}

// listener returns the listener for a connection, nil where the catch-all takes
// it.
func (p *proxy) listener(dst netip.AddrPort) *listener {
	if l := p.listeners[bindPort{dst.Addr().String(), int(dst.Port())}]; l != nil {
		return l
	}
	return p.listeners[bindPort{p.wildcard, int(dst.Port())}]
}

// allowAny reports whether unknown destinations are let through.
func (p *proxy) allowAny() bool {
	mode := p.scope.OutboundTrafficPolicy().GetMode()
	return mode == networking.OutboundTrafficPolicy_ALLOW_ANY || p.dynamicDNS()
}

// dynamicDNS is the mode ALLOW_ANY_DYNAMIC_DNS of mesh configuration.
func (p *proxy) dynamicDNS() bool {
	return p.scope.OutboundTrafficPolicy().GetMode().Number() == allowAnyDynamicDNS
}

// allowAnyDynamicDNS is the number of the mode in MeshConfig's enum; Sidecar's
// own enum has no name for it.
const allowAnyDynamicDNS = 3

// policyBecause points to what says how unknown destinations fare.
func (p *proxy) policyBecause() []flow.Because {
	if s := p.scope.Sidecar; s != nil && s.Spec.GetOutboundTrafficPolicy() != nil {
		return []flow.Because{{Object: s.Object, Field: "spec.outboundTrafficPolicy.mode"}}
	}
	if object, field := p.push.Config.Because("outboundTrafficPolicy.mode"); object != nil {
		return []flow.Because{{Object: object, Field: field}}
	}
	return nil
}

// policyText says how unknown destinations fare and where that is said.
func (p *proxy) policyText() string {
	mode := "REGISTRY_ONLY"
	switch {
	case p.dynamicDNS():
		mode = "ALLOW_ANY_DYNAMIC_DNS"
	case p.allowAny():
		mode = "ALLOW_ANY"
	}
	switch {
	case p.scope.Sidecar != nil && p.scope.Sidecar.Spec.GetOutboundTrafficPolicy() != nil:
		return fmt.Sprintf("outboundTrafficPolicy %s of Sidecar %s", mode, p.scope.Sidecar.ID())
	case p.policyBecause() == nil && len(p.push.Mesh.UnreadConfigs) > 0:
		return fmt.Sprintf("outboundTrafficPolicy %s (Istio's default; %s is not read)", mode, p.push.Mesh.UnreadConfigs[0].Object)
	case p.policyBecause() == nil:
		return fmt.Sprintf("outboundTrafficPolicy %s (Istio's default)", mode)
	default:
		return fmt.Sprintf("outboundTrafficPolicy %s of the mesh", mode)
	}
}

// catchAll returns the chain for connections that no listener or no chain takes
// (istio pilot/pkg/networking/core/listener_builder.go
// buildOutboundCatchAllNetworkFiltersOnly).
func (p *proxy) catchAll() *chain {
	c := &chain{name: "fallthrough", what: p.policyText(), because: p.policyBecause(), targets: []target{{cluster: blackHoleCluster}}}
	if p.allowAny() {
		c.targets[0].cluster = passthroughCluster
		if egress := p.scope.OutboundTrafficPolicy().GetEgressProxy(); egress != nil {
			c.targets[0] = target{cluster: destinationCluster(egress, nil, 0), because: []flow.Because{
				{Object: p.scope.Sidecar.Object, Field: "spec.outboundTrafficPolicy.egressProxy"}}}
		}
	}
	return c
}
