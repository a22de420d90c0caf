// Package bench holds the benchmarks of the whole pipeline, on generated meshes:
//
//	go test ./internal/bench -run '^$' -bench . -count 6 -args -sizes S,M | tee new.txt
//	benchstat old.txt new.txt
package bench

import (
	"context"
	"flag"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/egresslint/egresslint/analyzers"
	"github.com/egresslint/egresslint/internal/largemesh"
	"github.com/egresslint/egresslint/model"
	"github.com/egresslint/egresslint/model/manifest"
	"github.com/egresslint/egresslint/model/reach"
	"github.com/egresslint/egresslint/model/traffic"
	"github.com/egresslint/egresslint/report"
)

// written is a generated mesh on disk.
func written(b *testing.B, opts largemesh.Options) (dir string, bytes int64) {
	b.Helper()
	dir = filepath.Join(b.TempDir(), "mesh")
	summary, err := largemesh.Write(dir, opts)
	if err != nil {
		b.Fatal(err)
	}
	return dir, int64(summary.Bytes)
}

// Loading is measured on a mesh of size M, reports on a small one.
var (
	large = largemesh.Sizes["M"]
	small = largemesh.Options{Workloads: 40, Hosts: 20}
)

func options(dir string) manifest.Options {
	return manifest.Options{Paths: []manifest.Path{{Name: dir}}}
}

func BenchmarkManifests(b *testing.B) {
	dir, bytes := written(b, large)
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := manifest.Load(context.Background(), options(dir)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	dir, bytes := written(b, large)
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		if m, _, err := model.Load(context.Background(), options(dir), model.Options{}); err != nil || len(m.Problems) > 0 {
			b.Fatal(err, m.Problems)
		}
	}
}

// BenchmarkModel is the building of the mesh from what was decoded.
func BenchmarkModel(b *testing.B) {
	dir, _ := written(b, large)
	files := options(dir)
	files.Decode = model.Decode
	set, err := manifest.Load(context.Background(), files)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		model.Build(set, model.Options{})
	}
}

// loaded is a mesh for the benchmarks of what comes after loading.
func loaded(b *testing.B) (*model.Mesh, *manifest.Set) {
	b.Helper()
	dir, _ := written(b, small)
	m, set, err := model.Load(context.Background(), options(dir), model.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return m, set
}

// sizes are the meshes for the matrix and the rules: "S", "M", "L", and with
// "-unshared" those of which no two workloads share anything.
var sizes = flag.String("sizes", "S,S-unshared,M", "meshes for the matrix and the rules")

// eachSize runs a benchmark on the meshes that the flag names.
func eachSize(b *testing.B, run func(*testing.B, *model.Mesh)) {
	for _, name := range strings.Split(*sizes, ",") {
		size, unshared := strings.CutSuffix(name, "-unshared")
		opts, known := largemesh.Sizes[size]
		if !known {
			b.Fatalf("no mesh of size %q", size)
		}
		opts.Unshared = unshared
		b.Run(name, func(b *testing.B) {
			dir, _ := written(b, opts)
			m, _, err := model.Load(context.Background(), options(dir), model.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			run(b, m)
		})
	}
}

// BenchmarkRows decides all tuples of workload, host and port, without guarantees:
// what the rules ask for.
func BenchmarkRows(b *testing.B) {
	eachSize(b, func(b *testing.B, m *model.Mesh) {
		tuples := 0
		for b.Loop() {
			r := reach.New(traffic.New(m))
			any := r.Universe()[0]
			for _, class := range r.Classes() {
				r.Verdicts(class[0], any)
			}
			tuples = len(r.Clients()) * len(r.Universe())
		}
		b.ReportMetric(float64(tuples), "tuples")
	})
}

// BenchmarkMatrix decides all tuples with their guarantees and makes rectangles of
// them: what "egresslint reach" prints.
func BenchmarkMatrix(b *testing.B) {
	eachSize(b, func(b *testing.B, m *model.Mesh) {
		for b.Loop() {
			if matrix := reach.New(traffic.New(m)).Matrix(reach.Query{}); len(matrix.Destinations) == 0 {
				b.Fatal("no destinations")
			}
		}
	})
}

// BenchmarkAnalyzers runs all rules.
func BenchmarkAnalyzers(b *testing.B) {
	eachSize(b, func(b *testing.B, m *model.Mesh) {
		for b.Loop() {
			analyzers.Run(m, reach.New(traffic.New(m)), analyzers.Config{})
		}
	})
}

func BenchmarkReport(b *testing.B) {
	m, set := loaded(b)
	result := &report.Lint{Lines: set, Rules: analyzers.All()}
	result.Findings = analyzers.Run(m, reach.New(traffic.New(m)), analyzers.Config{})
	if len(result.Findings) == 0 {
		b.Fatal("no findings")
	}
	for _, format := range []struct {
		name  string
		write func(io.Writer, *report.Lint, report.Options) error
	}{{"text", report.Text}, {"json", report.JSON}} {
		b.Run(format.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := format.write(io.Discard, result, report.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
