package envoy

import (
	"fmt"
	"regexp"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// routeTable is a route configuration with its virtual hosts indexed by domain.
type routeTable struct {
	config     *route.RouteConfiguration
	exact      map[string]*virtualHost
	suffixes   map[string]*virtualHost // "*.example.com" as ".example.com"
	prefixes   map[string]*virtualHost
	any        *virtualHost
	ignorePort bool
	rejected   string
}

type virtualHost struct {
	name  string
	proto *route.VirtualHost
}

// routeTable returns the configuration of a name; one that was never sent has
// no virtual hosts.
func (p *Proxy) routeTable(name string) *routeTable {
	p.mu.Lock()
	defer p.mu.Unlock()
	table, found := p.routes[name]
	if !found {
		config := p.config.Routes[name]
		if config == nil {
			config = &route.RouteConfiguration{Name: name}
		}
		table = compileRoutes(config)
		p.routes[name] = table
	}
	return table
}

func compileRoutes(config *route.RouteConfiguration) *routeTable {
	t := &routeTable{
		config:     config,
		exact:      map[string]*virtualHost{},
		suffixes:   map[string]*virtualHost{},
		prefixes:   map[string]*virtualHost{},
		ignorePort: config.GetIgnorePortInHostMatching(),
	}
	if err := config.Validate(); err != nil {
		t.rejected = fmt.Sprintf("route configuration %q: %v", config.GetName(), err)
	}
	for _, host := range config.GetVirtualHosts() {
		compiled := &virtualHost{name: host.GetName(), proto: host}
		for _, domain := range host.GetDomains() {
			domain = strings.ToLower(domain)
			switch {
			case domain == "*":
				if t.any != nil {
					t.rejected = fmt.Sprintf("route configuration %q: domain * twice", config.GetName())
				}
				t.any = compiled
			case strings.HasPrefix(domain, "*"):
				t.index(t.suffixes, domain[1:], compiled)
			case strings.HasSuffix(domain, "*"):
				t.index(t.prefixes, domain[:len(domain)-1], compiled)
			default:
				t.index(t.exact, domain, compiled)
			}
		}
		for _, r := range host.GetRoutes() {
			if expression := r.GetMatch().GetSafeRegex().GetRegex(); expression != "" {
				if _, err := regexp.Compile(expression); err != nil {
					t.rejected = fmt.Sprintf("route configuration %q: %v", config.GetName(), err)
				}
			}
		}
	}
	return t
}

// index adds a domain; Envoy refuses a configuration that has one twice.
func (t *routeTable) index(into map[string]*virtualHost, domain string, host *virtualHost) {
	if other, found := into[domain]; found {
		t.rejected = fmt.Sprintf("route configuration %q: domain %q in virtual hosts %q and %q", t.config.GetName(), domain, other.name, host.name)
	}
	into[domain] = host
}

// host finds the virtual host of an authority: exact, then the longest suffix
// wildcard, then the longest prefix wildcard, then "*"
// (RouteMatcher::findVirtualHost).
func (t *routeTable) host(authority string) *virtualHost {
	name := strings.ToLower(authority)
	if t.ignorePort {
		name = withoutPort(name)
	}
	if host := t.exact[name]; host != nil {
		return host
	}
	for i := 1; i < len(name); i++ {
		if host := t.suffixes[name[i:]]; host != nil {
			return host
		}
	}
	for i := len(name) - 1; i > 0; i-- {
		if host := t.prefixes[name[:i]]; host != nil {
			return host
		}
	}
	return t.any
}

// withoutPort follows HeaderUtility::getPortStart.
func withoutPort(host string) string {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 {
		return host
	}
	if bracket := strings.LastIndexByte(host, ']'); bracket > colon {
		return host
	}
	if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
		return host
	}
	for _, c := range host[colon+1:] {
		if c < '0' || c > '9' {
			return host
		}
	}
	if colon+1 == len(host) {
		return host
	}
	return host[:colon]
}

// matchedRoute is what a request finds in a table; host and route may be nil.
type matchedRoute struct {
	table       *routeTable
	host        *virtualHost
	route       *route.Route
	tlsRequired bool
}

