package judge

import (
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"istio.io/istio/pkg/kube/krt"

	"github.com/egresslint/egresslint/conformance/generate"
)

// TestMeshesAreForgotten: of a mesh that is closed nothing stays, neither in the
// heap, nor as a goroutine, nor in the list that istiod's collections enter
// themselves into for debugging. Runs of thousands of meshes rest on it.
func TestMeshesAreForgotten(t *testing.T) {
	const warmUp, meshes = 15, 60
	// A mesh holds some megabytes while it is open.
	const mayGrow = 8 << 20
	open := func(n int) {
		for seed := range uint64(n) {
			c := generate.New(seed+1, 10)
			manifests, err := Parse(c.YAML())
			if err != nil {
				t.Fatalf("seed %d: %v", seed+1, err)
			}
			mesh, err := Open(manifests)
			if err != nil {
				t.Fatalf("seed %d: %v", seed+1, err)
			}
			for _, f := range c.Flows {
				mesh.Trace(f)
			}
			mesh.Close()
		}
	}
	open(warmUp)
	heap, goroutines := settled()
	listed := debugged(t)
	open(meshes)
	heapAfter, goroutinesAfter := settled()
	if heapAfter > heap+mayGrow {
		t.Errorf("after %d meshes the heap holds %d kB, before %d kB", meshes, heapAfter>>10, heap>>10)
	}
	if goroutinesAfter > goroutines+meshes/2 {
		t.Errorf("after %d meshes %d goroutines run, before %d", meshes, goroutinesAfter, goroutines)
	}
	if after := debugged(t); after != listed {
		t.Errorf("istiod's list of collections has grown from %d to %d bytes", listed, after)
	}
	t.Logf("heap %d kB, then %d kB; %d goroutines, then %d", heap>>10, heapAfter>>10, goroutines, goroutinesAfter)
}

// settled is the size of the heap and the number of goroutines, after those that
// were told to stop have had a moment to.
func settled() (heap uint64, goroutines int) {
	for range 50 {
		n := runtime.NumGoroutine()
		time.Sleep(20 * time.Millisecond)
		if goroutines = runtime.NumGoroutine(); goroutines == n {
			break
		}
	}
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc, goroutines
}

// debugged is the size of what krt lists of its collections.
func debugged(t *testing.T) int {
	text, err := json.Marshal(krt.GlobalDebugHandler)
	if err != nil {
		t.Fatal(err)
	}
	return len(text)
}
