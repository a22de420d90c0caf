package traffic

import (
	"regexp"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/flow"
)

// routeScope is for whom the routes of a VirtualService are compiled.
type routeScope struct {
	*proxy
	// gateway is model.MeshGateway or "namespace/name".
	gateway string
	// port is the one that match.port compares with: dialled at sidecars, the
	// server's at gateways.
	port int
	// lookup finds the service of a destination, for its only port.
	lookup func(string) *model.Service
}

// routes compiles the HTTP routes of a VirtualService (istio route.go
// BuildHTTPRoutesForVirtualService); none if no rule is meant for this proxy
// and port.
func (s *routeScope) routes(vs *model.MergedVirtualService) []*route {
	var out []*route
	for _, http := range vs.HTTP {
		if len(http.GetMatch()) == 0 {
			return append(out, s.route(vs, http, nil, model.Place{Object: http.Object, Field: http.Field}))
		}
		for i, m := range http.GetMatch() {
			if m.GetPort() != 0 && int(m.GetPort()) != s.port || !s.sourceMatches(m) {
				continue
			}
			if s.role == waypointRole && len(m.GetSourceLabels()) > 0 {
				continue // istio/istio#51565
			}
			r := s.route(vs, http, m, http.Matches[i])
			out = append(out, r)
			if r.match.catchAll() {
				return out
			}
		}
	}
	return out
}

// sourceMatches evaluates what is known when configuration is generated: with
// gateways given, labels and namespace do not count (istio route.go
// sourceMatchHTTP).
func (s *routeScope) sourceMatches(m *networking.HTTPMatchRequest) bool {
	if len(m.GetGateways()) > 0 {
		return contains(m.GetGateways(), s.gateway)
	}
	return labelsMatch(m.GetSourceLabels(), s.labels) && (m.GetSourceNamespace() == "" || m.GetSourceNamespace() == s.namespace)
}

func (s *routeScope) route(vs *model.MergedVirtualService, in *networkingRoute, m *networking.HTTPMatchRequest, at model.Place) *route {
	name := in.GetName()
	if m.GetName() != "" {
		name += "." + m.GetName()
	}
	if name == "" {
		name = vs.ID() + " " + at.Field
	}
	r := &route{name: name, match: compileMatch(m, vs.OfGatewayAPI != ""), because: []flow.Because{{Object: at.Object, Field: at.Field}}}
	r.headers, r.authority = compileHeaders(in.GetHeaders())
	if f := in.GetFault().GetAbort(); f != nil {
		r.abortPercent = f.GetPercentage().GetValue()
		switch f.GetErrorType().(type) {
		case *networking.HTTPFaultInjection_Abort_HttpStatus:
			r.abort = int(f.GetHttpStatus())
		case *networking.HTTPFaultInjection_Abort_GrpcStatus:
			// The code is in the header grpc-status; the HTTP status is 200 (Envoy).
			r.abort, r.grpcAbort = 200, true
		}
	}
	switch {
	case in.GetRedirect() != nil:
		if r.redirect = int(in.GetRedirect().GetRedirectCode()); r.redirect == 0 {
			r.redirect = 301
		}
	case in.GetDirectResponse() != nil:
		r.respond = int(in.GetDirectResponse().GetStatus())
	default:
		s.destinations(r, in)
		if vs.OfGatewayAPI != "" {
			r.asGatewayAPI()
		}
	}
	return r
}

// asGatewayAPI adapts a route to what the Gateway API asks for: 500 for a
// backend that does not exist, and a prefix that is replaced by "/" leaves one
// slash (istio route.go applyHTTPRouteDestination).
func (r *route) asGatewayAPI() {
	for i := range r.targets {
		r.targets[i].missing = 500
	}
	if r.rewritePrefix != "/" {
		return
	}
	prefix := ""
	if r.match.path != nil && r.match.path.segments {
		prefix = r.match.path.prefix
	}
	r.rewritePrefix = ""
	r.rewriteRegex = &regexRewrite{regexp.MustCompile("^" + regexp.QuoteMeta(prefix) + "(/?)(.*)"), `/\2`}
}

// networkingRoute is a route with the place it comes from.
type networkingRoute = model.HTTPRoute

func (s *routeScope) destinations(r *route, in *networkingRoute) {
	if rw := in.GetRewrite(); rw != nil {
		if rw.GetAuthority() != "" {
			r.authority = rw.GetAuthority()
		}
		if x := rw.GetUriRegexRewrite(); x != nil {
			if re, err := regexp.Compile(x.GetMatch()); err == nil {
				r.rewriteRegex = &regexRewrite{re, x.GetRewrite()}
			}
		} else {
			r.rewritePrefix = rw.GetUri()
		}
	}
	for i, d := range in.GetRoute() {
		if len(in.GetRoute()) > 1 && d.GetWeight() == 0 {
			continue
		}
		edits, authority := compileHeaders(d.GetHeaders())
		r.targets = append(r.targets, target{
			cluster: s.cluster(d.GetDestination()),
			weight:  int(d.GetWeight()), headers: edits, authority: authority,
			because: []flow.Because{{Object: in.Destination(i).Object, Field: in.Destination(i).Field}},
		})
	}
}

// cluster names the cluster of a destination.
func (s *routeScope) cluster(d *networking.Destination) string {
	if s.role == waypointRole {
		return s.waypointCluster(d, s.port)
	}
	return destinationCluster(d, s.lookup(d.GetHost()), s.port)
}

// compileHeaders splits header operations into edits and a new Host header:
// "set" beats "add" (istio route.go TranslateHeadersOperations).
func compileHeaders(h *networking.Headers) (headerEdits, string) {
	request := h.GetRequest()
	edits := headerEdits{set: map[string]string{}, add: map[string]string{}}
	authority := ""
	for name, value := range request.GetAdd() {
		if authorityHeader(name) {
			authority = value
		} else if name[:1] != ":" {
			edits.add[name] = value
		}
	}
	for name, value := range request.GetSet() {
		if authorityHeader(name) {
			authority = value
		} else if name[:1] != ":" {
			edits.set[name] = value
		}
	}
	for _, name := range request.GetRemove() {
		if !authorityHeader(name) && (name == "" || name[0] != ':') {
			edits.remove = append(edits.remove, name)
		}
	}
	return edits, authority
}

// regexRewrite replaces the parts of a path that match.
type regexRewrite struct {
	match   *regexp.Regexp
	rewrite string
}

var backReference = regexp.MustCompile(`\\[\d\\]`)

// apply rewrites a path; Envoy writes back references as \1, and a dollar means
// nothing to it.
func (r *regexRewrite) apply(path string) string {
	text := backReference.ReplaceAllStringFunc(strings.ReplaceAll(r.rewrite, "$", "$$"), func(s string) string {
		if s[1] == '\\' {
			return `\`
		}
		return "${" + s[1:] + "}"
	})
	return r.match.ReplaceAllString(path, text)
}

// defaultRoute forwards everything to one cluster.
func defaultRoute(cluster string, because []flow.Because) *route {
	return &route{name: "default", targets: []target{{cluster: cluster}}, because: because}
}
