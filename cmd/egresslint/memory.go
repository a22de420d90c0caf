package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"

	"github.com/egresslint/egresslint/model/manifest"
)

// What is read is dropped right after it is decoded, so that little of what was
// made is alive. With Go's setting a run would collect garbage hundreds of times
// and spend a third of its time on that.

// leastHeap is what the heap may grow to at least before anything is collected,
// and perByte how much more that is for each byte of the input: the memory of the
// process stays below 64 MiB and twice the input then, as long as less is alive.
const leastHeap, perByte = 36 << 20, 2

// leastPercent is the least of what the heap may grow by, whatever is alive.
const leastPercent = 100

// collector collects garbage seldom, and as long as what is made stays for the most
// part, only at points where nothing else is going on: a collection beside other work
// takes several times as long, and keeps what was made meanwhile.
type collector struct {
	// size is what the heap may grow to.
	size atomic.Uint64
	// atPoints says that collections are due at such points.
	atPoints atomic.Bool
}

// collectSparsely begins with that: with each collection, the percentage of the
// next one is set so that the heap may grow to its size.
func collectSparsely() *collector {
	c := &collector{}
	c.size.Store(leastHeap)
	c.adjust()
	type token struct{ _ [16]byte }
	var again func(*token)
	again = func(t *token) {
		c.adjust()
		runtime.SetFinalizer(t, again)
	}
	runtime.SetFinalizer(&token{}, again)
	return c
}

// adjust sets the percentage of the next collection. Where that is due at a point,
// it leaves time to get there.
func (c *collector) adjust() {
	size := c.size.Load()
	if c.atPoints.Load() {
		size *= 2
	}
	live := max(measured("/gc/heap/live:bytes"), 4<<20) // as the least heap of the runtime
	percent := leastPercent
	if size > live {
		percent = max(percent, int((size-live)*100/live))
	}
	debug.SetGCPercent(percent)
}

func measured(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// rest is the [manifest.Options] Rest: it collects garbage when the heap has grown
// to its size.
func (c *collector) rest(p manifest.Progress) func() {
	size := heapSize(p)
	if !c.atPoints.Swap(true) || c.size.Swap(size) < size/2 {
		c.adjust()
	}
	if measured("/memory/classes/heap/objects:bytes") < size {
		return nil
	}
	return runtime.GC
}

// heapSize is what the heap may grow to, as far as what is read tells how much there
// is: one large file among many small ones tells little.
func heapSize(p manifest.Progress) uint64 {
	if p.Files <= 0 || p.Bytes < 0 {
		return leastHeap
	}
	input := min(uint64(p.Bytes)/uint64(p.Files)*uint64(p.Of), 4*uint64(p.Bytes)+64<<20)
	return leastHeap + perByte*input
}

// point is told that nothing else is going on. last says that from here on little
// stays of what is made.
func (c *collector) point(last bool) {
	if c == nil || !c.atPoints.Load() {
		return
	}
	if last {
		c.atPoints.Store(false)
	}
	if measured("/memory/classes/heap/objects:bytes") > c.size.Load()/2 {
		runtime.GC()
	}
	c.adjust()
}
