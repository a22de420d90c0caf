package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/netpol"
)

var _ = register(&Analyzer{
	ID: "EGR302", Name: "route-not-visible", Severity: Error, SecuritySeverity: 8.0,
	Run: runRouteNotVisible,
	Doc: Doc{
		Title: "Clients see a ServiceEntry but not the route that sends its host through the egress gateway",
		What: "A VirtualService sends a host and port to the egress gateway, and for some clients it does not apply: its `exportTo` leaves their namespace out, " +
			"a Sidecar does not import it, its conditions on the source do not hold for them, or another VirtualService comes first. " +
			"The host's ServiceEntry is visible to them all the same.",
		Why: "Without the route a sidecar treats the host as any registered host and connects to it directly: these clients go around the gateway, silently and with every request.",
		Bad: egressDoc("", "spec:\n  hosts:\n  - api.example.com\n  gateways:\n",
			"spec:\n  exportTo:\n  - istio-egress\n  hosts:\n  - api.example.com\n  gateways:\n"),
		Good: egressDoc("", "spec:\n  hosts:\n  - api.example.com\n  gateways:\n",
			"spec:\n  exportTo:\n  - istio-egress\n  - shop\n  hosts:\n  - api.example.com\n  gateways:\n"),
		Fix: "Export and import the VirtualService wherever the ServiceEntry is visible, or narrow the ServiceEntry's `exportTo` to the clients that the route is for.",
		Silent: "Clients for which the host does not go out directly, clients without a sidecar, conditions on the source that nobody meets, " +
			"and requests that the same VirtualService sends outside itself.",
		Sources: []string{
			"istio pilot/pkg/model/push_context.go (initVirtualServices, VirtualServicesForGateway)",
			"istio pilot/pkg/model/sidecar.go",
			"istio pilot/pkg/networking/core/route/route.go (sourceMatchHTTP)",
		},
	},
})

// unused says why a route does not apply to a client.
type unused struct {
	object *manifest.Object
	field  string
	// text is a clause, todo what to do.
	text, todo string
	// proof are places to look at.
	proof []Related
	// conditional: the route has a condition on the source.
	conditional bool
}

// hiddenRoute is what a finding of EGR302 is about.
type hiddenRoute struct {
	object, route *manifest.Object
	field         string
	// stopped: a network policy stops the requests on their direct way.
	stopped bool
}

func runRouteNotVisible(p *Pass) {
	in := intentOf(p)
	var found byKey[hiddenRoute]
	whys, by := map[hiddenRoute]*unused{}, map[hiddenRoute]*steering{}
	used := map[model.Place]bool{}
	hide := func(a *attempt) {
		if !a.direct() && !in.stopsShort(a) || in.gap(a) != invisible {
			return
		}
		for _, s := range in.covering(a.To.Host) {
			if !s.takes(a.To.Port, a.Flow.Scheme) {
				continue
			}
			if why := in.whyUnused(s, a); why != nil {
				k := hiddenRoute{why.object, s.Route.Object, why.field, !a.direct()}
				if whys[k] == nil {
					whys[k], by[k] = why, s
				}
				found.add(k, a)
				return
			}
		}
	}
	for alike := range in.steered() {
		if alike.By != nil {
			used[alike.By.key()] = true
		} else if alike.direct() || stoppedByNetwork(alike.Trace) {
			for a := range in.each(alike, nil) {
				hide(a)
			}
		}
	}
	for _, k := range found.keys {
		c, s, why := found.of[k], by[k], whys[k]
		entry, hostField, _ := c.first.entry()
		// A condition that nobody meets is not yet a route for somebody else.
		if entry == nil {
			continue
		}
		if why.conditional && !used[s.key()] {
			meant := in.nearlyMeets(s)
			if meant == "" {
				continue
			}
			why.text += fmt.Sprintf(", which no workload has: is %q meant?", meant)
		}
		if why.field == "spec.exportTo" {
			why.todo = strings.Replace(why.todo, strconv.Quote(c.classes[0][0].Namespace), upTo3(quotedList(c.namespaces())), 1)
		}
		security, effect := 8.0, "go out directly"
		if k.stopped {
			security, effect = 0, "go straight out, where a network policy stops them"
		}
		p.Report(c.finding(Finding{
			Object: why.object, Field: why.field, Severity: Error, SecuritySeverity: security,
			Message: fmt.Sprintf("%s %s but not the route of %s that sends %s to %s (%s): requests on %s %s; %s",
				c.who("sees", "see"), entry, s.Route.Title(), upTo3(c.hosts), s.gateway(), why.text, portsText(c.ports), effect, why.todo),
			Label:   "leaves out clients that see the host",
			Help:    fmt.Sprintf("%s, or narrow the exportTo of %s", why.todo, entry),
			Related: append([]Related{s.related(), {entry, hostField, entry.String() + " registers the host for these clients"}}, why.proof...),
		}))
	}
}

// stopsShort reports whether a request is stopped by a network policy on its way
// straight out, which lets the client reach the gateway: it is meant to go there.
func (in *intent) stopsShort(a *attempt) bool {
	if a.By != nil || !stoppedByNetwork(a.Trace) {
		return false
	}
	if entry, _, _ := a.entry(); entry == nil {
		return false
	}
	for _, s := range in.covering(a.To.Host) {
		for _, stop := range in.podPorts(s) {
			to := netpol.Peer{Workload: stop.Workload, Addr: in.push.PodAddress(stop.Workload), Port: stop.Port, Protocol: corev1.ProtocolTCP}
			if in.pass.network.policies.Egress(a.Class[0], to).Decision == netpol.Allowed {
				return true
			}
		}
	}
	return false
}

