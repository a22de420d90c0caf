package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/protocol"
)

// GatewayServer is one server of a Gateway on one port of a gateway's pods.
type GatewayServer struct {
	*networking.Server
	Gateway *Gateway
	// Origin is the listener of the Gateway API of which istiod made the
	// Gateway, nil for one of Istio's own.
	Origin *GatewayOrigin
	// Field is the field path of the server in Gateway.
	Field string
	// Hosts are server.hosts with "./" and "*/" resolved: "host" or
	// "namespace/host".
	Hosts []string
	// Port is what the pod listens on.
	Port int
	// RouteName is shared by the servers that share a route table.
	RouteName string
	// SNIHosts are the hosts without namespaces, sorted.
	SNIHosts []string
}

// GatewayPort is a listening port of a gateway's pods with its servers in the
// order in which istiod merges them.
type GatewayPort struct {
	Port     int
	Protocol protocol.Instance
	Bind     string
	Servers  []*GatewayServer
	// RouteName is that of plaintext HTTP servers.
	RouteName string
}

// MergedGateway is all Gateways that select a pod, merged into one (istio
// pilot/pkg/model/gateway.go mergeGateways).
type MergedGateway struct {
	Ports []*GatewayPort
	// Skipped are servers that the merge left out, with the reason.
	Skipped []SkippedServer
	// byRoute are the servers of each route table.
	byRoute map[string][]*GatewayServer
}

// SkippedServer is a server that does not exist in the merged gateway.
type SkippedServer struct {
	*GatewayServer
	Reason string
	// By is the server that it conflicts with, nil if none.
	By *GatewayServer
}

// ServersByRoute returns the servers that share a route table.
func (m *MergedGateway) ServersByRoute(name string) []*GatewayServer { return m.byRoute[name] }

// Name returns "namespace/name" of the Gateway, as VirtualServices refer to it.
//
//go:noinline
func (s *GatewayServer) Name() string { return s.Gateway.ID() }

// Protocol is the parsed protocol of the server's port.
func (s *GatewayServer) Protocol() protocol.Instance {
	return protocol.Parse(s.GetPort().GetProtocol())
}

// Passthrough reports whether the server forwards TLS unopened.
func (s *GatewayServer) Passthrough() bool {
	return s.GetTls() != nil && (s.GetTls().GetMode() == networking.ServerTLSSettings_PASSTHROUGH ||
		s.GetTls().GetMode() == networking.ServerTLSSettings_AUTO_PASSTHROUGH)
}

// HTTP reports whether the server speaks HTTP, plaintext or after opening TLS.
func (s *GatewayServer) HTTP() bool {
	return s.Protocol().IsHTTP() || s.Protocol() == protocol.HTTPS && !s.Passthrough()
}

// tlsServer reports whether the server is told apart by SNI: an HTTP server with
// tls only redirects.
func (s *GatewayServer) tlsServer() bool { return s.GetTls() != nil && !s.Protocol().IsHTTP() }

// Title names a server for messages: "server http of Gateway ns/name", or
// "listener http of Gateway ns/name" for the Gateway API.
func (s *GatewayServer) Title() string {
	if s.Origin != nil {
		return fmt.Sprintf("listener %s of %s", s.Origin.Parent.Spec.Spec.Listeners[s.Origin.Listener].Name, s.Origin.Parent.Object)
	}
	name := cmp.Or(s.GetName(), s.GetPort().GetName(), fmt.Sprint(s.GetPort().GetNumber()))
	return fmt.Sprintf("server %s of Gateway %s", name, s.Gateway.ID())
}

