package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// TestRejected: what the Decoder refuses exists in no cluster, so it replaces
// nothing.
func TestRejected(t *testing.T) {
	s := mustLoad(t, manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(serviceA + "---\n" + serviceA + "spec: bad\n"),
		Decode: func(o *manifest.Object, doc *manifest.Document) (any, []manifest.Problem) {
			var spec string
			if found, _ := doc.UnmarshalField("spec", &spec); found {
				return nil, []manifest.Problem{{Kind: manifest.Rejected, Position: doc.Position("spec"), Object: o.String(), Message: "spec is \x1b[31mbad"}}
			}
			return "good", nil
		},
	})
	equal(t, "objects", objects(s.Objects), []string{"Service default/a @ <stdin>:1:1"})
	equal(t, "rejected", objects(s.Rejected), []string{"Service default/a @ <stdin>:5:1"})
	equal(t, "problems", problems(s), []string{"rejected <stdin>:8:7: spec is \ufffd[31mbad"})
	if s.Objects[0].Value != "good" {
		t.Errorf("value is %v", s.Objects[0].Value)
	}
}

// TestDecoderPanic: a defect in decoding one object must not end the program.
func TestDecoderPanic(t *testing.T) {
	s := mustLoad(t, manifest.Options{
		Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(serviceA + "---\n" + serviceB),
		Decode: func(o *manifest.Object, _ *manifest.Document) (any, []manifest.Problem) {
			if o.Name == "a" {
				panic("oops")
			}
			return nil, nil
		},
	})
	equal(t, "objects", objects(s.Objects), []string{"Service default/b @ <stdin>:5:1"})
	equal(t, "problems", problems(s), []string{"unreadable <stdin>:1:1: reading the document failed (oops): left out (this is a defect of egresslint: please report it)"})
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"empty/readme.md": "x", "other/values.yaml": "a: b\n", "a.yaml": serviceA})
	t.Chdir(dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tests := []struct {
		ctx  context.Context
		opts manifest.Options
		want string
	}{
		{opts: manifest.Options{Paths: []manifest.Path{{Name: "missing"}}}, want: "missing: no such file or directory"},
		{opts: manifest.Options{Paths: []manifest.Path{{Name: "empty"}}}, want: "no manifest in empty: there is no .yaml, .yml or .json file"},
		{opts: manifest.Options{Paths: []manifest.Path{{Name: "other"}, {Name: "empty"}}}, want: "no manifest in other, empty: 1 file, none of them with a Kubernetes object"},
		{opts: manifest.Options{Paths: []manifest.Path{{Name: ""}}}, want: "path is empty: give a file, a directory, or - for standard input"},
		{opts: manifest.Options{Paths: []manifest.Path{{Name: "-"}}}, want: "standard input is not available: give a file or a directory"},
		{opts: manifest.Options{Paths: []manifest.Path{{Name: "-"}}, Stdin: strings.NewReader(serviceA), MaxFileBytes: 1 << 20, MeshConfig: []string{"other"}}, want: `mesh configuration "other" is a directory: give a file`},
		{ctx: ctx, opts: manifest.Options{Paths: []manifest.Path{{Name: "a.yaml"}}}, want: "context canceled"},
	}
	for _, test := range tests {
		if test.ctx == nil {
			test.ctx = context.Background()
		}
		if _, err := manifest.Load(test.ctx, test.opts); err == nil || err.Error() != test.want {
			t.Errorf("Load(%v) gives error %v, want %s", test.opts.Paths, err, test.want)
		}
	}
	if _, err := manifest.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: filepath.Join(dir, "missing")}}}); err == nil || errors.Is(err, os.ErrNotExist) && strings.Contains(err.Error(), "lstat") {
		t.Errorf("error is %v", err)
	}
}

func TestLimits(t *testing.T) {
	many := ""
	for i := range 20 {
		many += fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: s%d}\n---\n", i)
	}
	deep := serviceA + "spec: " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\n"
	bomb := serviceA + "a: &a [x]\n"
	for _, c := range "bcdefgh" {
		bomb += fmt.Sprintf("%c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), c-1)
	}
	text := serviceA + "a: &a " + strings.Repeat("x", 1000) + "\nb: [" + strings.Repeat("*a, ", 90) + "]\n"
	tests := []struct {
		name string
		opts manifest.Options
		text string
		want string
	}{
		{"file", manifest.Options{MaxFileBytes: 1 << 10}, strings.Repeat("#", 1<<20) + "\n" + serviceA, "unreadable a.yaml: file is larger than 0 MiB: left out (split it)"},
		{"total", manifest.Options{MaxTotalBytes: 10}, serviceA, "unreadable a.yaml: the files hold more than 0 MiB: this file and the following are left out (give the directories of one mesh only)"},
		{"document", manifest.Options{MaxDocumentBytes: 1 << 10}, serviceA + "spec: " + strings.Repeat("x", 2000), "unreadable a.yaml:1:1: document has 0 MiB, more than the 0 that are read in one piece: left out (split it; Lists in the form that kubectl prints are read item by item)"},
		{"documents", manifest.Options{MaxDocuments: 5}, many, "unreadable a.yaml: there are more than 5 documents: this file and the following are left out (give the directories of one mesh only)"},
		{"depth", manifest.Options{MaxDepth: 20}, deep, "unreadable a.yaml:4:27: document does not parse: depth of 20 is exceeded"},
		{"depth of JSON", manifest.Options{MaxDepth: 20}, `{"apiVersion": "v1", "kind": "Service", "a": ` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "}", "unreadable a.yaml:1:66: document does not parse: nested deeper than 20 levels"},
		{"aliases", manifest.Options{}, bomb, "unreadable a.yaml:5:4: document cannot be read: aliases expand to too much"},
		{"expansion", manifest.Options{MaxExpansion: 10_000}, text, "unreadable a.yaml:4:7: document cannot be read: aliases expand to too much"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"a.yaml": test.text, "b.yaml": serviceB})
			t.Chdir(dir)
			test.opts.Paths = []manifest.Path{{Name: "."}}
			equal(t, "problems", problems(mustLoad(t, test.opts)), []string{test.want})
		})
	}
	t.Run("files", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.yaml": serviceA, "b.yaml": serviceB, "c/a.yaml": serviceA, "c/d.yaml": serviceA})
		t.Chdir(dir)
		s := mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "."}}, MaxFiles: 2})
		equal(t, "objects", objects(s.Objects), []string{"Service default/a @ a.yaml:1:1", "Service default/b @ b.yaml:1:1"})
		equal(t, "problems", problems(s), []string{"unreadable c/a.yaml: there are more than 2 files: this and the following are left out (give the directories of one mesh only)"})
	})
}

// TestDeterminism: the result does not depend on which worker is quicker.
func TestDeterminism(t *testing.T) {
	dir := t.TempDir()
	files := meshFiles(12)
	for i := range 9 { // conflicts and errors among them
		files[fmt.Sprintf("x/%d.yaml", i)] = serviceA + fmt.Sprintf("spec: {n: %d}\n---\nkind: [\n", i)
	}
	write(t, dir, files)
	t.Chdir(dir)
	var first []string
	for range 10 {
		s := mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "."}}})
		got := append(objects(s.Objects), problems(s)...)
		if first == nil {
			first = got
		}
		equal(t, "objects and problems", got, first)
	}
	if len(first) != 12*(1+20*3)+1+8+9 {
		t.Errorf("%d objects and problems", len(first))
	}
}
