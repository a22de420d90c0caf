package analyzers

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/visibility"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
)

var _ = register(&Analyzer{
	ID: "EGR801", Name: "service-entry-scope-gap", Severity: Error,
	Run: runScopeGap,
	Doc: Doc{
		Title: "Clients that mean to call a host do not see its ServiceEntry",
		What: "Under outboundTrafficPolicy REGISTRY_ONLY a ServiceEntry registers a host, its `exportTo` (or the mesh's default) leaves a client's namespace out, and something in the manifests shows that the client " +
			"is meant to call the host: a route of its namespace, a route exported to it by name, a Sidecar that imports the host, or an ALLOW rule that names both.",
		Why:  "For these clients the host does not exist: their requests are closed or answered with 502, although the host is registered and everything else is in place.",
		Bad:  documents(closedMesh, shopNamespace, ordersDeployment, shopRoute, scopedEntry),
		Good: documents(closedMesh, shopNamespace, ordersDeployment, shopRoute, strings.Replace(scopedEntry, "  - platform\n", "  - platform\n  - shop\n", 1)),
		Fix:  "Add the client's namespace to the ServiceEntry's `exportTo`, or register the host in the client's namespace.",
		Silent: "Clients for which nothing in the manifests speaks of the host (its scope is then as intended), clients that get through in another way, " +
			"ServiceEntries that a Sidecar hides (EGR805), and routes that everybody sees: they say nothing about one client.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (serviceExportTo, IsServiceVisible)",
			"https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry",
		},
	},
})

const (
	shopRoute = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: api
  namespace: shop
spec:
  hosts:
  - api.example.com
  http:
  - timeout: 5s
    route:
    - destination:
        host: api.example.com
`
	scopedEntry = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
  namespace: platform
spec:
  exportTo:
  - platform
  hosts:
  - api.example.com
  ports:
  - number: 80
    name: http
    protocol: HTTP
  resolution: DNS
`
)

// scopeGap is what a finding of EGR801 is about.
type scopeGap struct {
	entry, object *manifest.Object
	field         string
}

func runScopeGap(p *Pass) {
	in := intentOf(p)
	control := in.registryControl()
	if len(control) == 0 {
		return
	}
	var found byKey[scopeGap]
	scopes, wants := map[scopeGap]*unused{}, map[scopeGap][]Related{}
	var general []*attempt            // of clients that nothing names in particular
	var particular []*manifest.Object // entries that somebody in particular is meant to use
	closed := func(_ flow.Via, reason flow.Reason) bool { return reason == flow.Blackhole || reason == flow.NoCluster }
	for a := range in.attemptsAmong(in.restricted, in.mayWant(), closed) {
		s := in.hiddenEntry(a)
		if s == nil {
			continue
		}
		shown := in.wants(a)
		unnamed := len(shown) == 0
		if unnamed {
			shown = in.routedForNobody(a, s)
		}
		if len(shown) == 0 || in.traced(a).Outcome != flow.Blocked {
			continue
		}
		if unnamed {
			general = append(general, a)
			continue
		}
		particular = append(particular, s.Object)
		why := in.entryScope(s, a.Class[0])
		k := scopeGap{s.Object, why.object, why.field}
		if scopes[k] == nil {
			scopes[k], wants[k] = why, shown
		}
		found.add(k, a)
	}
	// Where something shows who in particular is meant, the others are not.
	for _, a := range general {
		s := in.hiddenEntry(a)
		if slices.ContainsFunc(particular, func(o *manifest.Object) bool { return o == s.Object }) {
			continue
		}
		why := in.entryScope(s, a.Class[0])
		k := scopeGap{s.Object, why.object, why.field}
		if scopes[k] == nil {
			scopes[k], wants[k] = why, in.routedForNobody(a, s)
		}
		found.add(k, a)
	}
	for _, k := range found.keys {
		c, why := found.of[k], scopes[k]
		f := Finding{
			Object: k.object, Field: k.field, Severity: Error,
			Message: fmt.Sprintf("%s reach %s on %s: %s %s; %s",
				c.who("cannot", "cannot"), upTo3(c.hosts), portsText(c.ports), k.entry, why.text, why.todo),
			Label: "leaves out clients that mean to call the host", Help: why.todo, Related: append(wants[k], why.proof...),
		}
		if control[0].Object != nil {
			f.Related = append(f.Related, Related{control[0].Object, control[0].Field, "what a client does not see is closed to it"})
		}
		p.Report(c.finding(f))
	}
	in.reportStrayEntries(particular)
}

// restricted reports whether a ServiceEntry registers a destination for some
// namespaces only.
func (in *intent) restricted(d reach.Destination) bool {
	return slices.ContainsFunc(in.registering(in.push, host.Name(d.Host)), func(s *model.Service) bool {
		return s.Entry != nil && !s.ExportTo.Public() && s.PortByNumber(d.Port) != nil
	})
}

