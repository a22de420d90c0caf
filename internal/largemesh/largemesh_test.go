package largemesh_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/egresslint/egresslint/internal/largemesh"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
)

// TestIsValid holds that neither the loader nor Istio's validation has anything
// to say against the manifests, and that they hold what they promise.
func TestIsValid(t *testing.T) {
	for _, unshared := range []bool{false, true} {
		t.Run(fmt.Sprintf("unshared=%v", unshared), func(t *testing.T) {
			dir := t.TempDir()
			opts := largemesh.Options{Workloads: 130, Hosts: 65, Unshared: unshared, Seed: 1}
			summary, err := largemesh.Write(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			m, set, err := model.Load(context.Background(), manifest.Options{Paths: []manifest.Path{{Name: dir}}}, model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range m.Problems {
				t.Errorf("%s: %s", p.Position, p.Message)
			}
			got := largemesh.Summary{Files: set.Files, Documents: set.Documents, Bytes: int(set.Bytes)}
			if got != summary {
				t.Errorf("read %+v, wrote %+v", got, summary)
			}
			sidecars := 7
			if unshared {
				sidecars = opts.Workloads
			}
			if len(m.Workloads) != opts.Workloads+1 || len(m.ServiceEntries) != opts.Hosts || len(m.VirtualServices) != opts.Hosts || len(m.Sidecars) > sidecars {
				t.Errorf("%d workloads, %d service entries, %d virtual services, %d sidecars", len(m.Workloads), len(m.ServiceEntries), len(m.VirtualServices), len(m.Sidecars))
			}
			if m.Ignored["v1 ConfigMap"] != opts.Workloads {
				t.Errorf("ignored: %v", m.Ignored)
			}
		})
	}
}

func TestEqualOptionsGiveEqualBytes(t *testing.T) {
	sum := func(seed uint64) string {
		dir := t.TempDir()
		if _, err := largemesh.Write(dir, largemesh.Options{Workloads: 50, Hosts: 25, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			fmt.Fprintln(h, path[len(dir):])
			h.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	if a, b := sum(3), sum(3); a != b {
		t.Error("the same seed gives different files")
	}
	if a, b := sum(3), sum(4); a == b {
		t.Error("different seeds give the same files")
	}
}

func TestDoesNotWriteIntoWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := largemesh.Write(dir, largemesh.Options{Workloads: 1}); err == nil {
		t.Error("wrote into a directory that is not empty")
	}
}

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	summary, err := largemesh.Write(filepath.Join(dir, "s"), largemesh.Sizes["S"])
	if err != nil {
		t.Fatal(err)
	}
	if summary.Documents < 900 || summary.Documents > 1100 {
		t.Errorf("S has %d documents", summary.Documents)
	}
}