func (t *routeTable) match(r *Request) *matchedRoute {
	m := &matchedRoute{table: t, host: t.host(r.Authority)}
	if m.host == nil {
		return m
	}
	m.tlsRequired = m.host.proto.GetRequireTls() == route.VirtualHost_ALL
	if m.tlsRequired && r.Headers["x-forwarded-proto"] != "https" {
		return m
	}
	for _, candidate := range m.host.proto.GetRoutes() {
		if matchRoute(candidate.GetMatch(), r) {
			m.route = candidate
			return m
		}
	}
	return m
}

// perFilter is the setting of a filter on the route, else on its host.
func (m *matchedRoute) perFilter(name string) *anypb.Any {
	if m.route != nil {
		if config := m.route.GetTypedPerFilterConfig()[name]; config != nil {
			return config
		}
	}
	if m.host != nil && m.route != nil {
		return m.host.proto.GetTypedPerFilterConfig()[name]
	}
	return nil
}

func matchRoute(match *route.RouteMatch, r *Request) bool {
	if !matchPath(match, withoutQuery(r.Path)) {
		return false
	}
	for _, header := range match.GetHeaders() {
		if !matchHeader(header, r) {
			return false
		}
	}
	if len(match.GetQueryParameters()) > 0 {
		parameters := queryParameters(r.Path)
		for _, parameter := range match.GetQueryParameters() {
			value, found := parameters[parameter.GetName()]
			switch specifier := parameter.GetQueryParameterMatchSpecifier().(type) {
			case *route.QueryParameterMatcher_StringMatch:
				if !found || !matchString(specifier.StringMatch, value) {
					return false
				}
			default:
				if !found {
					return false
				}
			}
		}
	}
	for _, metadata := range match.GetDynamicMetadata() {
		// Claims of a token; a request that carries one has been found
		// unknown before.
		if !metadata.GetInvert() {
			return false
		}
	}
	return match.GetGrpc() == nil
}

func matchPath(match *route.RouteMatch, path string) bool {
	fold := func(s string) string {
		if match.GetCaseSensitive() != nil && !match.GetCaseSensitive().GetValue() {
			return strings.ToLower(s)
		}
		return s
	}
	switch specifier := match.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		return strings.HasPrefix(fold(path), fold(specifier.Prefix))
	case *route.RouteMatch_Path:
		return fold(path) == fold(specifier.Path)
	case *route.RouteMatch_SafeRegex:
		return fullMatch(specifier.SafeRegex.GetRegex(), path)
	case *route.RouteMatch_PathSeparatedPrefix:
		prefix := fold(specifier.PathSeparatedPrefix)
		return fold(path) == prefix || strings.HasPrefix(fold(path), prefix+"/")
	default:
		return false
	}
}

// destinations expands the clusters of a route, each with the request as it is
// rewritten on the way there.
func (x *exchange) destinations(action *route.RouteAction, v *Verdict) {
	if action.GetHostRewriteHeader() != "" || action.GetHostRewritePathRegex() != nil || action.GetClusterHeader() != "" ||
		action.GetInlineClusterSpecifierPlugin() != nil || action.GetClusterSpecifierPlugin() != "" || action.GetPathRewritePolicy() != nil {
		v.stop(&Stop{Reason: UnknownFilter, Detail: "route action that is not modelled"})
		return
	}
	if weighted := action.GetWeightedClusters(); weighted != nil {
		for _, cluster := range weighted.GetClusters() {
			request := x.request.clone()
			mutate(request, cluster.GetRequestHeadersToRemove(), cluster.GetRequestHeadersToAdd())
			if cluster.GetHostRewriteLiteral() != "" {
				request.Authority = cluster.GetHostRewriteLiteral()
			}
			x.rewrite(action, request)
			v.Forwards = append(v.Forwards, Forward{Weight: cluster.GetWeight().GetValue(), Cluster: cluster.GetName(), Message: Message{HTTP: request}, HTTP: true, alpn: x.alpn})
		}
	} else {
		request := x.request.clone()
		x.rewrite(action, request)
		v.Forwards = []Forward{{Weight: 1, Cluster: action.GetCluster(), Message: Message{HTTP: request}, HTTP: true, alpn: x.alpn}}
	}
	switch action.GetClusterNotFoundResponseCode() {
	case route.RouteAction_NOT_FOUND:
		v.notFound(404)
	case route.RouteAction_INTERNAL_SERVER_ERROR:
		v.notFound(500)
	}
	x.abortShare(v)
}

