package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
)

// intent is what the manifests mean to control. A way around a control is only
// worth a finding if somebody meant the control: an open mesh without one is
// legal.
type intent struct {
	pass *Pass
	push *model.PushContext
	// steerings are the routes of the mesh that send external hosts to a
	// gateway, in the order of the registry's VirtualServices.
	steerings []*steering
	// gateways are the egress gateways that the input holds.
	gateways []*egressGateway
	// pods are the gateways behind Services, see routers.
	pods map[host.Name][]*model.Workload
	// entries finds ServiceEntries by their object.
	entries map[*manifest.Object]*model.ServiceEntry
	// pushes are those of the revisions that are not the default, scopes those
	// of Sidecars: see pushFor and scopeOf.
	pushes map[string]*model.PushContext
	scopes map[string]*model.SidecarScope
	named  namedGateways
	// merged are the servers of gateways, see serversAt.
	merged map[*model.Workload]*model.MergedGateway
	// servers are those of gateways' pods, see podServers.
	servers map[podPort]*podServers
	// routes are VirtualServices by their object, see mergedRoute.
	routes map[*model.PushContext]map[*manifest.Object]*model.MergedVirtualService
	// entered are the destinations that ServiceEntries register, see spokenOf; mentions
	// are the hosts of which the routes of a namespace speak, see mentioned.
	entered  map[*model.PushContext]*entered
	mentions map[*model.PushContext]map[string][]host.Name
	// bound are the hosts with waypoints, see waypointHosts.
	bound *[]waypointHost
	// tried are the requests for these, see waypointAttempts.
	tried *[]*attempt
	// byRoute has the steerings of a route; byHost finds steerings, services those of
	// registries by host, declared those of ServiceEntries, and wanted what shows that
	// clients mean to call a host.
	byRoute                     map[*model.MergedVirtualService][]*steering
	byHost                      model.HostTable[*steering]
	services, declared, lowered serviceTables

	// citations are the servers of gateways that decisions cite, see cited.
	citations map[citedKey]map[model.Place]bool
	wanted    map[*model.PushContext]*wanted
	// asking are the fields of policies that ask who calls, see identityRules.
	asking map[*model.Workload][]Related
	// naming says of rules whether they are about identities, see names.
	naming map[ruleOf]bool
	// peers are the rules that name identities, see peerRules.
	peers *[]peerRule
	// leads are the steerings by where they lead, see leading.
	leads *leads
	// routed finds VirtualServices, once somebody has asked: see ruledForMesh.
	routed *model.HostTable[*model.MergedVirtualService]
}

// namedGateways finds Gateways by "namespace/name", and says which namespaces have
// some: see gatewayNamed.
type namedGateways struct {
	byName     map[string]*model.Gateway
	namespaces map[string]bool
}

// policing is a place that shows that a policy of an egress gateway is about a
// host.
type policing struct {
	Policy *model.AuthorizationPolicy
	Field  string
	// Named: the policy names the host. Else it denies whatever no ALLOW
	// policy names.
	Named bool
}

// intentOf returns the intent of a mesh for a rule, read once in a run.
func intentOf(p *Pass) *intent {
	if p.shared == nil {
		return readIntent(p)
	}
	if p.shared.intent == nil {
		p.shared.intent = readIntent(p)
	}
	in := *p.shared.intent
	in.pass = p // who reports
	return &in
}

func readIntent(p *Pass) *intent {
	in := &intent{
		pass: p, push: p.Reach.Sim.Push(), gateways: egressGateways(p),
		pods:    map[host.Name][]*model.Workload{},
		entries: map[*manifest.Object]*model.ServiceEntry{},
		pushes:  map[string]*model.PushContext{}, scopes: map[string]*model.SidecarScope{},
		merged:   map[*model.Workload]*model.MergedGateway{},
		services: serviceTables{}, declared: serviceTables{}, lowered: serviceTables{},
		citations: map[citedKey]map[model.Place]bool{},
		wanted:    map[*model.PushContext]*wanted{}, entered: map[*model.PushContext]*entered{}, mentions: map[*model.PushContext]map[string][]host.Name{},
		servers: map[podPort]*podServers{}, leads: &leads{}, routed: &model.HostTable[*model.MergedVirtualService]{}, peers: new([]peerRule), naming: map[ruleOf]bool{}, asking: map[*model.Workload][]Related{},
		routes: map[*model.PushContext]map[*manifest.Object]*model.MergedVirtualService{},
	}
	for _, e := range in.push.Mesh.ServiceEntries {
		in.entries[e.Object] = e
	}
	in.named = namedGateways{map[string]*model.Gateway{}, map[string]bool{}}
	for _, g := range slices.Backward(in.push.Mesh.Gateways) {
		in.named.byName[g.ID()], in.named.namespaces[g.Namespace] = g, true
	}
	for _, vs := range in.push.VirtualServices() {
		if contains(vs.Gateways, model.MeshGateway) {
			in.addHTTP(vs)
			in.addTLS(vs)
			in.addTCP(vs)
		}
	}
	in.byRoute = map[*model.MergedVirtualService][]*steering{}
	for _, s := range in.steerings {
		in.byHost.Add(s, s.Hosts)
		in.byRoute[s.Route] = append(in.byRoute[s.Route], s)
	}
	return in
}

