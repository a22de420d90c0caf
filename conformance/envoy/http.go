package envoy

import (
	"cmp"
	"net/http"
	"net/netip"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	cors "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	fault "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	jwt "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	alpn "istio.io/api/envoy/config/filter/http/alpn/v2alpha1"
)

// manager is an HTTP connection manager.
type manager struct {
	routes    string // name of a route configuration that is sent apart
	inline    *routeTable
	normalize normalization
	// edge managers trust nothing that the client says of where it comes from.
	edge        bool
	trustedHops int
	filters     []httpFilter
}

func compileManager(m *hcm.HttpConnectionManager) networkFilter {
	c := &manager{
		routes: m.GetRds().GetRouteConfigName(),
		normalize: normalization{
			canonical:     m.GetNormalizePath().GetValue(),
			mergeSlashes:  m.GetMergeSlashes(),
			decodeSlashes: m.GetPathWithEscapedSlashesAction() == hcm.HttpConnectionManager_UNESCAPE_AND_FORWARD,
		},
		edge:        m.GetUseRemoteAddress().GetValue(),
		trustedHops: int(m.GetXffNumTrustedHops()),
	}
	if m.GetRouteConfig() != nil {
		c.inline = compileRoutes(m.GetRouteConfig())
	}
	switch m.GetPathWithEscapedSlashesAction() {
	case hcm.HttpConnectionManager_KEEP_UNCHANGED, hcm.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT, hcm.HttpConnectionManager_UNESCAPE_AND_FORWARD:
	default:
		return unknownNetworkFilter("http_connection_manager with path_with_escaped_slashes_action " + m.GetPathWithEscapedSlashesAction().String())
	}
	for _, filter := range m.GetHttpFilters() {
		if filter.GetDisabled() {
			continue
		}
		c.filters = append(c.filters, compileHTTPFilter(filter))
	}
	return c
}

// exchange is a request on its way through the HTTP filters.
type exchange struct {
	*session
	request *Request
	remote  netip.Addr
	// route is nil where no virtual host or route matches.
	route  *matchedRoute
	alpn   *alpnOverride
	abort  *Stop
	weight float64 // share of requests that abort ends, 0 to 1
}

func (m *manager) apply(s *session, v *Verdict) bool {
	if len(s.message.TLS) > 0 && s.message.TLS[0].Origin != Application && s.terminated == nil {
		// A handshake of a proxy with a server that does not speak TLS.
		v.stop(&Stop{Reason: TLSMismatch})
		return true
	}
	if len(s.message.TLS) > 0 || s.message.HTTP == nil {
		v.stop(&Stop{Reason: ProtocolError})
		return true
	}
	v.HTTP = true
	request := s.message.HTTP.clone()
	path, ok := m.normalize.apply(request.Path)
	if !ok {
		v.stop(&Stop{Reason: ProtocolError, Status: 400})
		return true
	}
	request.Path = path
	x := &exchange{session: s, request: request}
	m.forwardedHeaders(x)
	table := m.inline
	if table == nil {
		table = s.proxy.routeTable(m.routes)
	}
	if table.rejected != "" {
		v.stop(&Stop{Reason: RejectedConfig, Detail: table.rejected})
		return true
	}
	x.route = table.match(request)
	if x.route.host != nil {
		v.VirtualHost = x.route.host.name
	}
	if x.route.route != nil {
		v.Route = x.route.route.GetName()
	}
	for _, filter := range m.filters {
		if stop := filter.decode(x); stop != nil {
			v.stop(stop)
			return true
		}
	}
	x.forward(v)
	return true
}

// forwardedHeaders follows ConnectionManagerUtility::mutateRequestHeaders.
func (m *manager) forwardedHeaders(x *exchange) {
	headers, scheme := x.request.Headers, "http"
	if x.terminated != nil {
		scheme = "https"
	}
	chain := headers["x-forwarded-for"]
	x.remote = x.conn.Source
	if m.edge {
		if m.trustedHops > 0 {
			x.remote = cmp.Or(lastAddress(chain, m.trustedHops-1), x.remote)
		}
		own := x.conn.Source.String()
		if previous := headers["x-forwarded-for"]; previous != "" {
			own = previous + "," + own
		}
		headers["x-forwarded-for"] = own
		if m.trustedHops == 0 || headers["x-forwarded-proto"] == "" {
			headers["x-forwarded-proto"] = scheme
		}
	} else {
		x.remote = cmp.Or(lastAddress(chain, m.trustedHops), x.remote)
	}
	if headers["x-forwarded-proto"] == "" {
		headers["x-forwarded-proto"] = scheme
	}
	if !x.request.HTTP2 || x.request.scheme == "" {
		x.request.scheme = headers["x-forwarded-proto"]
	}
}

