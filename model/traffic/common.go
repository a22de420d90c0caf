package traffic

import (
	"slices"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// common is what the tables of proxies share. Where no Sidecar says what a
// namespace needs, each of its proxies knows all services of the mesh: tables of
// their own would take memory and time that grow with the square of the mesh. The
// lock of the simulation guards it. What is here is never changed.
type common struct {
	services map[portedKey]*model.Service
	hosts    map[hostKey]*commonHost
}

// portedKey is a service as a listener shows it on one port.
type portedKey struct {
	service  *model.Service
	port     *model.Port
	hostname host.Name
}

// ported returns a service with one port only and its host in lower case.
func (c *common) ported(s *model.Service, port *model.Port, hostname host.Name) *model.Service {
	key := portedKey{s, port, hostname}
	out := c.services[key]
	if out == nil {
		copied := *s
		copied.Hostname, copied.Ports = hostname, []*model.Port{port}
		if c.services == nil {
			c.services = map[portedKey]*model.Service{}
		}
		out = &copied
		c.services[key] = out
	}
	return out
}

// hostKey is what the virtual host of a service that no VirtualService routes
// depends on.
type hostKey struct {
	service *model.Service // as ported returns it
	port    int
	// own is the namespace of the proxy where one of the service's names has it,
	// which has shorter spellings there.
	own        string
	dnsCapture bool
}

// commonHost is a virtual host with all the spellings of its name.
type commonHost struct {
	virtualHost
	alternatives []string
}

// sharedHost returns the virtual host of a service that no VirtualService routes.
func (p *proxy) sharedHost(g hostGroup, s *model.Service) *commonHost {
	hostname := string(s.Hostname)
	key := hostKey{s, g.port, "", p.dnsCapture}
	if model.InNamespace(hostname, p.namespace) || slices.ContainsFunc(s.Aliases, func(a host.Name) bool { return model.InNamespace(string(a), p.namespace) }) {
		key.own = p.namespace
	}
	x := p.sim.hosts[key]
	if x != nil {
		return x
	}
	x = &commonHost{}
	x.name = domainName(hostname, g.port)
	x.domains, x.alternatives = p.domains(s)
	x.routes = []*route{defaultRoute(clusterName(g.port, "", hostname), []flow.Because{{Object: s.Object, Field: s.Ports[0].Field}})}
	x.what, x.because = groupText(g, s, hostname)
	if p.sim.hosts == nil {
		p.sim.hosts = map[hostKey]*commonHost{}
	}
	p.sim.hosts[key] = x
	return x
}
