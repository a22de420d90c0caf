package analyzers

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// reportOtherHosts reports requests for one host outside that an egress gateway sends
// to another, as they come, although the first is registered too.
func (in *intent) reportOtherHosts() {
	type key struct {
		place   model.Place
		host    host.Name
		text    string
		todo    string
		gateway string
	}
	var found byKey[key]
	for a := range in.steered() {
		if a.By == nil || a.Trace.Outcome != flow.Allowed || a.Trace.Via != flow.ViaGateway || a.To.Stands != "" {
			continue
		}
		e, h := exitOf(a.Trace), host.Name(strings.ToLower(a.To.Host))
		if e == nil || e.At != flow.AtGateway || h.SubsetOf(e.host) || e.route.Object == nil || inCluster(in.push, e.host) ||
			!in.registeredOutside(h) || !in.registeredOutside(model.LowerHost(e.host)) || in.rewrites(e.route) ||
			in.rewrites(flow.Because{Object: a.By.Object, Field: a.By.To}) {
			continue
		}
		l := in.legOf(a.Trace)
		if l == nil || l.pod == nil {
			continue
		}
		k := key{model.Place{Object: e.route.Object, Field: e.route.Field}, e.host, "by the route there", fmt.Sprintf("lead it to %s", a.To.Host), a.By.gateway()}
		if s := in.server(l, a.Trace, a.To.Host); s != nil && l.client.TLS != "" {
			servers, _ := in.serversAt(l)
			if f := in.otherName(l, a, s, servers); f != nil {
				k.place, k.text, k.todo = model.Place{Object: f.object, Field: f.field}, f.text, f.todo
			}
		}
		found.add(k, a)
	}
	for _, k := range found.keys {
		c := found.of[k]
		in.pass.Report(c.finding(Finding{
			Object: k.place.Object, Field: k.place.Field, Severity: Error, Label: "leads to another host", Help: k.todo,
			Message: fmt.Sprintf("%s %s sent through %s to %s instead (%s): %s another host than the one that is meant; %s",
				upTo3(c.hosts), c.are(), k.gateway, k.host, k.text, c.who("reaches", "reach"), k.todo),
			Related: []Related{c.first.By.related()},
		}))
	}
}

// rewrites reports whether the rule of a destination changes the host of requests on
// purpose.
func (in *intent) rewrites(destination flow.Because) bool {
	return slices.ContainsFunc(in.push.VirtualServices(), func(vs *model.MergedVirtualService) bool {
		return slices.ContainsFunc(vs.HTTP, func(r *model.HTTPRoute) bool {
			return r.Object == destination.Object && strings.HasPrefix(destination.Field, r.Field+".") && (r.GetRewrite() != nil || r.GetHeaders().GetRequest() != nil ||
				slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool { return d.GetHeaders().GetRequest() != nil }))
		})
	})
}
