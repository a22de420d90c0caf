package model

import (
	"fmt"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// withHTTPDefaults fills in what the API server would: a rule without match
// takes every path, which counts when rules are sorted (gateway-api
// apis/v1/httproute_types.go).
func withHTTPDefaults(in gatewayv1.HTTPRouteSpec) *gatewayv1.HTTPRouteSpec {
	spec := in.DeepCopy()
	if spec.Rules == nil {
		spec.Rules = []gatewayv1.HTTPRouteRule{{}}
	}
	for i := range spec.Rules {
		if spec.Rules[i].Matches == nil {
			spec.Rules[i].Matches = []gatewayv1.HTTPRouteMatch{{}}
		}
	}
	return spec
}

// httpRule converts one match of one rule (istio conversion.go
// convertHTTPRoute). ok is false where istiod refuses the rule, and with it the
// whole route.
func (c *routeOf) httpRule(rule *gatewayv1.HTTPRouteRule, i, j int) (route *HTTPRoute, ok bool) {
	route = c.newRule(rule.Name, i)
	if j < len(rule.Matches) {
		m, ok := httpMatch(&rule.Matches[j])
		if !ok {
			return nil, false
		}
		route.Match = []*networking.HTTPMatchRequest{m}
		route.Matches = []Place{{c.object, fmt.Sprintf("%s.matches[%d]", route.Field, j)}}
	}
	for _, f := range rule.Filters {
		switch f.Type {
		case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
			if !setHeaders(&route.Headers, f.RequestHeaderModifier) {
				return nil, false
			}
		case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
			if !validHeaders(f.ResponseHeaderModifier) {
				return nil, false
			}
		case gatewayv1.HTTPRouteFilterRequestRedirect:
			route.Redirect = redirect(f.RequestRedirect)
		case gatewayv1.HTTPRouteFilterURLRewrite:
			route.Rewrite = rewrite(f.URLRewrite)
		case gatewayv1.HTTPRouteFilterRequestMirror, gatewayv1.HTTPRouteFilterCORS:
			// A mirror gets a copy, and its answer nobody; CORS binds browsers.
			// Neither decides whether a request gets out.
		default:
			return nil, false
		}
	}
	backends := make([]routeBackend, len(rule.BackendRefs))
	for k, b := range rule.BackendRefs {
		backends[k].ref = b.BackendRef
		for _, f := range b.Filters {
			switch f.Type {
			case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
				if !setHeaders(&backends[k].headers, f.RequestHeaderModifier) {
					return nil, false
				}
			case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
				if !validHeaders(f.ResponseHeaderModifier) {
					return nil, false
				}
			default:
				return nil, false
			}
		}
	}
	return route, c.forward(route, backends)
}

// grpcRule does the same for a rule of a GRPCRoute (istio conversion.go
// convertGRPCRoute).
func (c *routeOf) grpcRule(rule *gatewayv1.GRPCRouteRule, i, j int) (route *HTTPRoute, ok bool) {
	route = c.newRule(rule.Name, i)
	if j < len(rule.Matches) {
		m, ok := grpcMatch(&rule.Matches[j])
		if !ok {
			return nil, false
		}
		route.Match = []*networking.HTTPMatchRequest{m}
		route.Matches = []Place{{c.object, fmt.Sprintf("%s.matches[%d]", route.Field, j)}}
	}
	filters := func(list []gatewayv1.GRPCRouteFilter, into **networking.Headers, mirrors bool) bool {
		for _, f := range list {
			switch {
			case f.Type == gatewayv1.GRPCRouteFilterRequestHeaderModifier:
				if !setHeaders(into, f.RequestHeaderModifier) {
					return false
				}
			case f.Type == gatewayv1.GRPCRouteFilterResponseHeaderModifier:
				if !validHeaders(f.ResponseHeaderModifier) {
					return false
				}
			case mirrors && f.Type == gatewayv1.GRPCRouteFilterRequestMirror:
				// Unlike for an HTTPRoute, a mirror that is refused costs the route.
				if f.RequestMirror != nil {
					if _, valid, _ := c.destination(&gatewayv1.BackendRef{BackendObjectReference: f.RequestMirror.BackendRef}); !valid {
						return false
					}
				}
			default:
				return false
			}
		}
		return true
	}
	if !filters(rule.Filters, &route.Headers, true) {
		return nil, false
	}
	backends := make([]routeBackend, len(rule.BackendRefs))
	for k, b := range rule.BackendRefs {
		backends[k].ref = b.BackendRef
		if !filters(b.Filters, &backends[k].headers, false) {
			return nil, false
		}
	}
	return route, c.forward(route, backends)
}

// newRule starts the route of a rule, named as istiod names it.
func (c *routeOf) newRule(name *gatewayv1.SectionName, i int) *HTTPRoute {
	text := string(value(name, ""))
	if name == nil {
		text = c.object.Namespace + "." + c.object.Name + "." + strconv.Itoa(i)
	}
	field := ruleField(i)
	return &HTTPRoute{HTTPRoute: &networking.HTTPRoute{Name: text}, Object: c.object, Field: field}
}

// routeBackend is an entry of backendRefs with the request headers that it sets.
type routeBackend struct {
	ref     gatewayv1.BackendRef
	headers *networking.Headers
}

// forward sets the destinations of a route. Without any, it answers 500, unless
// it redirects.
func (c *routeOf) forward(route *HTTPRoute, backends []routeBackend) bool {
	refs := make([]gatewayv1.BackendRef, len(backends))
	for i, b := range backends {
		refs[i] = b.ref
	}
	if weightSum(refs) == 0 && route.Redirect == nil {
		route.DirectResponse = &networking.HTTPDirectResponse{Status: 500}
		return true
	}
	chosen, weights := weighted(refs)
	for n, i := range chosen {
		d, _, ok := c.destination(&refs[i])
		if !ok {
			return false
		}
		route.Route = append(route.Route, &networking.HTTPRouteDestination{Destination: d, Weight: weights[n], Headers: backends[i].headers})
		route.Destinations = append(route.Destinations, Place{c.object, fmt.Sprintf("%s.backendRefs[%d]", route.Field, i)})
	}
	return true
}

func httpMatch(in *gatewayv1.HTTPRouteMatch) (*networking.HTTPMatchRequest, bool) {
	out := &networking.HTTPMatchRequest{}
	kind, path := gatewayv1.PathMatchPathPrefix, "/"
	if in.Path != nil {
		kind, path = value(in.Path.Type, kind), value(in.Path.Value, path)
	}
	switch kind {
	case gatewayv1.PathMatchPathPrefix:
		if path != "/" {
			path = strings.TrimSuffix(path, "/")
		}
		out.Uri = prefix(path)
	case gatewayv1.PathMatchExact:
		out.Uri = exact(path)
	case gatewayv1.PathMatchRegularExpression:
		out.Uri = regex(path)
	default:
		return nil, false
	}
	for _, h := range in.Headers {
		if !addMatch(&out.Headers, string(h.Name), string(value(h.Type, gatewayv1.HeaderMatchExact)), h.Value) {
			return nil, false
		}
	}
	for _, q := range in.QueryParams {
		if !addMatch(&out.QueryParams, string(q.Name), string(value(q.Type, gatewayv1.QueryParamMatchExact)), q.Value) {
			return nil, false
		}
	}
	if in.Method != nil {
		out.Method = exact(string(*in.Method))
	}
	return out, true
}

// grpcMatch turns service and method into a path (istio conversion.go
// createGRPCURIMatch).
func grpcMatch(in *gatewayv1.GRPCRouteMatch) (*networking.HTTPMatchRequest, bool) {
	out := &networking.HTTPMatchRequest{}
	if m := in.Method; m != nil {
		kind := value(m.Type, gatewayv1.GRPCMethodMatchExact)
		service, method := value(m.Service, ""), value(m.Method, "")
		isRegex := kind == gatewayv1.GRPCMethodMatchRegularExpression
		switch {
		case m.Method == nil && m.Service == nil || !isRegex && kind != gatewayv1.GRPCMethodMatchExact:
			return nil, false
		case m.Service == nil:
			out.Uri = regex("/[^/]+/" + method)
		case m.Method == nil && isRegex:
			out.Uri = regex("/" + service + "/.+")
		case m.Method == nil:
			out.Uri = prefix("/" + service + "/")
		case isRegex:
			out.Uri = regex("/" + service + "/" + method)
		default:
			out.Uri = exact("/" + service + "/" + method)
		}
	}
	for _, h := range in.Headers {
		if !addMatch(&out.Headers, string(h.Name), string(value(h.Type, gatewayv1.GRPCHeaderMatchExact)), h.Value) {
			return nil, false
		}
	}
	return out, true
}

func exact(s string) *networking.StringMatch {
	return &networking.StringMatch{MatchType: &networking.StringMatch_Exact{Exact: s}}
}

func prefix(s string) *networking.StringMatch {
	return &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: s}}
}

