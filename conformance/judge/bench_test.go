package judge

import (
	"testing"

	"github.com/egresslint/egresslint/conformance/generate"
)

// BenchmarkMesh is the judge's work for one random mesh of 100 flows.
func BenchmarkMesh(b *testing.B) {
	silence()
	var seed uint64
	for b.Loop() {
		seed++
		c := generate.New(seed, 100)
		manifests, err := Parse(c.YAML())
		if err != nil {
			b.Fatal(err)
		}
		mesh, err := Open(manifests)
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range c.Flows {
			mesh.Trace(f)
		}
		mesh.Close()
	}
	b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "flows/s")
}
