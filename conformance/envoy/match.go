package envoy

import (
	"regexp"
	"strings"
	"sync"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// regexes are compiled once; Envoy's RE2 and Go's regexp share their syntax.
var regexes sync.Map

// fullMatch reports whether expression matches the whole of text, as RE2's
// FullMatch does. An expression that does not compile matches nothing.
func fullMatch(expression, text string) bool {
	compiled, found := regexes.Load(expression)
	if !found {
		// The flag s is not set: RE2's default is that a dot does not match a
		// line break, and neither header values nor paths hold one.
		re, err := regexp.Compile("^(?:" + expression + ")$")
		if err != nil {
			re = nil
		}
		compiled, _ = regexes.LoadOrStore(expression, re)
	}
	re := compiled.(*regexp.Regexp)
	return re != nil && re.MatchString(text)
}

// stringMatcher is Envoy's StringMatcher.
type stringMatcher struct{ *matcher.StringMatcher }

func (m *stringMatcher) matches(text string) bool {
	fold := func(s string) string {
		if m.GetIgnoreCase() {
			return strings.ToLower(s)
		}
		return s
	}
	switch pattern := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return fold(text) == fold(pattern.Exact)
	case *matcher.StringMatcher_Prefix:
		return strings.HasPrefix(fold(text), fold(pattern.Prefix))
	case *matcher.StringMatcher_Suffix:
		return strings.HasSuffix(fold(text), fold(pattern.Suffix))
	case *matcher.StringMatcher_Contains:
		return strings.Contains(fold(text), fold(pattern.Contains))
	case *matcher.StringMatcher_SafeRegex:
		// ignore_case has no effect on regular expressions.
		return fullMatch(pattern.SafeRegex.GetRegex(), text)
	default:
		return false
	}
}

func matchString(m *matcher.StringMatcher, text string) bool {
	return (&stringMatcher{m}).matches(text)
}

// header looks a header or pseudo-header up.
func (r *Request) header(name string) (string, bool) {
	switch strings.ToLower(name) {
	case ":method":
		return r.Method, true
	case ":authority", "host":
		return r.Authority, true
	case ":path":
		return r.Path, true
	case ":scheme":
		return r.scheme, r.scheme != ""
	}
	value, found := r.Headers[strings.ToLower(name)]
	return value, found
}

// matchHeader follows Envoy's HeaderUtility::HeaderData.
func matchHeader(m *route.HeaderMatcher, r *Request) bool {
	value, found := r.header(m.GetName())
	if present, ok := m.GetHeaderMatchSpecifier().(*route.HeaderMatcher_PresentMatch); ok {
		return (found == present.PresentMatch) != m.GetInvertMatch()
	}
	if m.GetHeaderMatchSpecifier() == nil {
		return found != m.GetInvertMatch()
	}
	if !found && !m.GetTreatMissingHeaderAsEmpty() {
		return false
	}
	return headerValue(m, value) != m.GetInvertMatch()
}

func headerValue(m *route.HeaderMatcher, value string) bool {
	switch specifier := m.GetHeaderMatchSpecifier().(type) {
	case *route.HeaderMatcher_StringMatch:
		return matchString(specifier.StringMatch, value)
	case *route.HeaderMatcher_ExactMatch:
		return value == specifier.ExactMatch
	case *route.HeaderMatcher_PrefixMatch:
		return strings.HasPrefix(value, specifier.PrefixMatch)
	case *route.HeaderMatcher_SuffixMatch:
		return strings.HasSuffix(value, specifier.SuffixMatch)
	case *route.HeaderMatcher_ContainsMatch:
		return strings.Contains(value, specifier.ContainsMatch)
	case *route.HeaderMatcher_SafeRegexMatch:
		return fullMatch(specifier.SafeRegexMatch.GetRegex(), value)
	default:
		return false
	}
}

// headerless matches against a request without any header, as a network filter
// does.
func headerless(m *route.HeaderMatcher) bool {
	if present, ok := m.GetHeaderMatchSpecifier().(*route.HeaderMatcher_PresentMatch); ok {
		return !present.PresentMatch != m.GetInvertMatch()
	}
	if m.GetHeaderMatchSpecifier() == nil {
		return m.GetInvertMatch()
	}
	return m.GetTreatMissingHeaderAsEmpty() && headerValue(m, "") != m.GetInvertMatch()
}

func quoteMeta(c byte) string { return regexp.QuoteMeta(string(rune(c))) }
