package reach

import (
	"regexp/syntax"
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
		var out []witness
		for _, s := range samples(re.Simplify()) {
			out = append(out, witness{s, s})
		}
		return out
	default:
		return []witness{{"present", "x"}}
	}
}

// maxSamples bounds the strings made from one regular expression.
const maxSamples = 6

// samples returns a few strings that a regular expression matches; none that it
// cannot make.
func samples(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			r := re.Rune[0]
			// Prefer a letter to whatever the class begins with.
			for i := 0; i+1 < len(re.Rune); i += 2 {
				if re.Rune[i] <= 'x' && 'x' <= re.Rune[i+1] {
					r = 'x'
				}
			}
			return []string{string(r)}
		}
		return nil
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"x"}
	case syntax.OpCapture, syntax.OpPlus:
		return samples(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		return []string{""}
	case syntax.OpRepeat:
		var out []string
		for _, s := range samples(re.Sub[0]) {
			out = append(out, strings.Repeat(s, min(re.Min, 64)))
		}
		return out
	case syntax.OpAlternate:
		var out []string
		for _, sub := range re.Sub {
			if out = append(out, samples(sub)...); len(out) >= maxSamples {
				return out[:maxSamples]
			}
		}
		return out
	case syntax.OpConcat:
		out := []string{""}
		for _, sub := range re.Sub {
			var next []string
			for _, prefix := range out {
				for _, s := range samples(sub) {
					if next = append(next, prefix+s); len(next) == maxSamples {
						break
					}
				}
			}
			out = next[:min(len(next), maxSamples)]
		}
		return out
	case syntax.OpNoMatch:
		return nil
	default: // anchors and the empty match
		return []string{""}
	}
}