// service returns the Service of the cluster with a full name, nil if the input
// has none.
func (in *intent) service(h host.Name) *model.Service {
	name, rest, _ := strings.Cut(string(h), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	if model.ServiceHost(name, namespace) != h {
		return nil
	}
	if s := in.push.ServiceIn(h, namespace); s != nil && s.Kubernetes() {
		return s
	}
	return nil
}

// covering returns the steerings of a host or wildcard (I1), whatever the port.
func (in *intent) covering(h string) []*steering {
	return in.byHost.Covering(host.Name(strings.ToLower(h)))
}

// policed returns the places that show that the gateway of a steering controls a
// host (I2): where its policies name it, else where they deny by default; in the
// order of the policies.
func (in *intent) policed(s *steering, h string) []policing {
	var named, byDefault []policing
	for _, g := range in.gateways {
		if slices.Contains(s.Pods, g.Workload) {
			named = append(named, g.naming(h)...)
		}
	}
	if len(named) > 0 {
		return named
	}
	for _, g := range in.gateways {
		if slices.Contains(s.Pods, g.Workload) {
			byDefault = append(byDefault, g.allowing()...)
		}
	}
	return byDefault
}

// related is the place that shows the control.
func (p policing) related(h string) Related {
	if p.Named {
		return Related{p.Policy.Object, p.Field, fmt.Sprintf("AuthorizationPolicy %s of the gateway controls %s", p.Policy.ID(), h)}
	}
	return Related{p.Policy.Object, p.Field, fmt.Sprintf("AuthorizationPolicy %s lets the gateway forward only what an ALLOW policy names", p.Policy.ID())}
}

// registryControl returns the places that close the mesh, or some of its
// namespaces, to hosts that nothing registers (I3): the mesh configuration
// first, then Sidecars in input order. An object may be nil: no manifest says it.
func (in *intent) registryControl() []flow.Because {
	var out []flow.Because
	config := in.push.Config
	if int32(config.GetOutboundTrafficPolicy().GetMode()) == int32(networking.OutboundTrafficPolicy_REGISTRY_ONLY) {
		object, field := config.Because("outboundTrafficPolicy.mode")
		out = append(out, flow.Because{Object: object, Field: field})
	}
	for _, s := range in.push.Mesh.Sidecars {
		if p := s.Spec.GetOutboundTrafficPolicy(); p != nil && p.GetMode() == networking.OutboundTrafficPolicy_REGISTRY_ONLY {
			out = append(out, flow.Because{Object: s.Object, Field: "spec.outboundTrafficPolicy"})
		}
	}
	return out
}

// pushFor returns what the control plane of a client has computed.
func (in *intent) pushFor(w *model.Workload) *model.PushContext {
	config := in.pass.Mesh.ConfigFor(w)
	if config.Revision == in.push.Config.Revision {
		return in.push
	}
	if in.pushes[config.Revision] == nil {
		in.pushes[config.Revision] = model.NewPushContext(in.pass.Mesh, config, 0)
	}
	return in.pushes[config.Revision]
}

// scopeOf returns what the sidecars of a namespace see under a Sidecar, which may be nil.
func (in *intent) scopeOf(push *model.PushContext, namespace string, sidecar *model.Sidecar) *model.SidecarScope {
	if push == in.push {
		return in.pass.Reach.Sim.Scope(namespace, sidecar)
	}
	key := push.Config.Revision + "|" + namespace + "|"
	if sidecar != nil {
		key += sidecar.ID()
	}
	if in.scopes[key] == nil {
		in.scopes[key] = push.NewSidecarScope(namespace, sidecar)
	}
	return in.scopes[key]
}

// scopeOfClient returns what a client's sidecar sees.
func (in *intent) scopeOfClient(push *model.PushContext, w *model.Workload) *model.SidecarScope {
	return in.scopeOf(push, w.Namespace, push.SidecarFor(w.Namespace, w.Labels))
}

// waypointHosts is [waypointHosts], once.
//
//go:noinline
func (in *intent) waypointHosts() []waypointHost {
	if in.bound == nil {
		hosts := waypointHosts(in.pass)
		in.bound = &hosts
	}
	return *in.bound
}
