package manifest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/manifest"
)

// asJSON returns the JSON of the only document of a text; ok is false if it was
// not accepted.
func asJSON(t *testing.T, text string) (out any, ok bool) {
	t.Helper()
	_, err := manifest.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(text),
		Decode: func(_ *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			b, err := doc.JSON()
			if err != nil {
				t.Errorf("JSON of %q: %v", text, err)
			}
			if err := json.Unmarshal(b, &out); err != nil {
				t.Errorf("JSON of %q does not parse: %v in %s", text, err, b)
			}
			ok = true
			return nil, nil
		},
	})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out, ok
}

// compare holds the JSON of a document against sigs.k8s.io/yaml, which is what
// kubectl uses.
func compare(t *testing.T, text string) {
	t.Helper()
	text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" + text + "\n"
	b, err := sigsyaml.YAMLToJSON([]byte(text))
	got, ok := asJSON(t, text)
	if (err == nil) != ok {
		t.Errorf("%q: accepted %v, but sigs.k8s.io/yaml gives %s, error %v", text, ok, b, err)
		return
	}
	if err != nil {
		return
	}
	var want any
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q\n  got  %v\n  want %v", text, got, want)
	}
}

func TestScalarsAsKubernetesReadsThem(t *testing.T) {
	scalars := []string{
		"y", "Y", "yes", "Yes", "YES", "yEs", "n", "N", "no", "No", "NO", "on", "On", "ON", "oN", "off", "Off", "OFF", "true", "True", "TRUE", "tRue", "false", "False", "FALSE",
		"~", "null", "Null", "NULL", "nUll", "", "''", `""`, "\"null\"", "'yes'",
		"0", "-0", "+0", "1", "-1", "+1", "007", "010", "08", "0o7", "0O7", "0o8", "0x1F", "0X1f", "-0x1F", "+0x1F", "0xG", "0b101", "-0b101", "0b-1", "0b+1", "-0b+1", "-0b-1", "0b2", "1_000", "1__0", "_1", "1_", "0x_1", "0b_1", "0_7",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616", "+9223372036854775808",
		"1.0", "1.", ".5", "-.5", "+.5", "1e3", "1E3", "1e+3", "1e-3", "1e400", "1.5e3_0", "1_0.5", "._5", "..", ".", "1.2.3", "1e", "e1", "0x1p-2", "1:30", "190:20:30.15", "1,000", "1e21", "1e-7", "123456789012345678901234567890",
		".inf", "-.inf", "+.inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", ".iNf", "inf", "nan", "Infinity", "-inf",
		"2001-01-01", "2001-1-1", "2001-01-01T00:00:00Z", "2001-01-01 00:00:00", "2001-01-01t00:00:00.5+01:00", "2001-13-01", "20010101",
		"!!str 12", "!!str yes", "!!str", "!!str ~", "!!int 12", "!!int '12'", "!!int 1.0", "!!int x", "!!int 2001-01-01", "!!float 1", "!!float 18446744073709551615", "!!float .5", "!!float x", "!!bool yes", "!!bool 1", "!!null ~", "!!null ''", "!!null x",
		"!!timestamp 2001-01-01", "!!timestamp x", "!!timestamp '2001-01-01'", "!!binary aGk=", "!!binary x", "!!binary gIGC", "!own x", "!own 12", "! 12", "! '12'", "! yes", "!<tag:yaml.org,2002:int> '1'", "!!seq x", "!!merge <<",
		"a", "a b", "a: b"[:1], "-", "- a"[:1], "\"a\\n\\u00e9\\x41\"", "'it''s'", "\u00e9\u4e2d\U0001f600", "<a&b>", "<<", "=", "%x", "`x"[:0], "a#b", "a #b", "\"\\u2028\"", "*x"[:0], "|\n  a\n  b", "|-\n  a\n\n", ">\n  a\n  b\n\n  c", "a\n  b", "\"a\n  b\"", "'a\n\n  b'",
	}
	for _, s := range scalars {
		compare(t, "x: "+s)
		compare(t, "x:\n- "+strings.ReplaceAll(s, "\n", "\n  "))
		if !strings.Contains(s, "\n") {
			if s != "!!str" && s != "-" { // where the parsers differ in what they take
				compare(t, "x: ["+s+"]")
			}
			if s != "" && s != "-" && s != "a #b" && !strings.HasPrefix(s, "!!seq") {
				compare(t, "x:\n  "+s+": value")
			}
		}
	}
}

