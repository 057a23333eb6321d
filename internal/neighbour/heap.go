package neighbour

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// By which share of what is alive, in percent, a heap may grow before it is collected
// again.
const (
	// leastHeadroom is that of one over its bound: with less, collecting would be most of
	// the work.
	leastHeadroom = 15
	// mostHeadroom is that of one far below: what is small is not collected for nothing.
	mostHeadroom = 400
	// usualHeadroom is what the Go runtime grants by itself.
	usualHeadroom = 100
)

// HoldHeap makes the garbage collector come seldom while the heap is below so many bytes,
// and the earlier the closer it is to them: where most of what is allocated stays, a heap
// that is twice what is alive costs memory and saves little. Unlike a limit it costs no
// more, however much stays alive. An environment with GOGC or GOMEMLIMIT has the last word.
// The function that it returns ends that.
func HoldHeap(bytes uint64) (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	h := &heap{bound: bytes, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	runtime.SetFinalizer(&collected{h}, (*collected).adjust)
	return h.release
}

// heap is one that is held.
type heap struct {
	bound uint64
	live  []metrics.Sample

	mu       sync.Mutex
	released bool
}

func (h *heap) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	debug.SetGCPercent(usualHeadroom)
}

// collected is reachable from nowhere: each collection finds it, and calls adjust.
type collected struct{ heap *heap }

func (c *collected) adjust() {
	h := c.heap
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return
	}
	metrics.Read(h.live)
	debug.SetGCPercent(headroom(h.live[0].Value.Uint64(), h.bound))
	runtime.SetFinalizer(c, (*collected).adjust)
}

// headroom returns by how many percent a heap may grow.
func headroom(live, bound uint64) int {
	if live >= bound {
		return leastHeadroom
	}
	return int(min(max((bound-live)*100/max(live, 1), leastHeadroom), mostHeadroom))
}