// whyUnused says why a steering did not take a request that it covers; nil where
// that cannot be told, or is what the route's author wrote.
func (in *intent) whyUnused(s *steering, a *attempt) *unused {
	w := a.Class[0]
	push := in.pushFor(w)
	route := in.mergedRoute(push, s.Route.Object)
	if route == nil {
		return nil
	}
	if route.OfGatewayAPI != "" {
		return consumerRoute(route, a)
	}
	if !route.ExportTo().VisibleTo(route.Namespace, w.Namespace) {
		return notExported(push, route, w.Namespace)
	}
	if sidecar := push.SidecarFor(w.Namespace, w.Labels); sidecar != nil {
		l := in.scopeOf(push, w.Namespace, sidecar).Listener(a.To.Port)
		if l == nil || !slices.Contains(l.VirtualServices, route) {
			field := "spec.egress"
			if l != nil && l.Spec != nil {
				field = fmt.Sprintf("spec.egress[%d].hosts", l.Index)
			}
			return &unused{object: sidecar.Object, field: field, text: fmt.Sprintf("%s does not import it", sidecar),
				todo: fmt.Sprintf("add %q to the hosts of the Sidecar", route.Namespace+"/"+string(route.Hosts[0]))}
		}
	}
	if text, field := s.refuses(w); text != "" {
		if object, _ := a.explicit(); object == s.Object {
			return nil
		}
		return &unused{object: s.Object, field: field, text: text, todo: "let the condition include these clients", conditional: true}
	}
	if first := firstRoute(a.Trace); first != nil && first != s.Object && first != s.Route.Object {
		return &unused{object: first, field: "spec.hosts", text: fmt.Sprintf("%s for the same host comes first", first), todo: "merge the two VirtualServices into one"}
	}
	return nil
}

// mergedRoute returns the first VirtualService that a control plane makes of an object,
// nil if there is none.
func (in *intent) mergedRoute(push *model.PushContext, o *manifest.Object) *model.MergedVirtualService {
	x := in.routes[push]
	if x == nil {
		x = map[*manifest.Object]*model.MergedVirtualService{}
		for _, vs := range push.VirtualServices() {
			if x[vs.Object] == nil {
				x[vs.Object] = vs
			}
		}
		in.routes[push] = x
	}
	return x[o]
}

// consumerRoute explains a route of the Gateway API that lies in another namespace
// than what it is attached to: it counts for clients of its own namespace only
// (istio pilot/pkg/networking/core/route/route.go, consumer routes).
func consumerRoute(route *model.MergedVirtualService, a *attempt) *unused {
	entry, _, _ := a.entry()
	if entry == nil || entry.Namespace == route.Namespace || a.Class[0].Namespace == route.Namespace {
		return nil
	}
	return &unused{object: route.Cause, field: "metadata.namespace",
		text: fmt.Sprintf("it lies in another namespace than %s and counts for clients of namespace %q only", entry, route.Namespace),
		todo: fmt.Sprintf("move it to namespace %q", entry.Namespace)}
}

// notExported explains a VirtualService that proxies of a namespace do not see.
func notExported(push *model.PushContext, route *model.MergedVirtualService, namespace string) *unused {
	u := &unused{object: route.Object, field: "spec.exportTo", todo: fmt.Sprintf("add %q to the exportTo of %s", namespace, route)}
	if list := route.Spec.GetExportTo(); len(list) > 0 {
		u.text = fmt.Sprintf("its exportTo lists only %s", quoted(list))
		return u
	}
	u.text = fmt.Sprintf("VirtualServices without exportTo are exported only to %s in this mesh", quoted(route.ExportTo()))
	u.todo = fmt.Sprintf("give %s an exportTo that includes %q", route, namespace)
	if object, field := push.Config.Because("defaultVirtualServiceExportTo"); object != nil {
		u.proof = append(u.proof, Related{object, field, "the scope of VirtualServices that name none"})
	}
	return u
}

// refuses says which condition on the source a client does not meet, "" if none.
func (s *steering) refuses(w *model.Workload) (text, field string) {
	if s.Namespace != "" && s.Namespace != w.Namespace {
		return fmt.Sprintf("it asks for sourceNamespace %q", s.Namespace), s.Match + ".sourceNamespace"
	}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		if got, ok := w.Labels[k]; !ok || got != s.Labels[k] {
			return fmt.Sprintf("it asks for sourceLabels %q", k+"="+s.Labels[k]), s.Match + ".sourceLabels"
		}
	}
	return "", ""
}

// nearlyMeets returns the label of a client that is nearly one that a condition asks
// for and nobody has, "" if there is none.
func (in *intent) nearlyMeets(s *steering) string {
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		want, meant, met := s.Labels[k], "", false
		for _, class := range in.pass.Reach.Classes() {
			got, ok := class[0].Labels[k]
			met = met || got == want && ok
			if ok && meant == "" && (near(got, want) || strings.HasPrefix(got, want) || strings.HasPrefix(want, got) && got != "") {
				meant = k + "=" + got
			}
		}
		if !met && meant != "" {
			return meant
		}
	}
	return ""
}

// firstRoute returns the VirtualService by which the client's sidecar decided,
// nil if none.
func firstRoute(t *flow.Trace) *manifest.Object {
	for _, h := range t.Hops {
		for _, b := range h.Because {
			if h.At == flow.AtSidecar && b.Object.Kind == "VirtualService" {
				return b.Object
			}
		}
	}
	return nil
}

// quoted lists values: "a", "b".
func quoted(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("%q", v)
	}
	return strings.Join(out, ", ")
}