// lastAddress is the address in an X-Forwarded-For header after which skip others
// follow, invalid if there is none or if what stands there is no address; what the
// other entries hold does not count (Utility::getLastAddressFromXFF).
func lastAddress(header string, skip int) netip.Addr {
	for range skip {
		comma := strings.LastIndexByte(header, ',')
		if comma < 0 {
			return netip.Addr{}
		}
		header = header[:comma]
	}
	address, err := netip.ParseAddr(strings.TrimSpace(header[strings.LastIndexByte(header, ',')+1:]))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap()
}

// httpFilter handles the headers of a request; a stop ends it.
type httpFilter interface {
	decode(x *exchange) *Stop
}

func compileHTTPFilter(filter *hcm.HttpFilter) httpFilter {
	config := filter.GetTypedConfig()
	var err error
	switch filter.GetName() {
	case "envoy.filters.http.rbac":
		rules := &rbac.RBAC{}
		if err = config.UnmarshalTo(rules); err == nil {
			return &httpRBAC{rules: compileRBAC(rules.GetRules()), shadow: compileRBAC(rules.GetShadowRules()), prefix: rules.GetShadowRulesStatPrefix()}
		}
	case "envoy.filters.http.ext_authz":
		check := &extauthz.ExtAuthz{}
		if err = config.UnmarshalTo(check); err == nil {
			return (*httpExtAuthz)(check)
		}
	case "envoy.filters.http.jwt_authn":
		authn := &jwt.JwtAuthentication{}
		if err = config.UnmarshalTo(authn); err == nil {
			return (*jwtAuthn)(authn)
		}
	case "envoy.filters.http.fault":
		return faultFilter{}
	case "envoy.filters.http.cors":
		return corsFilter{}
	case "istio.alpn":
		override := &alpn.FilterConfig{}
		if err = config.UnmarshalTo(override); err == nil {
			return newALPNOverride(override)
		}
	case "istio.metadata_exchange", "istio.stats", "istio_authn", "waypoint_downstream_peer_metadata", "waypoint_upstream_peer_metadata", "envoy.filters.http.grpc_stats", "envoy.filters.http.grpc_web",
		"envoy.filters.http.router", "envoy.filters.http.dynamic_forward_proxy", "envoy.filters.http.stateful_session":
		// They observe, or steer only to endpoints of one cluster; the
		// router's work is done in forward.
		return bystander{}
	}
	return unknownHTTPFilter(filter.GetName())
}

type bystander struct{}

func (bystander) decode(*exchange) *Stop { return nil }

type unknownHTTPFilter string

func (f unknownHTTPFilter) decode(*exchange) *Stop {
	return &Stop{Reason: UnknownFilter, Detail: "HTTP filter " + string(f)}
}

type httpRBAC struct {
	rules, shadow *rbacEngine
	prefix        string
}

func (f *httpRBAC) decode(x *exchange) *Stop {
	s := &subject{session: x.session, request: x.request, remote: x.remote, status: 403}
	f.shadow.shadow(s, f.prefix, x.session)
	return f.rules.check(s)
}

type httpExtAuthz extauthz.ExtAuthz

func (f *httpExtAuthz) decode(x *exchange) *Stop {
	if !metadataEnables((*extauthz.ExtAuthz)(f).GetFilterEnabledMetadata(), x.session) {
		return nil
	}
	return &Stop{Reason: ExternalAuthorizer}
}

type jwtAuthn jwt.JwtAuthentication

// A request without a token passes, as istiod's rules always allow a missing
// one; whether a token is valid is not in the manifests.
func (f *jwtAuthn) decode(x *exchange) *Stop {
	token := &Stop{Reason: Token, Detail: "the request carries a token"}
	parameters := queryParameters(x.request.Path)
	for _, provider := range (*jwt.JwtAuthentication)(f).GetProviders() {
		if len(provider.GetFromHeaders())+len(provider.GetFromParams())+len(provider.GetFromCookies()) == 0 {
			if strings.HasPrefix(x.request.Headers["authorization"], "Bearer ") {
				return token
			}
			if _, found := parameters["access_token"]; found {
				return token
			}
		}
		for _, from := range provider.GetFromHeaders() {
			if value, found := x.request.header(from.GetName()); found && strings.Contains(value, from.GetValuePrefix()) {
				return token
			}
		}
		for _, name := range provider.GetFromParams() {
			if _, found := parameters[name]; found {
				return token
			}
		}
		for _, name := range provider.GetFromCookies() {
			if strings.Contains(x.request.Headers["cookie"], name+"=") {
				return token
			}
		}
	}
	return nil
}

type faultFilter struct{}

