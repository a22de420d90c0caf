package reach

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// witness is a string that a condition accepts, and how to call all that it
// accepts.
type witness struct{ text, sample string }

// whatever stands for any text; no condition is likely to name it.
const whatever = "egresslint"

// witnesses returns strings that a condition accepts: one, or for a regular
// expression one for each of its alternatives.
func witnesses(m *networking.StringMatch) []witness {
	switch t := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return []witness{{t.Exact, t.Exact}}
	case *networking.StringMatch_Prefix:
		if strings.HasPrefix(t.Prefix, "/") && !strings.HasSuffix(t.Prefix, "/") {
			// The prefix itself, a segment below it, and any text after it: the
			// Gateway API's prefixes end with a segment, Istio's do not.
			return []witness{{t.Prefix, t.Prefix}, {t.Prefix + "/*", t.Prefix + "/" + whatever}, {t.Prefix + "*", t.Prefix + whatever}}
		}
		return []witness{{t.Prefix + "*", t.Prefix + whatever}}
	case *networking.StringMatch_Regex:
		re, err := syntax.Parse(t.Regex, syntax.Perl)
		if t.Regex == "*" || err != nil {
			return []witness{{"present", "x"}}
		}
		list, all := samples(re.Simplify())
		var out []witness
		for i, s := range list {
			switch {
			case all:
				out = append(out, witness{s, s})
			case i == 0:
				out = append(out, witness{"~" + t.Regex, s})
			default:
				out = append(out, witness{"~" + t.Regex + " (" + s + ")", s})
			}
		}
		return out
	default:
		return []witness{{"present", "x"}}
	}
}

// pathWitnesses returns paths that a condition accepts, with the query that it
// asks for; none where it asks for neither.
func pathWitnesses(m *networking.HTTPMatchRequest) []witness {
	if m.GetUri() == nil && len(m.GetQueryParams()) == 0 {
		return nil
	}
	out := []witness{{"/", "/"}}
	if m.GetUri() != nil {
		out = nil
		for _, w := range witnesses(m.GetUri()) {
			// An expression need not begin with the slash that paths do.
			if !strings.HasPrefix(w.sample, "/") {
				w = witness{strings.Replace(w.text, w.sample, "/"+w.sample, 1), "/" + w.sample}
				if strings.HasPrefix(w.text, "/~") {
					w.text = w.text[1:]
				}
				if re, err := regexp.Compile("^(?:" + m.GetUri().GetRegex() + ")$"); err != nil || !re.MatchString(w.sample) {
					continue
				}
			}
			out = append(out, w)
		}
	}
	separator := "?"
	for _, name := range slices.Sorted(maps.Keys(m.GetQueryParams())) {
		var next []witness
		for _, path := range out {
			for _, w := range witnesses(m.GetQueryParams()[name]) {
				if w.text == "present" {
					w.text = "*"
				}
				next = append(next, witness{path.text + separator + name + "=" + w.text, path.sample + separator + name + "=" + w.sample})
			}
		}
		out, separator = next[:min(len(next), maxSamples*maxSamples)], "&"
	}
	return out
}

// maxSamples bounds the strings made from one regular expression.
const maxSamples = 8

// samples returns a few strings that a regular expression matches, none that it
// cannot make, and whether they are all.
func samples(re *syntax.Regexp) ([]string, bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}, re.Flags&syntax.FoldCase == 0
	case syntax.OpCharClass:
		return runes(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"x"}, false
	case syntax.OpCapture:
		return samples(re.Sub[0])
	case syntax.OpPlus:
		out, _ := samples(re.Sub[0])
		return out, false
	case syntax.OpStar:
		return []string{""}, false
	case syntax.OpQuest:
		out, all := samples(re.Sub[0])
		return upTo(append([]string{""}, out...), all)
	case syntax.OpRepeat:
		list, all := samples(re.Sub[0])
		var out []string
		for _, s := range list {
			out = append(out, strings.Repeat(s, min(re.Min, 64)))
		}
		return out, all && len(list) == 1 && re.Min == re.Max && re.Min <= 64
	case syntax.OpAlternate:
		var out []string
		every := true
		for _, sub := range re.Sub {
			list, all := samples(sub)
			out, every = append(out, list...), every && all
		}
		return upTo(out, every)
	case syntax.OpConcat:
		out, every := []string{""}, true
		for _, sub := range re.Sub {
			list, all := samples(sub)
			var next []string
			for _, prefix := range out {
				for _, s := range list {
					next = append(next, prefix+s)
				}
			}
			out, every = upTo(next, every && all)
		}
		return out, every
	case syntax.OpNoMatch:
		return nil, true
	default: // anchors and the empty match
		return []string{""}, true
	}
}

// runes returns the characters of a class if they are few, otherwise one of them,
// a letter rather than whatever the class begins with.
func runes(class []rune) ([]string, bool) {
	if len(class) == 0 {
		return nil, true
	}
	var out []string
	r := class[0]
	for i := 0; i+1 < len(class); i += 2 {
		if class[i] <= 'x' && 'x' <= class[i+1] {
			r = 'x'
		}
		for c := class[i]; c <= class[i+1] && len(out) <= maxSamples; c++ {
			out = append(out, string(c))
		}
	}
	if len(out) > maxSamples {
		return []string{string(r)}, false
	}
	return out, true
}

// upTo bounds a list; what is cut off is not all.
func upTo(list []string, all bool) ([]string, bool) {
	if len(list) > maxSamples {
		return list[:maxSamples], false
	}
	return list, all
}
