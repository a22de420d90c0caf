package traffic

import (
	"net/url"
	"regexp"
	"sort"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// requestMatch is the condition of a route; all of its parts must hold (istio
// route.go TranslateRouteMatch).
type requestMatch struct {
	path       *valueMatch
	ignoreCase bool
	// fields are method, authority, scheme and headers, by name.
	fields []fieldMatch
	query  []fieldMatch
	// claims says that the condition asks for claims of a token.
	claims []fieldMatch
}

// fieldMatch is a condition on one header or query parameter.
type fieldMatch struct {
	name   string
	value  *valueMatch // nil: present
	invert bool
}

// valueMatch is exact, prefix, or a regular expression that matches the whole.
type valueMatch struct {
	exact, prefix string
	isPrefix      bool
	// segments: the prefix ends where a path segment does (Envoy's
	// path_separated_prefix).
	segments bool
	regex    *regexp.Regexp
	text     string // of a regular expression
}

func (v *valueMatch) matches(s string) bool {
	switch {
	case v.regex != nil:
		return v.regex.MatchString(s)
	case v.isPrefix:
		return strings.HasPrefix(s, v.prefix) && v.ends(s)
	default:
		return s == v.exact
	}
}

func (v *valueMatch) matchesFold(s string) bool {
	switch {
	case v.regex != nil: // case-insensitivity does not apply to expressions
		return v.regex.MatchString(s)
	case v.isPrefix:
		return len(s) >= len(v.prefix) && strings.EqualFold(s[:len(v.prefix)], v.prefix) && v.ends(s)
	default:
		return strings.EqualFold(s, v.exact)
	}
}

// ends reports whether the prefix of s may end there.
func (v *valueMatch) ends(s string) bool {
	return !v.segments || len(s) == len(v.prefix) || s[len(v.prefix)] == '/'
}

// wholeRegex compiles a RE2 expression that must match the whole value. One that
// does not compile matches nothing: Envoy would refuse it, validation does.
func wholeRegex(text string) *regexp.Regexp {
	re, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		return regexp.MustCompile(`[^\s\S]`)
	}
	return re
}

// compileValue turns a StringMatch into a condition; nil means presence: no
// match type, or the regular expression "*" (istio
// canBeConvertedToPresentMatch).
func compileValue(m *networking.StringMatch) *valueMatch {
	switch t := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return &valueMatch{exact: t.Exact}
	case *networking.StringMatch_Prefix:
		return &valueMatch{isPrefix: true, prefix: t.Prefix}
	case *networking.StringMatch_Regex:
		if t.Regex == "*" {
			return nil
		}
		return &valueMatch{regex: wholeRegex(t.Regex), text: t.Regex}
	default:
		return nil
	}
}

// compileMatch compiles the condition of a route; segments says that prefixes
// of paths are of whole segments, as in the Gateway API.
func compileMatch(in *networking.HTTPMatchRequest, segments bool) requestMatch {
	var m requestMatch
	if in == nil {
		return m
	}
	m.ignoreCase = in.GetIgnoreUriCase()
	if in.GetUri() != nil {
		// "*" has no special meaning in a path.
		if r, ok := in.GetUri().GetMatchType().(*networking.StringMatch_Regex); ok {
			m.path = &valueMatch{regex: wholeRegex(r.Regex), text: r.Regex}
		} else {
			m.path = compileValue(in.GetUri())
		}
		if segments && m.path != nil && m.path.isPrefix && m.path.prefix != "/" {
			m.path.segments, m.path.prefix = true, strings.TrimSuffix(m.path.prefix, "/")
		}
	}
	add := func(name string, value *networking.StringMatch, invert bool) {
		f := fieldMatch{name: strings.ToLower(name), value: compileValue(value), invert: invert}
		if strings.HasPrefix(name, "@request.auth.claims") {
			m.claims = append(m.claims, f)
		} else {
			m.fields = append(m.fields, f)
		}
	}
	for name, value := range in.GetHeaders() {
		add(name, value, false)
	}
	for name, value := range in.GetWithoutHeaders() {
		add(name, value, true)
	}
	if in.GetMethod() != nil {
		add(":method", in.GetMethod(), false)
	}
	if in.GetAuthority() != nil {
		add(":authority", in.GetAuthority(), false)
	}
	if in.GetScheme() != nil {
		add(":scheme", in.GetScheme(), false)
	}
	for name, value := range in.GetQueryParams() {
		m.query = append(m.query, fieldMatch{name: name, value: compileValue(value)})
	}
	for _, list := range [][]fieldMatch{m.fields, m.query, m.claims} {
		sort.SliceStable(list, func(i, j int) bool { return list[i].name < list[j].name })
	}
	return m
}

// catchAll reports whether every request matches, so that later routes are never
// reached (istio route.go IsCatchAllRoute).
func (m *requestMatch) catchAll() bool {
	path := m.path == nil || m.path.isPrefix && m.path.prefix == "/" || m.path.regex != nil && m.path.text == ".*"
	return path && len(m.fields) == 0 && len(m.query) == 0 && len(m.claims) == 0
}

// matches evaluates the condition. A condition on token claims holds only if it
// is inverted: flows carry no validated token.
func (m *requestMatch) matches(r *request) bool {
	if m.path != nil {
		path := r.plainPath()
		if m.ignoreCase && !m.path.matchesFold(path) || !m.ignoreCase && !m.path.matches(path) {
			return false
		}
	}
	for _, f := range m.fields {
		if f.matchesHeader(r) != !f.invert {
			return false
		}
	}
	for _, f := range m.claims {
		if !f.invert {
			return false
		}
	}
	return len(m.query) == 0 || matchesQuery(m.query, r)
}

// matchesHeader evaluates the condition without its inversion; an inverted one
// takes a missing header as empty (istio TranslateRouteMatch,
// TreatMissingHeaderAsEmpty).
func (f *fieldMatch) matchesHeader(r *request) bool {
	value, present := headerValue(r, f.name)
	if f.value == nil {
		return present
	}
	if !present && !f.invert {
		return false
	}
	return f.value.matches(value)
}

func headerValue(r *request, name string) (string, bool) {
	switch name {
	case ":method":
		return r.method, true
	case ":authority", "host":
		return r.authority, true
	case ":path":
		return r.path, true
	case ":scheme":
		return r.scheme, r.scheme != ""
	default:
		v, ok := r.headers[name]
		return v, ok
	}
}

func matchesQuery(conditions []fieldMatch, r *request) bool {
	_, raw, _ := strings.Cut(r.path, "?")
	raw, _, _ = strings.Cut(raw, "#")
	for _, f := range conditions {
		found := false
		for _, pair := range strings.Split(raw, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if name != f.name {
				continue
			}
			if unescaped, err := url.QueryUnescape(value); err == nil {
				value = unescaped
			}
			found = f.value == nil || f.value.matches(value)
			break // only the first of a name counts
		}
		if !found {
			return false
		}
	}
	return true
}

func authorityHeader(name string) bool {
	return strings.EqualFold(name, ":authority") || strings.EqualFold(name, "host")
}
