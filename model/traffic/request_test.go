package traffic

import (
	"maps"
	"regexp"
	"testing"

	networking "istio.io/api/networking/v1alpha3"
)

// Headers are removed, then set, then added; names have no case, and adding to a
// header that is there makes a list (envoy source/common/router/header_parser.cc
// evaluateHeaders). A new authority replaces the Host header.
func TestHeaderEdits(t *testing.T) {
	before := &request{method: "GET", path: "/x", authority: "a.example.com", headers: map[string]string{"x-old": "1", "x-keep": "k"}}
	for _, test := range []struct {
		name      string
		authority string
		edits     headerEdits
		host      string
		want      map[string]string
	}{
		{"nothing", "", headerEdits{}, "a.example.com", map[string]string{"x-old": "1", "x-keep": "k"}},
		{"set", "", headerEdits{set: map[string]string{"X-Old": "2"}}, "a.example.com", map[string]string{"x-old": "2", "x-keep": "k"}},
		{"add to what is there", "", headerEdits{add: map[string]string{"X-Old": "2"}}, "a.example.com", map[string]string{"x-old": "1,2", "x-keep": "k"}},
		{"add what is not there", "", headerEdits{add: map[string]string{"x-new": "n"}}, "a.example.com", map[string]string{"x-old": "1", "x-keep": "k", "x-new": "n"}},
		{"remove, then set", "", headerEdits{remove: []string{"X-OLD"}, set: map[string]string{"x-old": "3"}}, "a.example.com", map[string]string{"x-old": "3", "x-keep": "k"}},
		{"remove what is not there", "", headerEdits{remove: []string{"x-none"}}, "a.example.com", map[string]string{"x-old": "1", "x-keep": "k"}},
		{"authority", "b.example.com", headerEdits{}, "b.example.com", map[string]string{"x-old": "1", "x-keep": "k"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := before.edited(test.authority, test.edits)
			if got.authority != test.host || !maps.Equal(got.headers, test.want) {
				t.Errorf("%s %v, want %s %v", got.authority, got.headers, test.host, test.want)
			}
			if before.authority != "a.example.com" || len(before.headers) != 2 || before.headers["x-old"] != "1" {
				t.Fatalf("the original request has changed: %+v", before)
			}
		})
	}
}

// Set beats add for the Host header, and other pseudo headers are left alone
// (istio pilot/pkg/networking/core/route/route.go TranslateHeadersOperations).
func TestHeaderOperations(t *testing.T) {
	ops := func(set, add map[string]string, remove ...string) *networking.Headers {
		return &networking.Headers{Request: &networking.Headers_HeaderOperations{Set: set, Add: add, Remove: remove}}
	}
	for _, test := range []struct {
		name      string
		in        *networking.Headers
		authority string
		edits     headerEdits
	}{
		{"none", nil, "", headerEdits{}},
		{"Host", ops(map[string]string{"Host": "b"}, nil), "b", headerEdits{}},
		{":authority", ops(map[string]string{":authority": "b"}, nil), "b", headerEdits{}},
		{"added Host", ops(nil, map[string]string{"host": "b"}), "b", headerEdits{}},
		{"set beats add", ops(map[string]string{"host": "s"}, map[string]string{"host": "a"}), "s", headerEdits{}},
		{"pseudo headers", ops(map[string]string{":path": "/x"}, map[string]string{":method": "PUT"}, ":scheme", "host"), "", headerEdits{}},
		{"others", ops(map[string]string{"x": "1"}, map[string]string{"y": "2"}, "z"), "",
			headerEdits{set: map[string]string{"x": "1"}, add: map[string]string{"y": "2"}, remove: []string{"z"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			edits, authority := compileHeaders(test.in)
			if authority != test.authority || !maps.Equal(edits.set, test.edits.set) || !maps.Equal(edits.add, test.edits.add) || len(edits.remove) != len(test.edits.remove) {
				t.Errorf("%+v %q, want %+v %q", edits, authority, test.edits, test.authority)
			}
		})
	}
}

// The host of an authority has neither port nor case; an IPv6 literal keeps its
// brackets (envoy source/common/http/header_utility.cc getPortStart).
func TestHostOfAuthority(t *testing.T) {
	for authority, want := range map[string]string{
		"A.Example.com":      "a.example.com",
		"a.example.com:8080": "a.example.com",
		"[2001:db8::1]:80":   "[2001:db8::1]",
		"[2001:db8::1]":      "[2001:db8::1]",
		"2001:db8::1":        "2001:db8::1",
		"192.0.2.1:80":       "192.0.2.1",
		"":                   "",
	} {
		if got := (&request{authority: authority}).host(); got != want {
			t.Errorf("%q: %q, want %q", authority, got, want)
		}
	}
}

// A rewritten prefix replaces what matched; with an exact path or an expression
// that is the whole path; the query stays (envoy source/common/router/config_impl.cc
// rewritePathHeader of PrefixRouteEntryImpl, PathRouteEntryImpl, RegexRouteEntryImpl).
func TestPathRewrite(t *testing.T) {
	exact := func(s string) *networking.StringMatch {
		return &networking.StringMatch{MatchType: &networking.StringMatch_Exact{Exact: s}}
	}
	prefix := func(s string) *networking.StringMatch {
		return &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: s}}
	}
	regex := func(s string) *networking.StringMatch {
		return &networking.StringMatch{MatchType: &networking.StringMatch_Regex{Regex: s}}
	}
	for _, test := range []struct {
		name  string
		uri   *networking.StringMatch
		to    string
		regex *regexRewrite
		path  string
		want  string
	}{
		{"prefix", prefix("/v1"), "/v2", nil, "/v1/x?q=/v1", "/v2/x?q=/v1"},
		{"prefix is plain text", prefix("/v1"), "/v2", nil, "/v10", "/v20"},
		{"prefix with slash", prefix("/v1/"), "/", nil, "/v1/x", "/x"},
		{"exact", exact("/old"), "/new", nil, "/old?x=1", "/new?x=1"},
		{"no match is the prefix /", nil, "/sub/", nil, "/x", "/sub/x"},
		{"a matched expression", regex("/a.*"), "/new", nil, "/abc/d?q", "/new?q"},
		{"an empty path", nil, "/new", nil, "", "/new"},
		{"expression", prefix("/"), "", &regexRewrite{regexp.MustCompile(`^/v(\d+)/(.*)$`), `/\2/\1`}, "/v7/a?b", "/a/7?b"},
		{"every match of an expression", prefix("/"), "", &regexRewrite{regexp.MustCompile(`a`), `b`}, "/aXa", "/bXb"},
		{"a dollar is none", prefix("/"), "", &regexRewrite{regexp.MustCompile(`a`), `$1`}, "/a", "/$1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			match := &networking.HTTPMatchRequest{Uri: test.uri}
			r := &route{match: compileMatch(match, false), rewritePrefix: test.to, rewriteRegex: test.regex}
			req := &request{path: test.path}
			r.rewrite(req)
			if req.path != test.want {
				t.Errorf("%s becomes %s, want %s", test.path, req.path, test.want)
			}
		})
	}
}