func regex(s string) *networking.StringMatch {
	return &networking.StringMatch{MatchType: &networking.StringMatch_Regex{Regex: s}}
}

// addMatch adds a condition on a header or query parameter.
func addMatch(into *map[string]*networking.StringMatch, name, kind, text string) bool {
	if *into == nil {
		*into = map[string]*networking.StringMatch{}
	}
	switch kind {
	case "Exact":
		(*into)[name] = exact(text)
	case "RegularExpression":
		(*into)[name] = regex(text)
	default:
		return false
	}
	return true
}

// rewrite converts a URLRewrite filter (istio conversion.go
// createRewriteFilter).
func rewrite(in *gatewayv1.HTTPURLRewriteFilter) *networking.HTTPRewrite {
	if in == nil {
		return nil
	}
	out := &networking.HTTPRewrite{Authority: string(value(in.Hostname, ""))}
	if in.Path != nil {
		switch in.Path.Type {
		case gatewayv1.PrefixMatchHTTPPathModifier:
			if out.Uri = strings.TrimSuffix(value(in.Path.ReplacePrefixMatch, ""), "/"); out.Uri == "" {
				out.Uri = "/"
			}
		case gatewayv1.FullPathHTTPPathModifier:
			out.UriRegexRewrite = &networking.RegexRewrite{Match: "/.*", Rewrite: value(in.Path.ReplaceFullPath, "")}
		}
	}
	if out.Uri == "" && out.UriRegexRewrite == nil && out.Authority == "" {
		return nil
	}
	return out
}

