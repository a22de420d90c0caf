package manifest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// service is a Service named after its file, so that objects tell what was read.
func service(name string) string { return strings.Replace(serviceA, "a}", name+"}", 1) }

func TestDirectories(t *testing.T) {
	s := load(t, map[string]string{
		"m/b.yaml": service("b"), "m/a.yml": service("a"), "m/c.json": `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}}`, "m/D.YAML": service("d"),
		"m/a/z.yaml": service("z"), "m/a-b.yaml": service("a-b"), "m/readme.txt": service("no"), "m/.git/x.yaml": service("no"), "m/node_modules/x.yaml": service("no"), "m/._b.yaml": "\x00\x01",
		"m/.hidden.yaml": service("hidden"), "n/x.yaml": service("no"), "m/deep/er/x.yaml": service("x"),
	}, "m")
	equal(t, "objects", objects(s.Objects), []string{
		"Service default/hidden @ m/.hidden.yaml:1:1", "Service default/d @ m/D.YAML:1:1", "Service default/z @ m/a/z.yaml:1:1", "Service default/a-b @ m/a-b.yaml:1:1", "Service default/a @ m/a.yml:1:1",
		"Service default/b @ m/b.yaml:1:1", "Service default/c @ m/c.json:1:1", "Service default/x @ m/deep/er/x.yaml:1:1",
	})
	equal(t, "problems", problems(s), nil)
	if s.Files != 8 || s.Documents != 8 || s.OtherDocuments != 0 || s.Bytes == 0 {
		t.Errorf("%d files, %d documents, %d others, %d bytes", s.Files, s.Documents, s.OtherDocuments, s.Bytes)
	}
}

// TestFilesOfOtherTools: directories hold more than manifests, and what is
// broken among that is nobody's business here, unless it may be a manifest.
func TestFilesOfOtherTools(t *testing.T) {
	s := load(t, map[string]string{
		"tsconfig.json": "{\n  // comment\n  \"compilerOptions\": {},\n}", "broken.yaml": "a: [\n", "values.yaml": "image: x\n", "list.yaml": "- a\n- b\n", "text.yaml": "hello\n",
		"a.yaml": serviceA, "lost.yaml": "apiVersion: v1\nkind: [\n", "mixed.yaml": service("m") + "---\na: [\n",
	})
	equal(t, "objects", objects(s.Objects), []string{"Service default/a @ a.yaml:1:1", "Service default/m @ mixed.yaml:1:1"})
	equal(t, "problems", problems(s), []string{
		"unreadable lost.yaml:2:7: document does not parse: did not find expected node content while parsing a flow node",
		"unreadable mixed.yaml:5:4: document does not parse: did not find expected node content while parsing a flow node",
	})
	if s.OtherDocuments != 5 {
		t.Errorf("%d other documents", s.OtherDocuments)
	}
	// A file that is given by name is meant.
	s = load(t, map[string]string{"broken.yaml": "a: [\n", "a.txt": serviceA}, "broken.yaml", "a.txt")
	equal(t, "objects", objects(s.Objects), []string{"Service default/a @ a.txt:1:1"})
	equal(t, "problems", problems(s), []string{"unreadable broken.yaml:1:4: document does not parse: did not find expected node content while parsing a flow node"})
}

func TestShownNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"wd/m/a.yaml": service("in"), "one/m/a.yaml": service("one"), "two/m/a.yaml": service("two"), "three/file.yaml": service("three"), "wd/top.yaml": service("top"),
	})
	t.Chdir(filepath.Join(dir, "wd"))
	shown := func(paths ...string) []string {
		var opts manifest.Options
		for _, p := range paths {
			opts.Paths = append(opts.Paths, manifest.Path{Name: p})
		}
		var out []string
		s := mustLoad(t, opts)
		for _, o := range s.Objects {
			p := o.At("")
			if line, ok := s.Line(o.At("metadata.name")); !ok || !strings.Contains(line, o.Name) {
				t.Errorf("%s: %v shows %q", o, p, line)
			}
			out = append(out, o.Name+" "+p.File)
		}
		return out
	}
	equal(t, "of the working directory", shown("."), []string{"in m/a.yaml", "top top.yaml"})
	equal(t, "of a directory in it", shown("./m/"), []string{"in m/a.yaml"})
	equal(t, "of it by its absolute path", shown(filepath.Join(dir, "wd", "m")), []string{"in m/a.yaml"})
	equal(t, "of a directory elsewhere", shown("../one/m"), []string{"one m/a.yaml"})
	equal(t, "of a file elsewhere", shown(filepath.Join(dir, "three", "file.yaml")), []string{"three file.yaml"})
	equal(t, "of the directory above", shown("../three"), []string{"three three/file.yaml"})
	equal(t, "that would be the same", shown("m", "../one/m", "../two/m"), []string{"in m/a.yaml", "one one/m/a.yaml", "two two/m/a.yaml"})
	equal(t, "of directories with one above", shown("../two", "../two/m"), []string{"two two/m/a.yaml"})
}

func TestHostileNames(t *testing.T) {
	s := load(t, map[string]string{"a\x1b[31m.yaml": serviceA + "---\nkind: [\n", "b\u202e.yaml": serviceB})
	equal(t, "objects", objects(s.Objects), []string{"Service default/a @ a\ufffd[31m.yaml:1:1", "Service default/b @ b\ufffd.yaml:1:1"})
	equal(t, "problems", problems(s), []string{"unreadable a\ufffd[31m.yaml:5:7: document does not parse: did not find expected node content while parsing a flow node"})
}

func TestOrderOfPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"z/a.yaml": service("z"), "a/a.yaml": service("a"), "mesh.yaml": "meshConfig: {}\n"})
	t.Chdir(dir)
	s := mustLoad(t, manifest.Options{
		Paths: []manifest.Path{{Name: "z"}, {Name: "-", Namespace: "in"}, {Name: "a"}, {Name: "-", Namespace: "out"}}, Stdin: strings.NewReader(service("stdin")), MeshConfig: []string{"mesh.yaml"},
	})
	equal(t, "objects", objects(s.Objects), []string{"Service default/z @ z/a.yaml:1:1", "Service in/stdin @ <stdin>:1:1", "Service default/a @ a/a.yaml:1:1", "Service out/stdin @ <stdin>:1:1"})
	equal(t, "values", objects(s.Values), []string{"HelmValues mesh.yaml @ mesh.yaml:1:1"})
}