// notFound sets the status of the answer for clusters that do not exist.
func (v *Verdict) notFound(status int) {
	for i := range v.Forwards {
		v.Forwards[i].NotFound = status
	}
}

// abortShare makes room for the requests that a fault ends.
func (x *exchange) abortShare(v *Verdict) {
	if x.abort == nil || x.weight <= 0 {
		return
	}
	var sum float64
	for _, f := range v.Forwards {
		sum += float64(f.Weight)
	}
	const total = 1_000_000
	for i := range v.Forwards {
		v.Forwards[i].Weight = uint32(float64(v.Forwards[i].Weight) / sum * (1 - x.weight) * total)
	}
	v.Forwards = append([]Forward{{Weight: uint32(x.weight * total), HTTP: true, Stop: x.abort}}, v.Forwards...)
}

// rewrite follows RouteEntryImplBase::finalizeRequestHeaders: headers of the
// route, of the virtual host and of the whole table, then authority, then path.
func (x *exchange) rewrite(action *route.RouteAction, request *Request) {
	entry, host, table := x.route.route, x.route.host.proto, x.route.table.config
	mutate(request, entry.GetRequestHeadersToRemove(), entry.GetRequestHeadersToAdd())
	mutate(request, host.GetRequestHeadersToRemove(), host.GetRequestHeadersToAdd())
	mutate(request, table.GetRequestHeadersToRemove(), table.GetRequestHeadersToAdd())
	if action.GetHostRewriteLiteral() != "" {
		request.Authority = action.GetHostRewriteLiteral()
	}
	path := withoutQuery(request.Path)
	query := request.Path[len(path):]
	switch {
	case action.GetPrefixRewrite() != "":
		matched := path
		switch specifier := entry.GetMatch().GetPathSpecifier().(type) {
		case *route.RouteMatch_Prefix:
			matched = path[:len(specifier.Prefix)]
		case *route.RouteMatch_PathSeparatedPrefix:
			matched = path[:len(specifier.PathSeparatedPrefix)]
		}
		request.Path = action.GetPrefixRewrite() + path[len(matched):] + query
	case action.GetRegexRewrite() != nil:
		re, err := regexp.Compile(action.GetRegexRewrite().GetPattern().GetRegex())
		if err == nil {
			request.Path = re.ReplaceAllString(path, substitution(action.GetRegexRewrite().GetSubstitution())) + query
		}
	}
}

// substitution turns RE2's \1 into Go's ${1}.
func substitution(re2 string) string {
	var out strings.Builder
	for i := 0; i < len(re2); i++ {
		switch {
		case re2[i] == '$':
			out.WriteString("$$")
		case re2[i] == '\\' && i+1 < len(re2):
			i++
			if re2[i] >= '0' && re2[i] <= '9' {
				out.WriteString("${" + re2[i:i+1] + "}")
			} else {
				out.WriteByte(re2[i])
			}
		default:
			out.WriteByte(re2[i])
		}
	}
	return out.String()
}

// mutate removes headers, then adds: Envoy's order.
func mutate(request *Request, remove []string, add []*core.HeaderValueOption) {
	for _, name := range remove {
		delete(request.Headers, strings.ToLower(name))
	}
	for _, option := range add {
		name, value := strings.ToLower(option.GetHeader().GetKey()), option.GetHeader().GetValue()
		previous, found := request.Headers[name]
		switch option.GetAppendAction() {
		case core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			if found {
				value = previous + "," + value
			}
			request.Headers[name] = value
		case core.HeaderValueOption_ADD_IF_ABSENT:
			if !found {
				request.Headers[name] = value
			}
		case core.HeaderValueOption_OVERWRITE_IF_EXISTS:
			if found {
				request.Headers[name] = value
			}
		default:
			request.Headers[name] = value
		}
	}
}
