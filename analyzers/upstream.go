package analyzers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

// tlsSetting is one place at which a DestinationRule says how proxies open TLS
// towards a host outside.
type tlsSetting struct {
	*networking.ClientTLSSettings
	rule  *model.DestinationRule
	field string
	// port is the one of portLevelSettings, 0 for all.
	port int
	// services are those of ServiceEntries that the rule is for.
	services []*model.Service
}

// originations returns the settings of SIMPLE and MUTUAL TLS towards hosts that
// ServiceEntries register, of rules that some proxy may find, in input order.
func originations(p *Pass) []tlsSetting {
	push := p.Reach.Sim.Push()
	var out []tlsSetting
	external := newExternals(p, push)
	for _, r := range push.Mesh.DestinationRules {
		if len(settingsOf(r.Spec.GetTrafficPolicy(), ""))+len(r.Spec.GetSubsets()) == 0 {
			continue
		}
		services := external.of(r)
		if len(services) == 0 {
			continue
		}
		add := func(policy *networking.TrafficPolicy, field string) {
			for _, s := range settingsOf(policy, field) {
				s.rule, s.services = r, services
				if m := s.GetMode(); m == networking.ClientTLSSettings_SIMPLE || m == networking.ClientTLSSettings_MUTUAL {
					out = append(out, s)
				}
			}
		}
		add(r.Spec.GetTrafficPolicy(), "spec.trafficPolicy")
		for i, subset := range r.Spec.GetSubsets() {
			add(subset.GetTrafficPolicy(), fmt.Sprintf("spec.subsets[%d].trafficPolicy", i))
		}
	}
	return out
}

// settingsOf returns the TLS settings of a policy, for all ports and for single
// ones.
func settingsOf(policy *networking.TrafficPolicy, field string) []tlsSetting {
	var out []tlsSetting
	if policy.GetTls() != nil {
		out = append(out, tlsSetting{ClientTLSSettings: policy.GetTls(), field: field + ".tls"})
	}
	for i, s := range policy.GetPortLevelSettings() {
		if s.GetTls() != nil {
			out = append(out, tlsSetting{ClientTLSSettings: s.GetTls(), field: fmt.Sprintf("%s.portLevelSettings[%d].tls", field, i), port: int(s.GetPort().GetNumber())})
		}
	}
	return out
}

// externals are the services of ServiceEntries outside the cluster, in the order of
// the registry.
type externals struct {
	all    []*model.Service
	byHost map[host.Name][]*model.Service // in lower case
	root   string
	// peopled are the namespaces with workloads.
	peopled map[string]bool
}

func newExternals(p *Pass, push *model.PushContext) *externals {
	x := &externals{byHost: map[host.Name][]*model.Service{}, root: push.RootNamespace(), peopled: map[string]bool{}}
	for _, s := range push.Services() {
		if s.Entry != nil && !inCluster(push, s.Hostname) {
			h := host.Name(strings.ToLower(string(s.Hostname)))
			x.all, x.byHost[h] = append(x.all, s), append(x.byHost[h], s)
		}
	}
	for _, w := range p.Mesh.Workloads {
		x.peopled[w.Namespace] = true
	}
	return x
}

// of returns the services of ServiceEntries that a DestinationRule is
// for. Proxies look for rules in their own namespace, in that of the service and
// in the root namespace: elsewhere nobody finds it (istio
// pilot/pkg/model/push_context.go destinationRule).
func (x *externals) of(r *model.DestinationRule) []*model.Service {
	h := host.Name(strings.ToLower(string(model.ResolveHost(r.Spec.GetHost(), r.Namespace))))
	candidates := x.byHost[h]
	if h.IsWildCarded() {
		candidates = x.all
	}
	var out []*model.Service
	for _, s := range candidates {
		if !host.Name(strings.ToLower(string(s.Hostname))).SubsetOf(h) {
			continue
		}
		if r.Namespace == s.Namespace || r.Namespace == x.root || x.peopled[r.Namespace] {
			out = append(out, s)
		}
	}
	return out
}