// GatewaysFor returns the Gateways that select a pod, oldest first. They may
// be in any namespace unless istiod runs with
// PILOT_SCOPE_GATEWAY_TO_NAMESPACE; but pods that istiod deploys for a Gateway
// of the Gateway API take no Gateways of Istio's own from elsewhere (istio
// pilot/pkg/model/push_context.go mergeGateways, filterStrictGatewayMerging).
func (p *PushContext) GatewaysFor(w *Workload) []*Gateway {
	scoped := p.Config.Enabled("PILOT_SCOPE_GATEWAY_TO_NAMESPACE")
	strict := p.Config.Enabled("PILOT_ENABLE_STRICT_GATEWAY_MERGING")
	var out []*Gateway
	managed := map[string]bool{}
	for _, g := range p.gateways {
		if scoped && g.Namespace != w.Namespace {
			continue
		}
		origin := p.converted.origins[g.Object]
		switch {
		case origin == nil && subset(g.Spec.GetSelector(), w.Labels):
			out = append(out, g)
		case origin != nil && len(p.boundPorts(g.Namespace, origin.Services, w)) > 0:
			out = append(out, g)
			managed[g.Namespace] = managed[g.Namespace] || origin.Managed
		}
	}
	if strict && slices.Contains(slices.Collect(maps.Values(managed)), true) {
		out = slices.DeleteFunc(out, func(g *Gateway) bool { return p.converted.origins[g.Object] == nil && !managed[g.Namespace] })
	}
	return out
}

// GatewayOrigin returns the listener of which istiod made a Gateway, nil for one
// of Istio's own.
func (p *PushContext) GatewayOrigin(g *Gateway) *GatewayOrigin { return p.converted.origins[g.Object] }

// boundPorts returns the ports of Services of a namespace that lead to a pod,
// with the ports of the pod.
func (p *PushContext) boundPorts(namespace string, services []host.Name, w *Workload) [][2]int {
	if w.Namespace != namespace {
		return nil
	}
	var out [][2]int
	for _, h := range services {
		s := p.byHost[h][namespace]
		if s == nil || len(s.Selector) == 0 || !subset(s.Selector, w.Labels) {
			continue
		}
		out = append(out, podPorts(s, w)...)
	}
	return out
}

// podPorts are the ports of a Service with those of a pod to which they lead; of several
// that lead to one, with one protocol, only the first counts (istio
// pilot/pkg/serviceregistry/kube/controller/controller.go GetProxyServiceTargetsByPod).
func podPorts(s *Service, w *Workload) (out [][2]int) {
	type target struct {
		number   int
		protocol protocol.Instance
	}
	seen := map[target]bool{}
	for _, port := range s.Ports {
		if t := (target{containerPort(w, port), port.Protocol}); t.number > 0 && !seen[t] {
			seen[t] = true
			out = append(out, [2]int{port.Number, t.number})
		}
	}
	return out
}