func (faultFilter) decode(x *exchange) *Stop {
	config := x.route.perFilter("envoy.filters.http.fault")
	if config == nil {
		return nil
	}
	settings := &fault.HTTPFault{}
	if err := config.UnmarshalTo(settings); err != nil {
		return &Stop{Reason: UnknownFilter, Detail: "fault settings that cannot be read"}
	}
	abort := settings.GetAbort()
	if abort == nil {
		return nil
	}
	stop := &Stop{Reason: Fault}
	switch code := abort.GetErrorType().(type) {
	case *fault.FaultAbort_HttpStatus:
		stop.Status = int(code.HttpStatus)
	case *fault.FaultAbort_GrpcStatus:
		// The code travels in the header grpc-status.
		stop.Status = 200
	default:
		return &Stop{Reason: UnknownFilter, Detail: "fault that a header controls"}
	}
	share := fraction(abort.GetPercentage())
	if share >= 1 {
		return stop
	}
	x.abort, x.weight = stop, share
	return nil
}

func fraction(percent *typev3.FractionalPercent) float64 {
	denominator := map[typev3.FractionalPercent_DenominatorType]float64{
		typev3.FractionalPercent_HUNDRED:      100,
		typev3.FractionalPercent_TEN_THOUSAND: 10_000,
		typev3.FractionalPercent_MILLION:      1_000_000,
	}[percent.GetDenominator()]
	return float64(percent.GetNumerator()) / denominator
}

type corsFilter struct{}

func (corsFilter) decode(x *exchange) *Stop {
	config := x.route.perFilter("envoy.filters.http.cors")
	if config == nil || x.request.Method != http.MethodOptions {
		return nil
	}
	policy := &cors.CorsPolicy{}
	if err := config.UnmarshalTo(policy); err != nil {
		return &Stop{Reason: UnknownFilter, Detail: "CORS settings that cannot be read"}
	}
	origin := x.request.Headers["origin"]
	if origin == "" || x.request.Headers["access-control-request-method"] == "" {
		return nil
	}
	allowed := false
	for _, m := range policy.GetAllowOriginStringMatch() {
		allowed = allowed || matchString(m, origin)
	}
	if !allowed && (policy.GetForwardNotMatchingPreflights() == nil || policy.GetForwardNotMatchingPreflights().GetValue()) {
		return nil
	}
	return &Stop{Reason: DirectResponse, Status: 200}
}

// alpnOverride is Istio's own filter: it replaces what a cluster offers.
type alpnOverride struct{ http1, http2 []string }

func newALPNOverride(config *alpn.FilterConfig) httpFilter {
	override := &alpnOverride{}
	for _, o := range config.GetAlpnOverride() {
		switch o.GetUpstreamProtocol() {
		case alpn.FilterConfig_HTTP11:
			override.http1 = o.GetAlpnOverride()
		case alpn.FilterConfig_HTTP2:
			override.http2 = o.GetAlpnOverride()
		case alpn.FilterConfig_HTTP10:
		}
	}
	return override
}

func (f *alpnOverride) decode(x *exchange) *Stop {
	x.alpn = f
	return nil
}

// forward does the router's work.
func (x *exchange) forward(v *Verdict) {
	if x.route.host == nil {
		v.stop(&Stop{Reason: NoVirtualHost, Status: 404})
		return
	}
	if x.route.tlsRequired && x.request.Headers["x-forwarded-proto"] != "https" {
		v.stop(x.share(&Stop{Reason: Redirect, Status: 301}, v))
		return
	}
	if x.route.route == nil {
		v.stop(&Stop{Reason: NoRoute, Status: 404})
		return
	}
	switch action := x.route.route.GetAction().(type) {
	case *route.Route_Redirect:
		v.stop(x.share(&Stop{Reason: Redirect, Status: redirectStatus(action.Redirect)}, v))
	case *route.Route_DirectResponse:
		v.stop(x.share(&Stop{Reason: DirectResponse, Status: int(action.DirectResponse.GetStatus())}, v))
	case *route.Route_Route:
		x.destinations(action.Route, v)
	default:
		v.stop(&Stop{Reason: UnknownFilter, Detail: "route without an action"})
	}
}

// share splits a definite end where a fault ends part of the requests before.
func (x *exchange) share(rest *Stop, v *Verdict) *Stop {
	if x.abort == nil || x.weight <= 0 {
		return rest
	}
	const total = 1_000_000
	part := uint32(x.weight * total)
	v.Forwards = []Forward{{Weight: part, HTTP: true, Stop: x.abort}, {Weight: total - part, HTTP: true, Stop: rest}}
	return nil
}

func redirectStatus(action *route.RedirectAction) int {
	switch action.GetResponseCode() {
	case route.RedirectAction_FOUND:
		return 302
	case route.RedirectAction_SEE_OTHER:
		return 303
	case route.RedirectAction_TEMPORARY_REDIRECT:
		return 307
	case route.RedirectAction_PERMANENT_REDIRECT:
		return 308
	default:
		return 301
	}
}