// redirect converts where a redirect leads, but for the path that takes the place of
// a prefix (istio conversion.go createRedirectFilter); 302 is the API server's default.
func redirect(in *gatewayv1.HTTPRequestRedirectFilter) *networking.HTTPRedirect {
	if in == nil {
		return nil
	}
	out := &networking.HTTPRedirect{
		RedirectCode: uint32(value(in.StatusCode, 302)), //nolint:gosec // a status
		Authority:    string(value(in.Hostname, "")), Scheme: value(in.Scheme, ""),
	}
	switch {
	case in.Port != nil:
		out.RedirectPort = &networking.HTTPRedirect_Port{Port: uint32(*in.Port)} //nolint:gosec // a port
	case in.Scheme == nil:
		out.RedirectPort = &networking.HTTPRedirect_DerivePort{DerivePort: networking.HTTPRedirect_FROM_REQUEST_PORT}
	}
	if in.Path != nil {
		out.Uri = value(in.Path.ReplaceFullPath, "")
	}
	return out
}

// setHeaders converts a filter on request headers; false where istiod refuses
// it.
func setHeaders(into **networking.Headers, in *gatewayv1.HTTPHeaderFilter) bool {
	if in == nil {
		return true
	}
	if !validHeaders(in) {
		return false
	}
	if *into == nil {
		*into = &networking.Headers{}
	}
	(*into).Request = &networking.Headers_HeaderOperations{Add: headerMap(in.Add), Remove: in.Remove, Set: headerMap(in.Set)}
	return true
}

// validHeaders reports whether the values of a filter are fit for HTTP (istio
// conversion.go isValidHeaderValue).
func validHeaders(in *gatewayv1.HTTPHeaderFilter) bool {
	if in == nil {
		return true
	}
	for _, list := range [][]gatewayv1.HTTPHeader{in.Set, in.Add} {
		for _, h := range list {
			for _, b := range []byte(h.Value) {
				if b != '\t' && (b < ' ' || b == 0x7f) {
					return false
				}
			}
		}
	}
	return true
}

// headerMap keeps the first of the entries for one header.
func headerMap(list []gatewayv1.HTTPHeader) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, h := range list {
		name := strings.ToLower(string(h.Name))
		if _, found := out[name]; !found {
			out[name] = h.Value
		}
	}
	return out
}
