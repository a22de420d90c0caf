package main

import (
	"testing"

	"github.com/egresslint/egresslint/model/manifest"
)

// TestHeapSize holds that the heap may grow to twice the input and no more than a
// few times of what is read, whatever the files are like.
func TestHeapSize(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name   string
		p      manifest.Progress
		atMost uint64
		least  uint64
	}{
		{"nothing read", manifest.Progress{Of: 1000}, leastHeap, leastHeap},
		{"all read", manifest.Progress{Files: 100, Of: 100, Bytes: 100 * mib}, leastHeap + 200*mib, leastHeap + 199*mib},
		{"half read", manifest.Progress{Files: 50, Of: 100, Bytes: 50 * mib}, leastHeap + 200*mib, leastHeap + 199*mib},
		{"one large file of many", manifest.Progress{Files: 1, Of: 200_000, Bytes: 1 * mib}, leastHeap + 136*mib, leastHeap},
	} {
		if got := heapSize(test.p); got > test.atMost || got < test.least {
			t.Errorf("%s: %d MiB", test.name, got/mib)
		}
	}
}
