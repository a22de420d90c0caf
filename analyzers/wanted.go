package analyzers

import (
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/reach"
)

// registering returns the services of a registry that cover a host, oldest
// first.
func (in *intent) registering(push *model.PushContext, h host.Name) []*model.Service {
	x := in.services[push]
	if x == nil {
		x = &model.HostTable[*model.Service]{}
		for _, s := range push.Services() {
			x.Add(s, []host.Name{s.Hostname})
		}
		in.services[push] = x
	}
	return x.Covering(h)
}

// declaring returns the services of ServiceEntries that cover a host whatever the
// case in which they write theirs, oldest first.
func (in *intent) declaring(push *model.PushContext, h host.Name) []*model.Service {
	x := in.declared[push]
	if x == nil {
		x = &model.HostTable[*model.Service]{}
		for _, s := range push.Services() {
			if s.Entry != nil {
				x.Add(s, []host.Name{host.Name(strings.ToLower(string(s.Hostname)))})
			}
		}
		in.declared[push] = x
	}
	return x.Covering(h)
}

// known returns the services that cover a host in lower case, whatever the case in
// which they write theirs, oldest first.
func (in *intent) known(push *model.PushContext, h host.Name) []*model.Service {
	x := in.lowered[push]
	if x == nil {
		x = &model.HostTable[*model.Service]{}
		for _, s := range push.Services() {
			x.Add(s, []host.Name{host.Name(strings.ToLower(string(s.Hostname)))})
		}
		in.lowered[push] = x
	}
	return x.Covering(h)
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
	// imports says whether a Sidecar imports any host by name.
	imports map[*model.Sidecar]bool
}

func (in *intent) wantedBy(push *model.PushContext) *wanted {
	if x := in.wanted[push]; x != nil {
		return x
	}
	x := &wanted{named: map[string][]int{}, imports: map[*model.Sidecar]bool{}}
	for _, vs := range push.VirtualServices() {
		if !slices.Contains(vs.Gateways, model.MeshGateway) {
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
	for _, s := range push.Mesh.Sidecars {
		for _, e := range s.Spec.GetEgress() {
			for _, h := range e.GetHosts() {
				if _, name, _ := strings.Cut(h, "/"); name != "*" {
					x.imports[s] = true
				}
			}
		}
	}
	in.wanted[push] = x
	return x
}

func (x *wanted) addRule(r authzRule) {
	i := len(x.rules)
	x.rules = append(x.rules, r)
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

// mayWant tells for a client which destinations anything could show that it means to
// call.
func (in *intent) mayWant() func(*model.Workload) reach.Places {
	// meant are the destinations that all clients of a control plane may mean, and by
	// namespace those that its clients may.
	type meant struct {
		all         reach.Places
		byNamespace map[string]reach.Places
		united      map[string]reach.Places
	}
	found := map[*model.PushContext]*meant{}
	find := func(x *wanted) *meant {
		m := &meant{in.pass.Reach.NoPlaces(), map[string]reach.Places{}, map[string]reach.Places{}}
		for i, d := range in.pass.Reach.Universe() {
			if len(x.named[strings.ToLower(d.Host)]) > 0 || len(x.general) > 0 {
				m.all.Add(i)
				continue
			}
			for _, vs := range x.routes.Covering(host.Name(d.Host)) {
				to := vs.ExportTo()
				if to.Public() {
					m.all.Add(i)
					break
				}
				for _, ns := range append([]string{vs.Namespace}, to...) {
					if !to.VisibleTo(vs.Namespace, ns) {
						continue
					}
					places, ok := m.byNamespace[ns]
					if !ok {
						places = in.pass.Reach.NoPlaces()
						m.byNamespace[ns] = places
					}
					places.Add(i)
				}
			}
		}
		return m
	}
	return func(w *model.Workload) reach.Places {
		push := in.pushFor(w)
		x := in.wantedBy(push)
		if s := push.SidecarFor(w.Namespace, w.Labels); s != nil && s.Namespace == w.Namespace && x.imports[s] {
			return reach.Places{}
		}
		m := found[push]
		if m == nil {
			m = find(x)
			found[push] = m
		}
		own, ok := m.byNamespace[w.Namespace]
		if !ok {
			return m.all
		}
		united, ok := m.united[w.Namespace]
		if !ok {
			united = m.all.With(own)
			m.united[w.Namespace] = united
		}
		return united
	}
}