// hiddenEntry returns the oldest service of a ServiceEntry that would take a
// request if only the client saw it; nil if there is none, or if the client sees
// another one with that host.
func (in *intent) hiddenEntry(a *attempt) *model.Service {
	push, w := in.pushFor(a.Class[0]), a.Class[0]
	var found *model.Service
	for _, s := range in.registering(push, host.Name(a.To.Host)) {
		if push.Visible(s, w.Namespace) {
			return nil
		}
		port := s.PortByNumber(a.To.Port)
		if found != nil || s.Entry == nil || port == nil {
			continue
		}
		speaks := flow.TCP
		switch {
		case port.Protocol.IsHTTP():
			speaks = flow.HTTP
		case port.Protocol.IsTLS():
			speaks = flow.TLS
		}
		if speaks == a.Flow.Scheme {
			found = s
		}
	}
	return found
}

// wants returns the places that show that a client is meant to call a host.
func (in *intent) wants(a *attempt) []Related {
	w, push := a.Class[0], in.pushFor(a.Class[0])
	h := host.Name(a.To.Host)
	var out []Related
	known := in.wantedBy(push)
	for _, vs := range known.routes.Covering(h) {
		if !vs.ExportTo().VisibleTo(vs.Namespace, w.Namespace) ||
			vs.Namespace != w.Namespace && !slices.Contains(vs.Spec.GetExportTo(), w.Namespace) {
			continue
		}
		if i := slices.IndexFunc(vs.Hosts, func(x host.Name) bool { return x != "*" && h.SubsetOf(host.Name(strings.ToLower(string(x)))) }); i >= 0 {
			out = append(out, Related{vs.Object, fmt.Sprintf("spec.hosts[%d]", i), fmt.Sprintf("%s routes the host for namespace %q", vs, w.Namespace)})
		}
	}
	if sidecar := push.SidecarFor(w.Namespace, w.Labels); sidecar != nil && sidecar.Namespace == w.Namespace {
		for i, e := range sidecar.Spec.GetEgress() {
			for j, x := range e.GetHosts() {
				ns, name, _ := strings.Cut(x, "/")
				if !strings.HasPrefix(ns, string(visibility.None)) && name != "*" && h.SubsetOf(host.Name(strings.ToLower(name))) {
					out = append(out, Related{sidecar.Object, fmt.Sprintf("spec.egress[%d].hosts[%d]", i, j), fmt.Sprintf("%s imports the host", sidecar)})
				}
			}
		}
	}
	for _, r := range known.rulesFor(h) {
		if field, ok := in.grants(r, w, a.To.Host); ok {
			out = append(out, Related{r.Policy.Object, field, fmt.Sprintf("%s allows these clients the host", r)})
		}
	}
	return out
}

// names reports whether a rule is about identities, and a client has one of them.
func (in *intent) names(r authzRule, w *model.Workload) bool {
	k := ruleOf{r.Policy, r.Index}
	byIdentity, known := in.naming[k]
	if !known {
		fields, _ := r.identityFields()
		byIdentity = len(fields) > 0
		in.naming[k] = byIdentity
	}
	return byIdentity && in.pass.means(in.push, r, w)
}

// ruleOf is a rule of a policy.
type ruleOf struct {
	policy *model.AuthorizationPolicy
	index  int
}

// grants reports whether a rule names a client's identity and a host, and where it
// names the latter.
func (in *intent) grants(r authzRule, w *model.Workload, h string) (field string, ok bool) {
	if !in.names(r, w) {
		return "", false
	}
	for _, n := range r.hosts() {
		if n.covers(h) {
			return n.Field, true
		}
	}
	return "", false
}

// entryScope says why a client does not see a service of a ServiceEntry.
func (in *intent) entryScope(s *model.Service, w *model.Workload) *unused {
	config := in.pushFor(w).Config
	u := &unused{object: s.Object, field: "spec.exportTo", todo: fmt.Sprintf("add %q to the exportTo of %s", w.Namespace, s.Object)}
	switch list := s.ExportTo; {
	case len(list) == 1 && list[0] == string(visibility.None):
		u.text = `is exported to nobody ("~")`
		u.todo = fmt.Sprintf("export %s to %q", s.Object, w.Namespace)
	case len(list) > 0 && !list.VisibleTo(s.Namespace, w.Namespace):
		u.text = fmt.Sprintf("is exported only to %s", quoted(list))
	case len(list) > 0:
		u.text = "is exported, but serviceEntryVisibility of the mesh hides it"
		u.field, u.todo = "spec.hosts", "let a policy of serviceEntryVisibility include it"
		if object, field := config.Because("serviceEntryVisibility"); object != nil {
			u.object, u.field = object, field
		}
	default:
		u.text = fmt.Sprintf("has no exportTo and is by default exported only to %s", quoted(config.GetDefaultServiceExportTo()))
		u.todo = fmt.Sprintf("give %s an exportTo that includes %q", s.Object, w.Namespace)
		if len(config.GetDefaultServiceExportTo()) == 0 {
			u.text = "is hidden by serviceEntryVisibility of the mesh"
			u.todo = "let a policy of serviceEntryVisibility include it"
		}
		u.field = "spec.hosts"
		for _, field := range []string{"defaultServiceExportTo", "serviceEntryVisibility"} {
			if object, at := config.Because(field); object != nil {
				u.proof = append(u.proof, Related{object, at, "the scope of ServiceEntries that name none"})
			}
		}
	}
	return u
}
