package reach

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
)

// anyName is a host that no manifest registers; ".invalid" never resolves.
const anyName = "unregistered.egresslint.invalid"

// Universe returns the destinations to ask for: every external host that a
// manifest names (a witness inside each wildcard), one name and one address that
// stand for all others; each on the ports declared or routed for it, and on 80
// and 443. Sorted by host and port, the two that stand for the rest last.
//
//go:noinline
func (r *Reach) Universe() []Destination {
	if r.universe == nil {
		r.universe = buildUniverse(r)
	}
	return r.universe
}

// hostPorts collects ports by host.
type hostPorts struct {
	ports map[string][]int
	any   []int
	// stands says of which hosts with placeholders a name is a witness.
	stands map[string]string
}

func buildUniverse(r *Reach) []Destination {
	u := &hostPorts{ports: map[string][]int{}, stands: map[string]string{}}
	mesh := r.Mesh
	for _, e := range mesh.ServiceEntries {
		var ports []int
		for _, p := range e.Spec.GetPorts() {
			ports = append(ports, int(p.GetNumber()))
		}
		u.add(e.Namespace, e.Spec.GetHosts(), ports...)
	}
	for _, vs := range mesh.VirtualServices {
		var ports []int
		for _, h := range vs.Spec.GetHttp() {
			for _, m := range h.GetMatch() {
				ports = append(ports, int(m.GetPort()))
			}
		}
		for _, t := range vs.Spec.GetTls() {
			for _, m := range t.GetMatch() {
				u.add(vs.Namespace, m.GetSniHosts(), int(m.GetPort()))
			}
		}
		// A gateway's VirtualService may serve hosts for callers from outside;
		// only sidecars' routes are about egress.
		if bound := vs.Spec.GetGateways(); len(bound) == 0 || slices.Contains(bound, model.MeshGateway) {
			u.add(vs.Namespace, vs.Spec.GetHosts(), ports...)
		}
	}
	for _, d := range mesh.DestinationRules {
		u.add(d.Namespace, []string{d.Spec.GetHost()})
	}
	for _, s := range mesh.Sidecars {
		for _, e := range s.Spec.GetEgress() {
			for _, h := range e.GetHosts() {
				if _, name, ok := strings.Cut(h, "/"); ok {
					u.add(s.Namespace, []string{name}, int(e.GetPort().GetNumber()))
				}
			}
		}
	}
	for _, p := range mesh.AuthorizationPolicies {
		for _, rule := range p.Spec.GetRules() {
			for _, to := range rule.GetTo() {
				u.addPolicyHosts(p.Namespace, to.GetOperation().GetHosts())
				u.addPolicyHosts(p.Namespace, to.GetOperation().GetNotHosts())
			}
			for _, w := range rule.GetWhen() {
				if w.GetKey() == "connection.sni" {
					u.addPolicyHosts(p.Namespace, w.GetValues())
				}
			}
		}
	}
	for _, s := range mesh.KubeServices {
		if name := s.Spec.Spec.ExternalName; name != "" {
			u.add(s.Namespace, []string{string(model.ServiceHost(s.Name, s.Namespace)), name})
		}
	}
	for _, o := range mesh.Unfilled() {
		names, of := o.Witnesses()
		for i, name := range names {
			if u.add(o.Namespace, []string{name}, o.Ports()...); name != of[i] && u.ports[name] != nil {
				u.stands[name] = of[i]
			}
		}
		u.any = append(u.any, o.Ports()...)
	}
	return u.destinations(r)
}

// addPolicyHosts adds hosts as policies write them: with a port or with "*" at
// either end.
func (u *hostPorts) addPolicyHosts(namespace string, hosts []string) {
	for _, h := range hosts {
		h, _, _ = strings.Cut(h, ":")
		if !strings.HasSuffix(h, "*") {
			u.add(namespace, []string{h})
		}
	}
}

// add adds external hosts with ports; names of Services of the cluster are none,
// except ExternalName Services, which the caller names in full.
func (u *hostPorts) add(namespace string, hosts []string, ports ...int) {
	for _, h := range hosts {
		full := strings.ToLower(string(model.ResolveHost(h, namespace)))
		if full == "" || full == "*" || !strings.Contains(full, ".") {
			continue
		}
		if strings.HasSuffix(full, ".svc."+model.DomainSuffix) || strings.HasSuffix(full, ".svc") || strings.HasSuffix(full, "."+model.DomainSuffix) {
			continue
		}
		known := u.ports[full]
		for _, p := range append([]int{80, 443}, ports...) {
			if p > 0 && p < 65536 && !slices.Contains(known, p) {
				known = append(known, p)
			}
			if p > 0 && p < 65536 && !slices.Contains(u.any, p) {
				u.any = append(u.any, p)
			}
		}
		u.ports[full] = known
	}
}

// witness returns a host inside a wildcard that nothing else names.
func (u *hostPorts) witness(wildcard string) string {
	name := "witness" + strings.TrimPrefix(wildcard, "*")
	for u.ports[name] != nil {
		name = "another-" + name
	}
	return name
}

func (u *hostPorts) destinations(r *Reach) []Destination {
	var out []Destination
	for h, ports := range u.ports {
		d := Destination{Host: h, Stands: u.stands[h]}
		if host.Name(h).IsWildCarded() {
			d.Host, d.Stands = u.witness(h), h
		}
		for _, p := range ports {
			d.Port = p
			out = append(out, d)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := &out[i], &out[j]
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port)) < 0
	})
	any := append([]int{80, 443}, u.any...)
	slices.Sort(any)
	any = slices.Compact(any)
	address := r.Sim.Push().PublicAddress("any address").String()
	for _, d := range []Destination{{Host: anyName, Stands: AnyName}, {Host: address, Stands: AnyAddress}} {
		for _, p := range any {
			d.Port = p
			out = append(out, d)
		}
	}
	return out
}

// asked returns the destinations of a query: those of the universe that it
// names, and those that it adds.
func (r *Reach) asked(q Query) []Destination {
	if len(q.To) == 0 {
		return r.Universe()
	}
	var out []Destination
	for _, want := range q.To {
		found := false
		for _, d := range r.Universe() {
			if strings.EqualFold(d.Host, want.Host) || d.Stands == want.Host {
				if want.Port == 0 || d.Port == want.Port {
					out, found = append(out, d), true
				}
			}
		}
		switch {
		case found:
		case want.Port > 0:
			out = append(out, Destination{Host: want.Host, Port: want.Port})
		default:
			for _, d := range r.Universe() {
				if d.Stands == AnyName {
					out = append(out, Destination{Host: want.Host, Port: d.Port})
				}
			}
		}
	}
	return out
}

// listed reports whether manifests list addresses for a host.
func (r *Reach) listed(d Destination) bool {
	if _, err := netip.ParseAddr(d.Host); err == nil {
		return false
	}
	r.lay()
	return r.addresses[strings.ToLower(d.Host)]
}
