package envoy

import (
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestVirtualHostChoice(t *testing.T) {
	table := compileRoutes(&route.RouteConfiguration{
		Name:                     "80",
		IgnorePortInHostMatching: true,
		VirtualHosts: []*route.VirtualHost{
			{Name: "exact", Domains: []string{"a.example.com"}},
			{Name: "suffix", Domains: []string{"*.example.com"}},
			{Name: "longer", Domains: []string{"*.deep.example.com"}},
			{Name: "prefix", Domains: []string{"api.*"}},
			{Name: "address", Domains: []string{"203.0.113.9", "[2001:db8::1]"}},
			{Name: "rest", Domains: []string{"*"}},
		},
	})
	if table.rejected != "" {
		t.Fatal(table.rejected)
	}
	for authority, want := range map[string]string{
		"a.example.com":       "exact",
		"A.EXAMPLE.com:8080":  "exact",
		"b.example.com":       "suffix",
		"x.deep.example.com":  "longer",
		"example.com":         "rest",
		"api.test":            "prefix",
		"api.example.com":     "suffix",
		"203.0.113.9:80":      "address",
		"[2001:db8::1]:80":    "address",
		"elsewhere.test:http": "rest",
	} {
		if got := table.host(authority); got.name != want {
			t.Errorf("%s: virtual host %q, want %q", authority, got.name, want)
		}
	}
}

func TestDuplicateDomainsAreRejected(t *testing.T) {
	table := compileRoutes(&route.RouteConfiguration{Name: "80", VirtualHosts: []*route.VirtualHost{
		{Name: "a", Domains: []string{"A.test"}}, {Name: "b", Domains: []string{"a.test"}},
	}})
	if table.rejected == "" {
		t.Error("a domain in two virtual hosts was accepted")
	}
}

func text(m *matcher.StringMatcher) *route.HeaderMatcher {
	return &route.HeaderMatcher{Name: "x-team", HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: m}}
}

func TestRouteMatch(t *testing.T) {
	exact := &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: "red"}}
	regex := &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: "r.d"}}}
	prefixAPI := &route.RouteMatch_Prefix{Prefix: "/api"}
	inverted, emptied := text(exact), text(exact)
	inverted.InvertMatch = true
	emptied.InvertMatch, emptied.TreatMissingHeaderAsEmpty = true, true
	for _, test := range []struct {
		name    string
		match   *route.RouteMatch
		path    string
		headers map[string]string
		want    bool
	}{
		{"prefix is a prefix of the string", &route.RouteMatch{PathSpecifier: prefixAPI}, "/apix", nil, true},
		{"prefix has case", &route.RouteMatch{PathSpecifier: prefixAPI}, "/API", nil, false},
		{"prefix without case", &route.RouteMatch{PathSpecifier: prefixAPI, CaseSensitive: wrapperspb.Bool(false)}, "/API", nil, true},
		{"exact path ignores the query", &route.RouteMatch{PathSpecifier: &route.RouteMatch_Path{Path: "/api"}}, "/api?x=1", nil, true},
		{"regex wants all of the path", &route.RouteMatch{PathSpecifier: &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: "/a|/b"}}}, "/bc", nil, false},
		{"header", &route.RouteMatch{PathSpecifier: prefixAPI, Headers: []*route.HeaderMatcher{text(exact)}}, "/api", map[string]string{"x-team": "red"}, true},
		{"header regex wants all of the value", &route.RouteMatch{PathSpecifier: prefixAPI, Headers: []*route.HeaderMatcher{text(regex)}}, "/api", map[string]string{"x-team": "redd"}, false},
		{"inverted, missing", &route.RouteMatch{PathSpecifier: prefixAPI, Headers: []*route.HeaderMatcher{inverted}}, "/api", nil, false},
		{"inverted, missing is empty", &route.RouteMatch{PathSpecifier: prefixAPI, Headers: []*route.HeaderMatcher{emptied}}, "/api", nil, true},
		{"query", &route.RouteMatch{PathSpecifier: prefixAPI, QueryParameters: []*route.QueryParameterMatcher{{
			Name: "x", QueryParameterMatchSpecifier: &route.QueryParameterMatcher_StringMatch{StringMatch: exact},
		}}}, "/api?y=1&x=red&x=blue", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &Request{Method: "GET", Authority: "a.test", Path: test.path, Headers: test.headers}
			if got := matchRoute(test.match, r); got != test.want {
				t.Errorf("matched: %v", got)
			}
		})
	}
}