// serverPorts are the ports on which a pod listens for a server: for a Gateway
// that selects it by label the one to which its Services lead, or the number
// itself; for the Gateway API the Service's alone (istio
// pilot/pkg/model/gateway.go resolvePorts).
func (p *PushContext) serverPorts(g *Gateway, w *Workload, number int, services [][2]int) []int {
	origin := p.converted.origins[g.Object]
	if origin == nil {
		if i := slices.IndexFunc(services, func(sp [2]int) bool { return sp[0] == number }); i >= 0 {
			return []int{services[i][1]}
		}
		return []int{number}
	}
	var out []int
	for _, sp := range p.boundPorts(g.Namespace, origin.Services, w) {
		if sp[0] == number {
			out = append(out, sp[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// servicePorts returns the service port numbers that lead to a pod with the
// ports of the pod, Services by age and host (istio pilot/pkg/model/context.go
// SetServiceTargets), which is not the order of the registry.
func (p *PushContext) servicePorts(w *Workload) [][2]int {
	var services []*Service
	for _, s := range p.services {
		if !s.Kubernetes() || s.Namespace != w.Namespace || len(s.Selector) == 0 || !subset(s.Selector, w.Labels) {
			continue
		}
		// Knative opts out of the translation (istio pilot/pkg/model/gateway.go
		// DisableGatewayPortTranslationLabel).
		if _, off := s.Labels["experimental.istio.io/disable-gateway-port-translation"]; off {
			continue
		}
		services = append(services, s)
	}
	slices.SortStableFunc(services, func(a, b *Service) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Hostname, b.Hostname))
	})
	var out [][2]int
	for _, s := range services {
		out = append(out, podPorts(s, w)...)
	}
	return out
}

// gatewayMerge is the state of one merge.
type gatewayMerge struct {
	out *MergedGateway
	// byKey finds the merged port of (number, protocol as written, bind).
	byKey     map[string]*GatewayPort
	plaintext map[int]*GatewayPort
	tlsHosts  map[int]map[string]*GatewayServer // "bind host" of TLS servers
	tlsBinds  map[int]map[string]bool
	used      map[int]bool
}

// MergeGateways merges the Gateways that select a pod, nil if none does.
func (p *PushContext) MergeGateways(w *Workload) *MergedGateway {
	gateways := p.GatewaysFor(w)
	if len(gateways) == 0 {
		return nil
	}
	m := &gatewayMerge{
		out:   &MergedGateway{byRoute: map[string][]*GatewayServer{}},
		byKey: map[string]*GatewayPort{}, plaintext: map[int]*GatewayPort{},
		tlsHosts: map[int]map[string]*GatewayServer{}, tlsBinds: map[int]map[string]bool{}, used: map[int]bool{},
	}
	ports := p.servicePorts(w)
	for _, g := range gateways {
		for i, spec := range g.Spec.GetServers() {
			if spec.GetPort() == nil {
				continue
			}
			for _, port := range p.serverPorts(g, w, int(spec.GetPort().GetNumber()), ports) {
				s := newGatewayServer(g, spec, i)
				s.Port, s.Origin = port, p.converted.origins[g.Object]
				s.RouteName = routeName(s)
				if why, by := m.add(s); why != "" {
					m.out.Skipped = append(m.out.Skipped, SkippedServer{s, why, by})
				}
			}
		}
	}
	return m.out
}

func newGatewayServer(g *Gateway, spec *networking.Server, index int) *GatewayServer {
	s := &GatewayServer{Server: proto.CloneOf(spec), Gateway: g, Field: fmt.Sprintf("spec.servers[%d]", index)}
	for _, h := range spec.GetHosts() {
		ns, name, found := strings.Cut(h, "/")
		switch {
		case !found:
		case ns == ".":
			h = g.Namespace + "/" + name
		case ns == "*" && name == "*":
			s.Hosts = nil
			h = "*"
		case ns == "*":
			h = name
		}
		s.Hosts = append(s.Hosts, h)
	}
	if spec.GetTls() != nil {
		for _, h := range s.Hosts {
			if _, name, found := strings.Cut(h, "/"); found {
				h = name
			}
			if !contains(s.SNIHosts, h) {
				s.SNIHosts = append(s.SNIHosts, h)
			}
		}
		slices.Sort(s.SNIHosts)
	}
	return s
}

// routeName names the route table of a server: plaintext HTTP servers of a port
// share one, each HTTPS server has its own, others have none (istio
// pilot/pkg/model/gateway.go gatewayRDSRouteName).
func routeName(s *GatewayServer) string {
	bind := ""
	if s.GetBind() != "" {
		bind = "." + s.GetBind()
	}
	switch {
	case s.Protocol().IsHTTP():
		return fmt.Sprintf("http.%d%s", s.Port, bind)
	case s.Protocol() == protocol.HTTPS && !s.Passthrough():
		return fmt.Sprintf("https.%d.%s.%s.%s%s", s.GetPort().GetNumber(), s.GetPort().GetName(), s.Gateway.Name, s.Gateway.Namespace, bind)
	default:
		return ""
	}
}

// add merges one server; a reason means that it was left out.
func (m *gatewayMerge) add(s *GatewayServer) (skipped string, by *GatewayServer) {
	if s.GetTls() != nil {
		if m.tlsHosts[s.Port] == nil {
			m.tlsHosts[s.Port] = map[string]*GatewayServer{}
		}
		for _, h := range s.Hosts {
			if first := m.tlsHosts[s.Port][s.GetBind()+" "+h]; first != nil {
				return fmt.Sprintf("host %q is already served with TLS on port %d", h, s.Port), first
			}
		}
		for _, h := range s.Hosts {
			m.tlsHosts[s.Port][s.GetBind()+" "+h] = s
		}
	}
	if !m.used[s.Port] {
		m.used[s.Port] = true
		m.addPort(s)
		return "", nil
	}
	if current := m.plaintext[s.Port]; current != nil {
		return m.joinPlaintext(s, current)
	}
	if !s.tlsServer() {
		m.addPort(s)
		return "", nil
	}
	return m.joinTLS(s)
}

// addPort opens a port with its first server.
func (m *gatewayMerge) addPort(s *GatewayServer) {
	port := &GatewayPort{Port: s.Port, Protocol: s.Protocol(), Bind: s.GetBind(), Servers: []*GatewayServer{s}, RouteName: s.RouteName}
	if !s.tlsServer() {
		m.plaintext[s.Port] = port
	}
	if s.HTTP() {
		m.out.byRoute[s.RouteName] = []*GatewayServer{s}
	}
	key := portKey(s)
	if old := m.byKey[key]; old != nil {
		m.out.Ports = slices.DeleteFunc(m.out.Ports, func(p *GatewayPort) bool { return p == old })
	}
	m.byKey[key] = port
	m.out.Ports = append(m.out.Ports, port)
}

func portKey(s *GatewayServer) string {
	return fmt.Sprintf("%d/%s/%s", s.Port, s.GetPort().GetProtocol(), s.GetBind())
}

// joinPlaintext merges a server into a port on which a plaintext server came
// first.
func (m *gatewayMerge) joinPlaintext(s *GatewayServer, current *GatewayPort) (string, *GatewayServer) {
	sameBind := current.Bind == s.GetBind()
	mergeable := s.Protocol().IsHTTP() && current.Protocol.IsHTTP()
	first := current.Servers[0]
	switch {
	case sameBind && !mergeable:
		return fmt.Sprintf("port %d already has a plaintext %s server", s.Port, current.Protocol), first
	case sameBind && s.RouteName == "":
		return fmt.Sprintf("port %d already has a server", s.Port), first
	case sameBind:
		current.Servers = append(current.Servers, s)
		m.out.byRoute[s.RouteName] = append(m.out.byRoute[s.RouteName], s)
	case m.byKey[portKey(s)] == nil:
		m.addPort(s)
	default:
		port := m.byKey[portKey(s)]
		port.RouteName = s.RouteName
		port.Servers = append(port.Servers, s)
		m.out.byRoute[s.RouteName] = append(m.out.byRoute[s.RouteName], s)
	}
	return "", nil
}

// joinTLS merges a TLS server into a port on which a TLS server came first.
func (m *gatewayMerge) joinTLS(s *GatewayServer) (string, *GatewayServer) {
	if s.HTTP() {
		if others := m.out.byRoute[s.RouteName]; len(others) > 0 {
			return fmt.Sprintf("port name %q is not unique among HTTPS servers", s.GetPort().GetName()), others[0]
		}
		m.out.byRoute[s.RouteName] = []*GatewayServer{s}
	}
	port := m.byKey[portKey(s)]
	if port == nil {
		port = &GatewayPort{Port: s.Port, Protocol: s.Protocol(), Bind: s.GetBind()}
		m.byKey[portKey(s)] = port
		m.out.Ports = append(m.out.Ports, port)
	}
	port.Servers = append(port.Servers, s)
	return "", nil
}

// HostsFor returns the server's hosts that apply to VirtualServices of a
// namespace, without namespaces (istio pkg/config/host NamesForNamespace).
func (s *GatewayServer) HostsFor(namespace string) host.Names {
	return host.NamesForNamespace(s.Hosts, namespace)
}

// Gateways returns all Gateways, oldest first, those included that istiod makes
// of the Gateway API.
func (p *PushContext) Gateways() []*Gateway { return p.gateways }

// GatewayWithoutPods returns a Gateway whose selector no workload of the input
// has, nil if there is none: a gateway that somebody else installs, with its
// Service. Only those count whose workload may be in the given namespace.
func (p *PushContext) GatewayWithoutPods(namespace string) *Gateway {
	scoped := p.Config.Enabled("PILOT_SCOPE_GATEWAY_TO_NAMESPACE")
	for _, g := range p.Mesh.Gateways {
		selector := g.Spec.GetSelector()
		if len(selector) == 0 || scoped && g.Namespace != namespace {
			continue
		}
		if !slices.ContainsFunc(p.cluster.Workloads, func(w *Workload) bool {
			return subset(selector, w.Labels) && (!scoped || w.Namespace == g.Namespace)
		}) {
			return g
		}
	}
	return nil
}