// hosts names the hosts of the services, each once.
func (s tlsSetting) hosts() []string {
	var out []string
	for _, svc := range s.services {
		if h := string(svc.Hostname); !contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// users returns the requests that get out with the TLS of a setting, nil if the
// input has no client whose requests do.
func (in *intent) users(s tlsSetting) *collected {
	c := &collected{}
	for a := range in.attempts(s.covers, func(via flow.Via, _ flow.Reason) bool { return via == flow.ViaDirect || via == flow.ViaGateway }) {
		if a.Trace.Outcome == flow.Allowed && a.Trace.UpstreamTLS != flow.UpstreamNone && citesAnywhere(a.Trace, s.rule.Object, s.field+".mode") {
			c.add(a)
		}
	}
	if c.first == nil {
		return nil
	}
	return c
}

// citesAnywhere reports whether any proxy on the way decided because of a field.
func citesAnywhere(t *flow.Trace, object *manifest.Object, field string) bool {
	return slices.ContainsFunc(t.Hops, func(h flow.Hop) bool {
		return slices.Contains(h.Because, flow.Because{Object: object, Field: field})
	})
}

// exit is the last proxy on the way of a request, and where it sends to.
type exit struct {
	*flow.Hop
	port   int
	subset string
	host   host.Name
	// route is the destination in a route, without object where there is none.
	route flow.Because
}

// exitOf finds the last proxy of a trace without branches that sends on, nil if
// there is none.
func exitOf(t *flow.Trace) *exit {
	for i := len(t.Hops) - 1; i >= 0; i-- {
		e := &exit{Hop: &t.Hops[i]}
		var ok bool
		if e.port, e.subset, e.host, ok = cluster(e.Cluster); !ok {
			continue
		}
		for _, b := range e.Because {
			if strings.HasSuffix(b.Field, ".destination") || strings.Contains(b.Field, ".backendRefs[") {
				e.route = b
			}
		}
		return e
	}
	return nil
}

// serviceAt returns the service that a proxy of a namespace means by the exit,
// with its port; nil where there is none.
func (in *intent) serviceAt(e *exit, namespace string) (*model.Service, *model.Port) {
	s := visibleService(in.push, e.host, namespace)
	if s == nil {
		return nil, nil
	}
	return s, s.PortByNumber(e.port)
}

// outgoing is the port to which requests for a port of a service go.
func outgoing(s *model.Service, port *model.Port) int {
	if s.Entry != nil {
		for _, e := range s.Entry.Spec.GetEndpoints() {
			if n := e.GetPorts()[port.Name]; n > 0 {
				return int(n)
			}
		}
	}
	if port.TargetPort > 0 {
		return port.TargetPort
	}
	return port.Number
}

// privateNames are the ends of names that are not resolved on the internet.
var privateNames = []string{".internal", ".local", ".localdomain", ".lan", ".corp", ".home", ".intranet", ".private", ".home.arpa"}

// private reports whether a host is evidently not on the internet: by its name,
// or because all addresses that its ServiceEntry lists are private.
func private(s *model.Service) bool {
	h := strings.ToLower(string(s.Hostname))
	if !strings.Contains(h, ".") || slices.ContainsFunc(privateNames, func(end string) bool { return strings.HasSuffix(h, end) }) {
		return true
	}
	if s.Entry == nil {
		return false
	}
	if s.Entry.Spec.GetWorkloadSelector() != nil {
		return true
	}
	var listed []string
	for _, e := range s.Entry.Spec.GetEndpoints() {
		listed = append(listed, e.GetAddress())
	}
	if len(listed) == 0 {
		listed = s.Entry.Spec.GetAddresses()
	}
	return len(listed) > 0 && !slices.ContainsFunc(listed, func(text string) bool {
		text, _, _ = strings.Cut(text, "/")
		a, err := netip.ParseAddr(text)
		if err != nil {
			text = strings.ToLower(text)
			return !slices.ContainsFunc(privateNames, func(end string) bool { return strings.HasSuffix(text, end) })
		}
		return publicIPv4.Contains(a.Unmap()) || a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate()
	})
}

// covers reports whether a destination is one that the rule is for.
func (s tlsSetting) covers(d reach.Destination) bool {
	return slices.ContainsFunc(s.services, func(svc *model.Service) bool {
		return host.Name(strings.ToLower(d.Host)).SubsetOf(host.Name(strings.ToLower(string(svc.Hostname))))
	})
}

// namespaceOf is the namespace of a workload that a trace names.
func namespaceOf(workload string) string {
	namespace, _, _ := strings.Cut(workload, "/")
	return namespace
}

// hostIndex finds whether a host is among many, wildcards among them.
type hostIndex struct {
	exact     map[host.Name]bool
	wildcards []host.Name
}

func indexHosts(lists ...[]host.Name) hostIndex {
	x := hostIndex{exact: map[host.Name]bool{}}
	for _, list := range lists {
		for _, h := range list {
			h = host.Name(strings.ToLower(string(h)))
			if h.IsWildCarded() && !x.exact[h] {
				x.wildcards = append(x.wildcards, h)
			}
			x.exact[h] = true
		}
	}
	return x
}

// covers reports whether a host is in the index, or inside of a wildcard there.
func (x hostIndex) covers(h string) bool {
	name := host.Name(strings.ToLower(h))
	return x.exact[name] || slices.ContainsFunc(x.wildcards, name.SubsetOf)
}
