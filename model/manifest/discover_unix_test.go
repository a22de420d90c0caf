//go:build unix

package manifest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"m/a.yaml": service("a"), "m/sub/b.yaml": service("b"), "m/.data/v1/c.yaml": service("c"), "m/.data/v1/d/e.yaml": service("e"), "out/secret.yaml": service("secret"), "out/dir/x.yaml": service("x"), "other/o.yaml": service("o"),
	})
	for name, target := range map[string]string{
		"m/again.yaml": "a.yaml", "m/loop": "..", "m/sub/up": "../sub", "m/c.yaml": ".data/v1/c.yaml", "m/data": ".data/v1", "m/.dot": ".data",
		"m/secret.yaml": "../out/secret.yaml", "m/outside": "../out/dir", "m/passwd": "/etc/passwd", "m/abs.yaml": "/etc/passwd", "m/gone.yaml": "nowhere", "m/gone": "nowhere", "m/self.yaml": "self.yaml", "m/other": "../other",
		"m/absin.yaml": filepath.Join(dir, "m", ".data", "v1", "d", "e.yaml"),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	s := mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "m"}, {Name: "other"}}})
	equal(t, "objects", objects(s.Objects), []string{
		"Service default/a @ m/a.yaml:1:1", "Service default/e @ m/absin.yaml:1:1", "Service default/c @ m/c.yaml:1:1", "Service default/b @ m/sub/b.yaml:1:1", "Service default/o @ other/o.yaml:1:1",
	})
	const help = " (put the file itself there, or give its directory too)"
	equal(t, "problems", problems(s), []string{
		"unreadable m/abs.yaml: symbolic link leads out of the given path: left out" + help,
		"unreadable m/gone.yaml: symbolic link leads nowhere: left out" + help,
		"unreadable m/loop: symbolic link leads out of the given path: left out" + help,
		"unreadable m/outside: symbolic link leads out of the given path: left out" + help,
		"unreadable m/secret.yaml: symbolic link leads out of the given path: left out" + help,
		"unreadable m/self.yaml: symbolic link leads nowhere: left out" + help,
	})

	// A path within the working directory does not lead out of it.
	t.Chdir(filepath.Join(dir, "m"))
	for _, name := range []string{"secret.yaml", "outside", "outside/x.yaml", "./sub/../abs.yaml"} {
		if _, err := manifest.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: name}}}); err == nil || !strings.Contains(err.Error(), "leads out of the working directory") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	s = mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "again.yaml"}, {Name: "data"}}})
	equal(t, "objects", objects(s.Objects), []string{"Service default/a @ again.yaml:1:1", "Service default/c @ data/c.yaml:1:1", "Service default/e @ data/d/e.yaml:1:1"})
}

func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.yaml": serviceA, "no.yaml": serviceB})
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("fifo.yaml", filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "no.yaml"), 0); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	s := mustLoad(t, manifest.Options{Paths: []manifest.Path{{Name: "."}}})
	const special = ": neither a file nor a directory: left out (put a file there, or remove it)"
	want := []string{"unreadable no.yaml: file cannot be read: permission denied (make it readable, or leave it out of the given paths)", "unreadable fifo.yaml" + special, "unreadable link.yaml" + special, "unreadable zero.yaml: symbolic link leads out of the given path: left out (put the file itself there, or give its directory too)"}
	slices.Sort(want)      // as problems come, by file
	if os.Geteuid() == 0 { // who may read everything
		want = slices.DeleteFunc(want, func(p string) bool { return strings.Contains(p, "no.yaml") })
	}
	equal(t, "problems", problems(s), want)
	for _, name := range []string{"fifo.yaml", "link.yaml", "/dev/zero"} {
		if _, err := manifest.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: name}}}); err == nil || err.Error() != name+" is neither a file nor a directory: pipe it to egresslint -" {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