func TestMappingsAsKubernetesReadsThem(t *testing.T) {
	for _, text := range []string{
		"x: &a {p: 1, q: 2}\ny: {<<: *a, p: 3}",
		"x: &a {p: 1, q: 2}\ny: {p: 3, <<: *a}", // yaml/v2 lets the merge win
		"x: &a {p: 1}\ny: &b {p: 2, r: 3}\nz: {<<: [*a, *b]}",
		"x: &a {p: 1}\nz: {<<: [*a, {p: 2, s: 1}], p: 4, <<: {s: 5}}",
		"x: &a [1, 2]\nz: {<<: *a}",
		"x: &a [{p: 1}]\nz: {<<: *a}",
		"z: {<<: [1]}",
		"z: {<<: 1}",
		"z: {<<: []}",
		"z: {\"<<\": {p: 1}}",
		"z: {!!str <<: {p: 1}}",
		"z: {!!merge <<: {p: 1}}",
		"z: {! <<: {p: 1}}",
		"x: &a {<<: {p: 1}, q: 2}\nz: {<<: *a}",
		"x: &a b\ny: *a\nz: {*a : c}",
		"x: &a [*a]",
		"x: *nowhere",
		"x: &a 1\ny: &a 2\nz: *a",
		"x: {a: 1, a: 2}",
		"x: {1: a, 1.5: b, true: c, 0x10: d, 1e3: e, 2001-01-01: f}",
		"x: {null: a}", "x: {~: a}", "x: {: a}", "x: {[a]: b}", "x: {{a: b}: c}", "x: {18446744073709551615: a}", "x: {.inf: a, -.inf: b, .nan: c}", "x: {!!binary aGk=: a}",
		"x: |+\n  a\n\ny: >+\n  a\n\nz: 1", "x: |2\n    a\n   b\ny: >1-\n  a\n   b\n",
		"x: [{}, [], [[]], {a: {}}]", "x: !!map {a: b}", "x: !!set {a, b}", "x: !!omap [a: 1]", "x: !own {a: 1}",
		"x: {a, b: , c: d}", "? x\n: y", "x: [a: b, c]", "x: {a: b,}", "x: {\"a\":1}", "x:\n- - a\n  - b\n-\n  - c",
	} {
		compare(t, text)
	}
}

// TestScalarsAtRandom generates scalars from the characters that numbers,
// booleans and times are made of.
func TestScalarsAtRandom(t *testing.T) {
	seed := testseed.New(t)
	random := rand.New(rand.NewPCG(seed, 0))
	const letters = "0123456789abcdefxobEynYN._+-:~TZ<=!"
	var text strings.Builder
	taken := 0
	for i := range 4000 {
		var s strings.Builder
		for range 1 + random.IntN(7) {
			s.WriteByte(letters[random.IntN(len(letters))])
		}
		tag := ""
		if random.IntN(8) == 0 {
			tag = "!!str "
		}
		line := fmt.Sprintf("k%d: %s%s\n", i, tag, s.String())
		if _, err := sigsyaml.YAMLToJSON([]byte(line)); err != nil || strings.HasPrefix(s.String(), "!") {
			compare(t, line)
			continue
		}
		text.WriteString(line)
		taken++
	}
	compare(t, text.String())
	if taken < 2000 {
		t.Errorf("only %d of the scalars are valid: the test compares too little", taken)
	}
}

// TestJSONAsKubernetesReadsIt: kubectl sends JSON as it is.
func TestJSONAsKubernetesReadsIt(t *testing.T) {
	for _, value := range []string{
		`1.0`, `-0`, `1e3`, `12345678901234567890123`, `"\ud83d\ude00\/\b"`, "\"\u2028\"", `"yes"`, `null`, `true`, `[]`, `{}`, `[1, [2, {"a": "b"}], "c"]`, "\t1", `{"<<": {"a": 1}}`, `"` + strings.Repeat("k", 3000) + `"`, `{"` + strings.Repeat("k", 3000) + `": 1}`,
	} {
		text := `{"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "x": ` + value + `}`
		var want any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := asJSON(t, text); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %v", text, got)
		}
	}
}
