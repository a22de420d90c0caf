package analyzers

import (
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/reach"
)

// meant finds which destinations anything could show that a client means to call.
type meant struct {
	// all are those that all clients may mean: no client sees what routes for all of
	// them need. byNamespace are those that routes of a namespace, or exported to it by
	// name, cover.
	all         reach.Places
	byNamespace map[string]reach.Places
}

// mayWant tells for a client which destinations anything could show that it means to
// call: see wants and routedForNobody.
func (in *intent) mayWant() func(*model.Workload) reach.Places {
	found := map[*model.PushContext]*meant{}
	return func(w *model.Workload) reach.Places {
		push := in.pushFor(w)
		m := found[push]
		if m == nil {
			m = in.findMeant(push)
			found[push] = m
		}
		out := m.all
		if own, ok := m.byNamespace[w.Namespace]; ok {
			out = out.With(own)
		}
		var names []string
		if s := push.SidecarFor(w.Namespace, w.Labels); s != nil && s.Namespace == w.Namespace {
			for _, e := range s.Spec.GetEgress() {
				for _, h := range e.GetHosts() {
					if _, name, _ := strings.Cut(h, "/"); name != "*" {
						names = append(names, strings.ToLower(name))
					}
				}
			}
		}
		for _, h := range in.grantedHosts(push, w) {
			names = append(names, string(h))
		}
		if len(names) > 0 {
			out = out.With(in.pass.Reach.Matching(names))
		}
		return out
	}
}

func (in *intent) findMeant(push *model.PushContext) *meant {
	r, x := in.pass.Reach, in.wantedBy(push)
	m := &meant{r.NoPlaces(), map[string]reach.Places{}}
	seen := in.seenByClients()
	public := func(s *steering) bool { return s.Route.ExportTo().Public() }
	for i, d := range r.Universe() {
		if slices.ContainsFunc(in.covering(d.Host), public) && slices.ContainsFunc(in.registering(push, host.Name(d.Host)), func(s *model.Service) bool {
			return s.Entry != nil && s.PortByNumber(d.Port) != nil && !seen(s)
		}) {
			m.all.Add(i)
		}
		for _, vs := range x.routes.Covering(host.Name(d.Host)) {
			for _, ns := range append([]string{vs.Namespace}, vs.Spec.GetExportTo()...) {
				if !vs.ExportTo().VisibleTo(vs.Namespace, ns) {
					continue
				}
				places, ok := m.byNamespace[ns]
				if !ok {
					places = r.NoPlaces()
					m.byNamespace[ns] = places
				}
				places.Add(i)
			}
		}
	}
	return m
}

// seenByClients tells whether the sidecar of any client sees a service.
func (in *intent) seenByClients() func(*model.Service) bool {
	if x := in.pass.shared; x != nil {
		if x.seen == nil {
			x.seen = in.findSeen()
		}
		return x.seen
	}
	return in.findSeen()
}

func (in *intent) findSeen() func(*model.Service) bool {
	namespaces := map[string]bool{}
	var names []string
	for _, class := range in.pass.Reach.Classes() {
		if ns := class[0].Namespace; !namespaces[ns] && in.captured(class[0]) {
			namespaces[ns] = true
			names = append(names, ns)
		}
	}
	known := map[*model.Service]bool{}
	return func(s *model.Service) bool {
		sees, ok := known[s]
		if !ok {
			visible := func(ns string) bool { return namespaces[ns] && in.push.Visible(s, ns) }
			sees = visible(s.Namespace) || slices.ContainsFunc(s.ExportTo, visible) || slices.ContainsFunc(names, visible)
			known[s] = sees
		}
		return sees
	}
}

// grantedHosts are the hosts, in lower case, that ALLOW rules name which grant them to
// a client by its identity; patterns as policies have them.
func (in *intent) grantedHosts(push *model.PushContext, w *model.Workload) []host.Name {
	x := in.wantedBy(push)
	var out []host.Name
	for _, i := range slices.Concat(x.anybody, x.somebody[w.Namespace]) {
		if r := x.rules[i]; in.pass.means(in.push, r, w) {
			for _, n := range r.hosts() {
				out = append(out, host.Name(strings.ToLower(bareHost(n.Value))))
			}
		}
	}
	return out
}

// namespacesOf returns the namespaces of whose clients alone a rule may be about; false
// where it may be about those of any.
func (r authzRule) namespacesOf() ([]string, bool) {
	var out []string
	for _, from := range r.GetFrom() {
		list, ok := sourceNamespaces(from.GetSource(), r.Policy.Namespace)
		if !ok {
			return nil, false
		}
		out = append(out, list...)
	}
	slices.Sort(out)
	return slices.Compact(out), len(out) > 0
}

// sourceNamespaces returns the namespaces that a source names, by one of its lists in
// which no value has a wildcard; false if it has none.
func sourceNamespaces(s *security.Source, own string) ([]string, bool) {
	exact := func(values []string, namespace func(string) string) ([]string, bool) {
		var out []string
		for _, v := range values {
			ns := namespace(v)
			if strings.Contains(v, "*") || ns == "" {
				return nil, false
			}
			out = append(out, ns)
		}
		return out, len(out) > 0
	}
	if out, ok := exact(s.GetNamespaces(), func(v string) string { return v }); ok {
		return out, true
	}
	if out, ok := exact(s.GetPrincipals(), func(v string) string {
		parts := strings.Split(v, "/")
		if len(parts) != 5 || parts[1] != "ns" {
			return ""
		}
		return parts[2]
	}); ok {
		return out, true
	}
	return exact(s.GetServiceAccounts(), func(v string) string {
		if ns, _, found := strings.Cut(v, "/"); found {
			return ns
		}
		return own
	})
}