func TestRewrite(t *testing.T) {
	add := func(name, value string, action core.HeaderValueOption_HeaderAppendAction) *core.HeaderValueOption {
		return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}, AppendAction: action}
	}
	entry := &route.Route{
		Match:                  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/api"}},
		RequestHeadersToRemove: []string{"X-Gone"},
		RequestHeadersToAdd: []*core.HeaderValueOption{
			add("X-Set", "new", core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
			add("X-Add", "more", core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD),
		},
	}
	request := &Request{Authority: "a.test", Path: "/api/x?q=1", Headers: map[string]string{"x-gone": "1", "x-set": "old", "x-add": "some"}}
	x := &exchange{request: request, route: &matchedRoute{route: entry, host: &virtualHost{proto: &route.VirtualHost{}}, table: &routeTable{config: &route.RouteConfiguration{}}}}
	x.rewrite(&route.RouteAction{PrefixRewrite: "/v2", HostRewriteSpecifier: &route.RouteAction_HostRewriteLiteral{HostRewriteLiteral: "b.test"}}, request)
	if request.Path != "/v2/x?q=1" || request.Authority != "b.test" {
		t.Errorf("%s %s", request.Authority, request.Path)
	}
	if _, found := request.Headers["x-gone"]; found || request.Headers["x-set"] != "new" || request.Headers["x-add"] != "some,more" {
		t.Errorf("headers %v", request.Headers)
	}
	request.Path = "/api/x"
	x.rewrite(&route.RouteAction{RegexRewrite: &matcher.RegexMatchAndSubstitute{Pattern: &matcher.RegexMatcher{Regex: "^/api/(.*)$"}, Substitution: `/\1$`}}, request)
	if request.Path != "/x$" {
		t.Errorf("path %s", request.Path)
	}
}

func TestPathNormalization(t *testing.T) {
	base := normalization{canonical: true}
	merge := normalization{canonical: true, mergeSlashes: true}
	decode := normalization{canonical: true, mergeSlashes: true, decodeSlashes: true}
	for _, test := range []struct {
		mode       normalization
		path, want string
	}{
		{normalization{}, "/a/../b//c", "/a/../b//c"},
		{base, "/a/../b", "/b"},
		{base, "/a/%2e%2E/b", "/b"},
		{base, `/a\..\b`, "/b"},
		{base, "/a/..", "/"},
		{base, "/a/.", "/a/"},
		{base, "/../a", "/a"},
		{base, "/a//b", "/a//b"},
		{base, "/a%2Fb", "/a%2Fb"},
		// As in Istio's tests/integration/security/normalization_test.go.
		{base, "/xyz%30..//abc", "/xyz0..//abc"},
		{base, "/%41%7a%5f%7E%2d%40", "/Az_~-%40"},
		{base, "/%c0%2e%c0%2e/admin", "/%c0.%c0./admin"},
		{base, "/%252e%252e/admin", "/%252e%252e/admin"},
		{base, "/..;/admin", "/admin"},
		{base, "/app/..;a=b/admin", "/admin"},
		{base, "/admin;a=b/xyz", "/admin;a=b/xyz"},
		{base, "/;/admin", "/;/admin"},
		{merge, `/app/\/\/\admin`, "/app/admin"},
		{decode, `/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\abc`, "/app/admin/abc"},
		{base, "/a/../b?x=/../c", "/b?x=/../c"},
		{merge, "/a//b?x=//", "/a/b?x=//"},
		{merge, "/a%2F/b", "/a%2F/b"},
		{decode, "/a%2F%2fb%5c..", "/a/"},
	} {
		if got, ok := test.mode.apply(test.path); !ok || got != test.want {
			t.Errorf("%+v %s: %q (valid: %v), want %q", test.mode, test.path, got, ok, test.want)
		}
	}
	for _, path := range []string{"no-slash", "/admin%00"} {
		if _, ok := base.apply(path); ok {
			t.Errorf("the path %s was accepted", path)
		}
	}
}

func TestLastAddress(t *testing.T) {
	for _, test := range []struct {
		header string
		skip   int
		want   string
	}{
		{"", 0, ""},
		{"198.51.100.7", 0, "198.51.100.7"},
		{"198.51.100.7", 1, ""},
		{"198.51.100.7, 10.0.0.1", 0, "10.0.0.1"},
		{"198.51.100.7, 10.0.0.1", 1, "198.51.100.7"},
		{"unknown, 10.0.0.1", 0, "10.0.0.1"}, // only the entry itself counts
		{"unknown, 10.0.0.1", 1, ""},
		{"198.51.100.7, unknown", 0, ""},
		{"198.51.100.7, unknown", 1, "198.51.100.7"},
		{"198.51.100.7,", 0, ""},
		{"2001:db8::1", 0, "2001:db8::1"},
	} {
		got := ""
		if address := lastAddress(test.header, test.skip); address.IsValid() {
			got = address.String()
		}
		if got != test.want {
			t.Errorf("%q, %d left out: %q, want %q", test.header, test.skip, got, test.want)
		}
	}
}
