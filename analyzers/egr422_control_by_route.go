package analyzers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/host"

	"github.com/egresslint/egresslint/model/flow"
)

var _ = register(&Analyzer{
	ID: "EGR422", Name: "control-by-route-match", Severity: Warning, SecuritySeverity: 5.5,
	Run: controlByRoute,
	Doc: Doc{
		Title: "Access to an external host is restricted by the conditions of a route, which is no access control",
		What: "At an egress gateway, the routes for an external host take some requests (by path, header, method or query) and answer the others with 404; " +
			"or a condition there restricts nothing, as a rule without it takes every other request the same way; or it stands in the rules for the sidecars alone. " +
			"The finding names what the condition lets through or misses, and another way to the same host if there is one.",
		Why: "A route chooses where a request goes; it does not look at who asks, answers 404 instead of 403, and is undone by any other route for the same host. " +
			"A prefix has no end (`/sport` takes `/sportsbook`), a regular expression must match the whole path (`/sport` refuses `/sport/`), and headers are the client's to set.",
		Bad:  egressDoc("", routeOfGateway, routeOfGateway+"      uri:\n        prefix: /public\n"),
		Good: egressDoc(routeControlGoodDoc),
		Fix:  "Let the gateway's route take all requests, and restrict them with an AuthorizationPolicy there (`paths`, `methods`, and who may ask); close other ways to the host.",
		Silent: "Hosts with a route for everything else; conditions that choose between routes of different effect; routes of sidecars where some take everything or the gateway has conditions too; hosts whose requests do not get out through the gateway at all; " +
			"anything that the simulation cannot decide.",
		Sources: []string{
			"istio pilot/pkg/networking/core/route/route.go (TranslateRouteMatch)",
			"https://istio.io/latest/docs/reference/config/networking/virtual-service/#StringMatch",
		},
	},
})

// routeOfGateway is the condition of the gateway's route in [docMutual].
const routeOfGateway = "      - egress\n      port: 443\n"

const routeControlGoodDoc = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: public-api
  namespace: istio-egress
spec:
  action: ALLOW
  rules:
  - from:
    - source:
        namespaces: ["shop"]
    to:
    - operation:
        hosts: ["api.example.com"]
        paths: ["/public", "/public/*"]
`

func controlByRoute(p *Pass) {
	for _, g := range egressGateways(p) {
		in := intentOf(p)
		in.reportIdleConditions(g)
		in.reportClientConditions(g)
		var found []*routeControl
		restricted := g.restricted()
		for _, class := range p.Reach.Classes() {
			for _, d := range restricted {
				c := g.routeControl(p, class[0], d)
				if c == nil {
					continue
				}
				i := slices.IndexFunc(found, func(x *routeControl) bool { return x.object == c.object && x.field == c.field && x.host == c.host })
				if i < 0 {
					i = len(found)
					found = append(found, c)
				}
				found[i].clients = append(found[i].clients, class...)
				if found[i].way == nil {
					found[i].way = otherWay(p, c)
				}
			}
		}
		for _, c := range found {
			c.report(p)
		}
	}
}

func (c *routeControl) report(p *Pass) {
	field, what, weakness := c.weakness(p)
	f := Finding{
		Severity: Note, SecuritySeverity: 3.5, Object: c.object, Field: field, Label: "a route, not a policy", Workloads: workloadIDs(c.clients),
		Help: fmt.Sprintf("let the route take all requests and put an AuthorizationPolicy with paths or methods on egress gateway %s", c.gateway.ID()),
	}
	request := c.refused
	f.Message = fmt.Sprintf("VirtualService %s restricts %q by %s at egress gateway %s: %s", c.object.ID(), c.host, what, c.gateway.ID(), weakness)
	if c.way != nil {
		request = c.way.flow
		f.Severity, f.SecuritySeverity = Warning, 5.5
		f.Message += fmt.Sprintf(", and what it refuses gets out as %s to port %d (%s)", request.Scheme, request.Port, wayText(c.way.trace.Via))
	}
	f.Message += "; restrict it with an AuthorizationPolicy at the gateway"
	f.Flow, f.Trace = &request, p.Reach.Trace(request)
	for _, s := range c.gateway.Steers {
		if host.Name(strings.ToLower(c.host)).SubsetOf(s.Host) {
			f.Related = append(f.Related, Related{s.Object, s.Field, fmt.Sprintf("sends %s to egress gateway %s", s.Host, c.gateway.ID())})
			break
		}
	}
	p.Report(f)
}

func wayText(via flow.Via) string {
	switch via {
	case flow.ViaGateway:
		return "by another route of the gateway"
	case flow.ViaDirect:
		return "straight from the sidecar"
	case flow.ViaPassthrough:
		return "passed through by the sidecar"
	default:
		return "by no proxy"
	}
}

// weakness says by what the route chooses, the field of that, and what it lets
// through or misses.
func (c *routeControl) weakness(p *Pass) (field, what, text string) {
	tries := func(path string) *flow.Trace {
		f := c.through
		f.Path = path
		return p.Reach.Trace(f)
	}
	path := c.through.Path
	switch t := c.match.GetUri().GetMatchType().(type) {
	case *networking.StringMatch_Prefix:
		field, what = c.field+".uri.prefix", fmt.Sprintf("uri prefix %q", t.Prefix)
		if next := t.Prefix + "x"; !strings.HasSuffix(t.Prefix, "/") && tries(next).Outcome == flow.Allowed {
			return field, what, fmt.Sprintf("a prefix has no end, so that %q gets out as well", next)
		}
	case *networking.StringMatch_Regex:
		field, what = c.field+".uri.regex", fmt.Sprintf("uri regex %q", t.Regex)
		if t := tries(path + "/"); t.Outcome == flow.Blocked && t.Reason == flow.NoRoute {
			return field, what, fmt.Sprintf("the expression must match the whole path, so that %q gets out and %q gets 404", path, path+"/")
		}
	case *networking.StringMatch_Exact:
		field, what = c.field+".uri.exact", fmt.Sprintf("uri %q", t.Exact)
	}
	if what == "" {
		switch {
		case len(c.match.GetHeaders()) > 0:
			name := slices.Sorted(maps.Keys(c.match.GetHeaders()))[0]
			return c.field + ".headers", fmt.Sprintf("header %q", name), "the client sets its headers as it likes"
		case c.match.GetMethod() != nil:
			field, what = c.field+".method", "method"
		case len(c.match.GetQueryParams()) > 0:
			field, what = c.field+".queryParams", "query"
		default:
			return c.field + ".withoutHeaders", "headers", "the client sets its headers as it likes"
		}
	}
	return field, what, "a route does not look at who asks, and answers 404 to the rest"
}
