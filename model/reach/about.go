package reach

import (
	"net/netip"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// about finds what is about a host: routes, entries, and operations of rules.
type about struct {
	routes  model.HostTable[*model.MergedVirtualService]
	entries model.HostTable[*model.ServiceEntry]
	// asks are the operations of the rules of all policies, in their order;
	// general are those that may be about any host, named those about one.
	asks    []ask
	general []int
	named   map[string][]int
	// namespaces are those in which policies may be enforced on any request.
	namespaces map[string]bool
}

// ask is one operation of a rule.
type ask struct {
	namespace string
	rule      *security.Rule
	operation *security.Operation
}

// look fills the indexes, once.
func (r *Reach) look() {
	if r.namespaces != nil {
		return
	}
	a := r.about
	a.namespaces, a.named = map[string]bool{}, map[string][]int{}
	for _, vs := range r.Sim.Push().VirtualServices() {
		a.routes.Add(vs, model.LowerHosts(vs.Hosts))
	}
	for _, e := range r.Mesh.ServiceEntries {
		var hosts []host.Name
		for _, h := range e.Spec.GetHosts() {
			hosts = append(hosts, host.Name(strings.ToLower(h)))
		}
		a.entries.Add(e, hosts)
	}
	for _, w := range r.Mesh.Workloads {
		a.namespaces[r.Mesh.ConfigFor(w).GetRootNamespace()] = true
		if r.class[w] == nil {
			a.namespaces[w.Namespace] = true
		}
	}
	for _, p := range r.Mesh.AuthorizationPolicies {
		for _, rule := range p.Spec.GetRules() {
			to := rule.GetTo()
			for i := range max(1, len(to)) {
				x := ask{namespace: p.Namespace, rule: rule}
				if i < len(to) {
					x.operation = to[i].GetOperation()
				}
				a.addAsk(x)
			}
		}
	}
}

// addAsk files an operation under the hosts that it names, if it is about no
// others.
func (a *about) addAsk(x ask) {
	if !x.ofRequests() {
		return
	}
	i := len(a.asks)
	a.asks = append(a.asks, x)
	hosts := x.operation.GetHosts()
	if len(hosts) == 0 || len(x.operation.GetNotHosts()) > 0 || slices.ContainsFunc(hosts, func(h string) bool { return strings.Contains(h, "*") }) {
		a.general = append(a.general, i)
		return
	}
	for _, h := range hosts {
		h, _, _ = strings.Cut(strings.ToLower(h), ":")
		if list := a.named[h]; len(list) == 0 || list[len(list)-1] != i {
			a.named[h] = append(list, i)
		}
	}
}

// routesOf returns the VirtualServices that cover a host.
func (r *Reach) routesOf(h host.Name) []*model.MergedVirtualService {
	r.look()
	return r.routes.Covering(h)
}

// asking returns the operations of rules that may be about requests for one of
// some hosts.
func (r *Reach) asking(hosts []host.Name) []ask {
	r.look()
	if len(hosts) >= maxHosts {
		return slices.Clone(r.asks) // there may be others
	}
	places := slices.Clone(r.general)
	for _, h := range hosts {
		places = append(places, r.named[string(h)]...)
	}
	slices.Sort(places)
	var out []ask
	for _, i := range slices.Compact(places) {
		out = append(out, r.asks[i])
	}
	return out
}

// enforcing reports in which namespaces policies may be enforced on requests for
// hosts: the root namespace, those of gateways and waypoints, and those of workloads
// of the mesh that the hosts may lead to.
func (r *Reach) enforcing(hosts []host.Name) func(namespace string) bool {
	const inCluster = ".svc." + model.DomainSuffix
	r.look()
	namespaces := map[string]bool{}
	anywhere := false
	for _, h := range hosts {
		if name, ok := strings.CutSuffix(string(h), inCluster); ok {
			_, namespace, _ := strings.Cut(name, ".")
			namespaces[namespace] = true
		}
		for _, e := range r.entries.Covering(h) {
			if e.Spec.GetWorkloadSelector() != nil {
				namespaces[e.Namespace] = true
			}
			for _, to := range e.Spec.GetEndpoints() {
				a, err := netip.ParseAddr(to.GetAddress())
				anywhere = anywhere || err == nil && a.IsPrivate() || strings.HasSuffix(to.GetAddress(), inCluster)
			}
		}
	}
	return func(namespace string) bool { return anywhere || r.namespaces[namespace] || namespaces[namespace] }
}

// ofRequests reports whether an operation, or its rule, looks at what requests hold.
func (x *ask) ofRequests() bool {
	o := x.operation
	return len(o.GetMethods())+len(o.GetNotMethods())+len(o.GetPaths())+len(o.GetNotPaths())+len(o.GetHosts())+len(o.GetNotHosts()) > 0 ||
		slices.ContainsFunc(x.rule.GetWhen(), func(w *security.Condition) bool { return strings.HasPrefix(w.GetKey(), "request.headers") })
}
