package manifest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/internal/testseed"
)

// decidesNothing takes every object for one that decides nothing.
func decidesNothing(*Object, []byte) bool { return true }

// loadText loads one file with and without looking at lines alone.
func loadText(t *testing.T, text string, unread func(*Object, []byte) bool) *Set {
	t.Helper()
	set, err := Load(context.Background(), Options{Paths: []Path{{Name: "-"}}, Stdin: strings.NewReader(text), Unread: unread})
	if err != nil {
		return nil
	}
	return set
}

// outcome is what somebody sees of a Set.
func outcome(s *Set) string {
	if s == nil {
		return "nothing"
	}
	var b strings.Builder
	fmt.Fprintln(&b, s.Documents, s.OtherDocuments, s.Problems)
	for _, o := range slices.Concat(s.Objects, s.Rejected) {
		fmt.Fprintln(&b, o.APIVersion, o.Kind, o.Namespace, o.Name, o.generated, o.Labels, o.Annotations, o.Created, o.source.line, o.source.column, o.At("metadata.name"), o.AtKey("data"))
	}
	return b.String()
}

// TestSkimAgreesWithParsing holds that a document that is not parsed is what
// parsing it would have made of it, however odd it is.
func TestSkimAgreesWithParsing(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	keys := []string{"a", "b", "app.yaml", "on", "y", "1", "1.5", "<<", "a b", "\"q\"", ".x", "~", "null", "k-1", "-k", "_", "a/b", "é", "0x1f", "no", "name", "items", "$patch", "*a"}
	values := []string{
		"", " x", " x", " x", " 1", " -1", " .inf", " +.inf", " 'x'", " \"x\"", " \"x\\n\"", " 'it''s'", " [a, b]", " [\"\", 'b']", " [a: b]", " [a, [b]]", " [a,]", " []", " {}", " {a: b}",
		" |", " |-", " >+", " |2", " | # c", " x # c", " x: y", " x:", " #c", " &a x", " *a", " !!str x", " ~", " a, b", " - x", " ? x", " @x", " `x", " %x", " a:b", " a:", " \ttab", " {{ x }}", " http://x.y/?a=b&c", " 1.0", " yes", " \"unclosed", " é", " x  ", " [a b]", " [-1]", " [.inf]", " a\\b", "x", " a]", " x,]", " -x", " --x=1", " -", " - ", " -.inf", " $(A)", " (x", " [-x]", " [-.inf]", " [--x, -]", " |-", " |+",
	}
	plainKeys := []string{"a", "b", "c", "d", "e", "app.yaml", "k-1"}
	plainValues := []string{"", "", "", "", " x", " 1", " |", " 'x'", " [a, 'b']", " {}", " a, b:c"}
	line := func(depth int, odd bool) string {
		indent := strings.Repeat(" ", depth)
		if !odd {
			return indent + pick("", "", "", "- ") + pick(plainKeys...) + ":" + pick(plainValues...)
		}
		switch r.IntN(14) {
		case 0:
			return indent + "# comment"
		case 1:
			return pick("", " ", "   ", "\t", "---", "...", "--- x", "  - ", "-", "\r")
		case 2, 3:
			return indent + "- " + pick(keys...) + ":" + pick(values...)
		case 4:
			return indent + "-" + pick(values...)
		case 5:
			return indent + "- -" + pick(values...)
		case 6:
			return indent + pick("plain text", "\"quoted\"", "x", "[a, b]", "a: b: c")
		default:
			return indent + pick(keys...) + ":" + pick(values...)
		}
	}
	skimmed := 0
	for range 20_000 {
		var rows []string
		if r.IntN(3) == 0 {
			rows = append(rows, pick("---", "--- ", "# head", "", "--- # x"))
		}
		head := []string{"apiVersion: v1", "kind: " + pick("ConfigMap", "ConfigMap", "Role", "ConfigMapList", "Template", "'ConfigMap'"), "metadata:" + pick("", "", "", " ", " {}")}
		if r.IntN(4) == 0 {
			r.Shuffle(len(head), func(i, j int) { head[i], head[j] = head[j], head[i] })
		}
		for _, h := range head {
			rows = append(rows, h)
			if !strings.HasPrefix(h, "metadata") {
				continue
			}
			rows = append(rows, "  name: "+pick("x", "x", "x", "x", "'y'", "1", "on", "a/b", "x # c", ""))
			if r.IntN(3) == 0 {
				rows = append(rows, "  labels:", "    app: "+pick("a", "1", "\"1\"", "yes", "", "~", "[a]"))
			}
			if r.IntN(4) == 0 {
				rows = append(rows, "  "+pick("namespace: n", "namespace: ''", "annotations: {}", "annotations:", "generateName: g-", "name: z", "finalizers: [a]", "labels:", "- x", "    a: b", "uid: 5"))
			}
		}
		rows = append(rows, "data:")
		depth, odd := 2, r.IntN(10)
		for range r.IntN(8) {
			rows = append(rows, line(depth, r.IntN(10) < odd-4))
			switch last := rows[len(rows)-1]; {
			case r.IntN(10) < odd-6:
				depth += []int{-2, -1, 1, 2, 4}[r.IntN(5)]
			case strings.HasSuffix(last, "|"):
				rows = append(rows, strings.Repeat(" ", depth+3)+pick("text: [", "- more # text", "# text"), pick("", "   ", "# comment", strings.Repeat(" ", depth+4)+"x"))
			case strings.HasSuffix(last, ":"):
				depth += 2 * r.IntN(2)
			case r.IntN(4) == 0:
				depth -= 2
			}
			depth = max(0, depth)
		}
		text := strings.Join(rows, "\n") + pick("\n", "\n", "", "\r\n")
		k := &skimmer{}
		if _, ok := k.skim([]byte(text)); ok {
			skimmed++
		}
		if parsed, skims := outcome(loadText(t, text, nil)), outcome(loadText(t, text, decidesNothing)); parsed != skims {
			t.Fatalf("%s\nparsed:\n%s\nskimmed:\n%s", text, parsed, skims)
		}
	}
	if skimmed < 800 {
		t.Errorf("only %d documents were skimmed", skimmed)
	}
}

// TestSkimAgreesOnFiles does the same with the project's manifests.
func TestSkimAgreesOnFiles(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*/*/*/*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatal("no files", err)
	}
	skimmed := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range splitDocuments(text) {
			k := &skimmer{}
			if _, ok := k.skim(doc.of(text)); ok {
				skimmed++
			}
		}
		parsed, skims := loadText(t, string(text), nil), loadText(t, string(text), decidesNothing)
		if outcome(parsed) != outcome(skims) || parsed != nil && len(parsed.Directives) != len(skims.Directives) {
			t.Errorf("%s\nparsed:\n%s\nskimmed:\n%s", f, outcome(parsed), outcome(skims))
		}
	}
	if skimmed < 300 {
		t.Errorf("only %d documents were skimmed", skimmed)
	}
}
