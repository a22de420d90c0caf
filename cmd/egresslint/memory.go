package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is what the heap may grow to before anything is collected. What is
// read is dropped right after it is decoded, so that the live heap is small for
// long: with Go's setting a run would collect it hundreds of times and spend a
// third of its time on that.
const heapFloor = 144 << 20

// sparse garbage collection: with each collection, the percentage of the next one
// is set so that the heap may grow to the floor; above it, to a half more than
// what is alive, which keeps the memory of large meshes in bounds.
func collectSparsely() {
	debug.SetGCPercent(max(heapPercent(heapFloor, 8<<20), leastPercent))
	type token struct{ _ [16]byte }
	var again func(*token)
	again = func(t *token) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		debug.SetGCPercent(max(heapPercent(heapFloor, live[0].Value.Uint64()), leastPercent))
		runtime.SetFinalizer(t, again)
	}
	runtime.SetFinalizer(&token{}, again)
}

// leastPercent is the least of what the heap may grow by.
const leastPercent = 50

// heapPercent is the setting with which a live heap grows to a size.
func heapPercent(size, live uint64) int {
	if live == 0 || live >= size {
		return 0
	}
	return int((size - live) * 100 / live)
}
