package manifest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/egresslint/egresslint/internal/testseed"
)

// TestStreamAgreesWithParsingAlone holds that documents parsed in one go are
// what each is alone, with the same places.
func TestStreamAgreesWithParsingAlone(t *testing.T) {
	seed := testseed.New(t)
	r := rand.New(rand.NewPCG(seed, 0))
	documents := []string{
		"a: 1\nb: [x, {y: z}]\n", "# only a comment\n", "", "\n\n", "- a\n-  b\n", "~\n", "''\n", "null\n", "a: &x 1\nb: *x\n", "b: *x\n",
		"a: |\n  text\n\n  more\n\n", "a: >-\n  folded\n  text\n", "a: |+\n\n\n", "a: [1,\n", "a: b: c\n", "\ta: 1\n", "!!str\n", "&anchor\n", "!own {a: b}\n", "\"x\n  y\"\n",
		"a: 1\r\nb: 2\r\n", "? complex\n: value\n", "<<: {a: b}\n", "a: é\nü: \"\\u00e9\"\n", "a:\n", "a: '\n\n  x'\n", "#c\na: 1 # d\n# e\n", "---x\n", "%TAG ! x\n", "a: \u2028b\n", "...\na: 1\n", "a: 1\n...\n", "'unclosed\n",
	}
	markers := []string{"---\n", "--- \n", "--- # comment\n", "---\t\n", "---\r\n", "--- |\n", "--- a\n"}
	var texts []string
	for range 3000 {
		var b strings.Builder
		for i := range 1 + r.IntN(6) {
			if i > 0 || r.IntN(2) == 0 {
				b.WriteString(markers[min(r.IntN(30), len(markers)-1)*r.IntN(2)])
			}
			b.WriteString(documents[r.IntN(len(documents))])
		}
		texts = append(texts, b.String())
	}
	files, err := filepath.Glob("../../testdata/mesh/*/manifests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	opts := Options{}.withDefaults()
	streamed := 0
	for len(texts) > 0 {
		var tasks []task // of one file, or of several
		for range 1 + r.IntN(3) {
			if len(texts) == 0 {
				break
			}
			in, text := &input{}, []byte(texts[0])
			for _, piece := range splitDocuments(text) {
				tasks = append(tasks, task{in: in, text: text, piece: piece, inOneGo: inOneGo(text) && piece.ignored == nil})
			}
			texts = texts[1:]
		}
		if len(tasks) == 0 {
			continue
		}
		for i := range tasks {
			if r.IntN(4) == 0 {
				tasks[i].skimmed = &Object{}
			}
		}
		s := newStream(tasks, &opts)
		for i := range tasks {
			if s == nil || !tasks[i].inOneGo && tasks[i].skimmed == nil {
				break
			}
			if tasks[i].skimmed != nil {
				continue
			}
			root, ok := s.next(&tasks[i])
			if !ok {
				break
			}
			if root == nil {
				continue
			}
			streamed++
			alone, _, err := tasks[i].piece.parse(tasks[i].text, &opts)
			if err != nil || len(alone) != 1 || written(alone[0]) != written(root) {
				t.Fatalf("document %d of %q: alone %v, in one go %s", i, tasks[i].text, err, written(root))
			}
		}
	}
	if streamed < 2000 {
		t.Errorf("only %d documents were parsed in one go", streamed)
	}
}

// written is everything of a node that somebody looks at.
func written(n *yaml.Node) string {
	if n == nil {
		return "none"
	}
	s := fmt.Sprintf("%d:%d %v %q %q %q %v", n.Line, n.Column, n.Kind, n.Tag, n.Value, n.Anchor, n.Style)
	for _, c := range n.Content {
		s += "[" + written(c) + "]"
	}
	return s
}
