package model

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// locateBudget bounds the work of one search, in bytes that are validated: input
// is hostile, and an object may have thousands of fields.
const locateBudget = 256 << 10

// locate finds the field that a complaint about a decoded value is about, as a
// field path within the value, "" for the value as a whole. Istio's validation
// returns sentences without places; but a complaint goes away with what it is
// about, and stays when anything else goes. So the part is looked for whose
// removal, alone among its siblings, silences the complaint, and within it the
// one scalar that the complaint quotes. Where that is not unique, the part that
// holds the candidates is the answer.
//
// check gives the complaints about a variant of the value.
func locate(value any, complaint string, check func(any) []string) string {
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	trials := locateBudget / (len(data) + 64)
	all := check(value)
	silent := func(variant any) bool {
		trials--
		return trials >= 0 && silenced(complaint, all, check(variant))
	}

	field, part := "", value
	// within puts a variant of part into a copy of value.
	within := func(v any) any { return v }
	for {
		guilty := guiltyPart(part, field, within, silent)
		if guilty == nil || trials < 0 {
			break
		}
		field, part, within = guilty.field, guilty.value, guilty.within
	}
	if scalar := quotedScalar(part, field, complaint); scalar != "" {
		return scalar
	}
	return field
}

// part is a value within a value.
type part struct {
	field  string
	value  any
	within func(any) any
}

// guiltyPart returns the only child of v whose removal makes silent true, nil
// where there is none or more than one.
func guiltyPart(v any, field string, within func(any) any, silent func(any) bool) *part {
	var guilty []*part
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			rest := maps.Clone(v)
			delete(rest, key)
			if silent(within(rest)) {
				guilty = append(guilty, &part{child(field, key), v[key], func(e any) any {
					changed := maps.Clone(v)
					changed[key] = e
					return within(changed)
				}})
			}
		}
	case []any:
		for i := range v {
			if silent(within(slices.Delete(slices.Clone(v), i, i+1))) {
				guilty = append(guilty, &part{item(field, i), v[i], func(e any) any {
					changed := slices.Clone(v)
					changed[i] = e
					return within(changed)
				}})
			}
		}
	}
	if len(guilty) != 1 {
		return nil
	}
	return guilty[0]
}

// silenced reports whether a complaint is gone and did not merely change its
// numbers: without the first of two servers, "server 1 …" becomes "server 0 …".
func silenced(complaint string, before, after []string) bool {
	kind := withoutNumbers(complaint)
	count := func(messages []string) (n int) {
		for _, m := range messages {
			if withoutNumbers(m) == kind {
				n++
			}
		}
		return n
	}
	return !contains(after, complaint) && count(after) < count(before)
}

func withoutNumbers(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, s)
}

// quotedScalar returns the field of the only scalar below v that a complaint
// quotes, or names as a word; "" if there is none or more than one.
func quotedScalar(v any, field, complaint string) string {
	var quoted, named []string
	var walk func(v any, field string)
	walk = func(v any, field string) {
		word := ""
		switch v := v.(type) {
		case map[string]any:
			for key, e := range v {
				walk(e, child(field, key))
			}
		case []any:
			for i, e := range v {
				walk(e, item(field, i))
			}
		case string:
			word = v
		case int64:
			word = strconv.FormatInt(v, 10)
		case float64:
			word = strconv.FormatFloat(v, 'f', -1, 64)
		}
		switch {
		case len(word) < 2:
		case strings.Contains(complaint, `"`+word+`"`):
			quoted = append(quoted, field)
		case namesWord(complaint, word):
			named = append(named, field)
		}
	}
	walk(v, field)
	switch {
	case len(quoted) == 1:
		return quoted[0]
	case len(quoted) == 0 && len(named) == 1:
		return named[0]
	default:
		return ""
	}
}

// namesWord reports whether text has word not as a part of a longer name.
func namesWord(text, word string) bool {
	inName := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./*", r)
	}
	for end := 0; ; {
		i := strings.Index(text[end:], word)
		if i < 0 {
			return false
		}
		start := end + i
		end = start + len(word)
		before, _ := utf8.DecodeLastRuneInString(text[:start])
		after, _ := utf8.DecodeRuneInString(text[end:])
		if !inName(before) && !inName(after) {
			return true
		}
	}
}

// item is the field path of an item of the list at field.
//
//go:noinline
func item(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
