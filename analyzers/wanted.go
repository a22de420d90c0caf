package analyzers

import (
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// registering returns the services of a registry that cover a host, oldest
// first.
func (in *intent) registering(push *model.PushContext, h host.Name) []*model.Service {
	return in.registered(push).Covering(h)
}

// registered finds the services of a registry by their hosts as they are written.
func (in *intent) registered(push *model.PushContext) *model.HostTable[*model.Service] {
	return tableOf(in.services, push, func(s *model.Service) (host.Name, bool) { return s.Hostname, true })
}

// declaring returns the services of ServiceEntries that cover a host whatever the
// case in which they write theirs, oldest first.
func (in *intent) declaring(push *model.PushContext, h host.Name) []*model.Service {
	return tableOf(in.declared, push, func(s *model.Service) (host.Name, bool) { return model.LowerHost(s.Hostname), s.Entry != nil }).Covering(h)
}

// known returns the services that cover a host in lower case, whatever the case in
// which they write theirs, oldest first.
func (in *intent) known(push *model.PushContext, h host.Name) []*model.Service {
	return tableOf(in.lowered, push, func(s *model.Service) (host.Name, bool) { return model.LowerHost(s.Hostname), true }).Covering(h)
}

// serviceTables find services by host, by registry.
type serviceTables map[*model.PushContext]*model.HostTable[*model.Service]

// tableOf returns the table of a registry, made once, of the services that by takes,
// with the host under which it does.
func tableOf(tables serviceTables, push *model.PushContext, by func(*model.Service) (host.Name, bool)) *model.HostTable[*model.Service] {
	x := tables[push]
	if x == nil {
		x = &model.HostTable[*model.Service]{}
		for _, s := range push.Services() {
			if h, ok := by(s); ok {
				x.Add(s, []host.Name{h})
			}
		}
		tables[push] = x
	}
	return x
}

// wanted finds what shows that clients mean to call a host.
type wanted struct {
	// routes are the VirtualServices for sidecars.
	routes model.HostTable[*model.MergedVirtualService]
	// rules are those of ALLOW policies in force that ask who sends; general may
	// be about any host, named are about one.
	rules   []authzRule
	general []int
	named   map[string][]int
	// somebody are those that can be about clients of one of some namespaces only, by
	// namespace, anybody the others.
	somebody map[string][]int
	anybody  []int
}

func (in *intent) wantedBy(push *model.PushContext) *wanted {
	if x := in.wanted[push]; x != nil {
		return x
	}
	x := &wanted{named: map[string][]int{}, somebody: map[string][]int{}}
	for _, vs := range push.VirtualServices() {
		if !contains(vs.Gateways, model.MeshGateway) {
			continue
		}
		x.routes.Add(vs, model.LowerHosts(vs.Hosts))
	}
	for _, policy := range in.push.Mesh.AuthorizationPolicies {
		if policy.Spec.GetAction() != security.AuthorizationPolicy_ALLOW || !enforced(policy) {
			continue
		}
		for _, r := range rulesOf(policy) {
			if fields, _ := r.identityFields(); len(fields) > 0 {
				x.addRule(r)
			}
		}
	}
	in.wanted[push] = x
	return x
}

func (x *wanted) addRule(r authzRule) {
	i := len(x.rules)
	x.rules = append(x.rules, r)
	if namespaces, ok := r.namespacesOf(); ok {
		for _, ns := range namespaces {
			x.somebody[ns] = append(x.somebody[ns], i)
		}
	} else {
		x.anybody = append(x.anybody, i)
	}
	for _, n := range r.hosts() {
		if strings.Contains(n.Value, "*") {
			x.general = append(x.general, i)
			return
		}
	}
	for _, n := range r.hosts() {
		h := strings.ToLower(bareHost(n.Value))
		if list := x.named[h]; len(list) == 0 || list[len(list)-1] != i {
			x.named[h] = append(list, i)
		}
	}
}

// rulesFor returns the rules that may name a host, in the order of the policies.
func (x *wanted) rulesFor(h host.Name) []authzRule {
	places := slices.Concat(x.general, x.named[strings.ToLower(string(h))])
	slices.Sort(places)
	var out []authzRule
	for _, i := range slices.Compact(places) {
		out = append(out, x.rules[i])
	}
	return out
}
