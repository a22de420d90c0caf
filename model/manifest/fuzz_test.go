package manifest_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/egresslint/egresslint/internal/testseed"
	"github.com/egresslint/egresslint/model/manifest"
)

// survive loads a text and asks everything of what comes of it. It fails if
// anything does not fit together.
func survive(t *testing.T, text []byte) {
	t.Helper()
	s, err := manifest.Load(context.Background(), manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: bytes.NewReader(text), MaxDocumentBytes: 1 << 20,
		Decode: func(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			if _, err := doc.JSON(); err != nil {
				t.Errorf("%s was accepted and has no JSON: %v", o, err)
			}
			for _, f := range doc.UnknownFields("spec", &networking.Gateway{}) {
				if f.Position != doc.KeyPosition(f.Path) && !strings.Contains(f.Path, "data") {
					t.Errorf("unknown field %s at %v, its key at %v", f.Path, f.Position, doc.KeyPosition(f.Path))
				}
			}
			var into map[string]any
			if err := doc.Unmarshal(&into); err != nil {
				t.Errorf("%s does not decode: %v", o, err)
			}
			return nil, nil
		},
	})
	if err != nil {
		return
	}
	lines := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + 1
	if len(text) > 1 && (text[0] == 0xff || text[0] == 0xfe) {
		lines = len(text)
	}
	check := func(what string, p manifest.Position) {
		if p.Line < 1 || p.Line > lines || p.Column < 1 || p.File != "<stdin>" || p.EndColumn != 0 && p.EndColumn <= p.Column {
			t.Errorf("%s at %v (to %d) of %d lines", what, p, p.EndColumn, lines)
		}
		line, ok := s.Line(p)
		if !ok && len(text) > 0 {
			t.Errorf("%s at %v, where there is no line", what, p)
		}
		if max(p.Column, p.EndColumn)-1 > utf8.RuneCountInString(line)+1 {
			t.Errorf("%s at %v (to %d), outside of %q", what, p, p.EndColumn, line)
		}
	}
	for _, p := range s.Problems {
		if p.Position.Line != 0 {
			check("problem "+p.Message, p.Position)
		}
		for _, text := range []string{p.Message, p.Help, p.Object} {
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == '\u202e' || r == '\u009b' }) {
				t.Errorf("problem has control characters: %q", text)
			}
		}
		if strings.Contains(p.Message, "defect of egresslint") || strings.Contains(p.Help, "defect of egresslint") {
			t.Errorf("a panic was caught: %v", p)
		}
	}
	for _, o := range append(append(s.Objects, s.Values...), s.Rejected...) {
		for _, field := range []string{"", "kind", "metadata.name", "spec", "spec.hosts", "spec.servers[0].hosts[0]", "data.mesh.a", "data.mesh", "meshConfig.x", "x[0][1].y"} {
			check(o.String()+" "+field, o.At(field))
			check("key "+o.String()+" "+field, o.AtKey(field))
		}
	}
}

// seeds are the texts that fuzzing and mutation start from.
func seeds(t testing.TB) [][]byte {
	files, err := filepath.Glob("testdata/seeds/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no seeds: %v", err)
	}
	var out [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return append(out, []byte(positions), []byte(utf16le(serviceA)), []byte("\ufeff"+serviceA))
}

func FuzzLoad(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text []byte) { survive(t, text) })
}

// TestMutations damages manifests at random.
func TestMutations(t *testing.T) {
	seed := testseed.New(t)
	random := rand.New(rand.NewPCG(seed, 0))
	texts := seeds(t)
	pieces := []string{"\n", "---\n", "...\n", "- ", ": ", "\"", "'", "{", "}", "[", "]", "#", "|", ">", "&a ", "*a", "<<: ", "\t", "\r", "\r\n", "\u2028", "\u0085", "\ufeff", "\x00", "\xff", "{{ x }}", "${X}", "!!str ", "!!int ", "? ", "items:\n", "  ", "kind: List\n", "\\", "%", "ü", "\U0001f600"}
	deadline := time.Now().Add(2 * time.Second)
	for n := 0; time.Now().Before(deadline) && !t.Failed(); n++ {
		text := bytes.Clone(texts[random.IntN(len(texts))])
		for range 1 + random.IntN(4) {
			at := random.IntN(len(text) + 1)
			switch random.IntN(4) {
			case 0: // delete
				text = append(text[:at:at], text[min(len(text), at+random.IntN(20)):]...)
			case 1: // repeat
				end := min(len(text), at+random.IntN(60))
				text = append(text[:end:end], text[at:]...)
			default:
				text = append(text[:at:at], append([]byte(pieces[random.IntN(len(pieces))]), text[at:]...)...)
			}
		}
		if survive(t, text); t.Failed() {
			t.Logf("text %d: %q", n, text)
		}
	}
}
